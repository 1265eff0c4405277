"""MLflow's database as rows: captured, restored, compared, on SQLite and on a real PostgreSQL."""
