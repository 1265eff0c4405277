"""SQLite files that belong to somebody else: never created, waited for when locked, errors as ours."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ddr.errors import Away, Damaged, DdrError, InputError, Missing, Refused, Unavailable
from ddr.lib import openfiles, redact

BUSY_TIMEOUT_S = 5.0
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class NoSuch(Missing):
    """A statement named a table or a column that the file does not have."""


@contextmanager
def opened(path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Iterator[sqlite3.Connection]:
    """A connection without implicit transactions. What sqlite3 raises inside the block is translated.

    Opened for writing even to read: what a crashed writer left behind must be rolled back before anyone reads.
    Away: no file. NoSuch: no such table or column. Unavailable: locked, disk full. Damaged: not a SQLite file.
    """
    if not path.is_file():
        raise Away(f"there is no file {path}", hint="look at the path in ddr.yaml; nothing was created")
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=busy_timeout_s, isolation_level=None
        )
        try:
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as problem:
        raise _ours(problem, path, busy_timeout_s) from problem


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A write transaction from its first moment: what is read inside stays true until the end."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def columns(connection: sqlite3.Connection, table: str) -> tuple[tuple[str, str], ...]:
    """Names and declared types; nothing when there is no such table."""
    rows = connection.execute("SELECT name, type FROM pragma_table_info(?)", (table,)).fetchall()
    return tuple((str(name), str(kind)) for name, kind in rows)


def path_of(url: str, base: Path) -> Path:
    """`sqlite:///relative/to/base` or `sqlite:////absolute`. InputError when it names no file."""
    scheme, _, rest = url.partition(":///")
    path = rest.partition("?")[0]
    if scheme.partition("+")[0] != "sqlite" or not path or path == ":memory:":
        raise InputError(f"{redact.foreign(url)} names no file", hint="write it like sqlite:///mlflow/mlflow.db")
    return base / path


def quoted(name: str) -> str:
    """A name as SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


_WAL = b"\2\2"
"""Bytes 18 and 19 of a database in WAL mode (SQLite, "Database File Format", 1.3.3)."""


def _needs_its_folder(path: Path, code: int) -> bool:
    """Whether it is the folder that keeps the file from being read. Reading it as immutable would be no way out:
    a writer that is not seen from here (another container, another mount) may be at work, and rows in its log be
    missed."""
    if code not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return False
    try:
        with path.open("rb") as file:
            is_wal = file.read(20)[18:20] == _WAL
    except OSError:
        return False
    return is_wal and not os.access(path.absolute().parent, os.W_OK, effective_ids=True)


def _ours(problem: sqlite3.Error, path: Path, busy_timeout_s: float) -> DdrError:
    text = redact.foreign(problem)
    code = (getattr(problem, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR) & 0xFF
    if code in _LOCKED:
        who = openfiles.holders(path) or "another process"
        return Unavailable(
            f"{path} is locked for more than {busy_timeout_s:g} s by {who}",
            hint="wait for its transaction to end, or end that process, then try again",
        )
    if code in _BROKEN:
        return Damaged(f"{path} is no SQLite file, or is broken: {text}", hint="restore it, or correct the path")
    if _needs_its_folder(path, code):
        return Refused(
            f"{path} is in WAL mode, and its folder may not be written: who reads it, too, makes {path.name}-wal and "
            f"{path.name}-shm beside it",
            hint=f"give this user the right to write in {path.absolute().parent}; under systemd name it in "
            "ReadWritePaths= (`ddr backup schedule --systemd` does)",
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return Refused(f"{path} may not be written: {text}", hint="run as a user who may write the file and its folder")
    if text.startswith("no such "):
        return NoSuch(f"{path}: {text}", hint="look at the names in ddr.yaml and at the schema of the file")
    return Unavailable(f"{path}: {text}", hint="look at the disk and the file's rights, then try again")
