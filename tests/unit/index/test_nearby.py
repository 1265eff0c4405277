"""Training whose later rounds look at neighbours alone: as good as rounds over all, and the same twice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ddr.domain import indexes
from ddr.index import choosing
from ddr.index.engines import faiss_engine, files, nearby
from tests.unit.index import clustered

Kind, Metric = indexes.Kind, indexes.Metric
DIMENSION, LISTS, NEIGHBOURS, SEEDS = 16, 128, 16, 6
CPU = faiss_engine.FaissEngine()


def shape_of(kind: indexes.Kind, metric: indexes.Metric = Metric.L2, seed: int = 1) -> indexes.Shape:
    return indexes.Shape(
        kind,
        DIMENSION,
        metric,
        lists=LISTS,
        code_bytes=8,
        neighbours=NEIGHBOURS,
        code_points=4096,
        code_iterations=6,
        seed=seed,
    )


def built(shape: indexes.Shape, vectors: np.ndarray, threads: int = 1) -> bytes:
    labels = np.arange(len(vectors), dtype=np.int64)
    trained = CPU.train(vectors, shape, threads)
    return files.serialize(CPU.part(trained, shape, [clustered.Batch(labels, vectors)], threads))


def recall(shape: indexes.Shape, vectors: np.ndarray) -> float:
    queries = vectors[:: len(vectors) // 1000] + 0.05 * np.random.default_rng(1).standard_normal((1000, DIMENSION))
    return clustered.recall(files.loads(built(shape, vectors)), vectors, queries.astype(np.float32), 8)


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP])
@pytest.mark.parametrize("kind", [Kind.IVF_FLAT, Kind.IVF_SQ8, Kind.IVF_PQ])
def test_recall_is_that_of_rounds_over_all(kind: indexes.Kind, metric: indexes.Metric) -> None:
    """Over several seeds, as one training differs from the next by more than the two kinds do."""
    vectors = clustered.rows(12_000, DIMENSION)
    shapes = [shape_of(kind, metric, seed) for seed in range(SEEDS)]
    near = float(np.mean([recall(shape, vectors) for shape in shapes]))
    full = float(np.mean([recall(dataclasses.replace(shape, neighbours=None), vectors) for shape in shapes]))
    print(kind, metric, f"neighbours {near:.4f}, all {full:.4f}")
    assert near >= full - 0.005


@pytest.mark.parametrize("odd", ["a row a list", "all alike", "two places", "one far away", "zeros"])
@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP])
def test_odd_rows_train_and_none_is_lost(metric: indexes.Metric, odd: str) -> None:
    vectors = {
        "a row a list": clustered.rows(LISTS, DIMENSION),
        "all alike": np.tile(clustered.rows(1, DIMENSION), (3 * LISTS, 1)),
        "two places": np.tile(clustered.rows(2, DIMENSION), (2 * LISTS, 1)),
        "one far away": np.concatenate([clustered.rows(4 * LISTS, DIMENSION), np.full((1, DIMENSION), 1e6)]),
        "zeros": np.zeros((2 * LISTS, DIMENSION)),
    }[odd].astype(np.float32)
    index = files.loads(built(shape_of(Kind.IVF_FLAT, metric), vectors))
    assert np.isfinite(index.quantizer.reconstruct_n(0, LISTS)).all()
    assert sorted(files.labels(index).tolist()) == list(range(len(vectors)))


def test_the_same_bytes_twice_with_other_threads_and_in_other_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered.rows(9_000, DIMENSION)
    made = {built(shape_of(Kind.IVF_FLAT), vectors, threads) for threads in (1, 1, 2)}
    assert len(made) == 1
    own = np.random.default_rng(2).integers(0, 3, len(vectors))
    whole = nearby._Lists(own, LISTS).means(vectors, np.random.default_rng(3))
    monkeypatch.setattr(nearby, "_BLOCK_ROWS", 1000)
    assert np.allclose(whole, nearby._Lists(own, LISTS).means(vectors, np.random.default_rng(3)), atol=1e-5)


def test_a_row_goes_to_the_best_of_the_centres_near_its_own() -> None:
    vectors = clustered.rows(2_000, DIMENSION)
    centres = vectors[:LISTS].copy()
    far = ((vectors[:, None] - centres) ** 2).sum(2)
    own = far.argmin(1)
    moved = nearby._Lists(own, LISTS).moved(vectors, centres, np.tile(np.arange(LISTS), (LISTS, 1)), is_l2=True)
    assert (moved == own).all()
    only = np.tile(np.arange(4), (LISTS, 1))
    assert (nearby._Lists(own, LISTS).moved(vectors, centres, only, is_l2=True) == far[:, :4].argmin(1)).all()


def test_more_neighbours_than_lists_are_all() -> None:
    vectors = clustered.rows(2_000, DIMENSION)
    some = [dataclasses.replace(shape_of(Kind.IVF_FLAT), neighbours=count) for count in (LISTS, 10 * LISTS)]
    assert built(some[0], vectors) == built(some[1], vectors)


def test_it_is_chosen_where_it_gains() -> None:
    fast = indexes.Wanted("docs", "home", indexes.Source(("*.npy",)), kind=Kind.IVF_FLAT)
    full = dataclasses.replace(fast, quality="max")
    for wanted, rows, neighbours in (
        (fast, 1_000_000, nearby.NEIGHBOURS),
        (full, 1_000_000, None),
        (fast, 4_000, None),
    ):
        assert choosing.choose(wanted, rows, 64, 64_000)[0].neighbours == neighbours
