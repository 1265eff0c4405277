"""All shards as one: positions count through them, batches do not end where a shard does."""

from __future__ import annotations

import bisect
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.errors import Conflict
from ddr.index.sources import ids, opening, places

T = TypeVar("T")
N = TypeVar("N", np.int64, np.float32)

_OPEN = 4  # shards at once: where one ends, the next is read ahead, and ids are read beside vectors
_GAP_BYTES = 128 << 10  # rows so near to each other are read in one go
_RUN_BYTES = 16 << 20
LARGEST_SQUARE = float(np.finfo(np.float32).max) / 4
"""Of a length: with a longer row a distance in float32 is infinite. For cosine rows are scaled first."""
_LEAST_SQUARE = 1e-30  # below, the squares that were summed may have been rounded to 0
_DOUBTFUL_ROWS = 1024


@dataclass(frozen=True)
class Batch:
    """Rows that go into an index, in order of their positions."""

    positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    """What the index answers with: the ids, or the positions where ids are texts or none."""
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class Raw:
    """Rows as they lie in the files, from position `start` on. `texts` is [] unless ids are texts."""

    start: int
    vectors: NDArray[np.float32]
    labels: NDArray[np.int64]
    texts: list[str]


class Corpus:
    """Shards are opened when they are read, and checked against their plan then: Conflict when one has changed.

    Threads may share it; one reads at a time. Leaving it forgets what is open.
    """

    def __init__(
        self,
        shards: Sequence[indexes.Shard],
        reach: Callable[[indexes.Shard], opening.Opened],
        beside: Callable[[indexes.Source], Corpus],
    ) -> None:
        """`beside` opens another source from where this one was."""
        self.beside = beside
        self.shards = tuple(shards)
        self._reach = reach
        self._open: OrderedDict[int, opening.Opened] = OrderedDict()
        self.bounds = (0, *np.cumsum([shard.rows for shard in self.shards], dtype=np.int64).tolist())
        """Of shard i the positions [bounds[i], bounds[i + 1])."""
        self.rows: int = self.bounds[-1]
        self.dimension = next((shard.dimension for shard in self.shards if shard.rows), 0) or max(
            (shard.dimension for shard in self.shards), default=0
        )
        self._kind: ids.Kind | None = None
        self._lock = threading.RLock()

    @property
    def id_kind(self) -> ids.Kind:
        """Opens the first shard that has a row."""
        with self._lock:
            if self._kind is None:
                at = next((at for at, shard in enumerate(self.shards) if shard.rows), None)
                self._kind = "position" if at is None else self._opened(at).id_kind
            return self._kind

    @property
    def has_texts(self) -> bool:
        """Whether ids are texts; labels are positions then."""
        return self.id_kind == "text"

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._open.clear()

    def _opened(self, at: int) -> opening.Opened:
        if at in self._open:
            self._open.move_to_end(at)
        else:
            self._open[at] = self._reach(self.shards[at])
            if len(self._open) > _OPEN:
                self._open.popitem(last=False)
        return self._open[at]

    def place(self, position: int, *, is_id: bool = False) -> str:
        """Where a person finds a row, or its id: file, row in it from 0 on, position."""
        at = bisect.bisect_right(self.bounds, position) - 1
        shard = self.shards[at]
        file = shard.ids_uri if is_id and shard.ids_uri else shard.uri
        return f"{file} row {position - self.bounds[at]} (position {position})"

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[opening.Opened, int, int, int]]:
        """(shard, first row and end in it, position of the first), for each shard with rows in [start, stop)."""
        if not 0 <= start <= stop <= self.rows:
            raise ValueError(f"positions {start} to {stop} of {self.rows}")
        at = bisect.bisect_right(self.bounds, start) - 1
        while start < stop:
            end = min(stop, self.bounds[at + 1])
            if end > start:
                yield self._opened(at), start - self.bounds[at], end - self.bounds[at], start
            start = end
            at += 1

    def vectors(self, start: int, stop: int) -> NDArray[np.float32]:
        """As in the files."""
        with self._lock:
            found = [shard.vectors(first, end) for shard, first, end, _ in self._pieces(start, stop)]
        return found[0] if len(found) == 1 else np.concatenate([np.empty((0, self.dimension), np.float32), *found])

    def labels(self, start: int, stop: int) -> NDArray[np.int64]:
        """The ids where they are whole numbers, else the positions."""
        found = np.arange(start, stop, dtype=np.int64)
        if self.id_kind != "number":
            return found
        with self._lock:
            for shard, first, end, position in self._pieces(start, stop):
                numbers = shard.labels(first, end)
                if numbers is not None:
                    found[position - start : position - start + end - first] = numbers
        return found

    def labels_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of single rows, in any order."""
        if self.id_kind != "number":
            return positions
        return self._gathered(positions, np.empty(len(positions), np.int64), self.labels)

    def texts(self, start: int, stop: int) -> list[str]:
        """The ids where they are texts, else []."""
        if self.id_kind != "text":
            return []
        with self._lock:
            return [text for shard, first, end, _ in self._pieces(start, stop) for text in shard.texts(first, end)]

    def raw(self, start: int, stop: int, rows: int, *, with_texts: bool = False) -> Iterator[Raw]:
        """[start, stop), `rows` at a time: what is given out and what is read ahead, two batches in memory."""

        def read(at: int) -> Raw:
            end = min(at + rows, stop)
            return Raw(at, self.vectors(at, end), self.labels(at, end), self.texts(at, end) if with_texts else [])

        return ahead(read, range(start, stop, rows))

    def batches(
        self,
        start: int,
        stop: int,
        rows: int,
        metric: indexes.Metric,
        policies: indexes.Policies,
        dropped: NDArray[np.int64],
    ) -> Iterator[Batch]:
        """What of the positions [start, stop) goes in: without `dropped` (sorted positions, of the scan), of length 1
        where the metric is cosine. A batch has at most `rows` rows and may have none left.

        Conflict for a row that the policies keep out and the scan did not know: the file is another one by now.
        """
        for raw in self.raw(start, stop, rows):
            yield self._batch(raw, metric, policies, dropped)

    def _batch(self, raw: Raw, metric: indexes.Metric, policies: indexes.Policies, dropped: NDArray[np.int64]) -> Batch:
        vectors, labels = raw.vectors, raw.labels
        positions = np.arange(raw.start, raw.start + len(vectors), dtype=np.int64)
        first, end = np.searchsorted(dropped, (raw.start, raw.start + len(vectors)))
        if end > first:
            is_kept = np.ones(len(vectors), bool)
            is_kept[dropped[first:end] - raw.start] = False
            vectors, labels, positions = vectors[is_kept], labels[is_kept], positions[is_kept]
        squares = squared_lengths(vectors)
        is_strange = ~np.isfinite(squares)
        if policies.zero != "keep":
            is_strange |= squares == 0
        if is_strange.any():
            at = int(positions[is_strange.argmax()])
            raise Conflict(
                f"{self.place(at)} was a vector when the corpus was scanned, and is none now",
                expected="the rows that were scanned",
                found="a row that is not finite, or zero",
                hint="plan again: the next plan takes the files as they are now",
            )
        if metric == indexes.Metric.COSINE:
            normalise(vectors, squares)
        return Batch(positions, labels, vectors)

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """The rows at these positions (any order), as in the files."""
        return self._gathered(positions, np.empty((len(positions), self.dimension), np.float32), self.vectors)

    def _gathered(
        self, positions: NDArray[np.int64], found: NDArray[N], read: Callable[[int, int], NDArray[N]]
    ) -> NDArray[N]:
        """`found`, filled with what is at these positions: read in the order of the files, neighbours in one go."""
        order = np.argsort(positions, kind="stable")
        ordered = positions[order]
        for first, end in _runs(ordered, found[:1].nbytes):
            low = int(ordered[first])
            block = read(low, int(ordered[end - 1]) + 1)
            found[order[first:end]] = block[ordered[first:end] - low]
        return found


def _runs(ordered: NDArray[np.int64], row_bytes: int) -> Iterator[tuple[int, int]]:
    """Slices of sorted positions that are read together."""
    gap, most = max(1, _GAP_BYTES // max(1, row_bytes)), max(1, _RUN_BYTES // max(1, row_bytes))
    first = 0
    cuts = np.flatnonzero(np.diff(ordered) > gap) + 1
    for cut in (*cuts.tolist(), len(ordered)):
        while first < cut:
            end = int(np.searchsorted(ordered[first:cut], ordered[first] + most)) + first
            yield first, end
            first = end


def opened(shards: Sequence[indexes.Shard], source: indexes.Source, base: Path, buckets: places.Buckets) -> Corpus:
    """The corpus of a plan."""

    def beside(other: indexes.Source) -> Corpus:
        return opened(opening.find(other, base, buckets), other, base, buckets)

    return Corpus(shards, lambda shard: opening.open_shard(shard, source, base, buckets), beside)


def squared_lengths(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Finite exactly where every number is, 0 exactly where every number is 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        found: NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors).astype(np.float64)
    # What float32 cannot square: again in float64, which squares every float32.
    doubtful = np.flatnonzero(~(found > _LEAST_SQUARE) | np.isinf(found))
    for first in range(0, len(doubtful), _DOUBTFUL_ROWS):
        some = doubtful[first : first + _DOUBTFUL_ROWS]
        rows = vectors[some].astype(np.float64)
        with np.errstate(invalid="ignore"):
            found[some] = np.einsum("ij,ij->i", rows, rows)
    return found


def normalise(vectors: NDArray[np.float32], squares: NDArray[np.float64]) -> None:
    """To length 1, in place; a row of zeros stays. The same row becomes the same bytes in whatever batch it comes."""
    lengths = np.sqrt(squares)
    lengths[lengths == 0] = 1
    np.divide(vectors, lengths[:, None], out=vectors, casting="same_kind")


def ahead(read: Callable[[int], T], starts: Sequence[int]) -> Iterator[T]:
    """`read` of each start, one of them read in a thread while the one before is worked on."""
    with futures.ThreadPoolExecutor(1, "ddr-read-ahead") as pool:
        coming: futures.Future[T] | None = None
        try:
            for start in starts:
                after = pool.submit(read, start)
                if coming is not None:
                    # The next one is being read already: asked for before this one is handed out.
                    yield coming.result()
                coming = after
            if coming is not None:
                yield coming.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
