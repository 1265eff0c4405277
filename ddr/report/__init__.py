"""The journal as self-contained HTML and JSON. Decides nothing: every number comes from an event."""
