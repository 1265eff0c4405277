"""MLflow's tables in SQLite or PostgreSQL, read and written as MLflow 3 does.

Setting an alias or a tag touches its own row alone: MLflow itself leaves last_updated_time as it is then.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ddr.connectors.mlflow import locations, sessions, transport
from ddr.errors import Damaged, DdrError, InputError, Missing, Unavailable, Unsupported
from ddr.lib import digest, redact

SCHEMA_HEAD = "dc11669786a5"  # of MLflow 3.17, the one the tests run against
_WORKSPACE = "default"
_NEEDED = {
    "registered_models": {"name", "workspace"},
    "model_versions": {"name", "version", "creation_time", "source", "storage_location", "status", "workspace"},
    "registered_model_aliases": {"name", "alias", "version", "workspace"},
    "registered_model_tags": {"name", "key", "value", "workspace"},
    "model_version_tags": {"name", "version", "key", "value", "workspace"},
    "logged_models": {"model_id", "artifact_location"},
    "tags": {"run_uuid", "key", "value"},
    "inputs": {"source_type", "source_id", "destination_type", "destination_id"},
    "datasets": {"dataset_uuid", "name", "digest"},
}
_VERSIONS = """
    SELECT v.version, v.creation_time, v.source, v.storage_location, l.artifact_location, v.run_id, v.status,
           v.current_stage, v.user_id
    FROM model_versions v LEFT JOIN logged_models l ON v.source = 'models:/' || l.model_id
    WHERE v.workspace = ? AND v.name = ? AND COALESCE(v.current_stage, '') <> ? {only} ORDER BY v.version"""


@dataclass(frozen=True)
class SqlTransport:
    """`places` knows where a location is on this disk; relative ones begin at the folder of ddr.yaml."""

    database: sessions.Opener
    places: locations.Map
    is_atomic = True

    @property
    def where(self) -> str:
        return self.database.where

    def schema(self) -> str:
        with self._opened() as session:
            heads = [str(head) for (head,) in session.ask("SELECT version_num FROM alembic_version")]
        found = ", ".join(heads) or "unknown"
        return f"schema {found}" + (
            "" if heads == [SCHEMA_HEAD] else f", which ddr was not tested with ({SCHEMA_HEAD})"
        )

    def model(self, name: str) -> transport.Model:
        with self._opened() as session:
            _check_model(session, name, self.where)
            key = (_WORKSPACE, name)
            aliases = session.ask(
                "SELECT alias, version FROM registered_model_aliases WHERE workspace = ? AND name = ?", key
            )
            tags = session.ask("SELECT key, value FROM registered_model_tags WHERE workspace = ? AND name = ?", key)
            stages = session.ask(
                "SELECT current_stage, MAX(version) FROM model_versions"
                " WHERE workspace = ? AND name = ? AND COALESCE(current_stage, '') <> ? GROUP BY current_stage",
                (*key, transport.DELETED_STAGE),
            )
            return transport.Model(
                name,
                {str(alias): str(number) for alias, number in aliases},
                {str(k): str(v) for k, v in tags},
                {str(stage or "None"): str(number) for stage, number in stages},
            )

    def versions(self, name: str, only: str = "") -> Sequence[transport.Version]:
        with self._opened() as session:
            _check_model(session, name, self.where)
            if only:
                _check_version(session, name, only)
            condition = "AND v.version = ?" if only else ""
            values = (_WORKSPACE, name, transport.DELETED_STAGE, *((int(only),) if only else ()))
            rows = session.ask(_VERSIONS.format(only=condition), values)
            return tuple(_version(session, name, row) for row in rows)

    def aliased(self, name: str, alias: str) -> transport.Version | None:
        del name, alias
        return None

    def files(self, version: transport.Version, *, recall: bool = False) -> transport.Files:
        del recall  # a disk is near
        place = self.places.place(version.location)
        if place is not None and place.kind != "local":
            scheme = urlsplit(version.location).scheme
            way = "say `artifacts`, or " if place.kind == "served" else ""
            return transport.Files(
                unread=f"files in {scheme}: are not read beside a database; {way}give the address of its server"
            )
        folder = self.places.on_disk(place.path) if place is not None else self.places.base / version.location
        if not folder.is_dir():
            raise Damaged(
                f"version {version.number} of {version.model} has no files: {folder} is not there",
                hint=self._moved_to(folder) or "restore them from a backup, or go back to another version",
            )
        try:
            entries = digest.tree(folder)
            kept = {name: (folder / name).read_bytes() for name in transport.KEPT if name in entries}
            return transport.Files(entries, kept)
        except OSError as problem:
            raise Unavailable(
                f"{folder} cannot be read: {redact.foreign(problem)}", hint="look at its rights"
            ) from problem

    def move(self, name: str, alias: str, expect: str, to: str) -> None:
        with self._opened() as session, session.transaction():
            _check_model(session, name, self.where)
            _check_version(session, name, to, lock=True)
            key = (_WORKSPACE, name, alias)
            same = "workspace = ? AND name = ? AND alias = ?"
            if expect.isdigit():
                moved = session.run(
                    f"UPDATE registered_model_aliases SET version = ? WHERE {same} AND version = ?",  # noqa: S608
                    (int(to), *key, int(expect)),
                )
                if moved:
                    return
            rows = session.ask(f"SELECT version FROM registered_model_aliases WHERE {same}", key)  # noqa: S608
            raise transport.moved(f"{name}@{alias}", expect, str(rows[0][0]) if rows else "nothing")

    def promote(self, name: str, stage: str, expect: str, to: str) -> None:
        """The model's own row is written first: whoever else promotes, MLflow too, waits there for the end."""
        with self._opened() as session, session.transaction():
            _check_model(session, name, self.where)
            key = (_WORKSPACE, name)
            same = "workspace = ? AND name = ?"
            now_ms = time.time_ns() // 1_000_000  # MLflow's servers write their own machine's time, too
            session.run(f"UPDATE registered_models SET last_updated_time = ? WHERE {same}", (now_ms, *key))  # noqa: S608
            _check_version(session, name, to, lock=True)
            query = f"SELECT MAX(version) FROM model_versions WHERE {same} AND current_stage = ?"  # noqa: S608
            found = session.ask(query, (*key, stage))[0][0]
            if found is None or str(found) != expect:
                raise transport.moved(f"stage {stage} of {name}", expect, "nothing" if found is None else str(found))
            put = f"UPDATE model_versions SET current_stage = ?, last_updated_time = ? WHERE {same} AND "  # noqa: S608
            values = (transport.ARCHIVED_STAGE, now_ms, *key, stage, int(to))
            session.run(put + "current_stage = ? AND version <> ?", values)
            session.run(put + "version = ?", (stage, now_ms, *key, int(to)))

    def run(self, identity: str) -> transport.Run:
        with self._opened() as session:
            tags = session.ask(
                "SELECT value FROM tags WHERE run_uuid = ? AND key = ?", (identity, transport.COMMIT_TAG)
            )
            sets = session.ask(
                "SELECT DISTINCT d.name, d.digest FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
                " WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id = ?",
                (identity,),
            )
        data = tuple(sorted(f"{name}@{digest_}" for name, digest_ in sets))
        return transport.Run(str(tags[0][0]) if tags else "", data)

    def tag(self, name: str, number: str, key: str, value: str | None) -> None:
        with self._opened() as session, session.transaction():
            _check_model(session, name, self.where)
            if number:
                _check_version(session, name, number, lock=True)
            table = "model_version_tags" if number else "registered_model_tags"
            row: dict[str, object] = {"workspace": _WORKSPACE, "name": name, "key": key}
            row |= {"version": int(number)} if number else {}
            same = " AND ".join(f"{column} = ?" for column in row)
            session.run(f"DELETE FROM {table} WHERE {same}", tuple(row.values()))  # noqa: S608
            if value is not None:
                row["value"] = value
                marks = ", ".join("?" * len(row))
                into = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})"  # noqa: S608
                session.run(into, tuple(row.values()))

    @contextmanager
    def _opened(self) -> Iterator[sessions.Session]:
        try:
            with self.database.opened() as session:
                yield session
        except sessions.NoSuch as problem:
            raise self._foreign(problem) from problem

    def _foreign(self, problem: sessions.NoSuch) -> DdrError:
        """What kind of database it is, when it is not the one that ddr knows."""
        with self.database.opened() as session:
            for table, needed in _NEEDED.items():
                lacking = needed - session.columns(table)
                if lacking == needed:
                    return InputError(
                        f"{self.where} is no MLflow database: it has no {table}", hint="correct `tracking`"
                    )
                if lacking:
                    return Unsupported(
                        f"{self.where}: {table} has no {', '.join(sorted(lacking))}: another MLflow than 3.17 made it",
                        hint="`mlflow db upgrade`, or give the address of its server",
                    )
        return problem

    def _moved_to(self, folder: Path) -> str:
        """Where the same tail of the path lies below `base`, when the folder was moved there."""
        parts = Path(os.path.normpath(folder)).parts[1:]
        for at in range(1, len(parts)):
            candidate = self.places.base.joinpath(*parts[at:])
            if candidate != folder and candidate.is_dir():
                return f"it seems to have been moved to {candidate}; MLflow looks in the old place too: move it back"
        return ""


def _check_model(session: sessions.Session, name: str, where: str) -> None:
    query = "SELECT name FROM registered_models WHERE workspace = ?"
    names = [str(known) for (known,) in session.ask(query, (_WORKSPACE,))]
    if name not in names:
        raise Missing(
            f"{where} has no registered model {name!r}", hint=f"there is: {', '.join(sorted(names)[:8]) or 'none'}"
        )


def _check_version(session: sessions.Session, name: str, number: str, *, lock: bool = False) -> None:
    query = "SELECT version FROM model_versions WHERE workspace = ? AND name = ? AND COALESCE(current_stage, '') <> ?"
    query += session.lock if lock else ""
    known = [str(found) for (found,) in session.ask(query, (_WORKSPACE, name, transport.DELETED_STAGE))]
    if number not in known:
        raise Missing(
            f"{name} has no version {number!r} (any more)", hint=f"there is: {', '.join(known[-8:]) or 'none'}"
        )


def _version(session: sessions.Session, name: str, row: tuple[object, ...]) -> transport.Version:
    number, created, source, stored, logged, run, status, stage, user = row
    own = str(stored or source or "")
    tags = session.ask(
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
