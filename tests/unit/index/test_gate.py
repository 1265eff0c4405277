"""The gate: recall with its interval, ties counted right, the parameter that reaches what is wanted, the verdict."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ddr.domain import indexes
from ddr.errors import InputError
from ddr.index import exact, gate
from tests.unit.index import corpora

L2, COSINE = indexes.Metric.L2, indexes.Metric.COSINE


def wanted(recall: float = 0.95, k: int = 10, metric: indexes.Metric = L2, queries: str = "") -> indexes.Wanted:
    return indexes.Wanted("n", "h", indexes.Source(("v-*.npy",)), metric=metric, recall=recall, k=k, queries=queries)


def answer(labels: NDArray[np.int64], distances: NDArray[np.float64], metric: indexes.Metric = L2) -> exact.Answer:
    return exact.Answer(labels, distances, metric)


def test_wilson_is_that_of_scipy() -> None:
    count = 0
    for n in (1, 2, 10, 999, 100_000):
        for hits in {0, 1, n // 2, n - 1, n}:
            theirs = stats.binomtest(hits, n).proportion_ci(0.95, "wilson")
            assert gate.wilson(hits, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
            count += 1
    assert gate.wilson(0, 0) == (0.0, 1.0)
    print(f"{count} intervals")


def test_the_interval_holds_the_truth_when_answers_of_a_query_stand_together() -> None:
    """1,000 sets of 300 queries, each with a recall of its own; an interval over 3,000 answers misses too often."""
    draw = np.random.default_rng(0)
    truth, held, naive = 0.9, 0, 0
    labels = np.tile(np.arange(10), (300, 1))
    whole = answer(labels, np.tile(np.arange(10.0), (300, 1)))
    for _ in range(1000):
        share = draw.beta(0.9, 0.1, 300)
        found = np.where(draw.random((300, 10)) < share[:, None], labels, 10**6 + labels)
        recall = gate.measure(found, whole, (10,))[0]
        held += recall.low <= truth <= recall.high
        low, high = gate.wilson(recall.share * 3000, 3000)
        naive += low <= truth <= high
    print(f"held {held} of 1000, naive {naive}")
    assert held >= 930
    assert naive < 800


def test_recall_counts_what_was_found() -> None:
    labels = np.arange(40).reshape(4, 10)
    whole = answer(labels, np.tile(np.arange(10.0), (4, 1)))
    found = labels.copy()
    found[0, :3] = 1000 + np.arange(3)  # three of ten
    found[1] = found[1, ::-1]  # another order is as good
    found[2] = -1
    recalls = {recall.k: recall for recall in gate.measure(found, whole, (1, 10, 100))}
    assert set(recalls) == {1, 10}
    assert recalls[10].share == 27 / 40
    assert recalls[1].share == 1 / 4
    found[3, 1] = found[3, 0]  # the same label twice is one hit
    assert gate.measure(found, whole, (10,))[0].share == 26 / 40
    assert gate.measure(found[:0], answer(labels[:0], whole.distances[:0])) == ()


@pytest.mark.parametrize("metric", [L2, indexes.Metric.IP])
def test_a_row_as_near_as_the_last_is_a_hit(metric: indexes.Metric) -> None:
    sign = 1.0 if metric == L2 else -1.0
    labels = np.arange(8)[None, :]
    distances = sign * np.array([[1.0, 2, 3, 3, 3, 3, 4, 5]])
    whole = answer(labels, distances, metric)
    for some in ([0, 1, 2], [0, 1, 5], [5, 1, 0], [0, 1, 4]):
        assert gate.measure(np.array([some]), whole, (3,))[0].share == 1
    assert gate.measure(np.array([[0, 1, 6]]), whole, (3,))[0].share == pytest.approx(2 / 3)
    assert gate.measure(np.array([[3, 4, 5]]), whole, (3,))[0].share == 1  # all as near as the third
    # A tie that the exact list does not reach is seen by its true distance.
    beyond, true = np.array([[0, 1, 77]]), sign * np.array([[1.0, 2, 3]])
    assert gate.measure(beyond, whole, (3,))[0].share == pytest.approx(2 / 3)
    assert gate.measure(beyond, whole, (3,), true)[0].share == 1
    assert gate.measure(np.array([[0, 1, -1]]), whole, (3,), true)[0].share == pytest.approx(2 / 3)


def test_fewer_rows_than_k_are_all_there_is_to_find() -> None:
    whole = answer(np.array([[0, 1, -1, -1]]), np.array([[0.0, 1, np.inf, np.inf]]))
    assert gate.measure(np.array([[1, 0, -1, -1]]), whole, (4,))[0].share == 1
    none = answer(np.full((1, 4), -1), np.full((1, 4), np.inf))
    assert gate.measure(np.full((1, 4), -1), none, (4,))[0].low == 0


def test_duplicates_do_not_lower_the_recall_of_an_exact_index() -> None:
    """30 % duplicates, searched in another order of rows: other labels of the same vectors."""
    vectors = corpora.clustered(1000, 8)
    vectors[700:] = vectors[:300]
    queries = vectors[:100] + np.float32(0.01)
    whole = exact.neighbours(corpora.batches(vectors), queries, 10 + gate.TIES, L2)
    turned = exact.neighbours(corpora.batches(vectors, -np.arange(1000) + 999), queries, 10, L2)
    for recall in gate.measure(999 - turned.labels, whole, (1, 10)):
        assert recall.share == 1


def test_settle_finds_the_smallest_rung_that_holds() -> None:
    labels = np.tile(np.arange(10), (500, 1))
    whole = answer(labels, np.tile(np.arange(10.0), (500, 1)))
    ladder = list(range(1, 200))
    cases = 0
    for target in (0.5, 0.8, 0.95, 0.99):
        for knee in (1, 7, 60, 180):
            asked: list[int] = []

            def search(value: int, knee: int = knee, asked: list[int] = asked) -> NDArray[np.int64]:
                asked.append(value)
                share = 1 - math.exp(-3 * value / knee)
                draw = np.random.default_rng(5).random(labels.shape)
                return np.where(draw < share, labels, 10**6 + labels)

            value, recall = gate.settle(search, whole, wanted(target), ladder)
            tries = len(asked)
            lows = [gate.measure(search(rung), whole, (10,))[0].low for rung in ladder]
            holding = [rung for rung, low in zip(ladder, lows, strict=True) if low >= target]
            assert value == (holding[0] if holding else ladder[-1])
            assert recall.low == lows[value - 1]
            assert tries <= 17
            cases += 1
    print(f"{cases} bisections")
    assert gate.settle(lambda _: labels, whole, wanted(), [16])[0] == 16


def quality(share: float, low: float, k: int = 10, selves: float = 1.0) -> indexes.Quality:
    return indexes.Quality((indexes.Recall(k, 1000, share, low, 1.0),), self_hits=selves)


def made(
    found: indexes.Quality,
    asked: indexes.Wanted | None = None,
    kind: indexes.Kind = indexes.Kind.IVF_FLAT,
    rows: int = 3000,
    copies: int = 0,
) -> indexes.Manifest:
    asked = asked or wanted()
    plan = indexes.Plan(asked, indexes.Shape(kind, 4, asked.metric), "faiss", "cpu", (), ())
    scan = indexes.Scan(rows, rows, indexes.IdSet(rows), (), anomalies={"duplicate": copies} if copies else {})
    return indexes.Manifest("v", "n", datetime(2026, 11, 1, tzinfo=UTC), "sha256:0", plan, scan, (), found)


def test_the_verdict() -> None:
    good = quality(0.97, 0.96)
    assert gate.passes(made(good), None) == ()
    assert gate.passes(made(good), quality(0.98, 0.97)) == ()
    assert gate.passes(made(good), quality(0.98, 0.97, k=1)) == ()
    cases = {
        "below the 0.9500": gate.passes(made(quality(0.94, 0.93)), None),
        "more queries": gate.passes(made(quality(0.96, 0.94)), None),
        "previous version 0.9900": gate.passes(made(good), quality(0.99, 0.98)),
        "not measured": gate.passes(made(good, wanted(k=5)), None),
    }
    for told, reasons in cases.items():
        assert len(reasons) == 1
        assert told in reasons[0]
    assert len(gate.passes(made(quality(0.5, 0.4)), good)) == 2
    assert len(gate.passes(made(quality(math.nan, math.nan)), good)) == 2


def test_exact_search_needs_no_sample_to_be_exact() -> None:
    few = quality(1.0, gate.provable(3))
    flat = made(few, kind=indexes.Kind.FLAT)
    assert gate.passes(flat, None) == ()
    assert "all answers to 1000 queries are right" in gate.exactness(flat)
    assert gate.passes(made(few, wanted(recall=1.0), indexes.Kind.FLAT), None) == ()
    assert gate.passes(made(few), None), "of a kind that is not exact, three right answers show little"
    assert gate.passes(made(quality(0.9999, 0.99, selves=1.0), wanted(recall=1.0), indexes.Kind.FLAT), None)
    assert gate.exactness(made(quality(1.0, 0.99), kind=indexes.Kind.FLAT)) == "", "it passes as all do"


def test_vectors_that_tell_nothing_apart_are_no_index() -> None:
    """Copies and rows that do not find themselves: recall is 1 for both."""
    perfect = quality(1.0, 0.996)
    assert gate.passes(made(perfect, copies=1500), None) == (), "every row twice"
    assert "1,501 of 3,000 rows" in gate.passes(made(perfect, copies=1501), None)[0]
    blurred = quality(1.0, 0.996, selves=0.4)
    assert "find themselves" in gate.passes(made(blurred), None)[0]
    assert gate.passes(made(quality(1.0, 0.996, selves=0.61), copies=1000), None) == (), "a third are copies"
    for kind in (indexes.Kind.IVF_PQ, indexes.Kind.IVF_SQ8):
        assert gate.passes(made(blurred, kind=kind), None) == (), "codes round rows to one another"
    assert gate.passes(made(blurred, wanted(metric=indexes.Metric.IP)), None) == (), "a longer row comes first"


def test_what_a_number_of_queries_can_show() -> None:
    for recall in (0.5, 0.9, 0.95, 0.99, 0.996, 0.9999):
        fewest = gate.queries_for(recall)
        assert gate.provable(fewest) >= recall - 1e-12
        assert gate.provable(fewest - 1) < recall
    assert gate.provable(1000) == pytest.approx(0.99617, abs=1e-5)


@pytest.mark.parametrize("metric", list(indexes.Metric))
def test_queries_are_near_rows_and_no_rows(tmp_path: Path, metric: indexes.Metric) -> None:
    vectors = corpora.clustered(3000, 16)
    vectors[1000:1900] = vectors[:900]  # 30 % duplicates
    corpus = corpora.of(tmp_path, vectors)
    dropped = np.arange(0, 3000, 3, dtype=np.int64)
    found = gate.queries(corpus, wanted(metric=metric), 200, dropped)
    assert (found.dtype, found.shape) == (np.dtype(np.float32), (200, 16))
    np.testing.assert_array_equal(found, gate.queries(corpus, wanted(metric=metric), 200, dropped))
    batches = list(corpus.batches(0, 3000, 3000, metric, corpora.DROP, dropped))
    near = exact.neighbours(batches, found, 1, L2)
    assert (near.distances > 0).all()
    others = exact.neighbours(batches, batches[0].vectors[near.labels[:, 0] // 3], 20, L2).distances
    gap = np.median(others[others > 1e-9])
    assert np.median(near.distances) < 0.02 * gap
    if metric == COSINE:
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("metric", list(indexes.Metric))
def test_queries_of_a_corpus_of_one_vector(tmp_path: Path, metric: indexes.Metric) -> None:
    for rows in (1, 2, 50):
        corpus = corpora.of(tmp_path, np.ones((rows, 4), np.float32))
        found = gate.queries(corpus, wanted(metric=metric), 10, corpora.NONE_DROPPED)
        assert found.shape == (min(rows, 10), 4)
        assert np.isfinite(found).all()
        assert (found != 1).any()


def test_given_queries(tmp_path: Path) -> None:
    vectors = corpora.clustered(300, 8)
    source = indexes.Source(corpora.write_npy(tmp_path, vectors))
    corpus = corpora.opened(tmp_path, source)
    asked = corpora.clustered(50, 8, 9)
    np.save(tmp_path / "q.npy", asked)
    found = gate.queries(corpus, wanted(queries="q.npy"), 20, corpora.NONE_DROPPED)
    assert found.shape == (20, 8)
    assert {row.tobytes() for row in found} < {row.tobytes() for row in asked}
    np.testing.assert_array_equal(gate.queries(corpus, wanted(queries="q.npy"), 99, corpora.NONE_DROPPED), asked)
    bad = asked.copy()
    bad[7, 2] = np.nan
    zero = asked.copy()
    zero[3] = 0
    np.save(tmp_path / "bad.npy", bad)
    np.save(tmp_path / "zero.npy", zero)
    np.save(tmp_path / "narrow.npy", asked[:, :4])
    cases = {"bad.npy": "row 7", "narrow.npy": "dimension 4", "none.npy": "no file", "zero.npy": "row 3"}
    for name, told in cases.items():
        with pytest.raises(InputError, match=told):
            gate.queries(corpus, wanted(queries=name, metric=COSINE), 99, corpora.NONE_DROPPED)
    gate.queries(corpus, wanted(queries="zero.npy"), 99, corpora.NONE_DROPPED)
