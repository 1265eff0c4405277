"""The few interfaces everything plugs into. Their comments are the contract; each has a conformance suite.

What belongs here: Protocols of one to six methods and the values that cross them. What never does: an
implementation, a default, a decision.
"""
