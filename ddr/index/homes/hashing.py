"""Digests of a file while its bytes go by: of the whole, and of each 64 MiB, so that damage has a place.

SHA-256 is what stands in manifests. A *mark* (BLAKE3) is only for reading back what was written a moment ago, which is
done at three times the speed.
"""

from __future__ import annotations

import functools
import hashlib
import queue
import threading
from collections.abc import Callable, Iterable

import blake3

from ddr.domain import indexes
from ddr.lib import digest

CHUNK_BYTES = 64 << 20
_WAITING = 4


class Hashing:
    """Of a context: on threads of its own, which end with it. A small file gets none."""

    def __init__(self) -> None:
        self._size = 0
        self._mark = blake3.blake3()
        self._whole, self._chunk = hashlib.sha256(), hashlib.sha256()
        self._whole_lane, self._chunk_lane = _Lane(), _Lane()
        self._first = ""
        self._later: list[str] = []

    def __enter__(self) -> Hashing:
        return self

    def __exit__(self, *_: object) -> None:
        self._whole_lane.end()
        self._chunk_lane.end()

    def add(self, block: bytes) -> None:
        """The next bytes, which must not change any more."""
        rest = memoryview(block)
        while rest:
            piece = rest[: CHUNK_BYTES - self._size % CHUNK_BYTES]
            rest = rest[len(piece) :]
            self._whole_lane.do(functools.partial(self._whole.update, piece))
            self._chunk_lane.do(functools.partial(self._add_to_mark, piece))
            if self._size >= CHUNK_BYTES:  # until there the two are one
                self._chunk_lane.do(functools.partial(self._add_to_chunk, piece))
            self._size += len(piece)
            if self._size == CHUNK_BYTES:
                self._whole_lane.do(self._end_first)
            elif self._size % CHUNK_BYTES == 0:
                self._chunk_lane.do(self._end_chunk)

    def file(self, name: str) -> indexes.File:
        """Of everything that was added. Call it once, at the end."""
        self._whole_lane.end()
        self._chunk_lane.end()
        if self._size > CHUNK_BYTES and self._size % CHUNK_BYTES:
            self._end_chunk()
        whole = digest.PREFIX + self._whole.hexdigest()
        return indexes.File(name, self._size, whole, (self._first or whole, *self._later))

    def mark(self) -> str:
        """As `mark_of` says of the same bytes. Call it behind `file`."""
        return self._mark.hexdigest()

    def _add_to_mark(self, piece: memoryview) -> None:
        self._mark.update(piece)

    def _add_to_chunk(self, piece: memoryview) -> None:
        self._chunk.update(piece)

    def _end_first(self) -> None:
        self._first = digest.PREFIX + self._whole.hexdigest()

    def _end_chunk(self) -> None:
        self._later.append(digest.PREFIX + self._chunk.hexdigest())
        self._chunk = hashlib.sha256()


def mark_of(blocks: Iterable[bytes]) -> tuple[int, str]:
    """Size and mark."""
    mark, size = blake3.blake3(), 0
    for block in blocks:
        mark.update(block)
        size += len(block)
    return size, mark.hexdigest()


class _Lane:
    """Does one thing after the other; from the second on in a thread, a few of them ahead."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Callable[[], None] | None] | None = None
        self._thread: threading.Thread | None = None
        self._is_first = True

    def do(self, work: Callable[[], None]) -> None:
        if self._is_first:
            self._is_first = False
            work()
            return
        if self._queue is None:
            self._queue = queue.Queue(_WAITING)
            self._thread = threading.Thread(target=self._run, args=(self._queue,), name="ddr-hash", daemon=True)
            self._thread.start()
        self._queue.put(work)

    def end(self) -> None:
        if self._queue is not None and self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._queue = self._thread = None

    @staticmethod
    def _run(works: queue.Queue[Callable[[], None] | None]) -> None:
        while (work := works.get()) is not None:
            work()
