"""One part of an index: a pure function of what was trained, a range of the corpus and the code that does it.

The contract of a laptop, Ray and a Kubernetes Indexed Job alike: called again it does nothing, called twice at once
both write the same bytes. Beside the part it keeps the exact neighbours of the gate's queries among its rows, so that
the corpus need not be read once more to prove the recall.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ddr.domain import indexes
from ddr.errors import Damaged, Missing
from ddr.index import exact, gate, stages
from ddr.index import work as works
from ddr.index.engines import files as faiss_files
from ddr.index.homes import naming

if TYPE_CHECKING:
    from ddr.index.sources import corpus

BATCH_BYTES = 64 << 20
_NEIGHBOURS = 100


def batch_rows(dimension: int) -> int:
    """Rows of a batch: 64 MiB of vectors, at least 4,096 and at most 65,536."""
    return max(4096, min(65536, BATCH_BYTES // (4 * dimension)))


def neighbours(wanted: indexes.Wanted) -> int:
    """Exact neighbours that are kept of each query: recall at 1, 10, 100 and k follows from them, ties seen."""
    return max(_NEIGHBOURS, wanted.k) + gate.TIES


def part(bench: stages.Bench, number: int) -> works.Receipt:
    """Make part `number`, or find it made. Missing before the corpus was scanned and the index trained, and
    where what came of that is not whole."""
    one = bench.plan.parts[number]
    stage, key = stages.part_stage(number), inputs(bench, one)
    found = bench.done(stage, key, one.stop - one.start, is_read=False)  # the merge reads it
    return found or _make(bench, one, stage, key)


def made(bench: stages.Bench) -> tuple[works.Receipt, ...]:
    """The receipts of all parts. Missing when one is not made."""
    return tuple(required(bench, stages.part_stage(one.number)) for one in bench.plan.parts)


def inputs(bench: stages.Bench, one: indexes.Part) -> str:
    """The digest of all that decides the bytes of a part."""
    scanned, asked, trained = (required(bench, name) for name in (stages.SCAN, stages.QUERIES, stages.TRAIN))
    return stages.key_of(
        [file.sha256 for receipt in (scanned, asked, trained) for file in receipt.files],
        [one.start, one.stop],
        dict(bench.plan.software),
    )


def required(bench: stages.Bench, stage: str) -> works.Receipt:
    """The receipt of a stage that comes before parts."""
    found = bench.work.receipt(stage)
    if found is None:
        raise Missing(
            f"{bench.work.folder}: {stage} is not done", hint="`ddr index prepare` does what comes before parts"
        )
    return found


def _ready(bench: stages.Bench, stage: str, name: str) -> Path:
    """A file of a stage that comes before parts, its bytes compared. Missing where they are not those: no part makes
    it anew."""
    file = required(bench, stage).file(name)
    try:
        return bench.work.verified(file)
    except (Damaged, Missing) as problem:
        where = "" if bench.work.depot is None else ", on a machine that has no work folder of this plan"
        raise Missing(problem.message, hint=f"`ddr index prepare` makes it anew{where}") from problem


def dropped(bench: stages.Bench) -> np.ndarray:
    """Positions that the scan left out, sorted."""
    return _array(_ready(bench, stages.SCAN, naming.DROPPED))


def load(bench: stages.Bench, file: indexes.File) -> np.ndarray:
    """An array of the work folder, its digest compared."""
    return _array(bench.work.verified(file))


def _array(path: Path) -> np.ndarray:
    return np.asarray(np.load(path, allow_pickle=False))


def save(bench: stages.Bench, name: str, values: np.ndarray) -> indexes.File:
    content = io.BytesIO()
    np.save(content, values, allow_pickle=False)
    return bench.work.write_bytes(name, content.getbuffer())


def _make(bench: stages.Bench, one: indexes.Part, stage: str, key: str) -> works.Receipt:
    trained = _ready(bench, stages.TRAIN, naming.TRAINED).read_bytes()
    queries = _array(_ready(bench, stages.QUERIES, "queries.npy"))
    near = exact.Running(queries, neighbours(bench.plan.wanted), bench.plan.shape.metric)
    made = bench.engine.part(trained, bench.plan.shape, _batches(bench, one, near), bench.threads)
    found = near.answer()
    files = (
        bench.work.write(f"{stage}.faiss", lambda write: faiss_files.serialize_to(made, write)),
        save(bench, f"{stage}.labels.npy", found.labels),
        save(bench, f"{stage}.distances.npy", found.distances),
    )
    return bench.work.sign(works.Receipt(stage, key, files))


def _batches(bench: stages.Bench, one: indexes.Part, near: exact.Running) -> Iterator[corpus.Batch]:
    plan, rows = bench.plan, bench.sources.corpus(bench.plan)
    size, total = batch_rows(plan.shape.dimension), one.stop - one.start
    left_out = dropped(bench)
    for batch in rows.batches(one.start, one.stop, size, plan.shape.metric, plan.wanted.policies, left_out):
        near.add(batch)
        yield batch
        at = int(batch.positions[-1]) + 1 - one.start if len(batch.positions) else 0
        bench.report(stages.Progress(stages.part_stage(one.number), at, total))
