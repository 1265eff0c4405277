"""The rows an index is trained with: drawn by their ids, so that the same ones come however the corpus is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.index.sources import corpus as corpora
from ddr.index.sources import hashes

_ROWS = 1 << 18  # ids looked at in one go
_BLOCK_BYTES = 32 << 20


def positions(corpus: corpora.Corpus, count: int, seed: int, dropped: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of the `count` rows whose ids have the smallest seeded hash; all of them where there are no more. In order of
    that hash, which is a shuffle of its own. Reads ids only."""
    smallest = hashes.Smallest(count)
    for first in range(0, corpus.rows, _ROWS):
        end = min(first + _ROWS, corpus.rows)
        numbers = np.arange(first, end, dtype=np.int64)
        keys = hashes.seeded(of_ids(corpus, first, end), seed)
        low, high = np.searchsorted(dropped, (first, end))
        if high > low:
            is_kept = np.ones(end - first, bool)
            is_kept[dropped[low:high] - first] = False
            keys, numbers = keys[is_kept], numbers[is_kept]
        smallest.add(keys, numbers)
    return smallest.numbers()


def of_ids(corpus: corpora.Corpus, start: int, stop: int) -> NDArray[np.uint64]:
    """Hashes (n x 2 lanes) of the ids at these positions."""
    if corpus.id_kind == "text":
        return hashes.of_texts(corpus.texts(start, stop))
    return hashes.of_numbers(corpus.labels(start, stop))


def sample(
    corpus: corpora.Corpus,
    count: int,
    seed: int,
    dropped: NDArray[np.int64],
    metric: indexes.Metric,
    tell: Callable[[int], None] = lambda _: None,
) -> NDArray[np.float32]:
    """`count` x dimension, or fewer rows where there are fewer; of length 1 where the metric is cosine.

    Holds the sample and one block: rows are read in the order of the files and put where their hash wants them.
    `tell`: called with how many are there.
    """
    chosen = positions(corpus, count, seed, dropped)
    order = np.argsort(chosen, kind="stable")
    found = np.empty((len(chosen), corpus.dimension), np.float32)
    done = 0
    for ranks in _blocks(order, corpus.dimension):
        found[ranks] = scaled(corpus.take(chosen[ranks]), metric)
        done += len(ranks)
        tell(done)
    return found


def _blocks(order: NDArray[np.int64], dimension: int) -> Iterator[NDArray[np.int64]]:
    step = max(1, _BLOCK_BYTES // (4 * max(1, dimension)))
    for first in range(0, len(order), step):
        yield order[first : first + step]


def scaled(vectors: NDArray[np.float32], metric: indexes.Metric) -> NDArray[np.float32]:
    """In place, where the metric wants it."""
    if metric == indexes.Metric.COSINE:
        corpora.normalise(vectors, corpora.squared_lengths(vectors))
    return vectors
