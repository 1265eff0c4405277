"""Whether an index is good enough: recall with its interval, the search parameter that reaches it, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.errors import InputError
from ddr.index import exact as exacts
from ddr.index.sources import corpus as corpora
from ddr.index.sources import sample

_WHOLE = frozenset({indexes.Kind.FLAT, indexes.Kind.IVF_FLAT, indexes.Kind.HNSW, indexes.Kind.CAGRA})
"""Kinds that keep vectors as they are."""

Z_95 = 1.959963984540054
QUERIES = 1000
"""Asked at most: of rows of the corpus, and of those that are given."""
MOST_COPIES = 0.5
"""Share of rows that may be equal to an earlier one. Every row twice is a corpus; more is rather a broken embedder."""
LEAST_SELVES = 0.9
"""Share of different rows that must find themselves first; less where less recall is wanted."""
SLACK = 0.01
"""How much of the previous version's share a new one may lose on the same queries."""
TIES = 28
"""How many more neighbours than the largest k are worth having, to see ties at the k-th."""

_QUERIES = 256  # compared at once
_NOISE = 0.05  # of the median distance to the nearest neighbour
_NEIGHBOURS = 8192  # rows in which that is looked for
_PROBED = 512
_LEAST_NOISE = 1e-3  # of the length of a row, where all rows are one
_QUERY_SEED = 0x51  # other rows than those an index is trained with
_FLAT = 0.001  # of recall gained by twice the rungs
_EQUAL = 1e-6  # of a distance: rows that are one but for the rounding of their length


def wilson(hits: float, n: float, z: float = Z_95) -> tuple[float, float]:
    """Interval of a share by its score (Wilson, "Probable inference", 1927): also near 0 and 1 never beyond them."""
    if n <= 0:
        return 0.0, 1.0
    share = hits / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(max(0.0, share * (1 - share) / n + z * z / (4 * n * n)))
    scale = 1 + z * z / n
    low = 0.0 if hits <= 0 else max(0.0, (middle - half) / scale)
    return low, 1.0 if hits >= n else min(1.0, (middle + half) / scale)


def queries(
    corpus: corpora.Corpus,
    wanted: indexes.Wanted,
    count: int,
    dropped: NDArray[np.int64],
) -> NDArray[np.float32]:
    """At most `count` x dimension. Given ones (of more, those that the seed draws), else rows of the corpus, drawn by
    the hash of their ids, moved by a little: a twentieth of the median distance between neighbours.

    Where the metric is cosine they have length 1. InputError for given ones that are no vectors of this corpus.
    """
    if wanted.queries:
        return given(corpus, wanted, count)
    rows = sample.sample(corpus, max(count, _NEIGHBOURS), wanted.seed ^ _QUERY_SEED, dropped, wanted.metric)
    found = rows[:count].copy()
    draw = np.random.default_rng(wanted.seed ^ _QUERY_SEED)
    noise = draw.standard_normal(found.shape, np.float32)
    lengths = np.sqrt(corpora.squared_lengths(noise)) if len(found) else np.ones(0)
    found += noise * (_step(rows[:_NEIGHBOURS]) / lengths)[:, None].astype(np.float32)
    return sample.scaled(found, wanted.metric)


def given(corpus: corpora.Corpus, wanted: indexes.Wanted, count: int) -> NDArray[np.float32]:
    """At most `count` of the queries that are given. The corpus itself is not read. InputError."""
    found, at = _drawn(corpus, wanted, count)
    squares = corpora.squared_lengths(found)
    is_bad = ~np.isfinite(squares)
    if wanted.metric == indexes.Metric.COSINE:
        is_bad |= squares == 0
    else:
        is_bad |= squares > corpora.LARGEST_SQUARE
    if is_bad.any():
        raise InputError(
            f"{wanted.queries}: row {int(at[is_bad.argmax()])} is no query: zero, NaN, infinite or too long",
            hint="leave such rows out",
        )
    return sample.scaled(found, wanted.metric)


def _drawn(corpus: corpora.Corpus, wanted: indexes.Wanted, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows of the file with queries, and where they stand in it."""
    there = corpus.beside(indexes.Source((wanted.queries,), column=wanted.source.column))
    if there.dimension != corpus.dimension:
        raise InputError(
            f"{wanted.queries} has the dimension {there.dimension}, the corpus {corpus.dimension}",
            hint="queries come from the embedder of the corpus",
        )
    chosen = np.sort(sample.positions(there, count, wanted.seed, np.empty(0, np.int64)))
    return there.take(chosen), chosen


def _step(rows: NDArray[np.float32]) -> float:
    """How far a query is moved. Neighbours at no distance (duplicates) do not count."""
    if not len(rows):
        return 0.0
    number = np.arange(len(rows), dtype=np.int64)
    found = exacts.neighbours([corpora.Batch(number, number, rows)], rows[:_PROBED], 2, indexes.Metric.L2)
    distances = found.distances[np.isfinite(found.distances) & (found.distances > 0)]
    if len(distances):
        return _NOISE * float(np.sqrt(np.median(distances)))
    return _LEAST_NOISE * float(np.sqrt(np.median(corpora.squared_lengths(rows)))) or _LEAST_NOISE


def measure(
    found: NDArray[np.int64],
    exact: exacts.Answer,
    ks: Sequence[int] = (1, 10, 100),
    distances: NDArray[np.float64] | None = None,
) -> tuple[indexes.Recall, ...]:
    """Of the k nearest, the share that is among the first k of `found` (labels, queries x at least k, -1 for none).

    A row as near as the k-th is a hit, whichever of them `exact` lists: seen for as many ties as `exact` has beyond k
    (TIES), and for all where the true `distances` of `found` are given. A k beyond either list is left out.
    """
    most = min(found.shape[1], exact.labels.shape[1]) if len(found) else 0
    return tuple(_recall(found[:, :k], exact, k, distances) for k in ks if k <= most)


def _recall(
    found: NDArray[np.int64], exact: exacts.Answer, k: int, distances: NDArray[np.float64] | None
) -> indexes.Recall:
    """n of the interval is the queries' effective number of answers (Kish, "Survey Sampling", 1965, 8.2): the k
    answers to one query stand and fall together, and count for less than k, never for less than one."""
    there = np.minimum(k, (exact.labels >= 0).sum(axis=1))  # fewer where the corpus has fewer
    last = np.take_along_axis(exact.distances, np.maximum(there - 1, 0)[:, None], axis=1)
    is_near = _as_near(exact.distances, last, exact.metric) & (exact.labels >= 0)
    is_hit = np.zeros(found.shape, bool)
    for first in range(0, len(found), _QUERIES):
        some = slice(first, first + _QUERIES)
        listed = np.where(is_near[some], exact.labels[some], -1)
        is_hit[some] = (found[some, :, None] == listed[:, None, :]).any(axis=2)
    if distances is not None:
        is_hit |= _as_near(distances[:, :k], last, exact.metric)
    is_hit &= found >= 0
    # A label that comes twice is one hit.
    order = np.argsort(found, axis=1, kind="stable")
    ordered = np.take_along_axis(found, order, axis=1)
    is_first = np.ones(found.shape, bool)
    np.put_along_axis(is_first, order[:, 1:], ordered[:, 1:] != ordered[:, :-1], axis=1)
    hits = np.minimum(there, (is_hit & is_first).sum(axis=1))
    total = int(there.sum())
    if not total:
        return indexes.Recall(k, len(found), 0.0, 0.0, 1.0)
    share = float(hits.sum()) / total
    shares = hits[there > 0] / there[there > 0]
    spread = float(shares.var(ddof=1)) if len(shares) > 1 else 0.0
    answers = share * (1 - share) * len(shares) / spread if spread else len(shares)
    answers = min(max(answers, len(shares)), total)
    low, high = wilson(share * answers, answers)
    return indexes.Recall(k, len(found), share, low, high)


def _as_near(distances: NDArray[np.float64], last: NDArray[np.float64], metric: indexes.Metric) -> NDArray[np.bool_]:
    slack = _EQUAL * np.abs(last)
    return distances <= last + slack if metric == indexes.Metric.L2 else distances >= last - slack


def settle(
    search: Callable[[int], NDArray[np.int64]],
    exact: exacts.Answer,
    wanted: indexes.Wanted,
    ladder: Sequence[int],
) -> tuple[int, indexes.Recall]:
    """The smallest rung (nprobe, ef_search) whose lower bound of recall holds what is wanted, by bisection: recall
    grows with both. The highest rung where none does; then the recall tells so. `search` gives labels, queries x k."""
    measured: dict[int, indexes.Recall] = {}

    def holds(at: int) -> bool:
        measured[at] = measure(search(ladder[at]), exact, (wanted.k,))[0]
        return measured[at].low >= wanted.recall

    low, high, step, last = 0, 0, 1, len(ladder) - 1
    while not holds(high) and high < last:  # upwards first: the highest rungs take longest
        if low and measured[high].share - measured[low - 1].share < _FLAT and measured[high].high < wanted.recall:
            return ladder[high], measured[high]  # codes too coarse for it, however far one looks
        low, high, step = high + 1, min(last, high + step), 2 * step
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return ladder[high], measured[high]


def provable(queries: int) -> float:
    """The most that so many queries can show: the lower bound where every answer is right."""
    return wilson(queries, queries)[0]


def queries_for(recall: float) -> int:
    """The fewest queries that can show it, `recall` below 1: `provable` turned round."""
    return math.ceil(Z_95 * Z_95 * recall / (1 - recall))


def passes(made: indexes.Manifest, previous: indexes.Quality | None) -> tuple[str, ...]:
    """Why it must not be published; () when it may. `previous` was measured with the same queries."""
    quality, wanted = made.quality, made.plan.wanted
    found = _at(quality, wanted.k)
    if found is None:
        return (f"recall@{wanted.k} was not measured",)
    reasons = []
    if not found.low >= wanted.recall and not _is_exact(made, found):
        reasons.append(
            f"recall@{found.k} is {found.share:.4f} over {found.queries} queries, at least {found.low:.4f}: "
            f"below the {wanted.recall:.4f} that is wanted"
            + ("; more queries would narrow the interval" if found.share >= wanted.recall else "")
        )
    before = _at(previous, wanted.k) if previous else None
    if before is not None and not found.share >= before.share - SLACK:
        reasons.append(
            f"recall@{found.k} is {found.share:.4f}, that of the previous version {before.share:.4f} "
            f"(more than {SLACK} less)"
        )
    return (*reasons, *_collapsed(made))


def advice(made: indexes.Manifest) -> str:
    """What would make it pass: of the settings, or of the vectors where they are what is wrong."""
    if any(_collapsed(made)):
        return "embed the corpus again when what made its vectors is mended"
    more = {
        indexes.Kind.FLAT: "more `queries`",
        indexes.Kind.IVF_FLAT: "`quality: max`",
        indexes.Kind.IVF_SQ8: "`quality: max` or `kind: ivf-flat`",
        indexes.Kind.IVF_PQ: "more `bytesPerVector`, `quality: max` or `kind: ivf-flat`",
    }
    return f"{more.get(made.plan.shape.kind, '`kind: ivf-flat`')} finds more, a lower `recall` asks for less"


def exactness(made: indexes.Manifest) -> str:
    """Why it passes though its queries alone would not show the recall; "" where they do."""
    found, wanted = _at(made.quality, made.plan.wanted.k), made.plan.wanted
    if found is None or found.low >= wanted.recall or not _is_exact(made, found):
        return ""
    return (
        f"every row is compared, and all answers to {found.queries} queries are right; "
        f"as a sample they would show {found.low:.4f}"
    )


def _is_exact(made: indexes.Manifest, found: indexes.Recall) -> bool:
    """Nothing is estimated where every row is compared: one wrong answer, and it is not what it should be."""
    return made.plan.shape.kind is indexes.Kind.FLAT and found.queries > 0 and found.share == 1


def _collapsed(made: indexes.Manifest) -> Iterator[str]:
    """Signs that the vectors tell nothing apart, as those of an embedder that failed. Recall does not see it: any of
    many equal rows is as near as the others."""
    scan, quality = made.scan, made.quality
    copies = scan.anomalies.get("duplicate", 0)
    if copies > MOST_COPIES * scan.rows:
        yield (
            f"{copies:,} of {scan.rows:,} rows have the vector of an earlier row (more than {MOST_COPIES:.0%}): "
            f"look at what made them"
        )
        return
    shape = made.plan.shape
    if shape.kind not in _WHOLE or shape.metric is indexes.Metric.IP or not scan.kept:
        return  # codes round rows to one another; by inner product a longer row comes before the row itself
    kept_copies = 0 if scan.dropped.get("duplicate") else copies
    least = min(LEAST_SELVES, made.plan.wanted.recall) * (1 - kept_copies / scan.kept)
    if quality.self_hits < least:
        yield (
            f"only {quality.self_hits:.1%} of rows find themselves first, {least:.1%} are wanted: "
            f"many rows are the same but for rounding; look at what made them"
        )


def uncompared(made: indexes.Manifest, live: indexes.Manifest) -> str:
    """Why the recall is not held against that of the version that serves; "" where it is."""
    if [probe.vector for probe in live.probes] == [probe.vector for probe in made.probes]:
        return ""
    hint = "" if made.plan.wanted.queries else "; `queries:` of your own stay the same when the corpus changes"
    return f"the recall of {live.version} was measured with other queries{hint}"


def _at(quality: indexes.Quality, k: int) -> indexes.Recall | None:
    return next((recall for recall in quality.recalls if recall.k == k), None)
