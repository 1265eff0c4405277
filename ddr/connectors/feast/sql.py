"""A Feast registry in a SQL database (registry_type sql): its tables row by row, one view alone by its protos.

Feast's tables are known by their columns, so that a database which it shares with others is not taken whole. What is
in a row besides its key is a protocol buffer of the same kinds as in a registry file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property

from ddr.connectors.feast import registry
from ddr.connectors.tables import dump, places, readers, reflect, restore, work
from ddr.errors import Damaged, InputError, Refused
from ddr.lib import rowbatch, sqlitefile
from ddr.ports import restorable

PREFIX = "registry."
HISTORY, _METADATA, _SHARED = "feature_view_version_history", "feast_metadata", ("entities", "data_sources", "projects")
_KINDS: Mapping[str, int] = {
    "entities": 1, "feature_views": 6, "feature_services": 7, "on_demand_feature_views": 8, "saved_datasets": 11,
    "data_sources": 12, "validation_references": 13, "stream_feature_views": 14, "permissions": 16, "projects": 17,
    "label_views": 19,
}  # fmt: skip
"""The field of the registry file that holds what a table holds."""


def is_address(said: str) -> bool:
    return "://" in said and not said.startswith(("file://", "s3://", "gs://", "http://", "https://"))


def capture(place: places.Place, sink: restorable.Sink) -> tuple[registry.Object, ...]:
    """Gives the definitions. Refused when there is no registry in the database; Damaged when a proto is none."""
    with place.opened() as reader:
        shapes = feast_tables(reader.shapes)
        if not shapes:
            raise Refused(
                f"{place.label} has no tables of a Feast registry", hint="`feast apply` makes them; or correct `path`"
            )
        dump.capture(reader, sink, shapes, prefix=PREFIX)
        return tuple(_objects(reader, shapes))


def objects(place: places.Place) -> tuple[registry.Object, ...]:
    """The definitions alone. Damaged when a proto is none."""
    with place.opened() as reader:
        return tuple(_objects(reader, feast_tables(reader.shapes)))


def feast_tables(shapes: Sequence[reflect.Shape]) -> Sequence[reflect.Shape]:
    """Those with a project and a proto, and Feast's own notes."""
    return [
        shape
        for shape in shapes
        if "project_id" in shape.names
        and (shape.name == _METADATA or any(name.endswith("_proto") for name in shape.names))
    ]


def _proto(shape: reflect.Shape) -> str:
    return next(name for name in shape.names if name.endswith("_proto"))


def _objects(reader: readers.Reader, shapes: Sequence[reflect.Shape]) -> Iterator[registry.Object]:
    for shape in shapes:
        if shape.name in _KINDS:
            column, table = sqlitefile.quoted(_proto(shape)), sqlitefile.quoted(shape.name)
            for row in reader.ask(f"SELECT {column}, project_id FROM {table}"):  # noqa: S608
                yield _object(shape.name, *row)


def _object(table: str, content: rowbatch.Cell, project: rowbatch.Cell) -> registry.Object:
    """The project is the row's: Feast does not always write it into the proto."""
    if not isinstance(content, bytes):
        raise Damaged(f"{table} has a row without its proto", hint="`feast apply` writes it again")
    return replace(registry.parsed(_KINDS[table], content, f"a row of {table}"), project=str(project))


@dataclass
class Work(work.Work):
    """`views` are the names of those that are restored alone; () is all."""

    prefix: str = PREFIX
    of_a_fresh_one: Set[str] = frozenset({"projects", _METADATA})
    views: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.views:
            self.left_alone = frozenset({*_SHARED, _METADATA})  # others use them too

    @property
    def is_partial(self) -> bool:
        return bool(self.views)

    @cached_property
    def chosen(self) -> Mapping[str, Set[tuple[str, str]]]:
        """(name, project) of what the views need, by table. InputError when there is not one view of the name."""
        found: dict[str, set[tuple[str, str]]] = {}
        known: dict[str, list[tuple[str, registry.Object]]] = {}
        for table in _KINDS.keys() & self._by_name.keys():
            for batch in self.source.rows(self.prefix + table):
                for row in batch.select((_proto(self.shape(table)), "project_id")).rows():
                    one = _object(table, *row)
                    if one.is_view:
                        known.setdefault(one.name, []).append((table, one))
        for name in self.views:
            there = known.get(name, [])
            if len(there) != 1:
                why = f"has {len(there)} views {name!r}" if there else f"has no view {name!r}"
                raise InputError(f"the snapshot {why}", hint=f"there is: {', '.join(sorted(known)[:10]) or 'none'}")
            ((table, view),) = there
            for needed in (table, HISTORY):
                found.setdefault(needed, set()).add((name, view.project))
            found.setdefault("entities", set()).update((one, view.project) for one in view.entities)
            found.setdefault("data_sources", set()).update((one, view.project) for one in view.sources)
            for one_row in ("projects", _METADATA):
                found.setdefault(one_row, set()).add((view.project, view.project))
        return found

    def rows(self, table: str) -> Iterator[rowbatch.Batch]:
        rows = super().rows(table)
        return _of(self.shape(table), rows, self.chosen.get(table, set())) if self.views else rows

    def doomed(self, reader: readers.Reader) -> Mapping[str, Iterator[rowbatch.Batch]]:
        """Later versions of the view: Feast would go on counting behind them."""
        shape = readers.shape_of(reader, HISTORY)
        if shape is None:
            return {}
        return {HISTORY: _of(shape, dump.rows(reader, shape), self.chosen.get(HISTORY, set()))}


def _of(shape: reflect.Shape, rows: Iterator[rowbatch.Batch], wanted: Set[tuple[str, str]]) -> Iterator[rowbatch.Batch]:
    """Rows of the wanted names and projects."""
    import numpy as np

    named = next((name for name in shape.names if name.endswith("_name") and name in shape.key), "project_id")
    for batch in rows:
        keys = zip(batch.column(named).cells(), batch.column("project_id").cells(), strict=True)
        keep = np.fromiter((key in wanted for key in keys), dtype=np.bool_, count=batch.size)
        if keep.any():
            yield batch.where(keep)


def plan(job: Work) -> tuple[list[restorable.PlanLine], list[str]]:
    if job.views:
        _ = job.chosen  # a view that is not there is told first
    return restore.plan(job)


def check(job: Work) -> restore.State:
    """Conflict or Refused where the plan would refuse."""
    return restore.check(job)


def apply(job: Work, state: restore.State, progress: restorable.Progress | None) -> None:
    restore.restore(job, state, progress)


def compare(job: Work, lines: Sequence[restorable.PlanLine]) -> list[restorable.Comparison]:
    """`lines` are those of the plan: they tell whether the tables were made anew."""
    return restore.compare(job, is_whole=any(line.what.startswith(restore.DATABASE) for line in lines))
