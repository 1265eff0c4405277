"""Small tools without a word of the domain: clock, digest, durable files, located YAML, redaction.

Nothing here knows what a plane, a store or an incident is. A function that does belongs a floor higher.
"""
