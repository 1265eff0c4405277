"""A restored database brought to the schema of the MLflow that is installed, by MLflow's own `mlflow db upgrade`."""

from __future__ import annotations

import os
import subprocess
import sys

from ddr.connectors.mlflow import schema
from ddr.connectors.tables import places, readers
from ddr.errors import Refused
from ddr.lib import redact

_PATIENCE_S = 3600.0
_PROGRAM = "import os; from mlflow.cli import cli; cli(['db', 'upgrade', os.environ['DDR_UPGRADE']])"
"""The address comes by the environment: a command line is everybody's to read, and it may hold a password."""


def upgrade(place: places.Place) -> str:
    """From which revision to which. Refused where MLflow is not there or its migrations fail."""
    before = _revision(place)
    environ = {**os.environ, "DDR_UPGRADE": place.sqlalchemy_url, "MLFLOW_DISABLE_TELEMETRY": "true"}
    by_hand = f"the rows are restored and equal; by hand: `mlflow db upgrade {redact.foreign(place.sqlalchemy_url)}`"
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM], env=environ, capture_output=True, text=True, check=False,
            timeout=_PATIENCE_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as problem:
        raise Refused(f"`mlflow db upgrade` took longer than {_PATIENCE_S:.0f} s", hint=by_hand) from problem
    if done.returncode:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it said nothing")
        raise Refused(f"`mlflow db upgrade` failed: {redact.foreign(last)}", hint=by_hand)
    after = _revision(place)
    return f"schema {after}, as it was" if after == before else f"schema {before} upgraded to {after}"


def _revision(place: places.Place) -> str:
    with place.opened() as reader:
        return ", ".join(readers.revisions(reader, schema.REVISIONS)) or "unknown"
