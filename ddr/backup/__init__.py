"""The backup repository: format, capture, restore, verify, drill, retention, schedule. Comes with its own issue."""
