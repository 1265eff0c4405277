"""Rows of a snapshot into a database that has rows: what is the same, what is new, what collides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from ddr.connectors.tables import reflect, targets
from ddr.domain import snapshots
from ddr.lib import rowbatch, sqlitefile

_MINE = "ddr_mine"
_TEMPORARY = {"mysql": "TEMPORARY "}  # a plain DROP would end MySQL's transaction


@dataclass(frozen=True)
class Counts:
    """Rows of one table: `new` are not there, `same` are there to the last bit, `other` have their id only."""

    table: str
    new: int = 0
    same: int = 0
    other: int = 0
    examples: tuple[str, ...] = ()
    gone: int = 0
    """Rows of the restored part that the snapshot lacks: `recreate` deletes them."""


def stage(
    target: targets.Target, shape: reflect.Shape, columns: Sequence[snapshots.Column], rows: Iterable[rowbatch.Batch],
    left_alone: Set[str] = frozenset(),
) -> Counts:  # fmt: skip
    """Put the rows beside the table, in a temporary one, and count. `columns` are those of the rows; rows of the
    tables `left_alone` are added and never overwritten."""
    compared = _compared(shape, columns, left_alone)
    table = sqlitefile.quoted(shape.name)
    given = _staged(target, targets.STAGE, shape, columns, rows)
    if not given:
        return Counts(shape.name)
    joined = f"FROM {targets.STAGE} s JOIN {table} t ON {_same_key(shape)}"
    there = _number(target, f"SELECT COUNT(*) {joined}")
    other = 0
    differ = _differ(target, shape, compared)
    examples: tuple[str, ...] = ()
    if differ:
        other = _number(target, f"SELECT COUNT(*) {joined} WHERE {differ}")
        shown = ", ".join(f"s.{sqlitefile.quoted(name)}" for name in _key(shape))
        found = target.ask(f"SELECT {shown} {joined} WHERE {differ} LIMIT 3") if other else []
        examples = tuple("/".join(map(_text, row)) for row in found)
    return Counts(shape.name, given - there, there - other, other, examples)


def _staged(
    target: targets.Target, name: str, shape: reflect.Shape, columns: Sequence[snapshots.Column],
    rows: Iterable[rowbatch.Batch],
) -> int:  # fmt: skip
    names = ", ".join(sqlitefile.quoted(column.name) for column in columns)
    table = sqlitefile.quoted(shape.name)
    target.run(f"DROP {_TEMPORARY.get(target.dialect, '')}TABLE IF EXISTS {name}")
    target.run(f"CREATE TEMPORARY TABLE {name} AS SELECT {names} FROM {table} WHERE 1 = 0")  # noqa: S608
    given = 0
    for batch in rows:
        target.insert(name, columns, batch)
        given += batch.size
    return given


def lacking(
    target: targets.Target, shape: reflect.Shape, theirs: Iterable[rowbatch.Batch], kept: Iterable[rowbatch.Batch],
    *, write: bool,
) -> int:  # fmt: skip
    """How many rows of `theirs`, which are in the table, are not among `kept` by their key; deleted with `write`."""
    key = [column for column in shape.columns if column.name in _key(shape)]
    names = [column.name for column in key]
    if not _staged(target, _MINE, shape, key, (batch.select(names) for batch in theirs)):
        return 0
    _staged(target, targets.STAGE, shape, key, (batch.select(names) for batch in kept))
    same = _same_key(shape)
    mine = f"EXISTS (SELECT 1 FROM {_MINE} s WHERE {same})"  # noqa: S608
    absent = f"NOT EXISTS (SELECT 1 FROM {targets.STAGE} s WHERE {same})"  # noqa: S608
    table = sqlitefile.quoted(shape.name)
    found = _number(target, f"SELECT COUNT(*) FROM {table} t WHERE {mine} AND {absent}")  # noqa: S608
    if found and write:
        named = "t " if target.dialect in _TEMPORARY else ""
        target.run(f"DELETE {named}FROM {table} AS t WHERE {mine} AND {absent}")
    return found


def write(
    target: targets.Target, shape: reflect.Shape, columns: Sequence[snapshots.Column], *, overwrite: bool,
    left_alone: Set[str] = frozenset(),
) -> None:  # fmt: skip
    """What is staged: new rows are added, others overwritten where that was asked for."""
    table = sqlitefile.quoted(shape.name)
    compared = _compared(shape, columns, left_alone)
    differ = _differ(target, shape, compared)
    if overwrite and differ:
        target.update(shape.name, [column.name for column in compared], _same_key(shape), differ)
    names = ", ".join(sqlitefile.quoted(column.name) for column in columns)
    target.run(
        f"INSERT INTO {table} ({names}) SELECT {names} FROM {targets.STAGE} s "  # noqa: S608
        f"WHERE NOT EXISTS (SELECT 1 FROM {table} t WHERE {_same_key(shape)})"
    )


def _key(shape: reflect.Shape) -> Sequence[str]:
    return shape.key or shape.names


def _same_key(shape: reflect.Shape) -> str:
    return " AND ".join(f"t.{sqlitefile.quoted(name)} = s.{sqlitefile.quoted(name)}" for name in _key(shape))


def _compared(
    shape: reflect.Shape, columns: Sequence[snapshots.Column], left_alone: Set[str]
) -> Sequence[snapshots.Column]:
    """Beside the key. A secret that the snapshot has not must not overwrite the one that is there."""
    if shape.name in left_alone:
        return ()
    left_out = {*_key(shape), *shape.secrets()}
    return tuple(column for column in columns if column.name not in left_out)


def _differ(target: targets.Target, shape: reflect.Shape, compared: Sequence[snapshots.Column]) -> str:
    """'' when there is nothing to compare."""
    return " OR ".join(target.differ(shape, column.name) for column in compared)


def _number(target: targets.Target, query: str) -> int:
    return int(_text(target.ask(query)[0][0]))


def _text(cell: rowbatch.Cell) -> str:
    return cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)
