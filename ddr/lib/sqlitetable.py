"""One table of a SQLite file as batches of rows, and others put in the place of all of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ddr.errors import Conflict
from ddr.lib import rowbatch, rowdigest, sqlitefile

_PIECE = 512
_CACHE_KIB = 64 * 1024  # so that the pages of an index stay while it is filled

Columns = Sequence[tuple[str, str]]
"""(name, family) of each."""


def batches(connection: sqlite3.Connection, table: str, columns: Columns) -> Iterator[rowbatch.Batch]:
    names = ", ".join(sqlitefile.quoted(name) for name, _ in columns)
    cursor = connection.execute(f"SELECT {names} FROM {sqlitefile.quoted(table)}")  # noqa: S608
    return rowbatch.Builder(columns).batches(iter(lambda: cursor.fetchmany(_PIECE), []))


@dataclass(frozen=True)
class Look:
    """What all rows came to, and how to tell that nobody wrote since: `version` moves with a commit of anybody else,
    `own` with what this connection changed. Both belong to one connection."""

    digest: str
    version: int
    own: int


def began(connection: sqlite3.Connection) -> Look:
    """To be asked for before the rows are read."""
    return Look("", _version(connection), connection.total_changes)


def _version(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("PRAGMA data_version").fetchone()
    return int(found)


def exchange(
    connection: sqlite3.Connection,
    table: str,
    columns: Columns,
    compared: Sequence[str],
    rows: Callable[[], Iterable[rowbatch.Batch]],
    *,
    expected: str,
    wanted: str,
    look: Look | None = None,
) -> None:
    """In one transaction: all rows go and `rows` come, where those there have the digest `expected`.

    With the digest `wanted` it is done already. Conflict else; nobody writes between the look and the end. They are
    read for that, unless a `look` of this connection is still true.
    """
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    with sqlitefile.transaction(connection):
        if look is not None and (look.version, look.own) == (_version(connection), connection.total_changes):
            live = look.digest
        else:
            live = rowdigest.of_batches(batch.select(compared) for batch in batches(connection, table, columns))
        if live == wanted:
            return
        if live != expected:
            raise Conflict(
                f"{table}: somebody wrote values since the look; nothing was changed",
                expected=expected,
                found=live,
                hint="look again, then plan again",
            )
        _refill(connection, table, {name for name, _ in columns}, rows())


def _refill(connection: sqlite3.Connection, table: str, there: set[str], rows: Iterable[rowbatch.Batch]) -> None:
    """Without its own indexes meanwhile: to make them again at once costs less."""
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL", (table,)
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {sqlitefile.quoted(name)}")
    connection.execute(f"DELETE FROM {sqlitefile.quoted(table)}")  # noqa: S608
    for batch in rows:
        names = [name for name in batch.names if name in there]
        into, holes = ", ".join(map(sqlitefile.quoted, names)), ", ".join("?" * len(names))
        connection.executemany(
            f"INSERT INTO {sqlitefile.quoted(table)} ({into}) VALUES ({holes})",  # noqa: S608
            batch.select(names).rows(),
        )
    for _, sql in indexes:
        connection.execute(sql)
