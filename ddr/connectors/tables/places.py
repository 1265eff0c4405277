"""Where a database is, and the ways to open it: to read, to look at what a restore would do, to write."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ddr.connectors.tables import mysql, readers, targets
from ddr.errors import InputError
from ddr.lib import redact, sqlitefile

_SQLITE_ENDINGS = (".db", ".sqlite", ".sqlite3")
_POSTGRES = ("postgresql", "postgres")


@dataclass(frozen=True)
class Place:
    """`path` is the file of a SQLite database, None for a server."""

    url: str
    path: Path | None
    dialect: Literal["sqlite", "postgresql", "mysql"]
    busy_timeout_s: float = sqlitefile.BUSY_TIMEOUT_S

    @property
    def label(self) -> str:
        return redact.foreign(self.url) if self.path is None else str(self.path)

    @property
    def sqlalchemy_url(self) -> str:
        if self.path is not None:
            return f"sqlite:///{self.path.absolute()}"
        if self.dialect == "mysql":
            return mysql.sqlalchemy_url(self.url)
        return self.url.replace("postgresql://", "postgresql+psycopg://", 1)

    @contextlib.contextmanager
    def opened(self) -> Iterator[readers.Reader]:
        """Everything read inside is from one moment."""
        if self.path is not None:
            with readers.sqlite(self.path, self.busy_timeout_s) as copy:
                yield copy
        elif self.dialect == "mysql":
            with mysql.reading(self.url) as snapshot:
                yield snapshot
        else:
            with readers.postgres(self.url) as transaction:
                yield transaction

    @contextlib.contextmanager
    def looked_at(self) -> Iterator[targets.Target]:
        """To stage rows and to count: on a copy of the file, in a transaction that is taken back."""
        with contextlib.suppress(_Undo):
            if self.path is not None:
                with readers.copied(self.path) as copy, targets.sqlite_file(copy, is_new=True) as file:
                    yield file
            else:
                with self.written_to() as server:
                    yield server
                    raise _Undo

    @contextlib.contextmanager
    def written_to(self) -> Iterator[targets.Target]:
        """One transaction; nothing of it stays unless the block ends well."""
        if self.path is not None:
            with targets.sqlite_file(self.path, is_new=False) as file:
                yield file
        elif self.dialect == "mysql":
            with mysql.writing(self.url) as other:
                yield other
        else:
            with targets.postgres(self.url) as server:
                yield server


class _Undo(Exception):
    """Ends a transaction that was for looking only."""


def place(said: str, base: Path, busy_timeout_s: float = sqlitefile.BUSY_TIMEOUT_S) -> Place:
    """InputError for what ddr has no way into."""
    scheme = said.partition(":")[0].partition("+")[0]
    if scheme in _POSTGRES:
        return Place(readers.postgres_url(said), None, "postgresql")
    if scheme in mysql.SCHEMES and "://" in said:
        return Place(said, None, "mysql")
    if scheme == "sqlite":
        return Place(said, sqlitefile.path_of(said, base), "sqlite", busy_timeout_s)
    if said.endswith(_SQLITE_ENDINGS) and "://" not in said:
        return Place(f"sqlite:///{said}", base / said, "sqlite", busy_timeout_s)
    raise InputError(
        f"{redact.foreign(said)} is no database that ddr reads and writes",
        hint="sqlite:///new.db, or the postgresql:// or mysql:// address of an empty database",
    )
