"""Rows on this machine's disk while they are gathered: they come in any order and in many threads, and go out sorted.

So memory stays small however large the server is, two looks at one server give the same rows in the same order, and
what belongs together can be checked by a query.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ddr.connectors.mlflow.over_rest import shapes
from ddr.errors import Unavailable
from ddr.lib import redact, rowbatch, sqlitefile
from ddr.ports import restorable

_PIECE_ROWS = 500


class Spool:
    """A table of each shape. NaN is NULL inside, as SQLite has none; columns of floats have no NULL of their own."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("PRAGMA synchronous = OFF")
        for shape in shapes.ALL.values():
            columns = ", ".join(map(sqlitefile.quoted, shape.names))
            key = ", ".join(map(sqlitefile.quoted, shape.key))
            table = sqlitefile.quoted(shape.name)
            self._connection.execute(f"CREATE TABLE {table} ({columns})")
            self._connection.execute(f"CREATE UNIQUE INDEX {shape.name}_key ON {table} ({key})")

        self._connection.execute("CREATE TEMPORARY TABLE picked (value PRIMARY KEY)")

    def pick(self, values: Iterable[rowbatch.Cell]) -> None:
        """Into the table `picked`, for a query that follows."""
        with self._lock, _translated():
            self._connection.execute("DELETE FROM picked")
            self._connection.executemany("INSERT OR IGNORE INTO picked VALUES (?)", ((one,) for one in values))

    def close(self) -> None:
        self._connection.close()

    def add(self, table: str, rows: Iterable[shapes.Row]) -> None:
        """A row with a key that is there already takes its place."""
        marks = ", ".join("?" * len(shapes.ALL[table].columns))
        with self._lock, _translated():
            self._connection.execute("BEGIN")
            query = f"INSERT OR REPLACE INTO {sqlitefile.quoted(table)} VALUES ({marks})"  # noqa: S608
            self._connection.executemany(query, rows)
            self._connection.execute("COMMIT")

    def ask(self, query: str, values: Sequence[rowbatch.Cell] = ()) -> list[tuple[Any, ...]]:
        with self._lock, _translated():
            return self._connection.execute(query, tuple(values)).fetchall()

    def count(self, table: str) -> int:
        return int(str(self.ask(f"SELECT COUNT(*) FROM {sqlitefile.quoted(table)}")[0][0]))  # noqa: S608

    def keys(self, table: str) -> set[rowbatch.Cell]:
        """The first column of the key, of every row."""
        first = sqlitefile.quoted(shapes.ALL[table].key[0])
        return {row[0] for row in self.ask(f"SELECT DISTINCT {first} FROM {sqlitefile.quoted(table)}")}  # noqa: S608

    def pieces(self, table: str, where: str = "") -> Iterator[list[shapes.Row]]:
        """All rows by their key, in pieces; NaN is NaN again."""
        shape = shapes.ALL[table]
        floats = [at for at, column in enumerate(shape.columns) if column.family == "float"]
        order = ", ".join(map(sqlitefile.quoted, shape.key))
        query = f"SELECT * FROM {sqlitefile.quoted(table)} {where} ORDER BY {order}"  # noqa: S608
        cursor = self._connection.cursor()
        with self._lock:
            cursor.execute(query)
        while True:
            with self._lock:
                found = cursor.fetchmany(_PIECE_ROWS)
            if not found:
                return
            for at in floats:
                found = [(*row[:at], float("nan"), *row[at + 1 :]) if row[at] is None else row for row in found]
            yield found

    def batches(self, table: str) -> Iterator[rowbatch.Batch]:
        return batches(table, self.pieces(table))


def batches(table: str, pieces: Iterable[Sequence[shapes.Row]]) -> Iterator[rowbatch.Batch]:
    builder = rowbatch.Builder([(column.name, column.family) for column in shapes.ALL[table].columns])
    return builder.batches(_plain(table, pieces))


def _plain(table: str, pieces: Iterable[Sequence[shapes.Row]]) -> Iterator[Sequence[shapes.Row]]:
    """SQLite keeps a bool as a number."""
    bools = [at for at, column in enumerate(shapes.ALL[table].columns) if column.family == "bool"]
    for rows in pieces:
        for at in bools:
            rows = [(*row[:at], None if row[at] is None else bool(row[at]), *row[at + 1 :]) for row in rows]
        yield rows


def load(into: Spool, source: restorable.Source, tables: Iterable[str]) -> None:
    """Tables of a snapshot."""
    for table in tables:
        if source.component.table(table) is None:
            continue
        for batch in source.rows(table):
            into.add(table, batch.select(shapes.ALL[table].names).rows())


@contextlib.contextmanager
def opened() -> Iterator[Spool]:
    """A new one, gone afterwards. Unavailable where this machine has no room for it."""
    with tempfile.TemporaryDirectory(prefix="ddr-mlflow-") as folder:
        with _translated():
            made = Spool(Path(folder) / "rows.db")
        try:
            yield made
        finally:
            made.close()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as problem:
        raise Unavailable(
            f"rows cannot be kept in the temporary folder: {redact.foreign(problem)}",
            hint="look at its disk, or name another folder in $TMPDIR",
        ) from problem
