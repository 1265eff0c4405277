"""Feast: feature definitions. Its registry is read as bytes with the field numbers of feast 0.67; Feast is not needed.

Never here: online values and offline data. They are not definitions, and they do not follow the registry.
"""
