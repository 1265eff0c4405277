"""The files of a snapshot put into buckets: back where they were, or where a rewrite says.

An object is there whole or not at all, so what was cut off goes on with those that lack. What lies in the bucket
already is read to compare it: an ETag says nothing of content where objects came in parts.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from ddr.connectors.mlflow import artifacts, files, relocate
from ddr.errors import Conflict, Damaged, DdrError, Missing
from ddr.ports import restorable

_AT_ONCE = 8
_SMALL_BYTES = 8 * 2**20
"""Up to this size several objects wait in memory to be put side by side; larger ones go in parts, one by one."""

_ROWS_ALONE = "--with artifacts=none restores the rows alone"


class Shelf(artifacts.Bucket, Protocol):
    """A bucket that can be written to."""

    def put(self, bucket: str, key: str, pieces: Iterator[bytes], *, replace: bool) -> None:
        """Whole or not at all. Conflict when it is there and may not be replaced, Missing without such a bucket."""
        ...


@dataclass(frozen=True)
class _Seen:
    stored: restorable.FileStored
    bucket: str
    key: str
    state: str

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Objects:
    """`wanted` says which paths of a tree are restored; `connect` is called when there is something for a bucket."""

    source: restorable.Source
    moves: relocate.Relocation
    wanted: Callable[[str, str], bool]
    connect: Callable[[], Shelf]

    @cached_property
    def _shelf(self) -> Shelf:
        return self.connect()

    def count(self, tree: str) -> files.Counts:
        """What is there already, read and compared."""
        count: dict[str, int] = collections.Counter()
        examples = []
        for seen in self._looked_at(tree):
            count[seen.state] += 1
            examples += [seen.uri] if seen.state == "other" else []
        return files.Counts(tree, count["new"], count["same"], count["other"], 0, tuple(examples[:3]), count["link"])

    def check(self, tree: str, policy: restorable.Policy) -> list[_Seen]:
        """What is to be put. Conflict where that may not be."""
        found = list(self._looked_at(tree))
        for seen in found:
            if seen.state == "other" and policy == "fail":
                raise Conflict(
                    f"{seen.uri} is there with other content; no object of the snapshot was written",
                    hint="restore elsewhere (--rewrite, --with artifacts=...), or say --policy update or skip",
                )
        wanted = ("new",) if policy in ("fail", "skip") else ("new", "other")
        return [seen for seen in found if seen.state in wanted]

    def write(self, tree: str, todo: list[_Seen], progress: restorable.Progress | None) -> None:
        """Small objects side by side, bounded in memory; the first that fails ends it. What the backup has lost stays
        away, and the comparison says so."""
        waiting: collections.deque[futures.Future[None]] = collections.deque()
        with futures.ThreadPoolExecutor(_AT_ONCE, "ddr-put") as pool:
            try:
                for done, seen in enumerate(todo, 1):
                    pieces = self.source.read(tree, seen.stored.path)
                    with contextlib.suppress(Damaged):
                        if seen.stored.size_bytes > _SMALL_BYTES:
                            self._put(seen, pieces)
                        else:
                            waiting.append(pool.submit(self._put, seen, iter([b"".join(pieces)])))
                    while len(waiting) >= 2 * _AT_ONCE:
                        waiting.popleft().result()
                    if progress:
                        progress(f"objects of {tree}", done, len(todo))
                while waiting:
                    waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def compare(self, tree: str) -> restorable.Comparison | None:
        """Every object read back; None where none of the tree belongs into a bucket."""
        count = whole = 0
        wrong: list[str] = []
        for seen in self._looked_at(tree):
            if seen.state == "link":
                continue
            count += 1
            whole += seen.state == "same"
            wrong += [] if seen.state == "same" else [seen.uri]
        if not count:
            return None
        found = f"{whole} whole objects" + files.said_wrong(wrong)
        return restorable.Comparison(f"objects of {tree}", f"{count} whole objects", found)

    def _put(self, seen: _Seen, pieces: Iterator[bytes]) -> None:
        self._shelf.put(seen.bucket, seen.key, pieces, replace=seen.state == "other")

    def _looked_at(self, tree: str) -> Iterator[_Seen]:
        """In the order of the tree; the objects of the same size are read beside one another."""
        there = self._there(tree)
        waiting: collections.deque[tuple[_Seen, futures.Future[bool] | None]] = collections.deque()

        def settled() -> _Seen:
            seen, job = waiting.popleft()
            state = seen.state if job is None else "same" if job.result() else "other"
            return _Seen(seen.stored, seen.bucket, seen.key, state)

        with futures.ThreadPoolExecutor(_AT_ONCE, "ddr-look") as pool:
            try:
                for stored, bucket, key in self._placed(tree):
                    size = there.get(f"{bucket}/{key}")
                    state = "new" if size is None else "other"
                    job = None
                    if stored.kind == "link":
                        state = "link"
                    elif size == stored.size_bytes:
                        with contextlib.suppress(Damaged):  # else the backup has lost it: nobody can compare
                            matcher = self.source.matcher(tree, stored.path)
                            job = pool.submit(self._is_same, bucket, key, matcher)
                    waiting.append((_Seen(stored, bucket, key, state), job))
                    while len(waiting) >= 2 * _AT_ONCE:
                        yield settled()
                while waiting:
                    yield settled()
            finally:
                pool.shutdown(cancel_futures=True)

    def _is_same(self, bucket: str, key: str, matcher: Callable[[Iterator[bytes]], bool]) -> bool:
        try:
            return matcher(self._shelf.read(bucket, key))
        except Missing:
            return False

    def _placed(self, tree: str) -> Iterator[tuple[restorable.FileStored, str, str]]:
        for stored in self.source.files(tree):
            if stored.kind != "folder" and self.wanted(tree, stored.path):
                place = self.moves.in_bucket(tree, stored.path)
                if place:
                    bucket, _, key = place.partition("/")
                    yield stored, bucket, key

    def _there(self, tree: str) -> Mapping[str, int]:
        """Sizes of what lies in the places by `bucket/key`: one listing a bucket, below what all of them begin with."""
        keys: dict[str, list[str]] = {}
        for _, bucket, key in self._placed(tree):
            keys.setdefault(bucket, []).append(key)
        found = {}
        for bucket, those in keys.items():
            try:
                for one in self._shelf.listed(bucket, _beginning(those)):
                    found[f"{bucket}/{one.key}"] = one.size_bytes
            except Missing as problem:
                raise Missing(
                    f"{len(those)} objects of {tree} belong into the bucket {bucket!r}, and there is none",
                    hint=f"make it, or name another place: --rewrite s3://{bucket}=s3://OTHER, --with artifacts=FOLDER"
                    f"; {_ROWS_ALONE}",
                ) from problem
            except DdrError as problem:
                problem.hint = f"{problem.hint}; {_ROWS_ALONE}"
                raise
        return found


def _beginning(keys: Sequence[str]) -> str:
    """What all of them begin with."""
    first, last = min(keys), max(keys)
    same = (one == other for one, other in zip(first, last, strict=False))
    return first[: next((at for at, is_same in enumerate(same) if not is_same), min(len(first), len(last)))]
