"""One feature view of Feast as a plane: its registry entry and its values in the online store.

A store that Feast has and that is not here is a new file beside `sqlite.py` and `redis.py`, and a line in `places.py`.
"""
