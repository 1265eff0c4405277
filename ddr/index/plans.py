"""From what is wanted and what is there to a plan: decided once, written down, and then only obeyed."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddr.domain import indexes
from ddr.errors import InputError, Refused
from ddr.index import choosing, gate, preflight, worker
from ddr.index import work as works
from ddr.index.engines import cards, picking
from ddr.index.sources import places

PART_CODE = "2"  # changes when equal plans give other bytes than before
_PARTS_WANTED = 16
_LEAST_ROWS, _MOST_ROWS = 50_000, 5_000_000
_MEMORY_SHARE = 8
_MIB = 1 << 20
_MOST_ANSWERS_BYTES = 1 << 30
"""Exact answers of all parts together, or as much as the vectors where that is more."""


@dataclass(frozen=True)
class Machine:
    """What a build may take here."""

    memory_mib: int
    threads: int
    disk_mib: int | None = None
    """Free where the work folder is; None where nobody says."""
    is_home_apart: bool = False
    """The home is a folder on another disk than the work folder: `home_mib` are free there, None where nobody says."""
    home_mib: int | None = None


@dataclass(frozen=True)
class Look:
    """How this machine is looked at."""

    pick: Callable[[indexes.Wanted], picking.Picked] = picking.pick
    free_mib: Callable[[str], int | None] = cards.free_mib


def machine(wanted: indexes.Wanted, folder: Path | None = None) -> Machine:
    """This one: memory that is available now, or the limit that was given; cores that this process may use; room where
    the work folder is, and where the home is. InputError where a file is in the way of that folder or of the home."""
    here = Machine(wanted.memory_mib or preflight.available_mib(), len(os.sched_getaffinity(0)))
    if folder is None:
        return here
    versions = None if wanted.home.startswith(places.S3) else Path(wanted.home, "versions")
    if versions is not None:
        _check_way(versions.parent, "`home:` names a folder: versions/ and `current` come to lie in it")
    _check_way(folder, "`work:` names another folder for what a build keeps")
    here = dataclasses.replace(here, disk_mib=preflight.free_mib(folder))
    if versions is None or preflight.is_one_disk(folder, versions):
        return here
    return dataclasses.replace(here, is_home_apart=True, home_mib=preflight.free_mib(versions))


def _check_way(folder: Path, hint: str) -> None:
    with contextlib.suppress(OSError):  # what may not be looked at is told by who makes the folder
        file = next((one for one in (folder, *folder.parents) if one.exists() and not one.is_dir()), None)
        if file is not None:
            raise InputError(f"{folder} cannot be made: {file} is a file", hint=hint)


def make(
    wanted: indexes.Wanted,
    shards: Sequence[indexes.Shard],
    here: Machine,
    *,
    is_measured: bool = True,
    look: Look = Look(),
    queries: int | None = None,
) -> indexes.Plan:
    """The plan for these shards. Refused, with what would fit, where it cannot be built here, or its recall never
    be shown.

    `is_measured`: rates are measured for a moment, so that the estimates have seconds. `queries`: how many are given.
    """
    rows = sum(shard.rows for shard in shards)
    dimension = next((shard.dimension for shard in shards if shard.rows), shards[0].dimension)
    engine = look.pick(wanted)
    shape, reasons, on_gpu = _shaped(wanted, rows, dimension, here.memory_mib, engine, look)
    asked = min(gate.QUERIES, rows if queries is None else queries)
    proof = _proof(shape, wanted, asked)
    parts = cut(rows, wanted.rows_per_part or rows_per_part(rows, dimension, here.memory_mib))
    answers = preflight.answers_bytes(asked, worker.neighbours(wanted))
    disk = _disk(shape, rows, len(parts), answers, here, wanted.home)
    rates = preflight.rates(shape, here.threads) if is_measured else {}
    estimates = preflight.estimates(shape, rows, len(parts), rates)
    short = preflight.too_large(estimates, here.memory_mib)
    if short:
        raise Refused(short.what, hint=short.fits)
    estimates = (*estimates, disk, *on_gpu)
    return indexes.Plan(
        wanted,
        shape,
        engine.name,
        engine.device,
        tuple(shards),
        parts,
        (
            *reasons,
            *engine.reasons,
            *proof,
            *_empty(shards),
            f"{len(parts)} part{'' if len(parts) == 1 else 's'} of up to {parts[0].stop:,} rows: a kill costs one",
        ),
        estimates,
        _software(engine),
    )


def _shaped(
    wanted: indexes.Wanted, rows: int, dimension: int, memory_mib: int, engine: picking.Picked, look: Look
) -> tuple[indexes.Shape, tuple[str, ...], tuple[indexes.Estimate, ...]]:
    """Shape, reasons, and what a GPU holds. A graph that ddr would choose and the GPU has no room for is another kind;
    what was asked for is refused."""

    def chosen(*, has_cuvs: bool) -> tuple[indexes.Shape, tuple[str, ...]]:
        return choosing.choose(wanted, rows, dimension, memory_mib, has_gpu=engine.is_gpu, has_cuvs=has_cuvs)

    shape, reasons = chosen(has_cuvs=engine.has_cuvs)
    if not engine.is_gpu:
        return shape, reasons, ()
    stage, free = preflight.on_gpu(shape, rows, engine.name), look.free_mib(engine.device)
    short = preflight.too_large_for_gpu(stage, engine.device, free)
    if short and wanted.kind is None and shape.kind is indexes.Kind.CAGRA:
        shape, reasons = chosen(has_cuvs=False)
        reasons = (*reasons, f"no cagra: {short.what}")
        stage = preflight.on_gpu(shape, rows, engine.name)
        short = preflight.too_large_for_gpu(stage, engine.device, free)
    if short:
        raise Refused(short.what, hint=short.fits)
    if free is None:
        reasons = (*reasons, f"how much memory of {engine.device} is free nobody says: {stage.memory_mib:,} MiB wanted")
    return shape, reasons, (stage,)


def _proof(shape: indexes.Shape, wanted: indexes.Wanted, queries: int) -> tuple[str, ...]:
    """What the gate can show at all. Refused where that is less than what is wanted."""
    most = gate.provable(queries)
    if most >= wanted.recall:
        return ()
    if shape.kind is indexes.Kind.FLAT:
        return (f"flat is exact: all answers to {queries:,} queries must be right",)
    told = f"recall {math.floor(most * 10_000) / 10_000:g} or less"
    needed = gate.queries_for(wanted.recall) if wanted.recall < 1 else 0
    if wanted.queries and 0 < needed <= gate.QUERIES:
        told += f", {needed:,} queries or more"
    raise Refused(
        f"recall {wanted.recall:g} cannot be shown: {queries:,} queries that are all answered right show {most:.4f}",
        hint=f"{told}, or kind flat, which is exact",
    )


def _empty(shards: Sequence[indexes.Shard]) -> tuple[str, ...]:
    """A writer that died leaves such a file."""
    empty = [shard.uri for shard in shards if not shard.rows]
    if not empty:
        return ()
    more = f" and {len(empty) - 1:,} more" if len(empty) > 1 else ""
    return (f"{len(empty):,} of {len(shards):,} files without a row: {empty[0]}{more}; look at what writes them",)


def _disk(shape: indexes.Shape, rows: int, parts: int, answers: int, here: Machine, home: str) -> indexes.Estimate:
    """Refused where it or the version does not fit, or parts are so small that their answers are all there is."""
    most = max(_MOST_ANSWERS_BYTES, 4 * rows * shape.dimension)
    if parts > 1 and parts * answers > most:
        raise Refused(
            f"{parts:,} parts keep {parts * answers // _MIB:,} MiB of exact answers, {answers / _MIB:.1f} each",
            hint=f"rowsPerPart {-(-rows // max(1, most // answers)):,} or more, or leave it to ddr",
        )
    has_version = not (here.is_home_apart or home.startswith(places.S3))
    stage = preflight.on_disk(shape, rows, parts, answers, has_version=has_version)
    short = preflight.too_large_for_disk(stage, here.disk_mib, parts, has_version=has_version)
    short = short or preflight.too_large_for_home(shape, rows, home, here.home_mib)
    if short:
        raise Refused(short.what, hint=short.fits)
    return stage


def begun(folder: Path, wanted: indexes.Wanted, shards: Sequence[indexes.Shard]) -> indexes.Plan | None:
    """The plan that a build of this corpus was begun with: what was chosen then by the memory of that moment stays.

    Of several the newest; None where there is none, or other software would make other bytes of it.
    """
    found: list[tuple[float, indexes.Plan]] = []
    for work in works.all_of(folder):
        plan = work.plan
        if is_of(plan, wanted, shards) and _is_software_here(plan):
            with contextlib.suppress(OSError):  # a folder that goes away just now
                found.append((work.path(works.PLAN).stat().st_mtime, plan))
    return max(found, key=lambda one: one[0])[1] if found else None


def is_of(plan: indexes.Plan, wanted: indexes.Wanted, shards: Sequence[indexes.Shard]) -> bool:
    """Whether this corpus is what it is for, by whatever software: machines that share a folder may have others."""
    return plan.wanted == wanted and plan.shards == tuple(shards)


def _is_software_here(plan: indexes.Plan) -> bool:
    try:
        here = picking.pick(plan.wanted)
    except Refused:
        return False
    return (plan.engine, plan.device) == (here.name, here.device) and plan.software == _software(here)


def _software(engine: picking.Picked) -> dict[str, str]:
    return {"part": PART_CODE, **engine.software}


def rows_per_part(rows: int, dimension: int, memory_mib: int) -> int:
    """About 16 parts of 50 thousand to 5 million rows, whose vectors take an eighth of the memory at most."""
    by_memory = memory_mib * _MIB // _MEMORY_SHARE // (4 * dimension)
    wanted = min(_MOST_ROWS, max(_LEAST_ROWS, -(-rows // _PARTS_WANTED)))
    return max(1, min(wanted, by_memory))


def cut(rows: int, size: int) -> tuple[indexes.Part, ...]:
    """[0, rows) in pieces of `size`; one empty piece where there are no rows."""
    starts = range(0, max(rows, 1), size)
    return tuple(indexes.Part(number, start, min(start + size, rows)) for number, start in enumerate(starts))
