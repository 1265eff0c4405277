"""From what a person named to shards: every header read, every count compared, before the first row is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.errors import Conflict, InputError
from ddr.index.sources import arrays, ids, places

_ID_FILES = (".npy", ".json")
_MOST_TOLD = 10
_NUMBER = re.compile(r"[0-9]+")


class Opened(Protocol):
    """One shard. Rows count from 0 in it. Every read may raise Conflict (the file is no longer that of the plan),
    Unavailable (temporary) and InputError with the place (a damaged file, a number that is no id)."""

    facts: indexes.Shard

    id_kind: ids.Kind

    def vectors(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows x dimension, C-contiguous, the caller's own. As in the file: nothing is normalised or left out."""
        ...

    def labels(self, start: int, stop: int) -> NDArray[np.int64] | None:
        """None where ids are positions or texts."""
        ...

    def texts(self, start: int, stop: int) -> list[str]:
        """[] where ids are no texts."""
        ...


def find(source: indexes.Source, base: Path, buckets: places.Buckets) -> tuple[indexes.Shard, ...]:
    """All shards in order, read as far as their headers (id files in JSON have none and are read whole, one by one).

    InputError for whatever is wrong with any of them, each with its file.
    """
    if not source.vectors:
        raise InputError("no file with vectors is named", hint="name .npy, .fbin or .parquet files")
    found = places.find(source.vectors, base, buckets)
    id_files = _id_files(source, found, base, buckets)
    shards, kinds, problems = [], [], []
    for place, id_file in zip(found, id_files, strict=True):
        try:
            opened = _opened(source, place, id_file, base, buckets)
        except InputError as problem:
            problems.append(problem)
            continue
        shards.append(opened.facts)
        kinds.append(opened.id_kind)
    problems += _different(shards, kinds)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = [f"  {problem.message}" for problem in problems[:_MOST_TOLD]]
        raise InputError("\n".join([f"{len(problems)} problems in the corpus", *lines]), hint=problems[0].hint)
    if not any(shard.rows for shard in shards):
        raise InputError(f"{', '.join(source.vectors)}: no row is there", hint="look at what writes these files")
    return tuple(shards)


def _id_files(
    source: indexes.Source, found: Sequence[places.Place], base: Path, buckets: places.Buckets
) -> Sequence[places.Place | None]:
    if not is_id_file(source):
        if source.ids and (other := [place.uri for place in found if not place.uri.endswith(".parquet")]):
            raise InputError(
                f"{source.ids!r} is a column, and {other[0]} has none",
                hint="`ids:` names files then, as in ids/*.npy or ids/*.json; without it ids are positions",
            )
        return [None] * len(found)
    files = places.find([source.ids], base, buckets)
    if len(files) != len(found):
        noun = "file" if len(files) == 1 else "files"
        raise InputError(
            f"{source.ids} names {len(files)} {noun} with ids, the corpus has {len(found)} with vectors",
            hint="one for each, in the same order by name",
        )
    _check_pairs(found, files)
    return files


def _check_pairs(found: Sequence[places.Place], files: Sequence[places.Place]) -> None:
    """InputError where the names of both have the same numbers, and those of a pair differ."""
    numbers, numbers_of_ids = _numbers(found), _numbers(files)
    if not numbers or sorted(numbers) != sorted(numbers_of_ids):
        return
    for place, file, number, number_of_ids in zip(found, files, numbers, numbers_of_ids, strict=True):
        if number != number_of_ids:
            raise InputError(
                f"{place.uri} would get the ids of {file.uri}: they are paired by name, where 10 comes before 2",
                hint="give the numbers in all names equally many digits, as in v-02 and v-10, or list the files of"
                " `vectors:` one by one, in the order by name of those with ids",
            )


def _numbers(named: Sequence[places.Place]) -> list[tuple[int, ...]]:
    """Of each name the numbers that are not the same in all; [] where names have not equally many."""
    found = [tuple(map(int, _NUMBER.findall(place.uri))) for place in named]
    if len({len(one) for one in found}) > 1:
        return []
    return list(zip(*(column for column in zip(*found, strict=True) if len(set(column)) > 1), strict=True))


def is_id_file(source: indexes.Source) -> bool:
    """Whether ids are files of their own; else a column, or positions."""
    return source.ids.endswith(_ID_FILES)


def _different(shards: Sequence[indexes.Shard], kinds: Sequence[ids.Kind]) -> Iterator[InputError]:
    """What does not go together in one corpus. A Parquet shard without any row has every dimension."""
    told = [(shard, kind) for shard, kind in zip(shards, kinds, strict=True) if shard.rows]
    for shard, kind in told[1:]:
        first, first_kind = told[0]
        if shard.dimension != first.dimension:
            yield InputError(
                f"{shard.uri} has the dimension {shard.dimension}, {first.uri} has {first.dimension}",
                hint="all shards come from one embedder",
            )
        if kind != first_kind:
            yield InputError(
                f"{shard.uri} has ids that are {kind}s, {first.uri} {first_kind}s", hint="one kind for all"
            )


def open_shard(shard: indexes.Shard, source: indexes.Source, base: Path, buckets: places.Buckets) -> Opened:
    """A shard of a plan. Conflict when its files, or those with its ids, are no longer those that were planned."""
    place = places.reach(shard.uri, base, buckets)
    id_file = places.reach(shard.ids_uri, base, buckets) if shard.ids_uri else None
    found = _generation(place, id_file)
    if found != shard.generation:
        raise Conflict(
            f"{shard.uri} changed since it was planned",
            expected=shard.generation,
            found=found,
            hint="plan again: the next plan takes the files as they are now",
        )
    return _opened(source, place, id_file, base, buckets)


def _generation(place: places.Place, id_file: places.Place | None) -> str:
    return f"{place.generation}+{id_file.generation}" if id_file else place.generation


def _opened(
    source: indexes.Source,
    place: places.Place,
    id_file: places.Place | None,
    base: Path,
    buckets: places.Buckets,
) -> Opened:
    readable = places.readable(place, base, buckets)
    if place.uri.endswith(".parquet"):
        return _OfParquet(source, readable, id_file, base, buckets)
    if place.uri.endswith(".npy"):
        header = arrays.npy(readable)
    elif place.uri.endswith(".fbin"):
        header = arrays.fbin(readable)
    else:
        raise InputError(f"{place.uri} is of no kind that is known", hint=".npy, .fbin or .parquet")
    arrays.check_vectors(place.uri, header)
    return _OfArray(readable, header, id_file, base, buckets)


def _ids(id_file: places.Place | None, rows: int, base: Path, buckets: places.Buckets) -> ids.Ids:
    return ids.of_file(places.readable(id_file, base, buckets), rows) if id_file else ids.Positions()


class _OfArray:
    def __init__(
        self,
        readable: places.Readable,
        header: arrays.Header,
        id_file: places.Place | None,
        base: Path,
        buckets: places.Buckets,
    ) -> None:
        rows, dimension = header.shape
        self._rows = arrays.Rows(readable, header)
        self._ids = _ids(id_file, rows, base, buckets)
        self.id_kind = self._ids.kind
        self.facts = _facts(readable.place, rows, dimension, header.dtype.name, id_file)

    def vectors(self, start: int, stop: int) -> NDArray[np.float32]:
        return self._rows.float32(start, stop)

    def labels(self, start: int, stop: int) -> NDArray[np.int64] | None:
        return self._ids.labels(start, stop)

    def texts(self, start: int, stop: int) -> list[str]:
        return self._ids.texts(start, stop)


class _OfParquet:
    def __init__(
        self,
        source: indexes.Source,
        readable: places.Readable,
        id_file: places.Place | None,
        base: Path,
        buckets: places.Buckets,
    ) -> None:
        from ddr.index.sources import parquet

        self._file = parquet.File(readable, source.column, "" if id_file else source.ids)
        rows = self._file.rows
        self._ids = _ids(id_file, rows, base, buckets) if id_file else self._file.ids
        self.id_kind = self._ids.kind
        self.facts = _facts(readable.place, rows, self._file.dimension, self._file.dtype, id_file)
        if rows and not self._file.dimension:
            raise InputError(f"{readable.place.uri}: column {source.column!r} is empty", hint="no row has a vector")

    def vectors(self, start: int, stop: int) -> NDArray[np.float32]:
        from ddr.index.sources import parquet

        return parquet.vectors(self._file, self.facts.dimension, start, stop)

    def labels(self, start: int, stop: int) -> NDArray[np.int64] | None:
        return self._ids.labels(start, stop)

    def texts(self, start: int, stop: int) -> list[str]:
        return self._ids.texts(start, stop)


def _facts(place: places.Place, rows: int, dimension: int, dtype: str, id_file: places.Place | None) -> indexes.Shard:
    return indexes.Shard(
        uri=place.uri,
        rows=rows,
        dimension=dimension,
        dtype=dtype,
        size_bytes=place.size_bytes,
        generation=_generation(place, id_file),
        ids_uri=id_file.uri if id_file else "",
    )
