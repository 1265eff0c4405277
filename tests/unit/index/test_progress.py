"""What a build tells while it works: each stage from little to all, the end once and only when it is on the disk."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from ddr.domain import indexes
from ddr.index import build, stages
from ddr.index.engines import blank, engine, faiss_engine, flats, lists, torch_engine
from ddr.index.engines import library as libraries
from tests.unit.index import builds, clustered

Kind, Metric = indexes.Kind, indexes.Metric


def told(chosen: indexes.Plan, folder: Path) -> dict[str, list[stages.Progress]]:
    calls: list[stages.Progress] = []
    bench = builds.bench(chosen, folder, calls.append)
    build.build(bench)
    found: dict[str, list[stages.Progress]] = {}
    for call in calls:
        found.setdefault(call.stage, []).append(call)
    return found


@pytest.mark.parametrize("name", ["faiss", "torch"])
@pytest.mark.parametrize("kind", [Kind.FLAT, Kind.IVF_FLAT, Kind.IVF_SQ8, Kind.IVF_PQ, Kind.HNSW])
def test_every_stage_moves_and_ends_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: indexes.Kind, name: str
) -> None:
    monkeypatch.setattr(flats, "PIECE_ROWS", 64)
    monkeypatch.setattr(lists, "_BLOCK_BYTES", 1024)
    builds.write(tmp_path, 1_200)
    chosen = builds.plan(builds.wanted(tmp_path, kind, engine=name, rows_per_part=400))
    found = told(chosen, tmp_path / "work")
    for stage, calls in found.items():
        assert all(before.done <= after.done for before, after in itertools.pairwise(calls)), stage
        ends = [call for call in calls if 0 < call.of <= call.done]
        assert (len(ends), ends == calls[-1:]) == (1, True), (stage, calls)
    moves = [stages.MERGE, *([stages.TRAIN] if kind in engine.IVF else [])]
    assert all(len({call.done for call in found[stage]}) > 3 for stage in moves), {s: len(found[s]) for s in moves}
    assert (stages.SAMPLE in found) == (stages.TRAIN in found) == (kind in engine.IVF)
    again = told(chosen, tmp_path / "work")
    assert again
    assert all(call.is_kept for calls in again.values() for call in calls)


@pytest.mark.parametrize("by", [faiss_engine.FaissEngine(), torch_engine.TorchEngine()], ids=["faiss", "torch"])
@pytest.mark.parametrize("neighbours", [0, 16])
@pytest.mark.parametrize("kind", [Kind.IVF_FLAT, Kind.IVF_SQ8, Kind.IVF_PQ])
def test_shares_of_training_grow_and_never_end(kind: indexes.Kind, neighbours: int, by: engine.Engine) -> None:
    rows = clustered.rows(3_000, 16)
    shape = indexes.Shape(
        kind, 16, Metric.L2, lists=32, points_per_list=64, code_bytes=4, code_points=1_000, neighbours=neighbours
    )
    shares: list[float] = []
    by.train(rows, shape, 1, shares.append)
    assert len(shares) > shape.iterations - 2
    assert shares == sorted(set(shares))
    assert 0 < shares[0] < shares[-1] < 1


@pytest.mark.parametrize("rows", [64, 65, 3_000])
@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP])
def test_rounds_told_one_by_one_find_what_faiss_finds_in_one_call(metric: indexes.Metric, rows: int) -> None:
    faiss = libraries.faiss()
    vectors = clustered.rows(rows, 16)
    shape = indexes.Shape(Kind.IVF_FLAT, 16, metric, lists=64, points_per_list=64, iterations=10, seed=7)
    clustering = faiss.Clustering(16, 64)
    clustering.seed, clustering.niter, clustering.min_points_per_centroid = 7, 10, 1
    clustering.spherical = metric is not Metric.L2
    with engine.threads_of_faiss(1):
        clustering.train(vectors, blank.coarse_flat(shape))
        found = faiss_engine._full_rounds(vectors, shape, blank.coarse_flat(shape), engine.untold)
    whole = faiss.vector_to_array(clustering.centroids).reshape(64, 16)
    assert np.array_equal(found, whole) if metric is Metric.L2 else np.allclose(found, whole, atol=1e-5)
