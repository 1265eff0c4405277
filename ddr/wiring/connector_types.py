"""The connector types `ddr.yaml` may name. Registration is this list."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from ddr.ports import signal

# type: module. Each module has `Settings`, `connect`, and, where it serves them, `Binding` and `SERIES`.
TYPES: dict[str, str] = {
    "mlflow": "ddr.connectors.mlflow.connector",
    "feature-table": "ddr.connectors.feature_table",
    "release-folder": "ddr.connectors.release_folder",
    "faiss-index": "ddr.connectors.faiss_index",
    "config-file": "ddr.connectors.config_file",
    "model-server": "ddr.connectors.model_server",
    "prediction-log": "ddr.connectors.prediction_log",
    "metrics-endpoint": "ddr.connectors.metrics_endpoint",
    "files": "ddr.connectors.files.connector",
    "feast": "ddr.connectors.feast.connector",
    "secret-references": "ddr.connectors.secret_references.connector",
}


def module(kind: str) -> ModuleType:
    return importlib.import_module(TYPES[kind])


def settings_by_type() -> dict[str, type[Any]]:
    return {kind: module(kind).Settings for kind in TYPES}


def binding_type(kind: str) -> type[Any] | None:
    """What a plane says beside `connector`; None where the type serves no plane."""
    found: type[Any] | None = getattr(module(kind), "Binding", None)
    return found


def series(kind: str) -> Mapping[str, signal.SampleKind]:
    """What can be measured there."""
    found: Mapping[str, signal.SampleKind] = getattr(module(kind), "SERIES", {})
    return found
