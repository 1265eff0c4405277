"""SQL databases by their tables, whatever system they belong to: reflected, read at one moment, written back, compared.

Connectors share it. Nothing here knows what a row means; that is said by the connector through `work.Work`.
"""
