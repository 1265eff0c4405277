"""Rows of a snapshot into a database that has rows: what is the same, what is new, what collides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ddr.connectors.tables import reflect, targets
from ddr.domain import snapshots
from ddr.lib import rowbatch, sqlitefile


@dataclass(frozen=True)
class Counts:
    """Rows of one table: `new` are not there, `same` are there to the last bit, `other` have their id only."""

    table: str
    new: int = 0
    same: int = 0
    other: int = 0
    examples: tuple[str, ...] = ()


def stage(
    target: targets.Target, shape: reflect.Shape, columns: Sequence[snapshots.Column], rows: Iterable[rowbatch.Batch]
) -> Counts:
    """Put the rows beside the table, in a temporary one, and count. `columns` are those of the rows."""
    compared = _compared(shape, columns)
    names = ", ".join(sqlitefile.quoted(column.name) for column in columns)
    table = sqlitefile.quoted(shape.name)
    target.run(f"DROP TABLE IF EXISTS {targets.STAGE}")
    target.run(f"CREATE TEMPORARY TABLE {targets.STAGE} AS SELECT {names} FROM {table} WHERE 1 = 0")  # noqa: S608
    given = 0
    for batch in rows:
        target.insert(targets.STAGE, columns, batch)
        given += batch.size
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


def write(
    target: targets.Target, shape: reflect.Shape, columns: Sequence[snapshots.Column], *, overwrite: bool
) -> None:
    """What is staged: new rows are added, others overwritten where that was asked for."""
    table = sqlitefile.quoted(shape.name)
    compared = _compared(shape, columns)
    differ = _differ(target, shape, compared)
    if overwrite and differ:
        sets = ", ".join(
            f"{sqlitefile.quoted(column.name)} = s.{sqlitefile.quoted(column.name)}" for column in compared
        )
        target.run(f"UPDATE {table} AS t SET {sets} FROM {targets.STAGE} s WHERE {_same_key(shape)} AND ({differ})")  # noqa: S608
    names = ", ".join(sqlitefile.quoted(column.name) for column in columns)
    target.run(
        f"INSERT INTO {table} ({names}) SELECT {names} FROM {targets.STAGE} s "  # noqa: S608
        f"WHERE NOT EXISTS (SELECT 1 FROM {table} t WHERE {_same_key(shape)})"
    )


def _key(shape: reflect.Shape) -> Sequence[str]:
    return shape.key or shape.names


def _same_key(shape: reflect.Shape) -> str:
    return " AND ".join(f"t.{sqlitefile.quoted(name)} = s.{sqlitefile.quoted(name)}" for name in _key(shape))


def _compared(shape: reflect.Shape, columns: Sequence[snapshots.Column]) -> Sequence[snapshots.Column]:
    """Beside the key. A secret that the snapshot has not must not overwrite the one that is there, and a job that a
    living server works on is that server's."""
    if shape.name == "jobs":
        return ()
    left_out = {*_key(shape), *shape.secrets()}
    return tuple(column for column in columns if column.name not in left_out)


def _differ(target: targets.Target, shape: reflect.Shape, compared: Sequence[snapshots.Column]) -> str:
    """'' when there is nothing to compare."""
    return " OR ".join(
        f"{target.compared(shape, column.name, 's')} {target.differs} {target.compared(shape, column.name, 't')}"
        for column in compared
    )


def _number(target: targets.Target, query: str) -> int:
    return int(_text(target.ask(query)[0][0]))


def _text(cell: rowbatch.Cell) -> str:
    return cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)
