"""One file per external system: translates its API and its errors into the ports. Connectors do not know each other.

A system that is spoken to in several ways has a folder (`mlflow`) whose `connector` is the door. The SDK of a system
is imported by its one file, inside the function that needs it. What two connectors share without a word of the domain
is in `lib`; what they share with one is a noun's own function in `domain`.
"""
