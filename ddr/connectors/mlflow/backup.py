"""One consistent picture of MLflow into a sink: rows first, then the files that the rows name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ddr.connectors.mlflow import artifacts, bucket, dump, locations, sql
from ddr.connectors.tables import readers
from ddr.errors import Unsupported
from ddr.lib import sqlitefile
from ddr.ports import restorable


@dataclass(frozen=True)
class Database:
    """`tracking` as in ddr.yaml; `base` is where relative paths begin; `served` is the server's artifacts folder."""

    tracking: str
    base: Path
    served: str = ""
    s3_endpoint: str = ""
    busy_timeout_s: float = sqlitefile.BUSY_TIMEOUT_S

    @property
    def is_sqlite(self) -> bool:
        return self.tracking.startswith("sqlite:")

    @property
    def is_postgres(self) -> bool:
        return self.tracking.startswith(("postgresql:", "postgresql+", "postgres:"))

    @property
    def where(self) -> locations.Map:
        return locations.Map(self.base, self.served)

    @contextlib.contextmanager
    def opened(self) -> Iterator[readers.Reader]:
        """Everything read inside is from one moment."""
        if self.is_sqlite:
            with readers.sqlite(sql.path_of(self.tracking, self.base), self.busy_timeout_s) as copy:
                yield copy
        elif self.is_postgres:
            with readers.postgres(self.tracking) as transaction:
                yield transaction
        elif self.tracking.startswith(("http://", "https://")):
            raise Unsupported(
                "the database behind an MLflow server cannot be read over REST without losing ids and times",
                hint="add a connector with the server's --backend-store-uri as `tracking` and back that up",
            )
        else:
            with readers.other(self.tracking) as transaction:
                yield transaction


def capture(
    database: Database, sink: restorable.Sink, find_bucket: Callable[[], artifacts.Bucket] | None = None
) -> None:
    """Raises as `Capturable.capture` says."""
    with database.opened() as reader:
        dump.tables(reader, sink)
        uris = set(locations.named(reader))
        needs_s3 = any(place and place.kind == "s3" for place in map(database.where.place, uris))
        found = None
        if needs_s3:
            found = find_bucket() if find_bucket else bucket.connect(database.s3_endpoint)
        artifacts.capture(reader, database.where, found, sink)
