"""Chunks on their way into packs, several threads wide, with bounded memory.

The caller cuts and hashes; workers compress, seal and check, each into a pack of its own; uploads run beside them.
Nobody locks anything: two backups at once write the same chunk twice at worst.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from types import TracebackType

from ddr.backup import chunk_index, chunks, layout, packs
from ddr.backup import repository as repositories
from ddr.errors import DdrError
from ddr.ports import store

_BATCH_BYTES = 1 << 20
_WAITING = 12
"""Batches in the queue: at most this many MiB, or four times that where chunks are as large as can be."""

_UPLOADS = 3
_INDEXED_EVERY = 64
"""Packs (2 GiB) after which what is stored is written into the index, so that a killed backup is not done again."""

Item = tuple[bytes, int, bytes]
Listed = tuple[str, int, tuple[packs.Place, ...]]


class Writer:
    """Use as a context; `finish` inside it, else what was not stored is dropped. One caller thread.

    `added_bytes` counts stored bytes, `new_chunks_added` chunks that were not there before.
    """

    def __init__(
        self, repository: repositories.Repository, index: chunk_index.ChunkIndex, *, workers: int = 0, level: int = 1
    ) -> None:
        self.index = index
        self.reused: set[bytes] = set()
        """Chunks that were found stored: at commit they must still be."""
        self.added_bytes = 0
        self.new_chunks_added = 0
        self._repository = repository
        self._chunk_key = repository.ring.chunk_key
        self._level = level
        self._new: set[bytes] = set()
        self._batch: list[Item] = []
        self._batch_bytes = 0
        self._queue: queue.Queue[list[Item] | None] = queue.Queue(_WAITING)
        self._lock = threading.Lock()
        self._unlisted: list[Listed] = []
        self._stored_packs: list[str] = []
        self._index_objects: list[str] = []
        self._failed: BaseException | None = None
        self._uploads = futures.ThreadPoolExecutor(_UPLOADS, "ddr-upload")
        self._room = threading.Semaphore(_UPLOADS)
        count = workers or max(2, min(4, os.cpu_count() or 2))
        self._threads = [threading.Thread(target=self._work, name=f"ddr-pack-{at}", daemon=True) for at in range(count)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._threads:
            self._failed = self._failed or problem or RuntimeError("not finished")
            self._stop()
        if isinstance(problem, store.Full):
            with contextlib.suppress(DdrError):  # else the disk stays full of what nobody knows
                self.discard()

    def add(self, content: bytes, kind: int = packs.DATA) -> bytes:
        """The chunk's id; stored once whatever how often it is added. Raises what a worker ran into."""
        chunk = chunks.id_of(self._chunk_key, content)
        if chunk in self._new:
            return chunk
        if chunk in self.index:
            self.reused.add(chunk)
            return chunk
        self.put_anew(chunk, content, kind)
        return chunk

    @property
    def used(self) -> Iterator[bytes]:
        """Every chunk that was added, found or new."""
        yield from self.reused
        yield from self._new

    def put_anew(self, chunk: bytes, content: bytes, kind: int) -> None:
        """Store it although it may be stored elsewhere already."""
        self._new.add(chunk)
        self.new_chunks_added += 1
        self._batch.append((chunk, kind, content))
        self._batch_bytes += len(content)
        if self._batch_bytes >= _BATCH_BYTES:
            self._hand_over()

    def finish(self) -> None:
        """Everything added is stored and in the index when it returns."""
        self._hand_over()
        self._stop()
        self.check()
        self._list(self._unlisted)

    def adopt(self, finished: Writer) -> None:
        """What the other one has stored counts as stored by this one."""
        self._stored_packs += finished._stored_packs
        self._index_objects += finished._index_objects
        self.added_bytes += finished.added_bytes

    def discard(self) -> None:
        """Stop, and delete every object that was stored: nobody knows them yet. For when they must not exist."""
        self._failed = self._failed or RuntimeError("discarded")
        self._stop()
        for name in self._index_objects:
            self._repository.store.delete(layout.index_key(name))
        for name in self._stored_packs:
            self._repository.store.delete(layout.pack_key(name))

    def _hand_over(self) -> None:
        self.check()
        if self._batch:
            batch, self._batch, self._batch_bytes = self._batch, [], 0
            while True:
                with contextlib.suppress(queue.Full):
                    self._queue.put(batch, timeout=0.5)
                    return
                self.check()  # workers that failed take nothing more

    def check(self) -> None:
        """Raises what a worker ran into."""
        if self._failed is not None:
            raise self._failed

    def _stop(self) -> None:
        for _ in self._threads:
            while True:
                with contextlib.suppress(queue.Full):
                    self._queue.put(None, timeout=0.5)
                    break
                if self._failed is not None and not any(thread.is_alive() for thread in self._threads):
                    break
        for thread in self._threads:
            thread.join()
        self._threads = []
        self._uploads.shutdown(wait=True)

    def _work(self) -> None:
        builder: packs.Builder | None = None
        while (batch := self._queue.get()) is not None:
            builder = builder or packs.Builder(self._repository.ring, self._level)
            if self._failed is None:
                self._guarded(self._pack, builder, batch)
        if builder is not None and self._failed is None and not builder.is_empty:
            self._guarded(self._store_last, builder, [])

    def _guarded(
        self, do: Callable[[packs.Builder, list[Item]], None], builder: packs.Builder, batch: list[Item]
    ) -> None:
        try:
            do(builder, batch)
        except BaseException as problem:  # noqa: BLE001 - told to the caller's thread
            self._failed = self._failed or problem

    def _pack(self, builder: packs.Builder, batch: list[Item]) -> None:
        for chunk, kind, content in batch:
            builder.put(chunk, kind, content)
            if builder.is_full:
                self._store(builder)

    def _store_last(self, builder: packs.Builder, _batch: list[Item]) -> None:
        self._store(builder)

    def _store(self, builder: packs.Builder) -> None:
        """Hand the pack to an upload; the builder is empty again."""
        made = builder.finish()
        content = bytes(made.content)
        builder.clear()
        self._room.acquire()
        self._uploads.submit(self._upload, made.name, content, made.places)

    def _upload(self, name: str, content: bytes, places: tuple[packs.Place, ...]) -> None:
        try:
            if self._failed is None:
                layout.create_named(self._repository.store, layout.pack_key(name), content)
                self._stored(name, len(content), places)
        except BaseException as problem:  # noqa: BLE001 - told to the caller's thread
            self._failed = self._failed or problem
        finally:
            self._room.release()

    def _stored(self, name: str, size_bytes: int, places: tuple[packs.Place, ...]) -> None:
        with self._lock:
            self.added_bytes += size_bytes
            self._stored_packs.append(name)
            self.index.take(name, size_bytes, places)
            self._unlisted.append((name, size_bytes, places))
            due = self._unlisted if len(self._unlisted) >= _INDEXED_EVERY else []
            if due:
                self._unlisted = []
        self._list(due)

    def _list(self, due: list[Listed]) -> None:
        if due:
            name, size_bytes = chunk_index.write(self._repository.store, self._repository.ring, due)
            with self._lock:
                self.index.objects[name] = tuple(pack for pack, _, _ in due)
                self._index_objects.append(name)
                self.added_bytes += size_bytes
