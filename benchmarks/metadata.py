"""MLflow metadata: ddr reads the database, mlflow-export-import asks the server; the same store, one after the other.

2,000 runs with 10 metrics of 50 steps each, 50 models of 4 versions. The exporter is asked for one run and for a part
of the runs (`EXPORTED`), and the difference is multiplied: at some runs a second the whole would take half an hour for
five rounds. So its start is counted once, and its models not at all. It runs from an environment of its own, named by
$DDR_BENCH_EXPORTER (a venv with mlflow-export-import and tabulate).
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from ddr.lib import endpoint, process

RUNS, METRICS, STEPS, MODELS, VERSIONS = 2000, 10, 50, 50, 4
EXPORTED = 100
ROUNDS = 5

_YAML = """apiVersion: ddr/v1
repository: {type: local, path: repo}
connectors:
  registry: {type: mlflow, tracking: "sqlite:///mlflow.db"}
services: {}
backup: {keyFile: key}
"""


def seed(folder: Path) -> int:
    """A migrated MLflow database with the rows; how many metric rows."""
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    url = f"sqlite:///{folder / 'mlflow.db'}"
    subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", url], env=environ, check=True, capture_output=True)
    with sqlite3.connect(folder / "mlflow.db") as database:
        _fill(database, folder)
    return RUNS * METRICS * STEPS


def _fill(database: sqlite3.Connection, folder: Path) -> None:
    now = 1_790_000_000_000
    for number, name in ((1, "whole"), (2, "part"), (3, "one")):
        database.execute(
            "insert into experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time, "
            "last_update_time, workspace) values (?, ?, ?, 'active', ?, ?, 'default')",
            (number, name, f"{folder}/artifacts/{number}", now, now),
        )
    for at in range(RUNS + EXPORTED + 1):
        run, experiment = uuid.uuid4().hex, 1 if at < RUNS else 2 if at < RUNS + EXPORTED else 3
        database.execute(
            "insert into runs (run_uuid, name, source_type, user_id, status, start_time, end_time, lifecycle_stage, "
            "artifact_uri, experiment_id) values (?, ?, 'LOCAL', 'bench', 'FINISHED', ?, ?, 'active', ?, ?)",
            (
                run,
                f"run-{at}",
                now + at,
                now + at + 60_000,
                f"{folder}/artifacts/{experiment}/{run}/artifacts",
                experiment,
            ),
        )
        rows = [
            (f"metric_{metric}", 1.0 / (step + 1 + at), now + step, run, step)
            for metric in range(METRICS)
            for step in range(STEPS)
        ]
        database.executemany(
            "insert into metrics (key, value, timestamp, run_uuid, step, is_nan) values (?, ?, ?, ?, ?, 0)", rows
        )
        database.executemany(
            "insert into latest_metrics (key, value, timestamp, run_uuid, step, is_nan) values (?, ?, ?, ?, ?, 0)",
            rows[STEPS - 1 :: STEPS],
        )
        database.executemany(
            "insert into params (key, value, run_uuid) values (?, ?, ?)",
            [(f"param_{number}", str(number * at), run) for number in range(10)],
        )
    for model in range(MODELS):
        name = f"model-{model:03d}"
        database.execute(
            "insert into registered_models (name, creation_time, last_updated_time, workspace) "
            "values (?, ?, ?, 'default')",
            (name, now, now),
        )
        for version in range(1, VERSIONS + 1):
            database.execute(
                "insert into model_versions (name, version, creation_time, last_updated_time, current_stage, status, "
                "source, workspace) values (?, ?, ?, ?, 'None', 'READY', 'dummy', 'default')",
                (name, version, now, now),
            )


def _exporter(folder: Path, python: str) -> tuple[float, float]:
    """Seconds for one run and for the part of the runs, whole processes."""
    port = process.free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    words += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    server = subprocess.Popen(
        words, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        asked = endpoint.Endpoint(f"http://127.0.0.1:{port}")
        for _ in range(600):
            try:
                if asked.ask("GET", "/health").status == 200:
                    break
            except Exception:  # noqa: BLE001 - not up yet
                time.sleep(0.2)
        return _exported(folder, python, "one", environ), _exported(folder, python, "part", environ)
    finally:
        os.killpg(server.pid, 9)
        server.wait()


def _exported(folder: Path, python: str, experiment: str, environ: dict[str, str]) -> float:
    words = [str(Path(python).parent / "export-experiment"), "--experiment", experiment]
    began = time.perf_counter()
    subprocess.run(
        [*words, "--output-dir", str(folder / f"out-{experiment}")], env=environ, check=True, capture_output=True
    )
    return time.perf_counter() - began


def run() -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        rows = seed(folder)
        (folder / "ddr.yaml").write_text(_YAML)
        (folder / "key").write_text("0f" * 32)
        environ = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "DDR_ACTOR": "bench"}
        times = []
        for _ in range(ROUNDS):
            subprocess.run(["rm", "-rf", str(folder / "repo")], check=True)
            subprocess.run(["rm", "-rf", str(folder / "state")], check=True)
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "ddr", "backup", "run"], cwd=folder, env=environ, check=True, capture_output=True
            )
            times.append(time.perf_counter() - began)
        ours = statistics.median(times)
        print(f"\nMLflow metadata: {RUNS:,} runs, {rows:,} metric rows, {MODELS * VERSIONS} model versions")
        print(f"  ddr backup run, whole process, nothing known before   {ours:8.2f} s   (median of {ROUNDS})")
        python = os.environ.get("DDR_BENCH_EXPORTER", "")
        if not python:
            print("  mlflow-export-import: not measured; $DDR_BENCH_EXPORTER names no environment")
            return
        one, part = _exporter(folder, python)
        each = (part - one) / (EXPORTED - 1)
        whole = one + each * (RUNS - 1)
        print(f"  mlflow-export-import, one run {one:.2f} s, {EXPORTED} runs {part:.2f} s   ({1 / each:.1f} runs/s)")
        print(
            f"  for all runs that is                                  {whole:8.0f} s   {whole / ours:.0f} x   goal 300"
        )
