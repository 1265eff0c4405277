"""What backups are for: MLflow on SQLite is lost, and comes back on PostgreSQL behind a real server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ddr.connectors.mlflow import schema, sql
from ddr.lib import process
from tests.unit.cli import calls
from tests.unit.connectors.mlflow_store import lived_in

CONFIG = """\
apiVersion: ddr/v1
repository: {type: local, path: .ddr}
connectors:
  registry: {type: mlflow, tracking: "sqlite:///in/mlflow.db"}
services: {}
backup: {encryption: none}
"""
START_S = 120.0
MORE = {"challenger": "1", "shadow": "1", "stable-2026": "2"}


@contextlib.contextmanager
def serving(address: str, folder: Path) -> Iterator[str]:
    """A real `mlflow server`."""
    port = process.free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", address, "--host", "127.0.0.1"]
    words += ["--port", str(port), "--workers", "1", "--artifacts-destination", str(folder / "kept")]
    log = folder / "server.log"
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("wb") as out:
        running = subprocess.Popen(words, cwd=folder, env=environ, stdout=out, stderr=out, start_new_session=True)
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + START_S
    try:
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            assert running.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < end, log.read_text()[-2000:]
            time.sleep(0.2)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, 15)
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, 9)
            running.wait()


def of_models(client: Any) -> dict[str, dict[str, str]]:
    """Every alias of every model: SQLite gives numbers, the server texts."""
    found = client.search_registered_models()
    return {one.name: {alias: str(version) for alias, version in one.aliases.items()} for one in found}


def test_from_sqlite_to_a_real_server_on_postgresql(make_database: Callable[..., str]) -> None:
    """It creates a new experiment, lists every model with its aliases, and shows a trace."""
    import mlflow

    with tempfile.TemporaryDirectory(prefix="ddr-") as name:  # short: PostgreSQL takes locations of 200 characters
        root = Path(name)
        schema.migrate(f"sqlite:///{root}/empty.db", sql.SCHEMA_HEAD)
        lived_in.make(root / "in", root / "empty.db")
        before = mlflow.MlflowClient(f"sqlite:///{root}/in/mlflow.db")
        for alias, version in MORE.items():
            before.set_registered_model_alias("parcels-model", alias, version)
        aliases = of_models(before)
        assert aliases["parcels-model"] == {**MORE, "champion": "2"}
        ids = {one.name: one.experiment_id for one in before.search_experiments()}
        traces = {
            one.info.trace_id: one.data.spans[0].inputs for one in before.search_traces(locations=[*ids.values()])
        }
        assert len(traces) == 2
        runs = {run.info.run_id: run.info.start_time for run in before.search_runs([*ids.values()])}

        (root / "ddr.yaml").write_text(CONFIG)
        done = calls.ddr(root, "backup", "run")
        assert done.code == 0, done.err
        (root / "in" / "mlflow.db").rename(root / "lost.db")

        address = make_database()
        words = ["restore", "registry", "--to", address, "--with", f"artifacts={root}/kept"]
        planned = calls.ddr(root, *words)
        assert planned.code == 0, planned.err
        assert "nothing was touched" in planned.out
        restored = calls.ddr(root, *words, "--apply", "--json")
        assert restored.code == 0, restored.err
        assert restored.document["unequal"] == []
        assert restored.document["compared"] > 60

        with serving(address.replace("postgresql:", "postgresql+psycopg:"), root) as url:
            client = mlflow.MlflowClient(url)
            made = client.create_experiment("after the disaster")
            assert int(made) == max(map(int, ids.values())) + 1
            assert of_models(client) == aliases
            for alias, version in {**MORE, "champion": "2"}.items():
                assert str(client.get_model_version_by_alias("parcels-model", alias).version) == version
            assert {one.info.trace_id: client.get_trace(one.info.trace_id).data.spans[0].inputs
                    for one in client.search_traces(locations=[*ids.values()])} == traces  # fmt: skip
            assert {run.info.run_id: run.info.start_time for run in client.search_runs([*ids.values()])} == runs
            assert {one.name: one.experiment_id for one in client.search_experiments()} == {
                **ids, "after the disaster": made,
            }  # fmt: skip
