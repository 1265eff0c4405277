"""What is left of a build is of use as long as it is of the rows and queries that were read last."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ddr.index import build, remains, stages
from tests.unit.index import builds, corpora

ALL, NONE = (True,) * 4, (False,) * 4


@pytest.mark.parametrize("changed", ["rows", "queries", "nothing"])
def test_parts_are_of_what_was_read_last(tmp_path: Path, changed: str) -> None:
    builds.write(tmp_path)
    queries = tmp_path / "asked.npy"
    np.save(queries, corpora.clustered(300, builds.DIMENSION, 5))
    chosen = builds.plan(builds.wanted(tmp_path, queries=str(queries)))
    bench = builds.bench(chosen, tmp_path / "work")
    build.build(bench)
    assert remains.whole_parts(bench) == (ALL, True)
    if changed == "rows":
        corpora.rot(tmp_path / "v1.npy")
    elif changed == "queries":
        np.save(queries, corpora.clustered(300, builds.DIMENSION, 6))
    build.rescan(bench)
    assert remains.whole_parts(bench) == (ALL, True), "nothing was read yet"
    build.prepare(bench)
    parts, is_trained = remains.whole_parts(bench)
    assert (parts, is_trained) == (ALL if changed == "nothing" else NONE, True)
    again = build.merged_again(bench)
    assert remains.whole_parts(bench) == (ALL, True)
    bench.work.discard(stages.MERGE)
    assert builds.digests(build.build(bench)) == builds.digests(again)
