"""ddr: incident response and disaster recovery for ML platforms.

Rooms stand on floors; a room imports only from floors below its own. ARCHITECTURE.md draws the house.
"""
