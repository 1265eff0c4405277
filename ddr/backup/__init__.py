"""The backup repository: format, capture, restore, verify, drill, retention, schedule.

What belongs here: everything that turns captured state into sealed objects of a store and back, and proves it. What
never does: the SDK of an external system (connectors), a concrete store (wiring chooses it), text for a screen (cli).

The format is specified in FORMAT.md beside this file; `extract.py` reads it without the rest of ddr.
"""
