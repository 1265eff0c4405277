"""The file MLmodel: what a model wants, what it was made with, and which files must lie beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ddr.connectors.mlflow import transport
from ddr.domain import revisions
from ddr.errors import Damaged
from ddr.lib import digest, located, redact

_FILE_KEYS = ("pickled_model", "model_path", "data", "model_data", "python_model")
_EMPTY = digest.of_bytes(b"")
_NEXT = "go back to another version, or restore the files from a backup"


def facts(files: transport.Files, where: str) -> Mapping[str, str]:
    """Facts of a revision. Damaged when MLmodel is missing or broken, or a file it names is not there or empty."""
    if transport.MLMODEL not in files.kept:
        raise Damaged(f"{where} has no file {transport.MLMODEL}", hint=_NEXT)
    said = _parse(files.kept[transport.MLMODEL], where)
    flavors = _mapping(said.get("flavors"))
    for flavor, settings in flavors.items():
        for key in _FILE_KEYS:
            _check_file(files.entries, _mapping(settings).get(key), flavor, where)
    own = [str(name) for name in flavors if name != "python_function"]
    found = {
        revisions.INPUTS_SCHEMA: _schema(said, where),
        revisions.FLAVOR: ",".join(own) or ("python_function" if flavors else ""),
        revisions.PYTHON: str(_mapping(flavors.get("python_function")).get("python_version") or ""),
        **_needs(files),
        "mlflow": str(said.get("mlflow_version") or ""),
    }
    return {name: value for name, value in found.items() if value}


def _needs(files: transport.Files) -> Mapping[str, str]:
    """The file that lists the model's packages: MLflow writes up to three, which say the same."""
    name = next((name for name in transport.KEPT[1:] if name in files.kept), "")
    if not name:
        return {}
    packages = ""
    if name == "requirements.txt":
        packages = revisions.packages_of(files.kept[name].decode(errors="replace"))
    return {revisions.REQUIREMENTS: digest.of_bytes(files.kept[name]), revisions.PACKAGES: packages}


def _parse(content: bytes, where: str) -> Mapping[str, object]:
    try:
        value = located.parse_yaml(content.decode()).plain()
    except (located.Malformed, ValueError) as problem:
        raise Damaged(f"{where}/{transport.MLMODEL} cannot be read: {redact.foreign(problem)}", hint=_NEXT) from problem
    if not isinstance(value, dict) or not value:
        raise Damaged(f"{where}/{transport.MLMODEL} is empty or no mapping", hint=_NEXT)
    return value


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _check_file(entries: Mapping[str, str], name: object, flavor: str, where: str) -> None:
    if not isinstance(name, str) or not name:
        return
    plain = name.strip("/")
    if plain not in entries and not any(entry.startswith(f"{plain}/") for entry in entries):
        raise Damaged(f"{where}/{plain} is not there, and {transport.MLMODEL} names it for {flavor}", hint=_NEXT)
    if entries.get(plain) == _EMPTY:
        raise Damaged(f"{where}/{plain} is empty", hint=_NEXT)


def _schema(said: Mapping[str, object], where: str) -> str:
    """Digest of the named input columns; '' without a signature, or when it speaks of tensors without names."""
    inputs = _mapping(said.get("signature")).get("inputs")
    if not inputs:
        return ""
    try:
        columns = list(_columns(json.loads(str(inputs))))
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise Damaged(
            f"{where}/{transport.MLMODEL}: its signature cannot be read: {redact.foreign(problem)}", hint=_NEXT
        ) from problem
    return revisions.schema_digest(columns) if columns else ""


def _columns(inputs: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(inputs, list):
        raise TypeError("it is no list of columns")
    for column in inputs:
        if "name" in column:
            kind = str(column["type"])
            rest = {key: value for key, value in column.items() if key not in ("name", "type", "required")}
            yield str(column["name"]), kind + (digest.canonical(rest).decode() if rest else "")
