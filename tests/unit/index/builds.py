"""Small builds: a corpus of a few hundred rows in two shards, planned into four parts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ddr.domain import indexes
from ddr.index import build, plans, stages
from ddr.index import work as works
from ddr.index.engines import picking
from ddr.index.sources import opening
from tests.unit.index import corpora

ROWS, DIMENSION = 400, 8
AT = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


def silent(progress: stages.Progress) -> None:
    del progress


def write(folder: Path, rows: int = ROWS, *, seed: int = 3) -> None:
    """Two shards of vectors, and their ids as whole numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    vectors = corpora.clustered(rows, DIMENSION, seed)
    half = rows // 2
    for number, (start, stop) in enumerate(((0, half), (half, rows))):
        np.save(folder / f"v{number}.npy", vectors[start:stop])
        np.save(folder / f"i{number}.npy", np.arange(start, stop, dtype=np.int64) * 7 + 1)


def wanted(folder: Path, kind: indexes.Kind | None = indexes.Kind.IVF_FLAT, **more: object) -> indexes.Wanted:
    source = indexes.Source((str(folder / "v*.npy"),), str(folder / "i*.npy"))
    given: dict[str, object] = {"kind": kind, "rows_per_part": ROWS // 4, "memory_mib": 4096, "recall": 0.9, **more}
    return indexes.Wanted("small", str(folder / "home"), source, **given)  # type: ignore[arg-type]


def sources() -> stages.Sources:
    return stages.Sources(Path("/"), corpora.no_bucket)


def plan(what: indexes.Wanted) -> indexes.Plan:
    place = sources()
    shards = opening.find(what.source, place.base, place.buckets)
    return plans.make(what, shards, plans.Machine(4096, 1), is_measured=False)


def bench(
    chosen: indexes.Plan, folder: Path, report: Callable[[stages.Progress], None] = silent, threads: int = 1
) -> stages.Bench:
    work = works.opened(folder, chosen)
    return stages.Bench(work, sources(), picking.engine_of(chosen.engine, chosen.device), threads, report)


def digests(built: build.Built) -> dict[str, str]:
    return {name: file.sha256 for name, (file, _) in sorted(built.files.items())}
