"""What one restore has to do, read out of the snapshot and the options: which rows, changed how, into what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from ddr.connectors.mlflow import dump, files, locations, relocate, selection, sql
from ddr.connectors.tables import readers, reflect
from ddr.domain import snapshots
from ddr.errors import Damaged, InputError
from ddr.lib import redact, rowbatch, rowdigest
from ddr.ports import restorable

SQLITE_ENDINGS = (".db", ".sqlite", ".sqlite3")


@dataclass(frozen=True)
class Place:
    """The database that is restored into. `path` is its file, None for a server."""

    url: str
    path: Path | None

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        return "postgresql" if self.path is None else "sqlite"

    @property
    def label(self) -> str:
        return redact.foreign(self.url) if self.path is None else str(self.path)


def place(target: str, tracking: str, base: Path) -> Place:
    """InputError for what ddr cannot write to."""
    said = target or tracking
    if said.startswith(("postgresql:", "postgresql+", "postgres:")):
        return Place(readers.postgres_url(said), None)
    if said.startswith("sqlite:"):
        return Place(said, sql.path_of(said, base))
    if said.endswith(SQLITE_ENDINGS) and "://" not in said:
        return Place(f"sqlite:///{said}", base / said)
    raise InputError(
        f"MLflow cannot be restored into {redact.foreign(said)}",
        hint="--target sqlite:///new.db, or the postgresql:// address of an empty database",
    )


@dataclass
class Work:
    """`rows(table)` are the rows as they are to stand in the target."""

    source: restorable.Source
    options: restorable.RestoreOptions
    place: Place
    where: locations.Map

    @cached_property
    def shapes(self) -> tuple[reflect.Shape, ...]:
        return reflect.of_json(b"".join(self.source.stream(dump.SHAPES_STREAM)))

    @cached_property
    def ddl(self) -> bytes:
        known = {stream.name for stream in self.source.component.streams}
        return b"".join(self.source.stream(dump.DDL_STREAM)) if dump.DDL_STREAM in known else b""

    @property
    def revision(self) -> str:
        return self.source.component.facts.get("alembic", "")

    @cached_property
    def moves(self) -> relocate.Relocation:
        folder = self.options.more.get("artifacts", "")
        whole = (self.where.base / folder).absolute() if folder else None
        return relocate.Relocation(self.where, self.options.rewrites, whole)

    @cached_property
    def chosen(self) -> selection.Selection | None:
        """None is all."""
        if not self.options.only:
            return None
        return selection.chosen(self.shapes, self.source.rows, self.options.only)

    @cached_property
    def files(self) -> files.Files:
        if self.chosen is None:
            return files.Files(self.source, self.moves, lambda tree, path: True)
        return files.Files(self.source, self.moves, files.below(self.where, self.chosen.locations()))

    @cached_property
    def tables(self) -> Sequence[snapshots.Table]:
        """Those of the snapshot, parents first."""
        stored = {table.name: table for table in self.source.component.tables}
        lacking = [shape.name for shape in self.shapes if shape.name not in stored]
        if lacking:
            raise Damaged(
                f"the snapshot lacks the table {lacking[0]}: its capture was cut off", hint="restore another snapshot"
            )
        return [stored[shape.name] for shape in self.shapes]

    def shape(self, table: str) -> reflect.Shape:
        return self._by_name[table]

    @cached_property
    def _by_name(self) -> Mapping[str, reflect.Shape]:
        return {shape.name: shape for shape in self.shapes}

    def rows(self, table: str) -> Iterator[rowbatch.Batch]:
        every = self.source.rows(table) if self.chosen is None else self.chosen.rows(table)
        for batch in every:
            changed = self.moves.applied(table, batch)
            if changed.size:
                yield changed

    def too_long(self) -> Iterator[str]:
        """New locations that PostgreSQL would not take: MLflow gives an artifact_uri 200 characters, for one."""
        if self.place.dialect == "sqlite" or not (self.moves.rewrites or self.moves.folder):
            return
        for table, columns in locations.COLUMNS.items():
            for column in columns if table in self._by_name else ():
                size = self.shape(table).sizes.get(column, 0)
                cells = (cell for batch in self.rows(table) for cell in batch.column(column).cells())
                longest = max((cell for cell in cells if isinstance(cell, str)), key=len, default="")
                if size and len(longest) > size:
                    said = f"{table}.{column} takes {size} characters, and {longest} has {len(longest)}"
                    yield f"{said}: take a shorter folder"

    def expected(self, table: snapshots.Table) -> str:
        """The digest that the target's table must have: the snapshot's own where nothing is changed on purpose."""
        if self.chosen is None and not self.moves.why(table.name):
            return table.digest
        return rowdigest.of_batches(self.rows(table.name))

    def explained(self, table: str) -> str:
        why = [self.moves.why(table)] if self.moves.why(table) else []
        if self.chosen is not None:
            why.append("the chosen rows")
        return f"table {table} ({', '.join(why)})" if why else f"table {table}"
