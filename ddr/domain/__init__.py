"""The nouns: frozen, compared by value, without I/O. Every other room speaks in these words.

What belongs here: a dataclass and what follows from its own fields. What never does: a clock, a file, a network,
a decision that needs more than the noun itself.
"""
