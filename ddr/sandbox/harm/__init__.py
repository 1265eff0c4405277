"""The faults and decoys, one file each kind: every one a `ports.verb.Verb` whose undo is exact and repeatable.

What belongs here: breaking the world as real changes break it, and taking exactly that back. What never does:
a hint for those who have to find out what happened.
"""
