"""Runbooks: parsed, checked whole, run step by step, resumed, undone, approved.

The engine knows verbs by their port only. What never belongs here: what a particular verb does.
"""
