"""The few statements the sandbox itself needs on MLflow's database: looking, setting times, taking back a fault.

Plain sqlite3, so that nobody waits seconds for an import. Artifact locations are relative to the sandbox, which
is why a sandbox may be moved and copied.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ddr.errors import Missing
from ddr.lib import digest, sqlitefile
from ddr.sandbox import layout

# MLflow writes this file into the folder of whoever loads a version, differently by number and by alias.
LOADER_MARK = "registered_model_meta"


@dataclass(frozen=True)
class Version:
    """One version of the registered model, and where its files are."""

    number: str
    run: str
    folder: Path

    @property
    def digest(self) -> str:
        """Of its files now. Missing where they are gone."""
        return digest_of(self.folder)


def digest_of(folder: Path) -> str:
    """The digest of a model folder, whoever has loaded it."""
    if not folder.is_dir():
        raise Missing(f"{folder} is not there: the registry names a model without files")
    return digest.of_tree(folder, without=(LOADER_MARK,))


@contextlib.contextmanager
def opened(root: Path) -> Iterator[sqlite3.Connection]:
    """The registry in one transaction. Errors as `lib.sqlitefile` says."""
    with sqlitefile.opened(layout.Layout(root).registry) as connection, sqlitefile.transaction(connection):
        yield connection


def _version(root: Path, row: tuple[int, str, str] | None) -> Version | None:
    return None if row is None else Version(str(row[0]), row[1], root / row[2])


def find(root: Path, number: str) -> Version:
    """Raises Missing."""
    with opened(root) as registry:
        query = (
            "SELECT version, run_id, storage_location FROM model_versions "
            "WHERE name = ? AND version = ? AND current_stage != 'Deleted_Internal'"
        )
        found = _version(root, registry.execute(query, (layout.MODEL, number)).fetchone())
    if found is None:
        raise Missing(f"{layout.MODEL} has no version {number!r}")
    return found


def champion(root: Path) -> Version:
    """The version that the alias names. Raises Missing."""
    with opened(root) as registry:
        query = (
            "SELECT version, run_id, storage_location FROM model_versions JOIN registered_model_aliases "
            "USING (workspace, name, version) WHERE name = ? AND alias = ?"
        )
        found = _version(root, registry.execute(query, (layout.MODEL, layout.ALIAS)).fetchone())
    if found is None:
        raise Missing(f"{layout.MODEL} has no version with the alias {layout.ALIAS!r}")
    return found


def of_fault(root: Path, key: str) -> Version | None:
    """The version that the fault registered, if it got so far."""
    with opened(root) as registry:
        query = (
            "SELECT version, run_id, storage_location FROM model_versions JOIN model_version_tags "
            "USING (workspace, name, version) WHERE name = ? AND key = ? AND value = ?"
        )
        return _version(root, registry.execute(query, (layout.MODEL, layout.FAULT_TAG, key)).fetchone())


def frozen(root: Path) -> str:
    """Why promotions are frozen, '' when they are not."""
    with opened(root) as registry:
        query = "SELECT value FROM registered_model_tags WHERE name = ? AND key = ?"
        found = registry.execute(query, (layout.MODEL, layout.FROZEN_TAG)).fetchone()
    return "" if found is None else str(found[0] or "no reason given")


def move_alias(root: Path, to: str, expect: str) -> bool:
    """Point the alias at `to` if it names `expect`. False where it names something else."""
    with opened(root) as registry:
        statement = "UPDATE registered_model_aliases SET version = ? WHERE name = ? AND alias = ? AND version = ?"
        return registry.execute(statement, (to, layout.MODEL, layout.ALIAS, expect)).rowcount == 1


def make_portable(root: Path) -> None:
    """Let the experiments keep their artifacts at a path relative to the sandbox."""
    with opened(root) as registry:
        registry.execute("UPDATE experiments SET artifact_location = 'mlflow/artifacts/' || experiment_id")


def set_times(root: Path, number: str, at: datetime) -> None:
    """Date a version, its run and its logged model by platform time."""
    at_ms = round(at.timestamp() * 1000)
    run = find(root, number).run
    with opened(root) as registry:
        registry.execute(
            "UPDATE model_versions SET creation_time = ?1, last_updated_time = ?1 WHERE name = ?2 AND version = ?3",
            (at_ms, layout.MODEL, number),
        )
        registry.execute("UPDATE registered_models SET last_updated_time = ? WHERE name = ?", (at_ms, layout.MODEL))
        registry.execute("UPDATE runs SET start_time = ?1, end_time = ?1 WHERE run_uuid = ?2", (at_ms, run))
        registry.execute(
            "UPDATE logged_models SET creation_timestamp_ms = ?1, last_updated_timestamp_ms = ?1 "
            "WHERE source_run_id = ?2",
            (at_ms, run),
        )
        for table in ("metrics", "latest_metrics"):
            _set(registry, table, "timestamp", at_ms, "run_uuid", run)
        _set(registry, "logged_model_metrics", "metric_timestamp_ms", at_ms, "run_id", run)


def _set(registry: sqlite3.Connection, table: str, column: str, value: object, key: str, is_: object) -> None:
    registry.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (value, is_))  # noqa: S608 - our own names


@dataclass(frozen=True)
class Traces:
    """Everything of one fault in the database, by identifier."""

    runs: tuple[str, ...]
    models: tuple[str, ...]
    versions: tuple[int, ...]
    folders: tuple[Path, ...]

    def __bool__(self) -> bool:
        return bool(self.runs or self.models or self.versions)


def traces(root: Path, key: str) -> Traces:
    with opened(root) as registry:

        def column(query: str, values: Sequence[object]) -> list[str]:
            return [row[0] for row in registry.execute(query, values)]

        tag = (layout.FAULT_TAG, key)
        # A run is the first thing a training writes, and everything else names it.
        runs = column("SELECT run_uuid FROM tags WHERE key = ? AND value = ?", tag)
        models = column(
            "SELECT model_id FROM logged_models WHERE source_run_id IN "
            "(SELECT run_uuid FROM tags WHERE key = ? AND value = ?)",
            tag,
        )
        versions = column(
            "SELECT version FROM model_versions WHERE run_id IN "
            "(SELECT run_uuid FROM tags WHERE key = ? AND value = ?)",
            tag,
        )
        folders = [
            (root / place).parent
            for query, names in (
                ("SELECT artifact_uri FROM runs WHERE run_uuid = ?", runs),
                ("SELECT artifact_location FROM logged_models WHERE model_id = ?", models),
            )
            for name in names
            for place in column(query, (name,))
        ]
    return Traces(tuple(runs), tuple(models), tuple(int(number) for number in versions), tuple(folders))


# What hangs on a run, a logged model or a version: (table, column).
_OF_RUN = ("metrics", "latest_metrics", "params", "tags")
_OF_MODEL = ("logged_model_metrics", "logged_model_params", "logged_model_tags", "logged_models")
_OF_VERSION = ("model_version_tags", "registered_model_aliases", "model_versions")


def erase(root: Path, found: Traces) -> None:
    """Delete these rows for good, in one transaction. The files must be gone before: rows are how they are found."""
    with opened(root) as registry:
        for number in found.versions:
            for table in _OF_VERSION:
                registry.execute(f"DELETE FROM {table} WHERE name = ? AND version = ?", (layout.MODEL, number))  # noqa: S608
        datasets = []
        for name in (*found.runs, *found.models):
            linked = registry.execute(
                "SELECT input_uuid, source_type, source_id FROM inputs WHERE source_id = ?1 OR destination_id = ?1",
                (name,),
            ).fetchall()
            datasets += [source for _, kind, source in linked if kind == "DATASET"]
            _delete(registry, "input_tags", "input_uuid", [link for link, _, _ in linked])
            _delete(registry, "inputs", "input_uuid", [link for link, _, _ in linked])
        for dataset in datasets:
            registry.execute(
                "DELETE FROM datasets WHERE dataset_uuid = ?1 AND NOT EXISTS "
                "(SELECT 1 FROM inputs WHERE source_id = ?1)",
                (dataset,),
            )
        for table in _OF_MODEL:
            _delete(registry, table, "model_id", found.models)
        for table in (*_OF_RUN, "runs"):
            _delete(registry, table, "run_uuid", found.runs)


def _delete(registry: sqlite3.Connection, table: str, column: str, values: Sequence[object]) -> None:
    for value in values:
        registry.execute(f"DELETE FROM {table} WHERE {column} = ?", (value,))  # noqa: S608 - names stand above
