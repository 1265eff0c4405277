"""Feast: feature definitions. Its registry is read as bytes with the field numbers of feast 0.67; Feast is not needed.

Online values do not follow the registry: they are the matter of `online/`. Never here: offline data.
"""
