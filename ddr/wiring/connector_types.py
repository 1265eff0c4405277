"""The connector types `ddr.yaml` may name. Registration is this list."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from ddr.ports import signal

# type: module. Each module has `Settings`, `connect`, and, where it serves them, `Binding` and `SERIES`.
TYPES: dict[str, str] = {
    "mlflow": "ddr.connectors.mlflow.connector",
    "feature-table": "ddr.connectors.feature_table",
    "release-folder": "ddr.connectors.release_folder",
    "oci-image": "ddr.connectors.oci_image.connector",  # Kubernetes, Argo CD and KServe come beside it
    "faiss-index": "ddr.connectors.faiss_index",
    "config-file": "ddr.connectors.config_file",
    "model-server": "ddr.connectors.model_server",
    "prediction-log": "ddr.connectors.prediction_log",
    "metrics-endpoint": "ddr.connectors.metrics_endpoint",
    "files": "ddr.connectors.files.connector",
    "dvc": "ddr.connectors.files.pinned",
    "feast": "ddr.connectors.feast.connector",
    "feast-online": "ddr.connectors.feast.online.connector",
    "secret-references": "ddr.connectors.secret_references.connector",
}


def module(kind: str) -> ModuleType:
    return importlib.import_module(TYPES[kind])


class _Settings(Mapping[str, type[Any]]):
    """Imports a connector when it is asked for: a command pays for those that `ddr.yaml` names, not for all."""

    def __getitem__(self, kind: str) -> type[Any]:
        if kind not in TYPES:
            raise KeyError(kind)
        found: type[Any] = module(kind).Settings
        return found

    def __contains__(self, kind: object) -> bool:
        return kind in TYPES

    def __iter__(self) -> Iterator[str]:
        return iter(TYPES)

    def __len__(self) -> int:
        return len(TYPES)


SETTINGS: Mapping[str, type[Any]] = _Settings()
"""What an entry of each type may say."""


def binding_type(kind: str) -> type[Any] | None:
    """What a plane says beside `connector`; None where the type serves no plane."""
    found: type[Any] | None = getattr(module(kind), "Binding", None)
    return found


def series(kind: str) -> Mapping[str, signal.SampleKind]:
    """What can be measured there."""
    found: Mapping[str, signal.SampleKind] = getattr(module(kind), "SERIES", {})
    return found
