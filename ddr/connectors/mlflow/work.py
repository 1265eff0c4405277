"""What one restore of MLflow has to do, out of the snapshot and the options: which rows, changed how, into what."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

from ddr.connectors.mlflow import bucket, files, locations, objects, relocate, schema, selection
from ddr.connectors.tables import dump, readers, reflect, statements, work
from ddr.domain import snapshots
from ddr.errors import InputError
from ddr.lib import redact, rowbatch, rowdigest

ROWS_ALONE = "none"
"""As the wish `artifacts`: files and objects are left as they are."""

WISHES: Mapping[str, str] = {"artifacts": "FOLDER, s3://BUCKET/PREFIX or none", "auth": "sqlite:///basic_auth.db"}


@dataclass
class Work(work.Work):
    """The tracking database and the files that its rows name."""

    where: locations.Map = locations.NOWHERE
    s3_endpoint: str = ""
    versions: str = schema.REVISIONS
    transient: Set[str] = relocate.TRANSIENT
    left_alone: Set[str] = frozenset({"jobs"})  # a job that a living server works on is that server's
    of_a_fresh_one: Set[str] = frozenset({schema.REVISIONS, "workspaces", "experiments"})

    @property
    def is_partial(self) -> bool:
        return self.chosen is not None

    @cached_property
    def moves(self) -> relocate.Relocation:
        said = self.options.more.get("artifacts", "")
        if said.startswith("s3://"):
            if not said.removeprefix("s3://").strip("/"):
                raise InputError(f"artifacts={said} names no bucket", hint="write s3://BUCKET or s3://BUCKET/PREFIX")
            return relocate.Relocation(self.where, self.options.rewrites, remote=said.rstrip("/"))
        if said == "skip":
            raise InputError(
                "artifacts=skip: the word for leaving files out is none",
                hint="--with artifacts=none; for a folder of that name write ./skip",
            )
        whole = (self.where.base / said).absolute() if said and said != ROWS_ALONE else None
        return relocate.Relocation(self.where, self.options.rewrites, whole)

    @cached_property
    def chosen(self) -> selection.Selection | None:
        """None is all."""
        if not self.options.only:
            return None
        return selection.chosen(self.shapes, self.source.rows, self.options.only)

    @cached_property
    def files(self) -> files.Files:
        return files.Files(self.source, self.moves, self._wanted)

    @cached_property
    def objects(self) -> objects.Objects:
        return objects.Objects(self.source, self.moves, self._wanted, lambda: bucket.connect(self.s3_endpoint))

    @cached_property
    def _wanted(self) -> Callable[[str, str], bool]:
        if self.options.more.get("artifacts") == ROWS_ALONE:
            return lambda tree, path: False
        if self.chosen is None:
            return lambda tree, path: True
        return files.below(self.where, self.chosen.locations())

    @cached_property
    def locations(self) -> Mapping[str, Mapping[str, int]]:
        """The locations that the chosen rows name, by table, each with how often."""
        found: dict[str, dict[str, int]] = {}
        for table in [*locations.COLUMNS, *locations.TAGS]:
            seen = collections.Counter[str]()
            for batch in self._as_stored(table) if table in self._by_name else ():
                for column in locations.COLUMNS.get(table, ()):
                    cells = batch.column(column).cells() if column in batch.names else ()
                    seen.update(cell for cell in cells if isinstance(cell, str) and cell)
                if table in locations.TAGS:
                    tags = zip(batch.column("key").cells(), batch.column("value").cells(), strict=True)
                    seen.update(str(value) for key, value in tags if key in locations.TAGS[table])
            found[table] = seen
        return found

    def check_rewrites(self) -> None:
        """InputError for one that no location of the snapshot fits: it would change nothing and say nothing."""
        if not self.options.rewrites:
            return
        named = sorted({uri for those in self.locations.values() for uri in those})
        for old, new in self.options.rewrites.items():
            if not any(self.moves.fits(old, uri) for uri in named):
                places = [place for place in map(self.where.place, named) if place and place.kind in ("local", "s3")]
                tops = [redact.foreign(place.uri) for place in locations.outermost(places)[:3]]
                there = ", ".join(tops) or "none that lies on a disk or in a bucket"
                raise InputError(
                    f"--rewrite {redact.foreign(f'{old}={new}')}: no location of the snapshot begins with "
                    f"{redact.foreign(old)}",
                    hint=f"its locations: {there}; a relative one is moved by --with artifacts=FOLDER or s3://BUCKET",
                )

    def _as_stored(self, table: str) -> Iterator[rowbatch.Batch]:
        return self.source.rows(table) if self.chosen is None else self.chosen.rows(table)

    def rows(self, table: str) -> Iterator[rowbatch.Batch]:
        for batch in self._as_stored(table):
            changed = self.moves.applied(table, batch)
            if changed.size:
                yield changed

    def mine(self, reader: readers.Reader) -> Sequence[reflect.Shape]:
        """All: MLflow's migrations want a database of their own."""
        return reader.shapes

    def doomed(self, reader: readers.Reader) -> Mapping[str, Iterator[rowbatch.Batch]]:
        """Rows of the experiment or registered model itself with what hangs on them by foreign keys. Runs and logged
        models that a registered model was made of belong to their experiment: they are left."""
        shapes = {shape.name: shape for shape in reader.shapes}

        def rows(table: str) -> Iterator[rowbatch.Batch]:
            return dump.rows(reader, shapes[table])

        found: dict[str, Iterator[rowbatch.Batch]] = {}
        for word in self.options.only:
            there = selection.chosen(reader.shapes, rows, (word,), is_strict=False).own()
            for table in selection.owned(reader.shapes, word):
                found[table] = itertools.chain(found.get(table, ()), there.rows(table))
        return found

    def make_tables(self, url: str) -> None:
        schema.migrate(url, self.revision)
        statements.create(url, self.shapes)  # of a database that was shared with others

    @property
    def made_by(self) -> str:
        return "MLflow's own migrations"

    def note(self, table: str) -> str:
        if not self.moves.is_moving(table):
            return self.moves.why(table)
        count = sum(often for uri, often in self.locations[table].items() if self.moves.uri(uri) != uri)
        return f"{count} locations rewritten" if count else ""

    def too_long(self) -> Iterator[str]:
        """New locations that PostgreSQL would not take: MLflow gives an artifact_uri 200 characters, for one."""
        if self.place.dialect == "sqlite" or not (self.moves.rewrites or self.moves.moves_all):
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
