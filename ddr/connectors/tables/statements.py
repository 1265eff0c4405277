"""Tables made: from the statements that a SQLite file kept, or from their shapes in any dialect."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddr.connectors.tables import reflect
from ddr.errors import Damaged, Refused
from ddr.lib import redact, sqlitefile

_KEY_CHARACTERS = 255  # of a text in a key that had no length: MySQL wants one


@dataclass(frozen=True)
class Statements:
    """As SQLite keeps them: tables first, and what is made faster when the rows are there."""

    tables: Sequence[str]
    after: Sequence[str]


def of_stream(content: bytes) -> Statements:
    """Damaged when it is not what `dump` wrote."""
    try:
        made = [(str(one["type"]), str(one["sql"])) for one in json.loads(content)]
    except (ValueError, KeyError, TypeError) as problem:
        raise Damaged("the schema in the snapshot cannot be read", hint="`ddr backup verify`") from problem
    return Statements(
        tuple(sql for kind, sql in made if kind == "table"), tuple(sql for kind, sql in made if kind != "table")
    )


def make(path: Path, statements: Sequence[str]) -> None:
    """Run in a SQLite file that may be new."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        with sqlitefile.transaction(connection):
            for statement in statements:
                connection.execute(statement)
    except sqlite3.Error as problem:
        raise Damaged(
            f"the schema of the snapshot does not work here: {redact.foreign(problem)}",
            hint=f"this SQLite is {sqlite3.sqlite_version}; use a newer Python",
        ) from problem
    finally:
        connection.close()


def create(url: str, shapes: Sequence[reflect.Shape]) -> None:
    """Those of the tables that are not there yet, with keys, links, lengths and indexes; `url` is SQLAlchemy's."""
    sqlalchemy = reflect.module()
    tables = sqlalchemy.MetaData()
    for shape in shapes:
        _table(sqlalchemy, tables, shape)
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    try:
        tables.create_all(engine)
    except sqlalchemy.exc.SQLAlchemyError as problem:
        raise Refused(
            f"the tables could not be made: {redact.foreign(problem)}", hint="look at the rights in that database"
        ) from problem
    finally:
        engine.dispose()


def _table(sqlalchemy: Any, tables: Any, shape: reflect.Shape) -> None:
    columns = [
        sqlalchemy.Column(
            column.name, _type(sqlalchemy, shape, column.name, column.family), primary_key=column.name in shape.key,
            nullable=column.name not in shape.not_null and column.name not in shape.key,
        )
        for column in shape.columns
    ]  # fmt: skip
    links = [
        sqlalchemy.ForeignKeyConstraint(link.columns, [f"{link.parent}.{name}" for name in link.parent_columns])
        for link in shape.links
    ]
    table = sqlalchemy.Table(shape.name, tables, *columns, *links)
    for index in shape.indexes:
        if not set(index.columns) <= set(shape.names):
            continue  # it has a generated column
        named = [table.c[name] for name in index.columns]
        sqlalchemy.Index(index.name or f"unique_{shape.name}_{'_'.join(index.columns)}", *named, unique=index.is_unique)


def _type(sqlalchemy: Any, shape: reflect.Shape, name: str, family: str) -> Any:
    """Wide enough for what any dialect had."""
    from sqlalchemy.dialects import mysql

    if family == "int":
        return sqlalchemy.BigInteger().with_variant(sqlalchemy.Integer(), "sqlite")  # or SQLite gives no numbers itself
    if family == "bool":
        return sqlalchemy.Boolean()
    if family == "float":
        return sqlalchemy.Double()
    if family == "bytes":
        return sqlalchemy.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
    indexed = set(shape.key).union(*(index.columns for index in shape.indexes), *(link.columns for link in shape.links))
    if name in shape.sizes:
        return sqlalchemy.String(shape.sizes[name])
    size = mysql.VARCHAR(_KEY_CHARACTERS) if name in indexed else mysql.LONGTEXT()
    return sqlalchemy.Text().with_variant(size, "mysql", "mariadb")
