"""Which ddr this is. The one place that says it."""

VERSION = "0.1.0"
