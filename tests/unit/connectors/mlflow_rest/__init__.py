"""MLflow where only its REST API is there: two real servers, one that is captured and one that is restored into."""
