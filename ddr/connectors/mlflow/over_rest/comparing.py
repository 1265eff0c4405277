"""A target after a restore against the snapshot: captured anew, new ids turned back into old ones, digests compared.

What a restore over REST cannot keep (`fidelity`) is left out of the comparison on both sides, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ddr.connectors.mlflow.over_rest import capture, mapping, shapes, write_rest
from ddr.connectors.mlflow.over_rest import job as jobs
from ddr.lib import rowbatch, rowdigest
from ddr.ports import restorable

Turn = Callable[[rowbatch.Cell], rowbatch.Cell]

LEFT_OUT: Mapping[str, Sequence[str]] = {
    "experiments": ("artifact_location", "creation_time", "last_update_time", "other"),
    "runs": ("artifact_uri", "other"),
    "logged_models": (
        "artifact_uri", "creation_timestamp_ms", "last_updated_timestamp_ms", "status_message", "other",
    ),
    "registered_models": ("creation_timestamp", "last_updated_timestamp", "user_id", "other"),
    "model_versions": (
        "creation_timestamp", "last_updated_timestamp", "user_id", "location", "status_message", "model_id", "other",
    ),
    "scorers": ("creation_time", "other"),
    "evaluation_datasets": (
        "dataset_id", "digest", "created_time", "last_update_time", "created_by", "last_updated_by", "other",
    ),
}  # fmt: skip
_NEVER = ("webhooks", "other_objects", "evaluation_dataset_records")
_LOCATIONS = ("mlflow.artifactLocation", "mlflow.trace.archiveLocation")


@dataclass(frozen=True)
class _Side:
    """How cells of one side are turned: the snapshot's not at all, the target's back to the old ids."""

    experiments: Mapping[str, str] | None = None
    runs: Mapping[str, str] | None = None
    models: Mapping[str, str] | None = None
    source: Callable[[str], str] = lambda said: said

    def rows(self, table: str, pieces: Iterable[Sequence[shapes.Row]]) -> Iterator[list[shapes.Row]]:
        """Without the rows of what is no part of the restore."""
        shape = shapes.ALL[table]
        turns = [self._turn(table, name) for name in shape.names]
        wanted = [at for at, name in enumerate(shape.names) if name not in LEFT_OUT.get(table, ())]
        key = shape.names.index("key") if "key" in shape.names else None
        for rows in pieces:
            found = []
            for row in rows:
                if key is not None and (row[key] in mapping.OURS or row[key] in _LOCATIONS):
                    continue
                cells: list[rowbatch.Cell] = []
                for at, (turn, cell) in enumerate(zip(turns, row, strict=True)):
                    cells.append(turn(cell) if turn and cell not in (None, "") else cell)
                    if cell not in (None, "") and cells[at] is None and at == 0:
                        break
                else:
                    if key is not None and row[key] in (mapping.PARENT, mapping.SOURCE_RUN) and self.runs is not None:
                        cells[key + 1] = self.runs.get(str(cells[key + 1]), cells[key + 1])
                    found.append(tuple(cells[at] for at in wanted))
            yield found

    def _turn(self, table: str, column: str) -> Turn | None:
        pairs = {
            "experiment_id": self.experiments,
            "run_id": self.runs,
            "source_run_id": self.runs,
            "model_id": self.models,
        }.get(column)
        if table == "evaluation_datasets" and column == "tags":
            return _plain_tags
        if table == "evaluation_datasets" and column == "experiment_ids" and self.experiments is not None:
            experiments = self.experiments
            return lambda cell: shapes.text(sorted(experiments.get(one, one) for one in json.loads(str(cell))))
        if table == "trace_assessments" and column == "body":
            return _assessment
        if table == "model_versions" and column == "source":
            return lambda cell: self.source(str(cell))
        if pairs is None:
            return None
        known = pairs
        return lambda cell: known.get(str(cell))


def tables(work: jobs.Job) -> Iterator[restorable.Comparison]:
    """One of each table that has rows on either side."""
    back = {new: old for old, new in work.known.experiments.items()}
    runs = {new: old for old, new in work.known.runs.items()}
    models = {new: old for old, new in work.known.models.items()}
    here = _Side(
        {old: old for old in work.known.experiments.keys() | _ids(work, "experiments", "experiment_id")},
        {old: old for old in _ids(work, "runs", "run_id")},
        {old: old for old in _ids(work, "logged_models", "model_id")},
    )
    there = _Side(back, runs, models, _Sources(work).back)
    seen = capture.Gathered(work.client, work.there)
    for table in shapes.ALL:
        if table in _NEVER:
            continue
        own = here.rows(table, _own(work, table))
        new = there.rows(table, _within(work, table, seen.pieces(table)))
        expected, found = _digest(table, own), _digest(table, new)
        if not expected.startswith(_NO_ROWS) or not found.startswith(_NO_ROWS):
            yield restorable.Comparison(f"table {table}", expected, found)
    yield from _records(work)


_NO_ROWS = "rows1:0:"


def files(work: jobs.Job) -> Iterator[restorable.Comparison]:
    """Every file, byte by byte, as the server gives it."""
    sender = write_rest.Files(work)
    wrong: list[str] = []
    count = 0
    tree = work.source.component.tree("artifacts")
    if tree is None:
        return
    given = work.client.each(sender.placed(), lambda one: (one[0].path, sender.is_there(*one)))
    for path, is_whole in given:
        count += 1
        if not is_whole:
            wrong.append(path)
    whole = count - len(wrong)
    if not work.options.only:
        count = tree.files
    found = f"{whole} whole files" + (f"; not {', '.join(wrong[:3])}" if wrong else "")
    yield restorable.Comparison("files", f"{count} whole files", found)


def _ids(work: jobs.Job, table: str, key: str) -> set[str]:
    return {str(row[0]) for row in work.rows.ask(f"SELECT {key} FROM {table}")}  # noqa: S608


def _own(work: jobs.Job, table: str) -> Iterator[Sequence[shapes.Row]]:
    """What the snapshot has of a table, of what was chosen."""
    if table not in ("metric_history", "trace_spans"):
        yield from work.rows.pieces(table)
        return
    if work.source.component.table(table) is None:
        return
    known = {str(one) for one in work.rows.keys("runs" if table == "metric_history" else "traces")}
    for batch in work.source.rows(table):
        yield [row for row in batch.select(shapes.ALL[table].names).rows() if str(row[0]) in known]


def _within(work: jobs.Job, table: str, pieces: Iterable[Sequence[shapes.Row]]) -> Iterator[Sequence[shapes.Row]]:
    """Of traces and models, only those that the snapshot has: they have the same name on both sides."""
    first = shapes.ALL[table].key[0]
    if first not in ("trace_id", "name"):
        yield from pieces
        return
    known = work.rows.keys("traces" if first == "trace_id" else "registered_models")
    for rows in pieces:
        yield [row for row in rows if row[0] in known]


def _digest(table: str, pieces: Iterable[list[shapes.Row]]) -> str:
    columns = [
        (column.name, column.family)
        for column in shapes.ALL[table].columns
        if column.name not in LEFT_OUT.get(table, ())
    ]
    bools = [at for at, (_, family) in enumerate(columns) if family == "bool"]
    builder = rowbatch.Builder(columns)

    def plain() -> Iterator[list[shapes.Row]]:
        for rows in pieces:
            yield [
                tuple(bool(cell) if at in bools and cell is not None else cell for at, cell in enumerate(row))
                for row in rows
            ]

    return rowdigest.of_batches(builder.batches(plain()))


class _Sources:
    """Where a version of the target comes from, as the snapshot said it."""

    def __init__(self, work: jobs.Job) -> None:
        self._of = {}
        for (source,) in work.rows.ask("SELECT DISTINCT source FROM model_versions"):
            new = work.known.source(str(source or ""))
            self._of[new] = str(source or "")

    def back(self, said: str) -> str:
        return self._of.get(said, said)


def _plain_tags(cell: rowbatch.Cell) -> rowbatch.Cell:
    tags = json.loads(str(cell))
    return shapes.text({key: value for key, value in tags.items() if key not in mapping.OURS})


def _assessment(cell: rowbatch.Cell) -> rowbatch.Cell:
    said = json.loads(str(cell))
    said.pop("last_update_time", None)
    return shapes.text(said)


def _records(work: jobs.Job) -> Iterator[restorable.Comparison]:
    """Records of data sets by what is in them: the server gives them new ids."""
    for old, new in work.known.datasets.items():
        said = []
        for rows, identity in ((work.rows, old), (work.there, new)):
            query = "SELECT body FROM evaluation_dataset_records WHERE dataset_id = ?"
            bodies = [json.loads(str(body)) for (body,) in rows.ask(query, [identity])]
            kept = sorted(shapes.text([one.get("inputs"), one.get("expectations")]) for one in bodies)
            said.append(rowdigest.of_batches([rowbatch.of_rows([("record", "text")], [(one,) for one in kept])]))
        yield restorable.Comparison(f"records of data set {old[:10]}", said[0], said[1])
