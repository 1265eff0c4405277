"""Injects faults, lets the response run, scores it, returns the platform to where it was."""
