"""A registry on a folder, and plain looks into its file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ddr.connectors.mlflow import connector
from ddr.lib import clock


def registry(base: Path, tracking: str = "sqlite:///mlflow.db", artifacts: str = "") -> connector.Registry:
    return connector.connect(connector.Settings(tracking, artifacts), base, clock.SystemClock())


def rows_of(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
