"""Rows for every table that a database has, found by looking: hard values, and references that hold."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy

from ddr.connectors.tables import readers, reflect
from ddr.lib import rowbatch, sqlitefile

ROWS = 7
TEXTS = (
    "plain", "größe ✓ 語 😀", "tab\tnewline\nreturn\rback\\slash \\N \\.", " 'quotes\" ; -- ",
    "%s {} $1 :x", "x" * 8000, "é" * 300,
)  # fmt: skip
FLOATS = (0.1 + 0.2, math.inf, -math.inf, 5e-324, -0.0, 1.7976931348623157e308, 1e22)
JSONS = ('{"b": [1, 2.50, "ü"],  "a": null}', "[]", '"text"', "null", "5", '{"é": "\\u00e9"}', "true")
BLOBS = (bytes(range(256)), b"", b"\\x00", b"'", b"\xff\xfe", b"\0\0", b"text")
ALLOWED: Mapping[tuple[str, str], Sequence[object]] = {
    ("runs", "source_type"): ("NOTEBOOK", "LOCAL", "UNKNOWN"),
    ("runs", "status"): ("RUNNING", "FINISHED", "KILLED"),
    ("jobs", "status"): (0, 1, 2, 3, 4, 5, 6),
    ("registered_model_aliases", "version"): (1, 2),
}
SECRET = "canary-3f1c9e"


def fill(path: Path, floats: Sequence[float] = FLOATS) -> Mapping[str, int]:
    """Seven rows into every table but alembic's; gives the number of rows of each."""
    engine = sqlalchemy.create_engine("sqlite://", creator=lambda: sqlite3.connect(path))
    kinds = {
        table: {column["name"]: column["type"] for column in columns}
        for (_, table), columns in sqlalchemy.inspect(engine).get_multi_columns().items()
    }
    engine.dispose()
    with readers.sqlite_copy(path) as reader:
        shapes = reader.shapes
    made: dict[str, list[dict[str, object]]] = {}
    with sqlitefile.opened(path) as connection, sqlitefile.transaction(connection):
        for shape in shapes:
            if shape.name == "alembic_version":
                continue
            rows = [_row(shape, kinds[shape.name], made, number, floats) for number in range(ROWS)]
            made[shape.name] = rows
            connection.execute(f"DELETE FROM {sqlitefile.quoted(shape.name)}")
            names = ", ".join(sqlitefile.quoted(name) for name in rows[0])
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(
                f"INSERT INTO {sqlitefile.quoted(shape.name)} ({names}) VALUES ({marks})",
                [tuple(row.values()) for row in rows],
            )
    return {table: len(rows) for table, rows in made.items()}


def _row(
    shape: reflect.Shape,
    kinds: Mapping[str, Any],
    made: Mapping[str, list[dict[str, object]]],
    number: int,
    floats: Sequence[float],
) -> dict[str, object]:
    row: dict[str, object] = {
        column.name: _cell(shape, column.name, kinds[column.name], number, floats) for column in shape.columns
    }
    for link in shape.links:
        parents = made.get(link.parent) or [row]
        parent = parents[number % len(parents)]
        own = {own: parent[theirs] for own, theirs in zip(link.columns, link.parent_columns, strict=True)}
        if not any(row[name] is None for name in own if name not in shape.not_null):
            row |= own
    return row


def _cell(shape: reflect.Shape, name: str, kind: Any, number: int, floats: Sequence[float]) -> rowbatch.Cell:
    plain = [number % 7, name in shape.key or name in shape.not_null]
    if (shape.name, name) in ALLOWED:
        choices = ALLOWED[(shape.name, name)]
        return choices[number % len(choices)]  # type: ignore[return-value]
    if name == "workspace" or (shape.name, name, number) == ("workspaces", "name", 0):
        return "default"  # or MLflow wants to be started for many workspaces
    if name == "lifecycle_stage":
        return ("active", "deleted")[number % 2]
    if (shape.name, name) in reflect.SECRETS:
        return SECRET.encode() if reflect.family(kind) == "bytes" else f"{SECRET}-{number}"
    if not plain[1] and number == 3:
        return None
    family = reflect.family(kind)
    if family == "bool":
        return number % 2
    if family == "int":
        return number if name in shape.key or not isinstance(kind, sqlalchemy.BigInteger) else 2**53 + number
    if family == "float":
        return floats[number % len(floats)]
    if family == "bytes":
        return BLOBS[number % len(BLOBS)]
    if isinstance(kind, sqlalchemy.JSON):
        return JSONS[number % len(JSONS)]
    if isinstance(kind, sqlalchemy.Date):
        return f"2026-11-{number + 1:02d}"
    if not plain[1] and number == 5:
        return ""
    text = f"{number} {TEXTS[number % len(TEXTS)]}"
    return text[: kind.length or 9000]
