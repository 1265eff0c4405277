"""Where the rows say that files are: which columns name locations, and what kind of place each one is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from ddr.connectors.tables import readers
from ddr.lib import rowbatch, sqlitefile

# Columns that hold a location, for the walk and for rewriting. Tags hold one under certain keys only.
COLUMNS: Mapping[str, Sequence[str]] = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("storage_location", "source"),
    "workspaces": ("default_artifact_root", "trace_archival_location"),
}
TAGS: Mapping[str, Sequence[str]] = {"trace_tags": ("mlflow.artifactLocation", "mlflow.trace.archiveLocation")}
PROMPT_TAG = "mlflow.prompt.is_prompt"
LOCAL_TREE, S3_TREE = "artifacts", "artifacts-s3"
_BASE, _ROOT = "base", "root"

Kind = Literal["local", "s3", "served", "other"]


@dataclass(frozen=True)
class Place:
    """`path` is its place in a tree: `base/...` when relative to the base folder, `root/...`, or `bucket/key`."""

    kind: Kind
    path: str
    uri: str


@dataclass(frozen=True)
class Map:
    """`base` is where relative locations begin, `served` where an MLflow server keeps what it serves itself
    (its --artifacts-destination), '' when nobody said."""

    base: Path
    served: str = ""

    def place(self, uri: str) -> Place | None:
        """None for what names no files: `models:/...`, `runs:/...`, a prompt's word."""
        parts = urlsplit(uri)
        if parts.scheme in ("models", "runs") or not uri:
            return None
        if parts.scheme == "mlflow-artifacts":
            if not self.served:
                return Place("served", "", uri)
            inside = parts.path.lstrip("/")
            return self.place(f"{self.served.rstrip('/')}/{inside}" if inside else self.served)
        if parts.scheme in ("s3", "s3a", "s3n"):
            return Place("s3", f"{parts.netloc}/{parts.path.strip('/')}".rstrip("/"), uri)
        if parts.scheme not in ("", "file"):
            return Place("other", "", uri)
        # A path is taken as it stands; in a file: address %20 is a space.
        path = unquote(parts.path) if parts.scheme == "file" else uri
        return Place("local", self.tree_path(Path(path)), uri)

    def tree_path(self, path: Path) -> str:
        """By how the rows say it, and not by where it lies: a snapshot may be restored with another base."""
        relative = os.path.normpath(path)
        if path.is_absolute() or relative.startswith(".."):
            return _ROOT + os.path.normpath(self.base.absolute() / path)
        return _BASE if relative == "." else f"{_BASE}/{relative}"

    def on_disk(self, tree_path: str) -> Path:
        """Where a path of the local tree lies."""
        first, _, rest = tree_path.partition("/")
        return self.base / rest if first == _BASE else Path("/") / rest


NOWHERE = Map(Path())


def named(reader: readers.Reader) -> Iterator[str]:
    """Every location that a row names, but the roots of workspaces: what is below them is named by other rows."""
    for table, columns in COLUMNS.items():
        if table == "workspaces":
            continue
        shape = readers.shape_of(reader, table)
        for column in columns if shape else ():
            where = ""
            if table == "model_versions":
                where = f" WHERE name NOT IN ({_prompts(reader)})"
            yield from _distinct(reader, column, table, where)
    for table, keys in TAGS.items():
        if readers.shape_of(reader, table):
            listed = ", ".join(f"'{key}'" for key in keys)
            yield from _distinct(reader, "value", table, f" WHERE {sqlitefile.quoted('key')} IN ({listed})")


def needed(reader: readers.Reader) -> Iterator[tuple[str, str]]:
    """(what, location) of everything that MLflow says has files: runs and experiments may have none."""
    if readers.shape_of(reader, "logged_models"):
        query = "SELECT name, model_id, artifact_location FROM logged_models WHERE status = 2 "
        for row in reader.ask(query + "AND lifecycle_stage <> 'deleted'"):
            name, identity, location = map(_text, row)
            yield f"logged model {name} ({identity})", location
    if readers.shape_of(reader, "model_versions"):
        query = "SELECT name, version, storage_location, source FROM model_versions WHERE status = 'READY' "
        query += f"AND current_stage <> 'Deleted_Internal' AND name NOT IN ({_prompts(reader)})"
        for row in reader.ask(query):
            name, version, stored, source = map(_text, row)
            yield f"version {version} of {name}", stored or source


def _text(cell: rowbatch.Cell) -> str:
    return "" if cell is None else str(cell)


def outermost(places: Sequence[Place]) -> Sequence[Place]:
    """Without those that lie inside another one, sorted by the parts of their path."""
    kept: list[Place] = []
    for place in sorted(places, key=lambda place: place.path.split("/")):
        parts = place.path.split("/")
        if kept and parts[: len(kept[-1].path.split("/"))] == kept[-1].path.split("/"):
            continue
        kept.append(place)
    return kept


def _prompts(reader: readers.Reader) -> str:
    if readers.shape_of(reader, "registered_model_tags") is None:
        return "SELECT name FROM registered_models WHERE 1 = 0"
    key = sqlitefile.quoted("key")
    return f"SELECT name FROM registered_model_tags WHERE {key} = '{PROMPT_TAG}' AND value = 'true'"  # noqa: S608


def _distinct(reader: readers.Reader, column: str, table: str, where: str) -> Iterator[str]:
    query = f"SELECT DISTINCT {sqlitefile.quoted(column)} FROM {sqlitefile.quoted(table)}{where}"  # noqa: S608
    yield from (str(row[0]) for row in reader.ask(query) if row[0])
