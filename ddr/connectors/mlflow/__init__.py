"""MLflow, spoken to without its package: `connector` decides, `sql` and `rest` speak, `mlmodel` reads one file.

Importing mlflow costs seconds that nobody has at 2 a.m., and loading a model runs its code: neither happens here.
"""
