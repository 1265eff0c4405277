"""Exact search: what faiss's flat index says, on good and on adversarial data, whatever the size of batches."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.index import exact
from ddr.index.sources import corpus
from tests.unit.index import corpora

METRICS = list(indexes.Metric)
L2, COSINE = indexes.Metric.L2, indexes.Metric.COSINE


def ready(vectors: NDArray[np.float32], metric: indexes.Metric) -> NDArray[np.float32]:
    """As batches give them."""
    found = vectors.copy()
    if metric == COSINE:
        corpus.normalise(found, corpus.squared_lengths(found))
    return found


def by_hand(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    queries: NDArray[np.float32],
    k: int,
    metric: indexes.Metric,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The definition, in float64, sorted whole."""
    q, v = ready(queries, metric).astype(np.float64), vectors.astype(np.float64)
    found, distances = np.full((len(q), k), -1), np.full((len(q), k), np.inf)
    for at, query in enumerate(q):
        keys = ((query - v) ** 2).sum(axis=1) if metric == L2 else -(v @ query)
        order = np.lexsort((labels, keys))[:k]
        found[at, : len(order)], distances[at, : len(order)] = labels[order], keys[order]
    return found, distances if metric == L2 else -distances


def flat(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], k: int, metric: indexes.Metric
) -> NDArray[np.float32]:
    """Distances that faiss finds."""
    kind = faiss.METRIC_L2 if metric == L2 else faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexFlat(vectors.shape[1], kind)
    index.add(vectors)
    distances, _ = index.search(ready(queries, metric), k)
    return np.asarray(distances)


def adversarial(kind: str, rows: int, dimension: int) -> NDArray[np.float32]:
    vectors = corpora.clustered(rows, dimension, 5)
    if kind == "duplicates":
        vectors[rows // 2 : rows * 8 // 10] = vectors[: rows * 8 // 10 - rows // 2]
    elif kind == "one cluster":
        vectors[: rows * 4 // 10] = vectors[0] + np.float32(1e-3) * vectors[: rows * 4 // 10]
    elif kind == "far from zero":  # what the sum of squares rounds away
        vectors = vectors + np.float32(1000)
    elif kind == "zeros":
        vectors[::3] = 0
    elif kind == "all one":
        vectors[:] = vectors[0]
    elif kind == "lengths of all sizes":
        vectors *= np.float32(10) ** np.random.default_rng(1).integers(-6, 7, (rows, 1)).astype(np.float32)
    return vectors


KINDS = ("clustered", "duplicates", "one cluster", "far from zero", "zeros", "all one", "lengths of all sizes")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_finds_what_faiss_finds(kind: str, metric: indexes.Metric) -> None:
    vectors = ready(adversarial(kind, 3000, 24), metric)
    queries = adversarial(kind, 3000, 24)[:200] * np.float32(1.001)
    for k in (1, 10, 100):
        found = exact.neighbours(corpora.batches(vectors, rows=700), queries, k, metric)
        _, distances = by_hand(vectors, np.arange(3000), queries, k, metric)
        np.testing.assert_allclose(found.distances, distances, rtol=1e-12, atol=1e-9 * np.abs(distances).max())
        theirs = flat(vectors, queries, k, metric)
        scale = float(
            (ready(queries, metric).astype(np.float64) ** 2).sum(axis=1).max() + (vectors**2).sum(axis=1).max()
        )
        np.testing.assert_allclose(found.distances, theirs, rtol=1e-4, atol=1e-5 * scale)
        assert all(len(set(row)) == k for row in found.labels.tolist())


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 300),
    count=st.integers(1, 40),
    dimension=st.integers(1, 12),
    k=st.integers(1, 50),
    size=st.integers(1, 310),
    metric=st.sampled_from(METRICS),
    values=st.integers(1, 3),
)
def test_ties_go_to_the_smaller_labels(
    rows: int, count: int, dimension: int, k: int, size: int, metric: indexes.Metric, values: int
) -> None:
    """Few values of each number: nearly all distances are ties, and all of them exact."""
    draw = np.random.default_rng(rows * 1000 + count)
    vectors = draw.integers(0, values + 1, (rows, dimension)).astype(np.float32)
    queries = draw.integers(0, values + 1, (count, dimension)).astype(np.float32)
    labels = draw.permutation(10**6)[:rows].astype(np.int64)
    if metric == COSINE:  # lengths are roots: not exact, so only distances are compared
        vectors = ready(vectors, metric)
    found = exact.neighbours(corpora.batches(vectors, labels, size), queries, k, metric)
    expected, distances = by_hand(vectors, labels, queries, k, metric)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(found.labels < 0, expected < 0)
    if metric != COSINE:
        np.testing.assert_array_equal(found.labels, expected)


@pytest.mark.parametrize("metric", METRICS)
def test_parts_merged_are_the_whole(metric: indexes.Metric) -> None:
    vectors = ready(corpora.clustered(2000, 16), metric)
    queries = corpora.clustered(50, 16, 1)
    batches = corpora.batches(vectors, rows=250)
    whole = exact.neighbours(batches, queries, 20, metric)
    for parts in (1, 3, 8):
        cuts = [batches[first:end] for first, end in corpora.cut(len(batches), parts)]
        found = exact.merged([exact.neighbours(part, queries, 20, metric) for part in cuts], 20)
        np.testing.assert_array_equal(found.labels, whole.labels)
        np.testing.assert_array_equal(found.distances, whole.distances)
    few = exact.merged([exact.neighbours(batches[:0], queries, 20, metric), whole], 20)
    np.testing.assert_array_equal(few.labels, whole.labels)


@pytest.mark.parametrize("metric", METRICS)
def test_fewer_rows_than_neighbours(metric: indexes.Metric) -> None:
    vectors = ready(corpora.clustered(3, 4), metric)
    for rows in (0, 1, 3):
        found = exact.neighbours(corpora.batches(vectors[:rows]), vectors, 5, metric)
        assert found.labels.shape == found.distances.shape == (3, 5)
        assert (found.labels[:, rows:] == -1).all()
        assert (np.sort(found.labels[:, :rows], axis=1) == np.arange(rows)).all()
        assert np.isinf(found.distances[:, rows:]).all()
    assert exact.neighbours(corpora.batches(vectors), vectors[:0], 5, metric).labels.shape == (0, 5)


def test_more_queries_than_one_block() -> None:
    vectors, queries = corpora.clustered(700, 8), corpora.clustered(4096 + 300, 8, 2)
    found = exact.neighbours(corpora.batches(vectors), queries, 3, L2)
    expected, _ = by_hand(vectors, np.arange(700), queries[4000:], 3, L2)
    np.testing.assert_array_equal(found.labels[4000:], expected)


@pytest.mark.parametrize("metric", METRICS)
def test_true_distances_of_any_answer(metric: indexes.Metric) -> None:
    vectors = ready(corpora.clustered(500, 8), metric)
    labels = np.random.default_rng(0).permutation(10**4)[:500].astype(np.int64)
    queries = corpora.clustered(30, 8, 3)
    whole = exact.neighbours(corpora.batches(vectors, labels, 90), queries, 12, metric)
    np.testing.assert_array_equal(
        exact.distances(corpora.batches(vectors, labels, 70), queries, whole.labels, metric), whole.distances
    )
    asked = whole.labels.copy()
    asked[:, 3], asked[5, 5] = -1, 10**9 + 5
    found = exact.distances(corpora.batches(vectors, labels), queries, asked, metric)
    unknown = ~np.isin(asked, labels)
    assert np.isnan(found[unknown]).all()
    np.testing.assert_array_equal(found[~unknown], whole.distances[~unknown])


def rows_near(vectors: NDArray[np.float32], queries: NDArray[np.float32], k: int, metric: indexes.Metric) -> None:
    """Batches and steps are small, so that what one found limits the next."""
    labels = np.arange(len(vectors))
    with np.errstate(all="raise", under="ignore"):
        found = exact.neighbours(corpora.batches(vectors, labels, 700), queries, k, metric)
    np.testing.assert_array_equal(found.labels, by_hand(vectors, labels, queries, k, metric)[0])


@pytest.mark.parametrize("metric", [L2, indexes.Metric.IP])
@pytest.mark.parametrize("power", [-38, -30, -23, -22.5, -22, -21, -10, 15, 18.5, 18.9, 19, 19.5, 25, 36])
def test_numbers_at_the_ends_of_float32(power: float, metric: indexes.Metric) -> None:
    """Products that lose their digits, or that float32 cannot hold."""
    draw = np.random.default_rng(1)
    vectors, queries = (draw.standard_normal((count, 16)).astype(np.float32) for count in (4000, 20))
    rows_near(vectors * np.float32(10**power), queries * np.float32(10**power), 10, metric)


def test_rows_that_float32_cannot_compare_are_no_bound_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """They lie in a step with so few rows that nobody looks at them one by one."""
    monkeypatch.setattr(exact, "_MOST_ROWS", 512)
    monkeypatch.setattr(exact, "_LEAST_ROWS", 512)
    draw = np.random.default_rng(2)
    vectors, queries = (draw.standard_normal((count, 16)).astype(np.float32) for count in (1024 + 5, 20))
    vectors[-5:] = np.float32(1e20) * np.tile([1, -3], 8)
    queries[:10] = np.float32(1e19) * np.abs(queries[:10] + 3)
    with np.errstate(all="raise", under="ignore"):
        found = exact.neighbours(corpora.batches(vectors, rows=len(vectors)), queries, 10, indexes.Metric.IP)
    expected, _ = by_hand(vectors, np.arange(len(vectors)), queries, 10, indexes.Metric.IP)
    np.testing.assert_array_equal(found.labels, expected)


@pytest.mark.parametrize("times", [1, 100, 1e4, 1e6])
def test_queries_far_longer_than_the_rows(times: float) -> None:
    """The squared length of a query counts as much as all else together."""
    draw = np.random.default_rng(0)
    rows = (1 + 0.001 * draw.standard_normal((6000, 16))).astype(np.float32)
    queries = (times * draw.standard_normal((300, 16))).astype(np.float32)
    queries = queries[np.argsort(-np.abs(corpus.squared_lengths(queries) - np.square(queries, dtype=float).sum(1)))]
    rows_near(rows, queries[:60], 10, L2)


def test_one_long_row_costs_its_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What float32 cannot tell apart beside a row of a hundred times the length is not asked of all others."""
    compared = []

    def counted(
        queries: NDArray[np.float32],
        numbers: NDArray[np.int64],
        vectors: NDArray[np.float32],
        rows: NDArray[np.int64],
        *,
        is_product: bool,
    ) -> NDArray[np.float64]:
        compared.append(len(rows))
        return keys(queries, numbers, vectors, rows, is_product=is_product)

    keys = exact._keys
    monkeypatch.setattr(exact, "_keys", counted)
    draw = np.random.default_rng(0)
    vectors, queries = (draw.standard_normal((count, 32)).astype(np.float32) for count in (40_000, 50))
    vectors[20_000] *= 1000
    exact.neighbours(corpora.batches(vectors, rows=len(vectors)), queries, 10, L2)
    assert sum(compared) < 50 * exact._MOST_ROWS * 1.1
