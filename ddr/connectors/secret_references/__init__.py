"""Secrets by their names: what they are called, which keys they have, where they come from. Never a value.

Each file here reads one kind of source and gives `snapshots.Reference`s and complaints. A complaint names a place and
never quotes it: what cannot be understood may be a secret.
"""
