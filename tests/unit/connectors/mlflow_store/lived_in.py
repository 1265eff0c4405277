"""A small MLflow as a team leaves it, made by MLflow itself: two experiments, models, a prompt, traces, files.

A program of its own, as MLflow keeps the address of its server for the whole process.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

_TOP = Path(__file__).parents[4]


def make(base: Path, migrated: Path) -> None:
    """`base` gets mlflow.db and artifacts/; locations are relative to it in one experiment, absolute in the other."""
    base.mkdir()
    shutil.copy(migrated, base / "mlflow.db")
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{base}/mlflow.db", "PYTHONPATH": str(_TOP)}
    subprocess.run([sys.executable, "-m", __name__, str(base)], env=environment, check=True, cwd=base)


def _fill(base: Path) -> None:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{base}/mlflow.db")
    for name, location in (("parcels", "artifacts/parcels"), ("letters", (base / "artifacts" / "letters").as_uri())):
        experiment = client.create_experiment(name, artifact_location=location, tags={"team": name})
        _keep(base, experiment, location)
        for number in range(3):
            _run(client, experiment, name, number, base)
        client.create_registered_model(f"{name}-model", tags={"of": name})
        for number in range(2):
            _version(client, experiment, name, number, base)
        client.set_registered_model_alias(f"{name}-model", "champion", "2")
        trace = client.start_trace(f"{name} asked", inputs={"q": name}, experiment_id=experiment)
        client.end_trace(trace.trace_id, outputs={"a": 1})
    client.register_prompt("greeting", "Hello {{name}}")
    mlflow.flush_trace_async_logging()


def _keep(base: Path, experiment: str, location: str) -> None:
    """MLflow makes a relative location absolute."""
    connection = sqlite3.connect(base / "mlflow.db")
    connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (location, experiment))
    connection.commit()
    connection.close()


def _run(client: Any, experiment: str, name: str, number: int, base: Path) -> None:
    from mlflow.entities import Metric, Param

    run = client.create_run(experiment, run_name=f"{name} {number}")
    steps = [Metric("loss", 1.0 / (step + 1), 1_700_000_000_000 + step, step) for step in range(20)]
    client.log_batch(run.info.run_id, steps, [Param("rate", str(number))])
    folder = _on_disk(run.info.artifact_uri, base)
    folder.mkdir(parents=True)
    (folder / f"report of {name}.txt").write_text(f"{name} {number}\n")
    client.set_terminated(run.info.run_id)
    if number == 2:
        client.delete_run(run.info.run_id)


def _version(client: Any, experiment: str, name: str, number: int, base: Path) -> None:
    run = client.search_runs([experiment])[0].info.run_id
    model = client.create_logged_model(experiment, name=f"{name}-{number}", source_run_id=run)
    folder = _on_disk(model.artifact_location, base)
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text(f"flavors: {{}}\nmodel_id: {model.model_id}\n")
    (folder / "model.bin").write_bytes(bytes([number]) * 5000)
    client.finalize_logged_model(model.model_id, "READY")
    client.create_model_version(f"{name}-model", f"models:/{model.model_id}", run, tags={"n": str(number)})


def _on_disk(uri: str, base: Path) -> Path:
    return Path(uri.removeprefix("file://")) if uri.startswith("file:") else base / uri


if __name__ == "__main__":
    _fill(Path(sys.argv[1]))
