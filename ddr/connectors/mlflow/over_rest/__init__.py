"""MLflow where only its REST API is there: captured object by object, restored into a live server, compared.

What belongs here: what the API says and takes, and what of it is lost on the way (fidelity class B). What never does:
the database (the rooms beside), and serving planes (`rest.py`).
"""
