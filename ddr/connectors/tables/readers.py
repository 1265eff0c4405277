"""Databases opened for one consistent look: every question gets its answer from the same moment."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ddr.connectors.tables import reflect
from ddr.errors import Damaged, DdrError, InputError, Unavailable, Unsupported
from ddr.lib import redact, rowbatch, sqlitefile

Row = tuple[rowbatch.Cell, ...]
PIECE = 500  # rows of a fetch: they stay in the processor's cache while they are turned into columns
FIRST = 16
_PIECE_BYTES = 2**20  # of a fetch at most, as far as its first rows tell: rows may be long
_ONE_PASS_BYTES = 512 * 2**20  # a copy in one pass holds writers up for as long as it takes: a third of a second
_STEP_PAGES = 16384
_RESTARTS = 3
_TEXT_WANTED = ("password_hash",)  # or MLflow fails at each login in place of refusing it


class Reader(Protocol):
    """Every method may raise Unavailable and Damaged."""

    @property
    def dialect(self) -> str: ...

    @property
    def shapes(self) -> Sequence[reflect.Shape]:
        """Parents before children."""
        ...

    def ask(self, query: str) -> list[Row]:
        """A small answer in one piece."""
        ...

    def pieces(self, shape: reflect.Shape) -> Iterator[Sequence[Row]]:
        """All rows in their natural order, secret columns without their values."""
        ...

    def ddl(self) -> bytes:
        """The statements that make the tables, where the dialect keeps them; b'' elsewhere."""
        ...


def shape_of(reader: Reader, table: str) -> reflect.Shape | None:
    return next((shape for shape in reader.shapes if shape.name == table), None)


def revisions(reader: Reader, versions: str) -> Sequence[str]:
    """The alembic revisions in the table `versions`; none when it is not there."""
    if shape_of(reader, versions) is None:
        return ()
    return sorted(str(row[0]) for row in reader.ask(f"SELECT version_num FROM {versions}"))  # noqa: S608


def selected(shape: reflect.Shape, dialect: str) -> str:
    """The list of columns to read: casts where the dialect needs them, literals in place of secrets."""
    expressions = []
    for column in shape.columns:
        name = sqlitefile.quoted(column.name)
        if (shape.name, column.name) in reflect.SECRETS:
            hexed = reflect.PLACEHOLDER.encode().hex()
            literal = f"'{reflect.PLACEHOLDER}'"
            if column.family == "bytes":
                literal = f"'\\x{hexed}'::bytea" if dialect == "postgresql" else f"x'{hexed}'"
            is_said = column.name in shape.not_null or column.name in _TEXT_WANTED
            expressions.append(literal if is_said else "NULL")
        elif column.name in shape.cast and dialect == "postgresql":
            expressions.append(f"{name}::text")
        elif column.name in shape.cast and dialect != "sqlite":
            expressions.append(f"CAST({name} AS CHAR)")
        elif column.family == "float" and dialect == "mysql":
            expressions.append(f"{name} * 1e0")  # or of a FLOAT it shows six digits
        else:
            expressions.append(name)
    return ", ".join(expressions)


@dataclass(frozen=True)
class Sqlite:
    """A copy of the file that nobody else knows."""

    connection: sqlite3.Connection
    shapes: Sequence[reflect.Shape]
    dialect: str = "sqlite"

    def ask(self, query: str) -> list[Row]:
        return self.connection.execute(query).fetchall()

    def pieces(self, shape: reflect.Shape) -> Iterator[Sequence[Row]]:
        table = sqlitefile.quoted(shape.name)
        # Without the order SQLite may read an index that has all columns, and then in that index's order.
        order = "" if self._is_without_rowid(shape.name) else " ORDER BY rowid"
        query = f"SELECT {selected(shape, self.dialect)} FROM {table}{order}"  # noqa: S608
        loose = [at for at, column in enumerate(shape.columns) if column.name in shape.cast]
        given, count = 0, FIRST
        cursor = self.connection.execute(query)
        while True:
            try:
                rows = cursor.fetchmany(count)
            except sqlite3.OperationalError as problem:
                if "decode" not in str(problem) or self.connection.text_factory is _text:
                    raise
                # Text that is no UTF-8: go on from here with the slow reading that keeps its bytes.
                self.connection.text_factory = _text
                cursor = self.connection.execute(f"{query} LIMIT -1 OFFSET {given}")
                continue
            if not rows:
                return
            given += len(rows)
            count = next_count(rows)
            yield [_as_text(row, loose) for row in rows] if loose else rows

    def ddl(self) -> bytes:
        rows = self.ask("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
        made = [dict(zip(("type", "name", "table", "sql"), row, strict=True)) for row in rows if row[3]]
        return json.dumps(made, indent=1, ensure_ascii=False).encode()

    def _is_without_rowid(self, table: str) -> bool:
        query = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?"
        (sql,) = self.connection.execute(query, (table,)).fetchone()
        return str(sql).upper().rstrip().rstrip(";").endswith("WITHOUT ROWID")


def next_count(rows: Sequence[Row]) -> int:
    """How many rows to fetch next, as the longest of some of these lets expect."""
    some = rows[:: max(1, len(rows) // 8)]
    longest = max(sum(len(cell) for cell in row if isinstance(cell, str | bytes)) for row in some)
    return max(1, min(PIECE, _PIECE_BYTES // (longest + 1)))


def _as_text(row: Row, loose: Sequence[int]) -> Row:
    """SQLite keeps a JSON number as a number and not as the text that was written."""
    if all(isinstance(row[at], str | None) for at in loose):
        return row
    cells = list(row)
    for at in loose:
        cell = cells[at]
        if isinstance(cell, int | float):
            cells[at] = repr(cell)
    return tuple(cells)


@contextlib.contextmanager
def sqlite(path: Path, busy_timeout_s: float = sqlitefile.BUSY_TIMEOUT_S) -> Iterator[Sqlite]:
    """Reads a copy: writers wait for the copy at most, never for what follows."""
    with copied(path, busy_timeout_s) as copy, sqlite_copy(copy) as reader:
        yield reader


@contextlib.contextmanager
def copied(path: Path, busy_timeout_s: float = sqlitefile.BUSY_TIMEOUT_S) -> Iterator[Path]:
    """A copy by SQLite's online backup, in a folder that only this user can enter, gone in the end."""
    with tempfile.TemporaryDirectory(prefix="ddr-copy-") as folder:
        copy = Path(folder) / "copy.db"
        with sqlitefile.opened(path, busy_timeout_s=busy_timeout_s) as source:
            _copy(source, copy, path.stat().st_size)
        yield copy


@contextlib.contextmanager
def sqlite_copy(path: Path) -> Iterator[Sqlite]:
    """A file that nobody writes to."""
    sqlalchemy = reflect.module()
    with sqlitefile.opened(path) as connection:
        engine = sqlalchemy.create_engine("sqlite://", creator=lambda: sqlite3.connect(path), poolclass=no_pool())
        try:
            shapes = reflect.shapes(engine)
        except sqlalchemy.exc.SQLAlchemyError as problem:
            raise Damaged(
                f"the schema of {path} cannot be read: {redact.foreign(problem)}", hint="PRAGMA integrity_check"
            ) from problem
        finally:
            engine.dispose()
        yield Sqlite(connection, shapes)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def no_pool() -> Any:
    from sqlalchemy import pool

    return pool.NullPool


class _Restarted(Exception):
    """Somebody wrote during the copy, so SQLite begins again."""


def _copy(source: sqlite3.Connection, to: Path, size_bytes: int) -> None:
    lowest, restarts = 2**62, 0

    def watch(status: int, remaining: int, total: int) -> None:
        nonlocal lowest, restarts
        del status, total
        restarts += remaining > lowest
        lowest = remaining
        if restarts >= _RESTARTS:
            raise _Restarted

    target = sqlite3.connect(to, isolation_level=None)
    try:
        target.execute("PRAGMA synchronous = OFF")
        if size_bytes > _ONE_PASS_BYTES:
            with contextlib.suppress(_Restarted):
                source.backup(target, pages=_STEP_PAGES, progress=watch, sleep=0.01)
                return
        source.backup(target)
    finally:
        target.close()


@dataclass(frozen=True)
class Postgres:
    """One REPEATABLE READ transaction that only reads."""

    connection: Any
    shapes: Sequence[reflect.Shape]
    dialect: str = "postgresql"

    def ask(self, query: str) -> list[Row]:
        with translated():
            found: list[Row] = self.connection.execute(query).fetchall()
            return found

    def pieces(self, shape: reflect.Shape) -> Iterator[Sequence[Row]]:
        query = f"SELECT {selected(shape, self.dialect)} FROM {sqlitefile.quoted(shape.name)}"  # noqa: S608
        with translated(), self.connection.cursor("ddr_rows", binary=True) as cursor:
            cursor.execute(query)
            count = FIRST
            while rows := cursor.fetchmany(count):
                fits = next_count(rows)
                count = 8 * fits if fits == PIECE else fits
                for start in range(0, len(rows), PIECE):
                    yield rows[start : start + PIECE]

    def ddl(self) -> bytes:
        return b""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """What psycopg raises as ours."""
    import psycopg

    try:
        yield
    except psycopg.Error as problem:
        raise _of_postgres(problem) from problem


def _of_postgres(problem: Exception) -> DdrError:
    return Unavailable(
        f"PostgreSQL: {redact.foreign(problem)}", hint="look at the address, the rights and the server's log"
    )


def postgres_url(url: str) -> str:
    """As libpq wants it, without SQLAlchemy's driver: postgresql+psycopg2://... is postgresql://..."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise InputError(f"{redact.foreign(url)} is no PostgreSQL address", hint="postgresql://user@host:5432/database")
    return f"postgresql://{rest}"


@contextlib.contextmanager
def postgres_connection(url: str, **options: Any) -> Iterator[Any]:
    try:
        import psycopg
    except ImportError as problem:
        raise Unsupported(
            "PostgreSQL needs psycopg, which is not installed", hint="pip install 'ddr[postgres]'"
        ) from problem
    with translated():
        connection = psycopg.connect(postgres_url(url), **options)
    try:
        yield connection
    finally:
        with contextlib.suppress(psycopg.Error):
            connection.rollback()
        connection.close()


@contextlib.contextmanager
def postgres(url: str) -> Iterator[Postgres]:
    """SQLAlchemy reflects inside the very transaction that then reads the rows."""
    sqlalchemy = reflect.module()
    with postgres_connection(url) as connection:
        engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=no_pool())
        try:
            with translated_sqlalchemy(), engine.connect() as wrapped:
                with translated():
                    connection.execute("SET synchronize_seqscans = off")  # or a scan begins where another one is
                    connection.execute("SET datestyle = ISO, YMD")
                    connection.commit()
                    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                yield Postgres(connection, reflect.shapes(wrapped))
        finally:
            engine.dispose()


@contextlib.contextmanager
def translated_sqlalchemy() -> Iterator[None]:
    sqlalchemy = reflect.module()
    try:
        yield
    except sqlalchemy.exc.SQLAlchemyError as problem:
        raise Unavailable(f"the database: {redact.foreign(problem)}", hint="look at its address and log") from problem
