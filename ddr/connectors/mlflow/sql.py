"""MLflow's tables in a SQLite file, read and written as MLflow 3 does.

Setting an alias or a tag touches its own row alone: MLflow itself leaves last_updated_time as it is then.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ddr.connectors.mlflow import transport
from ddr.errors import Conflict, Damaged, DdrError, InputError, Missing, Unavailable, Unsupported
from ddr.lib import digest, redact, sqlitefile

SCHEMA_HEAD = "dc11669786a5"  # of MLflow 3.17, the one the tests run against
_WORKSPACE = "default"
_NEEDED = {
    "registered_models": {"name", "workspace"},
    "model_versions": {"name", "version", "creation_time", "source", "storage_location", "status", "workspace"},
    "registered_model_aliases": {"name", "alias", "version", "workspace"},
    "registered_model_tags": {"name", "key", "value", "workspace"},
    "model_version_tags": {"name", "version", "key", "value", "workspace"},
    "logged_models": {"model_id", "artifact_location"},
}
_VERSIONS = """
    SELECT v.version, v.creation_time, v.source, v.storage_location, l.artifact_location, v.run_id, v.status,
           v.current_stage, v.user_id
    FROM model_versions v LEFT JOIN logged_models l ON v.source = 'models:/' || l.model_id
    WHERE v.workspace = ? AND v.name = ? AND v.current_stage IS NOT ? {only} ORDER BY v.version"""


def path_of(url: str, base: Path) -> Path:
    """`sqlite:///relative/to/ddr.yaml` or `sqlite:////absolute`."""
    rest = url.removeprefix("sqlite:///").partition("?")[0]
    if not url.startswith("sqlite:///") or not rest:
        raise InputError(
            f"tracking: {redact.foreign(url)} names no file", hint="write it like sqlite:///mlflow/mlflow.db"
        )
    return base / rest


@dataclass(frozen=True)
class SqlTransport:
    """`base` is where relative artifact locations begin: the folder of ddr.yaml."""

    path: Path
    base: Path
    busy_timeout_s: float = sqlitefile.BUSY_TIMEOUT_S
    is_atomic = True

    @property
    def where(self) -> str:
        return str(self.path)

    def schema(self) -> str:
        with self._opened() as connection:
            heads = [str(head) for (head,) in connection.execute("SELECT version_num FROM alembic_version")]
        found = ", ".join(heads) or "unknown"
        return f"schema {found}" + (
            "" if heads == [SCHEMA_HEAD] else f", which ddr was not tested with ({SCHEMA_HEAD})"
        )

    def model(self, name: str) -> transport.Model:
        with self._opened() as connection:
            _check_model(connection, name, self.where)
            key = (_WORKSPACE, name)
            aliases = connection.execute(
                "SELECT alias, version FROM registered_model_aliases WHERE workspace = ? AND name = ?", key
            )
            tags = connection.execute(
                "SELECT key, value FROM registered_model_tags WHERE workspace = ? AND name = ?", key
            )
            return transport.Model(
                name, {str(alias): str(number) for alias, number in aliases}, {str(k): str(v) for k, v in tags}
            )

    def versions(self, name: str, only: str = "") -> Sequence[transport.Version]:
        with self._opened() as connection:
            _check_model(connection, name, self.where)
            if only:
                _check_version(connection, name, only)
            condition = "AND v.version = ?" if only else ""
            values = (_WORKSPACE, name, transport.DELETED_STAGE, *((int(only),) if only else ()))
            rows = connection.execute(_VERSIONS.format(only=condition), values).fetchall()
            return tuple(_version(connection, name, row) for row in rows)

    def files(self, version: transport.Version) -> transport.Files:
        parts = urlsplit(version.location)
        if parts.scheme not in ("", "file"):
            return transport.Files(
                unread=f"files in {parts.scheme}: are not read beside a SQLite registry; give the address of its server"
            )
        folder = self.base / unquote(parts.path)
        if not folder.is_dir():
            raise Damaged(
                f"version {version.number} of {version.model} has no files: {folder} is not there",
                hint=self._moved_to(folder) or "restore them from a backup, or go back to another version",
            )
        try:
            entries = digest.tree(folder)
            path = folder / transport.MLMODEL
            return transport.Files(entries, path.read_bytes() if transport.MLMODEL in entries else None)
        except OSError as problem:
            raise Unavailable(
                f"{folder} cannot be read: {redact.foreign(problem)}", hint="look at its rights"
            ) from problem

    def move(self, name: str, alias: str, expect: str, to: str) -> None:
        with self._opened() as connection, sqlitefile.transaction(connection):
            _check_model(connection, name, self.where)
            _check_version(connection, name, to)
            key = (_WORKSPACE, name, alias)
            row = connection.execute(
                "SELECT version FROM registered_model_aliases WHERE workspace = ? AND name = ? AND alias = ?", key
            ).fetchone()
            found = str(row[0]) if row else "nothing"
            if found != expect:
                raise Conflict(
                    f"{name}@{alias} is at {found}, not at {expect}; nothing was changed", expected=expect, found=found,
                    hint="someone moved it since the plan: plan again",
                )  # fmt: skip
            connection.execute(
                "UPDATE registered_model_aliases SET version = ? WHERE workspace = ? AND name = ? AND alias = ?",
                (int(to), *key),
            )

    def tag(self, name: str, number: str, key: str, value: str | None) -> None:
        with self._opened() as connection, sqlitefile.transaction(connection):
            _check_model(connection, name, self.where)
            if number:
                _check_version(connection, name, number)
            table = "model_version_tags" if number else "registered_model_tags"
            row: dict[str, object] = {"workspace": _WORKSPACE, "name": name, "key": key}
            row |= {"version": int(number)} if number else {}
            same = " AND ".join(f"{column} = :{column}" for column in row)
            connection.execute(f"DELETE FROM {table} WHERE {same}", row)  # noqa: S608
            if value is not None:
                row["value"] = value
                columns = ", ".join(row)
                places = ", ".join(f":{column}" for column in row)
                connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", row)  # noqa: S608

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with sqlitefile.opened(self.path, busy_timeout_s=self.busy_timeout_s) as connection:
                yield connection
        except sqlitefile.NoSuch as problem:
            raise self._foreign(problem) from problem

    def _foreign(self, problem: sqlitefile.NoSuch) -> DdrError:
        """What kind of database it is, when it is not the one that ddr knows."""
        with sqlitefile.opened(self.path, busy_timeout_s=self.busy_timeout_s) as connection:
            for table, needed in _NEEDED.items():
                lacking = needed - {name for name, _ in sqlitefile.columns(connection, table)}
                if lacking == needed:
                    return InputError(
                        f"{self.path} is no MLflow database: it has no {table}", hint="correct `tracking`"
                    )
                if lacking:
                    return Unsupported(
                        f"{self.path}: {table} has no {', '.join(sorted(lacking))}: another MLflow than 3.17 made it",
                        hint="`mlflow db upgrade`, or give the address of its server",
                    )
        return problem

    def _moved_to(self, folder: Path) -> str:
        """Where the same tail of the path lies below `base`, when the folder was moved there."""
        parts = Path(os.path.normpath(folder)).parts[1:]
        for at in range(1, len(parts)):
            candidate = self.base.joinpath(*parts[at:])
            if candidate != folder and candidate.is_dir():
                return f"it seems to have been moved to {candidate}; MLflow looks in the old place too: move it back"
        return ""


def _check_model(connection: sqlite3.Connection, name: str, where: str) -> None:
    query = "SELECT name FROM registered_models WHERE workspace = ?"
    names = [str(known) for (known,) in connection.execute(query, (_WORKSPACE,))]
    if name not in names:
        raise Missing(
            f"{where} has no registered model {name!r}", hint=f"there is: {', '.join(sorted(names)[:8]) or 'none'}"
        )


def _check_version(connection: sqlite3.Connection, name: str, number: str) -> None:
    query = "SELECT version FROM model_versions WHERE workspace = ? AND name = ? AND current_stage IS NOT ?"
    known = [str(found) for (found,) in connection.execute(query, (_WORKSPACE, name, transport.DELETED_STAGE))]
    if number not in known:
        raise Missing(
            f"{name} has no version {number!r} (any more)", hint=f"there is: {', '.join(known[-8:]) or 'none'}"
        )


def _version(connection: sqlite3.Connection, name: str, row: tuple[object, ...]) -> transport.Version:
    number, created, source, stored, logged, run, status, stage, user = row
    own = str(stored or source or "")
    tags = connection.execute(
        "SELECT key, value FROM model_version_tags WHERE workspace = ? AND name = ? AND version = ?",
        (_WORKSPACE, name, number),
    )
    return transport.Version(
        model=name,
        number=str(number),
        created_at=transport.time_of(created),
        source=str(source or ""),
        location=str(logged or "") if own.startswith("models:") else own,
        run=str(run or ""),
        status=str(status or ""),
        stage=str(stage or ""),
        user=str(user or ""),
        tags={str(key): str(value) for key, value in tags},
    )
