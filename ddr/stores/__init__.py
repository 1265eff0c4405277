"""Keys and bytes: local folder, memory, S3; and the probe that finds out whether a store keeps its word.

One conformance suite runs on all of them. What never belongs here: anything that knows what the bytes mean.
"""
