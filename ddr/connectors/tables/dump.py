"""Every table of a database into a sink, with the counts, the redactions and the revision that make it trustworthy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from ddr.connectors.tables import readers, reflect
from ddr.errors import Damaged, Refused
from ddr.lib import rowbatch, sqlitefile
from ddr.ports import restorable

DDL_STREAM, SHAPES_STREAM = "sqlite_master.json", "tables.json"
REVISION, DIALECT = "alembic", "dialect"


def capture(
    reader: readers.Reader, sink: restorable.Sink, shapes: Sequence[reflect.Shape], *, versions: str = "",
    prefix: str = "",
) -> None:  # fmt: skip
    """`shapes` are the tables to take, `versions` names the one with the alembic revision, `prefix` stands in front of
    every name where one component has two databases.

    Raises Damaged when rows were lost on the way, Refused when the schema was migrated meanwhile.
    """
    before = readers.revisions(reader, versions)
    if versions:
        sink.fact(prefix + REVISION, " ".join(before))
    sink.fact(prefix + DIALECT, reader.dialect)
    for shape in shapes:
        _redactions(reader, shape, sink, prefix)
        sink.table(prefix + shape.name, shape.columns, rows(reader, shape))
    after = readers.revisions(reader, versions)
    if after != before:
        raise Refused(
            f"the schema was migrated from {before} to {after} during the backup", hint="run the backup again"
        )
    sink.stream(prefix + SHAPES_STREAM, [reflect.to_json(shapes)])
    ddl = _ddl(reader, {shape.name for shape in shapes})
    if ddl:
        sink.stream(prefix + DDL_STREAM, [ddl])


def rows(reader: readers.Reader, shape: reflect.Shape) -> Iterator[rowbatch.Batch]:
    """Damaged at the end when the database counts other rows than it gave."""
    builder = rowbatch.Builder([(column.name, column.family) for column in shape.columns])
    given = 0
    for batch in builder.batches(reader.pieces(shape)):
        given += batch.size
        yield batch
    counted = _number(reader, f"SELECT COUNT(*) FROM {sqlitefile.quoted(shape.name)}")  # noqa: S608
    if counted != given:
        raise Damaged(
            f"{shape.name} has {counted} rows, {given} were read in the same transaction",
            hint="run the backup again; for SQLite look at PRAGMA integrity_check",
        )


def _redactions(reader: readers.Reader, shape: reflect.Shape, sink: restorable.Sink, prefix: str) -> None:
    for column in shape.secrets():
        query = f"SELECT COUNT({sqlitefile.quoted(column)}) FROM {sqlitefile.quoted(shape.name)}"  # noqa: S608
        hidden = _number(reader, query)
        if hidden:
            said = f"{hidden} value{'s' if hidden > 1 else ''}; {reflect.SECRETS[(shape.name, column)]}"
            sink.redacted(f"{prefix}{shape.name}.{column}: {said}")


def _ddl(reader: readers.Reader, names: set[str]) -> bytes:
    """The statements of the tables that are taken, and of no others."""
    content = reader.ddl()
    if not content:
        return b""
    made = [one for one in json.loads(content) if one["table"] in names]
    return json.dumps(made, indent=1, ensure_ascii=False).encode()


def _number(reader: readers.Reader, query: str) -> int:
    return int(str(reader.ask(query)[0][0]))
