"""Vector indexes: build specification, workers, engines, gate, publish, check. The commands come with their own issue."""
