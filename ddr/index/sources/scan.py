"""One look at every row before anything is built of it: what is not a vector, what comes twice, and what all of it was.

Held at once: three batches, 16 bytes a row for duplicate vectors and 8 (16 where ids are texts) for duplicate ids.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from concurrent import futures

import numpy as np
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.errors import InputError
from ddr.index.sources import corpus as corpora
from ddr.index.sources import hashes, sample
from ddr.lib import digest

Report = Callable[[int], None]
"""Told after each batch how many rows were looked at so far."""

QUANTILES = (0, 1, 25, 50, 75, 99, 100)
_BATCH_BYTES = 16 << 20
_RESERVOIR = 1 << 16
_EXAMPLES = 8
_TOLD = 3  # of them in an error
_KEYS = {"not-finite": "notFinite", "zero": "zero", "duplicate": "duplicate"}
_WHAT = {
    "not-finite": ("row has NaN or infinite numbers", "rows have NaN or infinite numbers"),
    "zero": ("row has only zeros", "rows have only zeros"),
    "duplicate": ("row is a vector that came before", "rows are a vector that came before"),
}


def scan(corpus: corpora.Corpus, policies: indexes.Policies, report: Report) -> tuple[indexes.Scan, NDArray[np.int64]]:
    """What was found, and the positions that do not go in, sorted. Reads every row once.

    InputError, with file and row, for ids that are empty or stand twice and for what a policy rejects, all at once.
    """
    rows = max(1, _BATCH_BYTES // (4 * corpus.dimension))
    with futures.ThreadPoolExecutor(1, "ddr-digest") as pool:
        look = _Look(corpus, policies, pool)
        for raw in corpus.raw(0, corpus.rows, rows, with_texts=corpus.id_kind == "text"):
            look.at(raw)
            report(raw.start + len(raw.vectors))
    return look.found()


class _Look:
    def __init__(self, corpus: corpora.Corpus, policies: indexes.Policies, pool: futures.Executor) -> None:
        self._corpus = corpus
        self._policies: dict[str, indexes.Policy] = {
            "not-finite": policies.not_finite,
            "zero": policies.zero,
            "duplicate": policies.duplicate,
        }
        self._of_rows = hashes.Rows(corpus.dimension)
        self._rows = np.empty((corpus.rows, 2), np.uint64)
        self._has_texts = corpus.id_kind == "text"
        shape = {"position": (0,), "number": (corpus.rows,), "text": (corpus.rows, 2)}[corpus.id_kind]
        self._ids = np.empty(shape, np.uint64)
        self._set = indexes.IdSet()
        self._nameless: int | None = None  # position of the first
        self._norms = _Norms()
        self._digests = _Digests(corpus, pool)
        self._counts = dict.fromkeys(_KEYS, 0)
        self._examples: dict[str, list[int]] = {name: [] for name in _KEYS}
        self._dropped: list[NDArray[np.int64]] = []

    def at(self, raw: corpora.Raw) -> None:
        start, end = raw.start, raw.start + len(raw.vectors)
        with self._digests.adding(raw):
            squares = corpora.squared_lengths(raw.vectors)
            is_finite = np.isfinite(squares)
            is_zero = squares == 0
            is_kept = is_finite & ~(is_zero & (self._policies["zero"] != "keep"))
            self._rows[start:end] = self._of_rows.of(raw.vectors)
            self._note("not-finite", start + np.flatnonzero(~is_finite), is_out=True)
            self._note("zero", start + np.flatnonzero(is_zero), is_out=self._policies["zero"] != "keep")
            hashed = hashes.of_texts(raw.texts) if self._has_texts else hashes.of_numbers(raw.labels)
            if self._ids.size:
                self._ids[start:end] = hashed if self._has_texts else raw.labels.view(np.uint64)
            self._set = hashes.added(self._set, hashes.id_set(hashed[is_kept]))
            if self._nameless is None and "" in raw.texts:
                self._nameless = start + raw.texts.index("")
            self._norms.add(start + np.flatnonzero(is_kept), np.sqrt(squares[is_kept]))

    def _note(self, name: str, positions: NDArray[np.int64], *, is_out: bool) -> None:
        if not len(positions):
            return
        self._counts[name] += len(positions)
        seen = self._examples[name]
        seen += positions[: _EXAMPLES - len(seen)].tolist()
        if is_out:
            self._dropped.append(positions)

    def found(self) -> tuple[indexes.Scan, NDArray[np.int64]]:
        out = np.concatenate([np.empty(0, np.int64), *self._dropped])
        out.sort()
        duplicates = _repeated(self._rows, out)
        self._note("duplicate", duplicates, is_out=self._policies["duplicate"] == "drop")
        self._check()
        if self._policies["duplicate"] == "drop" and len(duplicates):
            out = np.sort(np.concatenate([out, duplicates]))
            for some in _blocks(duplicates):
                self._set = hashes.without(self._set, hashes.id_set(_ids_at(self._corpus, some)))
        result = indexes.Scan(
            rows=self._corpus.rows,
            kept=self._corpus.rows - len(out),
            ids=self._set,
            digests=self._digests.all(),
            norms=self._norms.quantiles(),
            dropped={name: n for name, n in self._counts.items() if n and self._policies[name] == "drop"},
            anomalies={name: n for name, n in self._counts.items() if n},
            examples={name: tuple(some) for name, some in self._examples.items() if some},
        )
        return result, out

    def _check(self) -> None:
        """InputError for what is rejected."""
        told = [
            f"{_counted(self._counts[name], *_WHAT[name])}{self._or_null(name)} (anomalies.{_KEYS[name]} is reject), "
            f"as {', '.join(self._corpus.place(at) for at in self._examples[name][:_TOLD])}"
            for name, policy in self._policies.items()
            if policy == "reject" and self._counts[name]
        ]
        bad_ids = [what for what in (self._empty_id(), self._ids_twice()) if what]
        if told or bad_ids:
            hint = (
                "an id names one row: correct the ids" if bad_ids else "correct the corpus, or set the policy to drop"
            )
            raise InputError("; ".join([*told, *bad_ids]), hint=hint)

    def _or_null(self, name: str) -> str:
        """A vector that Parquet has as null was read as NaN."""
        can_be = name == "not-finite" and any(shard.uri.endswith(".parquet") for shard in self._corpus.shards)
        return ", or null" if can_be else ""

    def _empty_id(self) -> str:
        return "" if self._nameless is None else f"an id is empty, in {self._corpus.place(self._nameless, is_id=True)}"

    def _ids_twice(self) -> str:
        if not self._ids.size:
            return ""
        none = np.empty(0, np.int64)
        again = _repeated(self._ids.reshape(self._corpus.rows, -1), none)
        if not len(again):
            return ""
        at = int(again[0])
        first = int(np.flatnonzero((self._ids[:at] == self._ids[at]).reshape(at, -1).all(axis=1))[0])
        named = self._corpus.texts(at, at + 1)[0] if self._has_texts else str(int(self._ids[at]))
        first_place, place = (self._corpus.place(one, is_id=True) for one in (first, at))
        return f"{_counted(len(again), 'id stands', 'ids stand')} twice, as {named!r} in {first_place} and {place}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _blocks(positions: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(positions), 1 << 16):
        yield positions[first : first + (1 << 16)]


def _ids_at(corpus: corpora.Corpus, positions: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hashes of the ids at sorted positions: what lies between them is read too, a block at a time."""
    found = []
    for first in range(int(positions[0]), int(positions[-1]) + 1, 1 << 18):
        end = min(first + (1 << 18), int(positions[-1]) + 1)
        low, high = np.searchsorted(positions, (first, end))
        if high > low:
            found.append(sample.of_ids(corpus, first, end)[positions[low:high] - first])
    return np.concatenate(found)


def _repeated(keys: NDArray[np.uint64], without: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions, sorted, of rows of `keys` (n x 1 or 2) that came before; those in `without` (sorted) do not count.

    Bucket by bucket, so that sorting holds a sixteenth of them.
    """
    found = []
    first = keys[:, 0]
    buckets = hashes.bucket(first)
    buckets[without] = hashes.BUCKETS
    for bucket in range(hashes.BUCKETS):
        here = np.flatnonzero(buckets == bucket)
        order = np.argsort(first[here], kind="stable")
        ordered = first[here[order]]
        # Members of runs of one first lane: few, unless much is repeated.
        is_same = ordered[1:] == ordered[:-1]
        is_in_run = np.zeros(len(here), bool)
        is_in_run[1:] = is_same
        is_in_run[:-1] |= is_same
        some = np.sort(here[order[is_in_run]])
        sorting = np.lexsort((some, *(keys[some, lane] for lane in range(keys.shape[1]))))
        some = some[sorting]
        found.append(some[1:][(keys[some[1:]] == keys[some[:-1]]).all(axis=1)])
    return np.sort(np.concatenate(found))


class _Norms:
    """Quantiles of the lengths, from a fair draw of 65,536 of them; least and greatest are exact."""

    def __init__(self) -> None:
        self._drawn = hashes.Smallest(_RESERVOIR)
        self._least, self._greatest = np.inf, 0.0

    def add(self, positions: NDArray[np.int64], norms: NDArray[np.float64]) -> None:
        if not len(norms):
            return
        self._least = min(self._least, float(norms.min()))
        self._greatest = max(self._greatest, float(norms.max()))
        # A length is kept as the bits of its number.
        self._drawn.add(hashes.of_numbers(positions)[:, 0], norms.view(np.int64))

    def quantiles(self) -> tuple[float, ...]:
        drawn = self._drawn.numbers().view(np.float64)
        if not len(drawn):
            return ()
        inner = np.percentile(drawn, QUANTILES[1:-1]).tolist()
        return (self._least, *inner, self._greatest)


class _Digests:
    """SHA-256 of each shard: of the rows as float32, then of the ids as they were read, if there are any."""

    def __init__(self, corpus: corpora.Corpus, pool: futures.Executor) -> None:
        self._bounds = corpus.bounds
        self._kind = corpus.id_kind
        self._of_vectors = [hashlib.sha256() for _ in corpus.shards]
        self._of_ids = [hashlib.sha256() for _ in corpus.shards]
        self._pool = pool

    @contextlib.contextmanager
    def adding(self, raw: corpora.Raw) -> Iterator[None]:
        """Hashing goes on in a thread while the body of `with` looks at the same rows."""
        coming = self._pool.submit(self._add, raw)
        yield
        coming.result()

    def _add(self, raw: corpora.Raw) -> None:
        first, end = raw.start, raw.start + len(raw.vectors)
        at = bisect.bisect_right(self._bounds, first) - 1
        while first < end:
            stop = min(end, self._bounds[at + 1])
            low, high = first - raw.start, stop - raw.start
            if high > low:
                self._of_vectors[at].update(raw.vectors[low:high].data)
                if self._kind == "number":
                    self._of_ids[at].update(raw.labels[low:high].data)
                elif self._kind == "text":
                    self._of_ids[at].update(b"".join(text.encode() + b"\0" for text in raw.texts[low:high]))
            first, at = stop, at + 1

    def all(self) -> tuple[str, ...]:
        return tuple(
            digest.of_bytes(vectors.digest() + ids.digest())
            for vectors, ids in zip(self._of_vectors, self._of_ids, strict=True)
        )
