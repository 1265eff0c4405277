"""Incidents: declared, moved, noted, resolved; the folded view of them."""
