"""What one restore of a database has to do: which tables, which rows, into what. A connector says what is special."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property

from ddr.connectors.tables import dump, places, readers, reflect, statements
from ddr.domain import snapshots
from ddr.errors import Damaged
from ddr.lib import rowbatch, rowdigest
from ddr.ports import restorable


@dataclass
class Work:
    """All of a database as it was. `prefix` as `dump.capture` had it, `versions` the table of the alembic revision,
    '' where there is none; names of tables are without the prefix everywhere."""

    source: restorable.Source
    options: restorable.RestoreOptions
    place: places.Place
    prefix: str = ""
    versions: str = ""

    transient: Set[str] = frozenset()
    """Tables that come back empty."""
    left_alone: Set[str] = frozenset()
    """Tables whose rows are added where they lack, and never overwritten."""
    of_a_fresh_one: Set[str] = frozenset()
    """Tables in which a program that has only been started has a row."""

    @property
    def is_partial(self) -> bool:
        """Only chosen rows are restored."""
        return False

    @cached_property
    def shapes(self) -> tuple[reflect.Shape, ...]:
        return reflect.of_json(b"".join(self.source.stream(self.prefix + dump.SHAPES_STREAM)))

    @cached_property
    def ddl(self) -> bytes:
        name = self.prefix + dump.DDL_STREAM
        known = {stream.name for stream in self.source.component.streams}
        return b"".join(self.source.stream(name)) if name in known else b""

    @property
    def revision(self) -> str:
        return self.source.component.facts.get(self.prefix + dump.REVISION, "")

    @cached_property
    def tables(self) -> Sequence[snapshots.Table]:
        """Those of the snapshot, parents first."""
        stored = {table.name: table for table in self.source.component.tables}
        lacking = [shape.name for shape in self.shapes if self.prefix + shape.name not in stored]
        if lacking:
            raise Damaged(
                f"the snapshot lacks the table {lacking[0]}: its capture was cut off", hint="restore another snapshot"
            )
        return [replace(stored[self.prefix + shape.name], name=shape.name) for shape in self.shapes]

    def shape(self, table: str) -> reflect.Shape:
        return self._by_name[table]

    @cached_property
    def _by_name(self) -> Mapping[str, reflect.Shape]:
        return {shape.name: shape for shape in self.shapes}

    def rows(self, table: str) -> Iterator[rowbatch.Batch]:
        """As they are to stand in the target."""
        return self.source.rows(self.prefix + table)

    def mine(self, reader: readers.Reader) -> Sequence[reflect.Shape]:
        """The tables there that the snapshot has too: the database may have others, of other programs."""
        return [shape for shape in reader.shapes if shape.name in self._by_name]

    def fits(self, reader: readers.Reader) -> bool:
        """Whether the tables there are of the same schema."""
        if self.versions:
            return list(readers.revisions(reader, self.versions)) == self.revision.split()
        return all(set(shape.names) == set(self.shape(shape.name).names) for shape in self.mine(reader))

    def is_begun(self, reader: readers.Reader) -> bool:
        """Whether a restore that was cut off made all tables there and wrote no row, not even the revision."""
        there = {shape.name: set(shape.names) for shape in reader.shapes}
        return all(there.get(shape.name) == set(shape.names) for shape in self.shapes)

    def doomed(self, reader: readers.Reader) -> Mapping[str, Iterator[rowbatch.Batch]]:
        """What the target has of the part that is restored alone: of it, `recreate` deletes what the snapshot lacks."""
        del reader
        return {}

    def make_tables(self, url: str) -> None:
        """Those that an empty database, or one of other programs, lacks."""
        statements.create(url, self.shapes)

    @property
    def made_by(self) -> str:
        return ""

    def expected(self, table: snapshots.Table) -> str:
        """The digest that the target's table must have: the snapshot's own where nothing is changed on purpose."""
        return rowdigest.of_batches(self.rows(table.name)) if self.is_partial else table.digest

    def explained(self, table: str) -> str:
        return f"table {self.prefix}{table}" + (" (the chosen rows)" if self.is_partial else "")

    def note(self, table: str) -> str:
        """What is changed on purpose in the rows of a table, '' when nothing."""
        del table
        return ""
