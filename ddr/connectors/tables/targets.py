"""Databases that rows are written into, in bulk and in one transaction: SQLite and PostgreSQL; MySQL has its file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ddr.connectors.tables import readers, reflect
from ddr.domain import snapshots
from ddr.errors import Conflict, Refused
from ddr.lib import redact, rowbatch, sqlitefile

STAGE = "ddr_stage"


class Target(Protocol):
    """One open transaction; it is the caller's to commit. Raises Conflict where a constraint forbids the rows."""

    @property
    def dialect(self) -> str: ...

    @property
    def shapes(self) -> Sequence[reflect.Shape]: ...

    def ask(self, query: str) -> list[readers.Row]: ...

    def run(self, statement: str) -> int:
        """How many rows it touched."""
        ...

    def insert(self, table: str, columns: Sequence[snapshots.Column], batch: rowbatch.Batch) -> None: ...

    def advance(self) -> None:
        """Sequences go on after the highest number that is there."""
        ...

    def empty(self, tables: Sequence[str]) -> None:
        """All rows of these go; they are named parents first."""
        ...

    def differ(self, shape: reflect.Shape, column: str) -> str:
        """That a column is not the same in s and in t, NULLs included."""
        ...

    def update(self, table: str, sets: Sequence[str], same: str, differ: str) -> None:
        """Rows of the table that are the `same` as a staged one and `differ` from it get these columns of it."""
        ...

    def reader(self) -> readers.Reader:
        """What is there now, inside of the transaction."""
        ...


@dataclass(frozen=True)
class SqliteTarget:
    connection: sqlite3.Connection
    shapes: Sequence[reflect.Shape]
    dialect: str = "sqlite"

    def ask(self, query: str) -> list[readers.Row]:
        return self.connection.execute(query).fetchall()

    def run(self, statement: str) -> int:
        with _sqlite_conflicts():
            return self.connection.execute(statement).rowcount

    def insert(self, table: str, columns: Sequence[snapshots.Column], batch: rowbatch.Batch) -> None:
        names = ", ".join(sqlitefile.quoted(column.name) for column in columns)
        into = f"INSERT INTO {sqlitefile.quoted(table)} ({names}) VALUES"
        with _sqlite_conflicts():
            if _is_unicode(batch):
                marks = ", ".join("?" * len(columns))
                self.connection.executemany(f"{into} ({marks})", batch.rows())
                return
            for row in batch.rows():  # text that was no UTF-8 goes in as its bytes, and is made text there
                marks = ", ".join("CAST(? AS TEXT)" if isinstance(cell, str) else "?" for cell in row)
                cells = [cell.encode("utf-8", "surrogateescape") if isinstance(cell, str) else cell for cell in row]
                self.connection.execute(f"{into} ({marks})", cells)

    def advance(self) -> None:
        """SQLite takes the highest number plus one by itself."""

    def empty(self, tables: Sequence[str]) -> None:
        for table in reversed(tables):
            self.run(f"DELETE FROM {sqlitefile.quoted(table)}")  # noqa: S608

    def differ(self, shape: reflect.Shape, column: str) -> str:
        del shape
        return f"s.{sqlitefile.quoted(column)} IS NOT t.{sqlitefile.quoted(column)}"

    def update(self, table: str, sets: Sequence[str], same: str, differ: str) -> None:
        self.run(_update(table, sets, same, differ))

    def reader(self) -> readers.Reader:
        return readers.Sqlite(self.connection, self.shapes)


def _update(table: str, sets: Sequence[str], same: str, differ: str) -> str:
    assigned = ", ".join(f"{name} = s.{name}" for name in map(sqlitefile.quoted, sets))
    into = f"UPDATE {sqlitefile.quoted(table)} AS t SET {assigned} FROM {STAGE} s"  # noqa: S608
    return f"{into} WHERE {same} AND ({differ})"


def _is_unicode(batch: rowbatch.Batch) -> bool:
    try:
        "".join(text for text in batch.texts() if isinstance(text, str)).encode()
    except UnicodeEncodeError:
        return False
    return True


@contextlib.contextmanager
def _sqlite_conflicts() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as problem:
        raise _taken(problem) from problem


def _taken(problem: Exception) -> Conflict:
    return Conflict(
        f"the target has something that these rows collide with: {redact.foreign(problem)}",
        hint="nothing was changed; rename it there, restore into an empty place, or use --policy update",
    )


@contextlib.contextmanager
def sqlite_file(path: Path, *, is_new: bool) -> Iterator[SqliteTarget]:
    """One write transaction; nothing of it stays unless the block ends well. A new file is written without syncs."""
    with sqlitefile.opened(path) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")  # checked as a whole at the end
        if is_new:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA cache_size = -65536")
        with sqlitefile.transaction(connection):
            yield SqliteTarget(connection, sqlite_shapes(path))


def sqlite_shapes(path: Path) -> Sequence[reflect.Shape]:
    with readers.sqlite_copy(path) as reader:
        return reader.shapes


@dataclass(frozen=True)
class PostgresTarget:
    connection: Any
    shapes: Sequence[reflect.Shape]
    dialect: str = "postgresql"

    def ask(self, query: str) -> list[readers.Row]:
        with _postgres_conflicts():
            found: list[readers.Row] = self.connection.execute(query).fetchall()
            return found

    def run(self, statement: str) -> int:
        with _postgres_conflicts():
            return int(self.connection.execute(statement).rowcount)

    def insert(self, table: str, columns: Sequence[snapshots.Column], batch: rowbatch.Batch) -> None:
        names = ", ".join(sqlitefile.quoted(column.name) for column in columns)
        statement = f"COPY {sqlitefile.quoted(table)} ({names}) FROM STDIN"
        with _postgres_conflicts(), self.connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(_copy_text(table, batch))

    def advance(self) -> None:
        for shape in self.shapes:
            for column in shape.key:
                table = sqlitefile.quoted(shape.name).replace("'", "''")
                found = self.ask(f"SELECT pg_get_serial_sequence('{table}', '{column}')")[0][0]
                if isinstance(found, str):
                    name = sqlitefile.quoted(column)
                    self.ask(
                        f"SELECT setval('{found}', COALESCE(MAX({name}), 0) + 1, false) "  # noqa: S608
                        f"FROM {sqlitefile.quoted(shape.name)} HAVING COALESCE(MAX({name}), 0) >= 0"
                    )

    def empty(self, tables: Sequence[str]) -> None:
        if tables:
            self.run(f"TRUNCATE {', '.join(map(sqlitefile.quoted, tables))}")

    def differ(self, shape: reflect.Shape, column: str) -> str:
        as_text = "::text" if column in shape.cast else ""  # json has no equality
        name = sqlitefile.quoted(column)
        return f"s.{name}{as_text} IS DISTINCT FROM t.{name}{as_text}"

    def update(self, table: str, sets: Sequence[str], same: str, differ: str) -> None:
        self.run(_update(table, sets, same, differ))

    def reader(self) -> readers.Reader:
        return readers.Postgres(self.connection, self.shapes)


@contextlib.contextmanager
def _postgres_conflicts() -> Iterator[None]:
    import psycopg

    with readers.translated():
        try:
            yield
        except psycopg.IntegrityError as problem:
            raise _taken(problem) from problem
        except psycopg.DataError as problem:
            raise Refused(
                f"PostgreSQL does not take a value of the snapshot: {redact.foreign(problem)}",
                hint="SQLite keeps texts of any length; shorten it in the source, or restore into SQLite",
            ) from problem


@contextlib.contextmanager
def postgres(url: str) -> Iterator[PostgresTarget]:
    """One transaction; nothing of it stays unless the block ends well."""
    with readers.postgres(url) as reader:
        shapes = reader.shapes
    with readers.postgres_connection(url) as connection:
        yield PostgresTarget(connection, shapes)
        with readers.translated():
            connection.commit()


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _copy_text(table: str, batch: rowbatch.Batch) -> bytes:
    """COPY's text format, column by column: each distinct text is escaped once. Doubles keep every digit."""
    columns = []
    for column in batch.columns:
        cells = column.cells()
        if column.odd:
            row, value = next(iter(column.odd.items()))
            raise Refused(
                f"{table}.{column.name} has {type(value).__name__} where PostgreSQL takes {column.family} only",
                hint=f"row {row + 1} of a batch: correct it in the source, or restore into SQLite",
            )
        if column.family == "text":
            known = {text: text.translate(_ESCAPES) for text in column.texts() if isinstance(text, str)}
            columns.append([known[cell] if isinstance(cell, str) else "\\N" for cell in cells])
        elif column.family == "bytes":
            columns.append(["\\\\x" + cell.hex() if isinstance(cell, bytes) else "\\N" for cell in cells])
        elif column.family == "bool":
            columns.append(["\\N" if cell is None else "t" if cell else "f" for cell in cells])
        elif column.absent is None:
            columns.append(list(map(repr, cells)))
        else:
            columns.append(["\\N" if cell is None else repr(cell) for cell in cells])
    lines = "\n".join(map("\t".join, zip(*columns, strict=True)))
    try:
        content = (lines + "\n").encode() if batch.size else b""
    except UnicodeEncodeError:
        raise Refused(f"{table} has text that is no UTF-8", hint="PostgreSQL cannot hold it; correct the source") from (
            None
        )
    if b"\0" in content:
        raise Refused(f"{table} has text with a NUL character", hint="PostgreSQL cannot hold it; correct the source")
    return content
