"""MySQL and MariaDB, read and written through SQLAlchemy.

Every session speaks standard SQL: double quotes are names, 0 in a key is 0 and no wish for a number, and what does not
fit is an error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ddr.connectors.tables import readers, reflect
from ddr.domain import snapshots
from ddr.errors import Conflict, InputError, Refused, Unsupported
from ddr.lib import redact, rowbatch, sqlitefile

SCHEMES = ("mysql", "mariadb")
_MODE = "ANSI_QUOTES,NO_AUTO_VALUE_ON_ZERO,STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES"
_DATA = (1264, 1265, 1366, 1406, 3140, 4025)  # out of range, truncated, wrong, too long, no JSON, a CHECK


@dataclass(frozen=True)
class Mysql:
    """One consistent snapshot that only reads; implements Reader."""

    connection: Any
    shapes: Sequence[reflect.Shape]
    is_streaming: bool = True
    dialect: str = "mysql"

    def ask(self, query: str) -> list[readers.Row]:
        with readers.translated_sqlalchemy():
            return [tuple(row) for row in self.connection.exec_driver_sql(query)]

    def pieces(self, shape: reflect.Shape) -> Iterator[Sequence[readers.Row]]:
        query = f"SELECT {readers.selected(shape, self.dialect)} FROM {sqlitefile.quoted(shape.name)}"  # noqa: S608
        with readers.translated_sqlalchemy():
            streaming = self.connection.execution_options(
                stream_results=self.is_streaming, max_row_buffer=readers.PIECE
            )
            result = streaming.exec_driver_sql(query)
            count = readers.FIRST
            while found := result.fetchmany(count):
                rows = [tuple(row) for row in found]
                count = readers.next_count(rows)
                yield rows

    def ddl(self) -> bytes:
        return b""


@contextlib.contextmanager
def reading(url: str) -> Iterator[Mysql]:
    """InputError for what is no address, Unsupported when its driver is missing."""
    with _connected(url) as connection:
        connection.exec_driver_sql("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        yield Mysql(connection, reflect.shapes(connection))


def sqlalchemy_url(url: str) -> str:
    """With a driver: PyMySQL where none is said."""
    scheme, separator, rest = url.partition("://")
    return url if "+" in scheme else f"{scheme}+pymysql{separator}{rest}"


@contextlib.contextmanager
def _connected(url: str) -> Iterator[Any]:
    sqlalchemy = reflect.module()
    try:
        engine = sqlalchemy.create_engine(sqlalchemy_url(url), poolclass=sqlalchemy.pool.NullPool)
    except sqlalchemy.exc.ArgumentError as problem:
        raise InputError(f"{redact.foreign(url)} is no database address", hint="mysql://user@host/database") from (
            problem
        )
    except ImportError as problem:
        raise Unsupported(
            f"no driver for {redact.foreign(url)}: {redact.foreign(problem)}", hint="pip install 'ddr[mysql]'"
        ) from problem
    sqlalchemy.event.listen(engine, "connect", _set_mode, insert=True)  # before SQLAlchemy looks at it
    try:
        with readers.translated_sqlalchemy(), engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _set_mode(connection: Any, record: object) -> None:
    del record
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(f"SET SESSION sql_mode = '{_MODE}', time_zone = '+00:00'")


@dataclass(frozen=True)
class MysqlTarget:
    """Implements Target."""

    connection: Any
    shapes: Sequence[reflect.Shape]
    dialect: str = "mysql"

    def ask(self, query: str) -> list[readers.Row]:
        with _conflicts():
            return [tuple(row) for row in self.connection.exec_driver_sql(query)]

    def run(self, statement: str) -> int:
        with _conflicts():
            return int(self.connection.exec_driver_sql(statement).rowcount)

    def insert(self, table: str, columns: Sequence[snapshots.Column], batch: rowbatch.Batch) -> None:
        if not batch.size:
            return
        for column in batch.columns:
            if column.odd:
                value = next(iter(column.odd.values()))
                raise Refused(
                    f"{table}.{column.name} has {type(value).__name__} where MySQL takes {column.family} only",
                    hint="correct it in the source, or restore into SQLite",
                )
        names = ", ".join(sqlitefile.quoted(column.name) for column in columns)
        marks = ", ".join(["%s"] * len(columns))
        into = f"INSERT INTO {sqlitefile.quoted(table)} ({names}) VALUES ({marks})"  # noqa: S608
        with _conflicts():
            try:
                self.connection.exec_driver_sql(into, [tuple(row) for row in batch.rows()])
            except UnicodeEncodeError:
                raise Refused(
                    f"{table} has text that is no UTF-8", hint="MySQL cannot hold it; correct the source"
                ) from None

    def empty(self, tables: Sequence[str]) -> None:
        for table in reversed(tables):  # no TRUNCATE: it ends the transaction
            self.run(f"DELETE FROM {sqlitefile.quoted(table)}")  # noqa: S608

    def advance(self) -> None:
        """InnoDB goes on after the highest number by itself."""

    def differ(self, shape: reflect.Shape, column: str) -> str:
        """Bytes are compared, as MySQL's own rules take a for A and for ä."""
        name = sqlitefile.quoted(column)
        is_text = any(one.name == column and one.family == "text" for one in shape.columns)
        if is_text:
            return f"NOT (CAST(s.{name} AS BINARY) <=> CAST(t.{name} AS BINARY))"
        return f"NOT (s.{name} <=> t.{name})"

    def update(self, table: str, sets: Sequence[str], same: str, differ: str) -> None:
        assigned = ", ".join(f"t.{name} = s.{name}" for name in map(sqlitefile.quoted, sets))
        self.run(f"UPDATE {sqlitefile.quoted(table)} t JOIN ddr_stage s ON {same} SET {assigned} WHERE {differ}")  # noqa: S608

    def reader(self) -> readers.Reader:
        return Mysql(self.connection, self.shapes, is_streaming=False)  # or nothing else may be said meanwhile


@contextlib.contextmanager
def _conflicts() -> Iterator[None]:
    sqlalchemy = reflect.module()
    with readers.translated_sqlalchemy():
        try:
            yield
        except sqlalchemy.exc.IntegrityError as problem:
            raise Conflict(
                f"the target has something that these rows collide with: {redact.foreign(problem.orig)}",
                hint="nothing was changed; MySQL takes a for A: rename one, or restore into PostgreSQL or SQLite",
            ) from problem
        except sqlalchemy.exc.DBAPIError as problem:
            if problem.orig is not None and problem.orig.args and problem.orig.args[0] in _DATA:
                raise Refused(
                    f"MySQL does not take a value of the snapshot: {redact.foreign(problem.orig)}",
                    hint="SQLite keeps texts of any length and numbers without end; restore into SQLite or PostgreSQL",
                ) from problem
            raise


@contextlib.contextmanager
def writing(url: str) -> Iterator[MysqlTarget]:
    """One transaction; nothing of it stays unless the block ends well."""
    with _connected(url) as connection:
        shapes = reflect.shapes(connection)
        connection.rollback()
        connection.exec_driver_sql("SET SESSION foreign_key_checks = 0")  # parents come first, and rows refer to rows
        yield MysqlTarget(connection, shapes)
        with readers.translated_sqlalchemy():
            connection.commit()
