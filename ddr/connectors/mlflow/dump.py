"""Every table of a database into a sink, with the counts, the redactions and the revision that make it trustworthy."""

from __future__ import annotations

from collections.abc import Iterator

from ddr.connectors.tables import readers, reflect
from ddr.errors import Damaged, Refused
from ddr.lib import rowbatch, sqlitefile
from ddr.ports import restorable

DDL_STREAM, SHAPES_STREAM = "sqlite_master.json", "tables.json"


def tables(reader: readers.Reader, sink: restorable.Sink) -> None:
    """Raises Damaged when rows were lost on the way, Refused when the schema was migrated meanwhile or is none."""
    before = readers.revisions(reader)
    if not before:
        raise Refused(
            "this is no MLflow database: it has no alembic revision",
            hint="look at `tracking`; a database of MLflow before 1.0 needs `mlflow db upgrade` first",
        )
    sink.fact("alembic", " ".join(before))
    sink.fact("dialect", reader.dialect)
    for shape in reader.shapes:
        _redactions(reader, shape, sink)
        sink.table(shape.name, shape.columns, rows(reader, shape))
    after = readers.revisions(reader)
    if after != before:
        raise Refused(
            f"the schema was migrated from {before} to {after} during the backup", hint="run the backup again"
        )
    sink.stream(SHAPES_STREAM, [reflect.to_json(reader.shapes)])
    ddl = reader.ddl()
    if ddl:
        sink.stream(DDL_STREAM, [ddl])


def rows(reader: readers.Reader, shape: reflect.Shape) -> Iterator[rowbatch.Batch]:
    """Damaged at the end when the database counts other rows than it gave."""
    builder = rowbatch.Builder([(column.name, column.family) for column in shape.columns])
    given = 0
    for batch in builder.batches(reader.pieces(shape)):
        given += batch.size
        yield batch
    counted = _number(reader, f"SELECT COUNT(*) FROM {_name(reader, shape.name)}")  # noqa: S608
    if counted != given:
        raise Damaged(
            f"{shape.name} has {counted} rows, {given} were read in the same transaction",
            hint="run the backup again; for SQLite look at PRAGMA integrity_check",
        )


def _redactions(reader: readers.Reader, shape: reflect.Shape, sink: restorable.Sink) -> None:
    for column in shape.secrets():
        query = f"SELECT COUNT({_name(reader, column)}) FROM {_name(reader, shape.name)}"  # noqa: S608
        hidden = _number(reader, query)
        if hidden:
            plural = "s" if hidden > 1 else ""
            sink.redacted(f"{shape.name}.{column}: {hidden} value{plural}; {reflect.SECRETS[(shape.name, column)]}")


def _number(reader: readers.Reader, query: str) -> int:
    return int(str(reader.ask(query)[0][0]))


def _name(reader: readers.Reader, name: str) -> str:
    return f"`{name}`" if reader.dialect in ("mysql", "mariadb") else sqlitefile.quoted(name)
