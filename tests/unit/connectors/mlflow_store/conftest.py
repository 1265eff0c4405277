"""Databases that MLflow's own migrations made, once for the session of a worker; tests get copies."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddr.connectors.mlflow import schema
from tests.unit.connectors.mlflow_store import lived_in, synthetic

HEAD = "dc11669786a5"


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty. Copy it."""
    path = tmp_path_factory.mktemp("migrated") / "mlflow.db"
    schema.migrate(f"sqlite:///{path}", HEAD)
    return path


@pytest.fixture(scope="session")
def full_file(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven rows in each table. Copy it."""
    path = tmp_path_factory.mktemp("full") / "mlflow.db"
    shutil.copy(migrated_file, path)
    made = synthetic.fill(path)
    print(f"{sum(made.values())} rows in {len(made)} tables")
    return path


@pytest.fixture
def full(full_file: Path, tmp_path: Path) -> Path:
    """A folder of this test's own with a full `mlflow.db`."""
    base = tmp_path / "source"
    base.mkdir()
    shutil.copy(full_file, base / "mlflow.db")
    return base


@pytest.fixture(scope="session")
def lived(migrated_file: Path) -> Iterator[Path]:
    """A folder with a small MLflow that MLflow itself filled. Never change it: some of its locations are absolute.

    Its path is short: a location that is moved below another folder has 200 characters in PostgreSQL.
    """
    with tempfile.TemporaryDirectory(prefix="ddr-") as folder:
        base = Path(folder) / "in"
        lived_in.make(base, migrated_file)
        yield base
