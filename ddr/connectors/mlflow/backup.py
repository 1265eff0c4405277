"""One consistent picture of MLflow into a sink: rows first, then the files that the rows name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ddr.connectors.mlflow import artifacts, bucket, locations, schema
from ddr.connectors.tables import dump, places, readers
from ddr.errors import Refused, Unsupported
from ddr.lib import sqlitefile
from ddr.ports import restorable

USERS, USERS_REVISIONS = "auth.", "alembic_version_auth"


@dataclass(frozen=True)
class Database:
    """`tracking` as in ddr.yaml; `base` is where relative paths begin; `served` is the server's artifacts folder;
    `auth` is the database of users and permissions, where the server has one."""

    tracking: str
    base: Path
    served: str = ""
    s3_endpoint: str = ""
    busy_timeout_s: float = sqlitefile.BUSY_TIMEOUT_S
    auth: str = ""

    @property
    def where(self) -> locations.Map:
        return locations.Map(self.base, self.served)

    @cached_property
    def place(self) -> places.Place:
        """Unsupported for a server that is spoken to over REST."""
        if self.tracking.startswith(("http://", "https://")):
            raise Unsupported(
                "the database behind an MLflow server cannot be read over REST without losing ids and times",
                hint="add a connector with the server's --backend-store-uri as `tracking` and back that up",
            )
        return places.place(self.tracking, self.base, self.busy_timeout_s)

    @cached_property
    def users(self) -> places.Place | None:
        """None where there is none, or where it lies among the tables of MLflow itself."""
        if not self.auth:
            return None
        users = places.place(self.auth, self.base, self.busy_timeout_s)
        return None if users == self.place else users

    @contextlib.contextmanager
    def opened(self) -> Iterator[readers.Reader]:
        """Everything read inside is from one moment."""
        with self.place.opened() as reader:
            yield reader


def capture(
    database: Database, sink: restorable.Sink, find_bucket: Callable[[], artifacts.Bucket] | None = None
) -> None:
    """Raises as `Capturable.capture` says."""
    with database.opened() as reader:
        if not readers.revisions(reader, schema.REVISIONS):
            raise Refused(
                "this is no MLflow database: it has no alembic revision",
                hint="look at `tracking`; a database of MLflow before 1.0 needs `mlflow db upgrade` first",
            )
        dump.capture(reader, sink, reader.shapes, versions=schema.REVISIONS)
        if database.users is not None:
            _capture_users(database.users, sink)
        uris = set(locations.named(reader))
        needs_s3 = any(place and place.kind == "s3" for place in map(database.where.place, uris))
        found = None
        if needs_s3:
            found = find_bucket() if find_bucket else bucket.connect(database.s3_endpoint)
        artifacts.capture(reader, database.where, found, sink)


def _capture_users(place: places.Place, sink: restorable.Sink) -> None:
    """Users without their passwords, roles, permissions."""
    with place.opened() as reader:
        if readers.shape_of(reader, "users") is None:
            raise Refused(
                f"{place.label} is no database of MLflow's users: it has no table users", hint="look at `auth`"
            )
        versions = USERS_REVISIONS if readers.revisions(reader, USERS_REVISIONS) else ""  # none before MLflow 3.6
        dump.capture(reader, sink, reader.shapes, versions=versions, prefix=USERS)
        sink.fact("users", str(reader.ask("SELECT COUNT(*) FROM users")[0][0]))
