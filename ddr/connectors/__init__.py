"""One file per external system: translates its API and its errors into the ports. Connectors do not know each other.

The SDK of a system is imported by its one file, inside the function that needs it.
"""
