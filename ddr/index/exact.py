"""The true nearest neighbours: every row against every query, as matrix products over a stream of batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.index.sources import corpus as corpora

_QUERIES = 4096
_SCORES = 1 << 22
_LEAST_ROWS, _MOST_ROWS = 512, 32768
"""Of one product: 16 MiB of scores, which stay near the processor while they are compared."""
_PAIRS_BYTES = 1 << 18  # of pairs in float64 at once: half the time of blocks that leave the nearest caches
_ROUNDING = 4 * float(np.finfo(np.float32).eps)
_FINE = 4 * float(np.finfo(np.float64).eps)
_UNDERFLOW = 4 * float(np.finfo(np.float32).tiny)
_GREATEST = float(np.finfo(np.float32).max)
_SPARE = 16
_HALF, _SIGN = np.uint64(32), np.uint32(1 << 31)
_NO_LABEL = np.iinfo(np.int64).max  # behind all others of the same distance


@dataclass(frozen=True)
class Answer:
    """`labels` queries x k, nearest first, -1 where there are no more rows; `distances` as faiss gives them: squared
    for L2, the inner product (greatest first) else, computed in float64 of the float32 numbers."""

    labels: NDArray[np.int64]
    distances: NDArray[np.float64]
    metric: indexes.Metric


class Running:
    """The k nearest of all rows that were added; of rows as near as each other those with the smaller labels.

    float32 products find the candidates, with room for how wrong they can be, and float64 decides between them; where
    too many rows are near for float32 to tell apart, float64 finds them too. Queries are scaled to length 1 where the
    metric is cosine; rows come so in batches.
    """

    def __init__(self, queries: NDArray[np.float32], k: int, metric: indexes.Metric) -> None:
        scaled = _scaled(queries, metric)
        self._k = k
        self._metric = metric
        step = max(_LEAST_ROWS, min(_MOST_ROWS, _SCORES // max(1, min(len(scaled), _QUERIES))))
        self._blocks = [
            _Block(scaled[first : first + _QUERIES], k, step, is_product=metric != indexes.Metric.L2)
            for first in range(0, len(scaled), _QUERIES)
        ]

    def add(self, batch: corpora.Batch) -> None:
        squares = corpora.squared_lengths(batch.vectors)
        for block in self._blocks:
            block.add(batch.vectors, squares, batch.labels)

    def answer(self) -> Answer:
        """Of what was added so far."""
        found = [block.nearest() for block in self._blocks]
        labels = np.concatenate([np.empty((0, self._k), np.int64), *(labels for labels, _ in found)])
        keys = np.concatenate([np.empty((0, self._k)), *(keys for _, keys in found)])
        return Answer(labels, keys if self._metric == indexes.Metric.L2 else -keys, self._metric)


def neighbours(
    batches: Iterable[corpora.Batch], queries: NDArray[np.float32], k: int, metric: indexes.Metric
) -> Answer:
    """The k nearest of all rows of the batches to each query."""
    found = Running(queries, k, metric)
    for batch in batches:
        found.add(batch)
    return found.answer()


def merged(answers: Sequence[Answer], k: int) -> Answer:
    """Of the answers of several parts of a corpus to the same queries, the k nearest."""
    sign = 1 if answers[0].metric == indexes.Metric.L2 else -1
    keys = np.concatenate([sign * answer.distances for answer in answers], axis=1)
    labels = np.concatenate([answer.labels for answer in answers], axis=1)
    order = np.lexsort((labels, keys), axis=1)[:, :k]
    found = np.take_along_axis(labels, order, axis=1)
    return Answer(found, sign * np.take_along_axis(keys, order, axis=1), answers[0].metric)


def _scaled(queries: NDArray[np.float32], metric: indexes.Metric) -> NDArray[np.float32]:
    """A copy, of length 1 where the metric is cosine."""
    found = np.array(queries, np.float32, order="C")
    if metric == indexes.Metric.COSINE:
        corpora.normalise(found, corpora.squared_lengths(found))
    return found


def distances(
    batches: Iterable[corpora.Batch],
    queries: NDArray[np.float32],
    labels: NDArray[np.int64],
    metric: indexes.Metric,
) -> NDArray[np.float64]:
    """The true distance of each query to each row it was answered with; NaN for a label that no row has."""
    queries = _scaled(queries, metric)
    found = np.full(labels.shape, np.nan)
    wanted = labels.reshape(-1)
    order = np.argsort(wanted, kind="stable")
    ordered = wanted[order]
    of_query = np.repeat(np.arange(len(labels)), labels.shape[1])
    for batch in batches:
        low, high = np.searchsorted(ordered, batch.labels), np.searchsorted(ordered, batch.labels, "right")
        rows = np.repeat(np.arange(len(batch.labels)), high - low)
        if len(rows):
            at = order[np.concatenate([np.arange(a, b) for a, b in zip(low, high, strict=True) if b > a])]
            keys = _keys(queries, of_query[at], batch.vectors, rows, is_product=metric != indexes.Metric.L2)
            found.reshape(-1)[at] = -keys if metric != indexes.Metric.L2 else keys
    return found


def _keys(
    queries: NDArray[np.float32],
    query_numbers: NDArray[np.int64],
    vectors: NDArray[np.float32],
    row_numbers: NDArray[np.int64],
    *,
    is_product: bool,
) -> NDArray[np.float64]:
    """What is smaller for what is nearer, pair by pair, in float64."""
    found = np.empty(len(row_numbers))
    step = max(1, _PAIRS_BYTES // (8 * max(1, vectors.shape[1])))
    for first in range(0, len(found), step):
        some = slice(first, first + step)
        here = queries[query_numbers[some]].astype(np.float64)
        there = vectors[row_numbers[some]].astype(np.float64)
        if is_product:
            found[some] = -np.einsum("ij,ij->i", here, there)
        else:
            here -= there
            found[some] = np.einsum("ij,ij->i", here, here)
    return found


_Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
"""Numbers of queries, of rows of the batch, and the least and the most that their scores can be in truth."""


class _Block:
    """The k nearest so far of some queries. What was found since is merged when there is much of it.

    A batch is compared step by step in float32, and what later steps leave behind is dropped by its scores: only what
    is near in the end is computed in float64.
    """

    def __init__(self, queries: NDArray[np.float32], k: int, step: int, *, is_product: bool) -> None:
        self._queries = queries
        with np.errstate(over="ignore"):
            self._factors = -queries if is_product else -2 * queries
        self._squares = np.square(queries, dtype=np.float64).sum(1)  # limits are made of it: as exact as the keys
        self._k = k
        self._step = step
        self._most = 4 * k + _SPARE
        self._is_product = is_product
        self._labels = np.full((len(queries), k), -1, np.int64)
        self._keys = np.full((len(queries), k), np.inf)
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
        self._held = 0

    def nearest(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Labels, and keys that are smaller for what is nearer."""
        self._merge()
        return self._labels, self._keys

    @np.errstate(over="ignore", invalid="ignore")  # what float32 cannot hold is NaN somewhere, and NaN counts as near
    def add(self, vectors: NDArray[np.float32], squares: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        if not len(vectors) or not len(self._queries):
            return
        bounds = self._keys[:, -1] - (0 if self._is_product else (1 - _FINE * self._queries.shape[1]) * self._squares)
        near: list[_Pairs] = []
        for first in range(0, len(vectors), self._step):
            some = slice(first, first + self._step)
            scores = self._scores(vectors[some], squares[some])
            wrong = self._wrong(squares[some])
            is_near = ~(scores > _upwards(bounds + wrong)[:, None])
            crowded = self._thinned(is_near, scores, bounds, wrong)
            self._apart(crowded, is_near, vectors[some], labels[some])
            is_near[crowded] = False
            query_numbers, rows = np.divmod(np.flatnonzero(is_near), scores.shape[1])
            found, room = scores[is_near].astype(np.float64), wrong[query_numbers]
            known = np.isfinite(room)
            least, most = np.where(known, found - room, -np.inf), np.where(known, found + room, np.inf)
            near.append((query_numbers, first + rows, least, most))
            if sum(len(one) for _, one, _, _ in near) > 2 * self._k * len(self._queries):
                near = [self._sifted(near, bounds)]
        query_numbers, rows, _, _ = self._sifted(near, bounds)
        keys = _keys(self._queries, query_numbers, vectors, rows, is_product=self._is_product)
        self._keep(query_numbers, labels[rows], keys)

    def _thinned(
        self,
        is_near: NDArray[np.bool_],
        scores: NDArray[np.float32],
        bounds: NDArray[np.float64],
        wrong: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """Where nothing is known yet, or many are nearer than all before, the k nearest of these alone set the bound.
        Queries for which there are too many all the same."""
        crowded = np.flatnonzero(np.count_nonzero(is_near, axis=1) > self._most)
        if not len(crowded):
            return crowded
        here = scores[crowded]
        nearest = np.partition(here, self._k - 1, axis=1)[:, self._k - 1]
        bounds[crowded] = np.fmin(bounds[crowded], nearest + wrong[crowded])
        is_near[crowded] = ~(here > _upwards(bounds[crowded] + wrong[crowded])[:, None])
        still: NDArray[np.int64] = crowded[np.count_nonzero(is_near[crowded], axis=1) > self._most]
        return still

    def _sifted(self, near: list[_Pairs], bounds: NDArray[np.float64]) -> _Pairs:
        """Those that can still be among the k nearest: the k-th best of what scores can be at most is the bound."""
        query_numbers, rows, least, most = (np.concatenate(some) for some in zip(*near, strict=True))
        ordered = np.sort(query_numbers.astype(np.uint64) << _HALF | _ranks(_upwards(most)))
        starts = np.searchsorted(ordered, np.arange(len(self._queries) + 1, dtype=np.uint64) << _HALF)
        full = np.flatnonzero(np.diff(starts) >= self._k)
        bounds[full] = np.minimum(bounds[full], _scores(ordered[starts[full] + self._k - 1]))
        is_near = ~(least > bounds[query_numbers])
        return query_numbers[is_near], rows[is_near], least[is_near], most[is_near]

    def _keep(self, query_numbers: NDArray[np.int64], labels: NDArray[np.int64], keys: NDArray[np.float64]) -> None:
        self._waiting.append((query_numbers, labels, keys))
        self._held += len(keys)
        if self._held > self._k * len(self._queries) // 2:
            self._merge()

    def _scores(self, vectors: NDArray[np.float32], squares: NDArray[np.float64]) -> NDArray[np.float32]:
        """What is smaller for what is nearer to a query, in float32: keys without the query's squared length."""
        found: NDArray[np.float32] = self._factors @ vectors.T
        if not self._is_product:
            found += squares.astype(np.float32)
        return found

    def _wrong(self, squares: NDArray[np.float64]) -> NDArray[np.float64]:
        """For each query how far a score can be from the true one, of the rows with these squared lengths; infinitely
        where float32 may not hold it: then nothing is known, and float64 decides between all."""
        # |fl(x.y) - x.y| <= d eps |x| |y| (Higham, "Accuracy and stability of numerical algorithms", 3.1), but for
        # products so small that they lose digits or all of themselves.
        greatest, d = float(np.sqrt(squares.max())), self._queries.shape[1] + 2
        lengths = np.sqrt(self._squares) + (0 if self._is_product else greatest)
        reach = lengths * greatest
        is_held = 2 * lengths * max(greatest, 1) < _GREATEST
        return np.where(is_held, d * (_ROUNDING * reach + _UNDERFLOW), np.inf)

    def _apart(
        self,
        crowded: NDArray[np.int64],
        is_near: NDArray[np.bool_],
        vectors: NDArray[np.float32],
        labels: NDArray[np.int64],
    ) -> None:
        """Queries with more rows near than float32 can tell apart: one by one, the k nearest of them in float64."""
        for query in crowded.tolist():
            rows = np.flatnonzero(is_near[query])
            number = np.full(len(rows), query)
            keys = _keys(self._queries, number, vectors, rows, is_product=self._is_product)
            nearest = np.lexsort((labels[rows], keys))[: self._k]
            self._keep(number[: len(nearest)], labels[rows[nearest]], keys[nearest])

    def _merge(self) -> None:
        if not self._held:
            return
        query_numbers, labels, keys = (np.concatenate(some) for some in zip(*self._waiting, strict=True))
        self._waiting, self._held = [], 0
        order = np.argsort(query_numbers, kind="stable")
        query_numbers, labels, keys = query_numbers[order], labels[order], keys[order]
        touched, counts = np.unique(query_numbers, return_counts=True)
        # New ones beside the old ones, query by query.
        column = self._k + np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
        row = np.repeat(np.arange(len(touched)), counts)
        all_keys = np.full((len(touched), self._k + counts.max()), np.inf)
        all_labels = np.full(all_keys.shape, _NO_LABEL)
        all_keys[:, : self._k] = self._keys[touched]
        old = self._labels[touched]
        all_labels[:, : self._k] = np.where(old < 0, _NO_LABEL, old)
        all_keys[row, column] = keys
        all_labels[row, column] = labels
        order = np.lexsort((all_labels, all_keys), axis=1)[:, : self._k]
        found = np.take_along_axis(all_keys, order, axis=1)
        self._keys[touched] = found
        self._labels[touched] = np.where(np.isinf(found), -1, np.take_along_axis(all_labels, order, axis=1))


def _ranks(scores: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Whole numbers in the order of the scores: the bits of IEEE 754, those of negative ones turned round."""
    bits = scores.view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _scores(ranks: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Of the lower halves, what `_ranks` made them of."""
    bits = ranks.astype(np.uint32)
    return np.where(bits & _SIGN, bits ^ _SIGN, ~bits).view(np.float32)


def _upwards(limits: NDArray[np.float64]) -> NDArray[np.float32]:
    """As float32, never smaller."""
    with np.errstate(over="ignore"):
        return np.nextafter(limits.astype(np.float32), np.float32(np.inf))
