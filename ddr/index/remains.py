"""What is left of a build in its work folder: what of it is of use, and what is to be made again."""

from __future__ import annotations

from collections.abc import Sequence

from ddr.domain import indexes
from ddr.errors import Missing
from ddr.index import stages, worker
from ddr.index import work as works


def whole_parts(bench: stages.Bench) -> tuple[tuple[bool, ...], bool]:
    """Whether each part's files have the bytes that were written, of the rows and queries that were read last, and
    whether those of the training have. Reads all of them."""
    parts = tuple(not _is_outdated(bench, one) and _is_whole(bench, _of(bench, one)) for one in bench.plan.parts)
    return parts, _is_whole(bench, bench.work.receipt(stages.TRAIN))


def is_scanned(bench: stages.Bench) -> bool:
    """Whether what was read of corpus and queries is whole. Reads it."""
    return all(_is_whole(bench, bench.work.receipt(stage)) for stage in (stages.SCAN, stages.QUERIES))


def is_made(bench: stages.Bench, one: indexes.Part) -> bool:
    """Whether a part is there, made of what is there before the parts. Missing where that is not."""
    return bench.work.done(stages.part_stage(one.number), worker.inputs(bench, one), is_read=False) is not None


def forget(bench: stages.Bench, numbers: Sequence[int] | None) -> None:
    """Let these parts (None: every stage) be made again, and what comes of them."""
    chosen = [one.number for one in bench.plan.parts] if numbers is None else numbers
    early = () if numbers is not None else (stages.SCAN, stages.QUERIES, stages.TRAIN)
    for stage in (*early, *map(stages.part_stage, chosen), stages.MERGE, stages.MEASURE):
        bench.work.discard(stage)


def _of(bench: stages.Bench, one: indexes.Part) -> works.Receipt | None:
    return bench.work.receipt(stages.part_stage(one.number))


def _is_outdated(bench: stages.Bench, one: indexes.Part) -> bool:
    """Made of other rows, queries or training than are there now. False where one of those is not done: a build, which
    does it, will see."""
    receipt = _of(bench, one)
    try:
        return receipt is not None and receipt.inputs != worker.inputs(bench, one)
    except Missing:
        return False


def _is_whole(bench: stages.Bench, receipt: works.Receipt | None) -> bool:
    return receipt is not None and bench.work.is_whole(receipt)
