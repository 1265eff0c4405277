"""A few statements to MLflow's database, the same words to SQLite and to PostgreSQL: `?` is a value in both."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ddr.connectors.tables import readers
from ddr.errors import Missing
from ddr.lib import redact, sqlitefile

Values = Sequence[object]


class NoSuch(Missing):
    """A statement named a table or a column that the database does not have."""


class Session(Protocol):
    """One connection."""

    @property
    def lock(self) -> str:
        """What a SELECT ends with, so that its row stays as it is until the end of the transaction."""
        ...

    def ask(self, query: str, values: Values = ()) -> list[tuple[Any, ...]]: ...

    def run(self, statement: str, values: Values) -> int:
        """How many rows it touched."""
        ...

    def columns(self, table: str) -> set[str]:
        """Nothing when there is no such table."""
        ...

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """For writing: what is read with `lock` inside stays true until the end."""
        ...


class Opener(Protocol):
    @property
    def where(self) -> str:
        """For people."""
        ...

    def opened(self) -> contextlib.AbstractContextManager[Session]:
        """Raises NoSuch, Unavailable, Damaged; Missing when the file is not there."""
        ...


@dataclass(frozen=True)
class SqliteOpener:
    path: Path
    busy_timeout_s: float

    @property
    def where(self) -> str:
        return str(self.path)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Session]:
        try:
            with sqlitefile.opened(self.path, busy_timeout_s=self.busy_timeout_s) as connection:
                yield _Sqlite(connection)
        except sqlitefile.NoSuch as problem:
            raise NoSuch(problem.message, hint=problem.hint) from problem


@dataclass(frozen=True)
class _Sqlite:
    connection: sqlite3.Connection
    lock: str = ""

    def ask(self, query: str, values: Values = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, tuple(values)).fetchall()

    def run(self, statement: str, values: Values) -> int:
        return self.connection.execute(statement, tuple(values)).rowcount

    def columns(self, table: str) -> set[str]:
        return {name for name, _ in sqlitefile.columns(self.connection, table)}

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        return sqlitefile.transaction(self.connection)


@dataclass(frozen=True)
class PostgresOpener:
    """`timeout_s` is for connecting, for a lock, and for each statement."""

    url: str
    timeout_s: float

    @property
    def where(self) -> str:
        return redact.foreign(self.url)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Session]:
        limit_ms = max(1, int(self.timeout_s * 1000))
        options = {"connect_timeout": max(2, round(self.timeout_s)), "autocommit": True}
        with readers.postgres_connection(self.url, **options) as connection:
            import psycopg

            try:
                with readers.translated():
                    for name in ("statement_timeout", "lock_timeout"):
                        connection.execute(f"SET {name} = {limit_ms}")
                    try:
                        yield _Postgres(connection)
                    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as problem:
                        raise NoSuch(f"{self.where}: {redact.foreign(problem)}", hint="correct `tracking`") from problem
            finally:
                connection.close()


@dataclass(frozen=True)
class _Postgres:
    connection: Any
    lock: str = " FOR SHARE"

    def ask(self, query: str, values: Values = ()) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.connection.execute(query.replace("?", "%s"), tuple(values)).fetchall()
        return found

    def run(self, statement: str, values: Values) -> int:
        return int(self.connection.execute(statement.replace("?", "%s"), tuple(values)).rowcount)

    def columns(self, table: str) -> set[str]:
        query = "SELECT column_name FROM information_schema.columns WHERE table_name = ?"
        return {str(name) for (name,) in self.ask(query, (table,))}

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        with self.connection.transaction():
            yield
