"""How long the child may search that measures a file: by what it is to look at, and told as time when it is more."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddr.domain import indexes
from ddr.errors import Unavailable
from ddr.index import build, child, measuring
from tests.unit.index import builds

Kind = indexes.Kind
GB = 10**9


@pytest.mark.parametrize(
    ("kind", "size_bytes", "search", "least_s", "most_s"),
    [
        (Kind.FLAT, GB, 0, 40_000, 40_000),
        (Kind.IVF_SQ8, 40 * GB, 1, 400, 700),
        (Kind.IVF_SQ8, 40 * GB, 256, 100_000, 100_500),
        (Kind.IVF_SQ8, 40 * GB, 4096, 1_600_000, 1_600_500),
        (Kind.IVF_PQ, 4 * GB, 256, 10_000, 15_000),
        (Kind.HNSW, 40 * GB, 10, 10, 200),
        (Kind.HNSW, 40 * GB, 4096, 2_600, 2_700),
        (Kind.FLAT, 0, 0, 0, 0),
    ],
)
def test_time_follows_from_what_is_searched(
    kind: Kind, size_bytes: int, search: int, least_s: int, most_s: int
) -> None:
    shape = indexes.Shape(kind, 128, indexes.Metric.L2, lists=4096, links=16)
    counts = {1: 2000, 10: 1000, 100: 1000}
    assert least_s <= measuring.searching_s(shape, size_bytes, search, counts) <= most_s


def test_a_child_that_is_late_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds.write(tmp_path)
    given = []

    def late(_: child.Function, question: bytes, limits: child.Limits) -> child.Outcome:
        del question
        given.append(limits)
        return child.Outcome(trouble="the child used more than 121 s of processor time and was killed", is_late=True)

    monkeypatch.setattr(child, "run", late)
    bench = builds.bench(builds.plan(builds.wanted(tmp_path)), tmp_path / "work")
    with pytest.raises(Unavailable, match="not measured in time: the child used more than 121 s"):
        build.build(bench)
    assert given[0].cpu_s > child.Limits.of_file(1).cpu_s
