"""Vector indexes: build specification, workers, engines, gate, publish, check. Comes with its own issue."""
