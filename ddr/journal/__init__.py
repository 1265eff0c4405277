"""The journal: append-only, hash-chained events on a store, and the views folded from them.

What belongs here: how events are written, chained, spooled, folded. What never does: deciding anything from them.
"""
