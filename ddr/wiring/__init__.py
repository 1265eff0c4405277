"""Reads `ddr.yaml` and builds the Platform. The only room that names concrete connectors and stores."""
