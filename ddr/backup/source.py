"""One component of one snapshot, read back."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ddr.backup import chunks, listings, reading
from ddr.backup import repository as repositories
from ddr.domain import snapshots
from ddr.errors import Damaged, Missing, Refused, Unavailable
from ddr.lib import durable, redact, rowbatch
from ddr.ports import restorable


@dataclass
class ChunkSource:
    """Implements ports.restorable.Source."""

    repository: repositories.Repository
    reader: reading.Reader
    component: snapshots.Component
    _folders: OrderedDict[tuple[bytes, ...], dict[str, listings.Entry]] = field(default_factory=OrderedDict, repr=False)

    def rows(self, table: str) -> Iterator[rowbatch.Batch]:
        found = self.component.table(table)
        if found is None:
            raise Missing(f"{self.component.name} has no table {table!r} in this snapshot")
        for content in self.reader.read(_ids(found.chunks)):
            yield rowbatch.decode(content)

    def stream(self, name: str) -> Iterator[bytes]:
        found = next((stream for stream in self.component.streams if stream.name == name), None)
        if found is None:
            raise Missing(f"{self.component.name} has no stream {name!r} in this snapshot")
        return self.reader.read(_ids(found.chunks))

    def files(self, tree: str) -> Iterator[restorable.FileStored]:
        for path, entry in listings.walk(self.reader, self._root(tree)):
            yield listings.stored_of(path, entry)

    def read(self, tree: str, path: str) -> Iterator[bytes]:
        return self.reader.read(self._entry(tree, path).chunk_ids())

    def matches(self, tree: str, path: str, pieces: Iterable[bytes]) -> bool:
        return self.matcher(tree, path)(pieces)

    def matcher(self, tree: str, path: str) -> Callable[[Iterable[bytes]], bool]:
        """By the ids of the chunks, cut where the snapshot cut them: no byte is fetched."""
        ids = self._entry(tree, path).chunk_ids()
        sized = [(chunk, self.reader.index.size(chunk)) for chunk in ids]
        return functools.partial(chunks.are, self.repository.ring.chunk_key, sized)

    def write(
        self,
        tree: str,
        to: Callable[[restorable.FileStored], Path | None],
        progress: restorable.Progress | None = None,
    ) -> int:
        plots = _Plots()
        count = 0
        folders: set[Path] = set()
        wanted: list[reading.Wanted] = []
        for path, entry in listings.walk(self.reader, self._root(tree)):
            place = to(listings.stored_of(path, entry)) if entry.k == "f" else None
            if place is None:
                continue
            count += 1
            if place.parent not in folders:
                with _watched(place.parent):
                    place.parent.mkdir(parents=True, exist_ok=True)
                folders.add(place.parent)
            wanted.extend(plots.sow(place, path, entry, self.reader.index.size))
        total = sum(one.s for one in plots.entries)
        done = [0]

        def told(size_bytes: int) -> None:
            done[0] += size_bytes
            if progress:
                progress(tree, done[0], total)

        try:
            broken = self.reader.by_pack(wanted, told=told)
        finally:
            plots.close()
        if broken or plots.unfinished():
            names = plots.unfinished()
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            why = f": {broken[0].message}" if broken else ""
            raise restorable.FilesLost(
                f"{self.component.name}: {len(names)} of {count} files could not be restored ({shown}){why}",
                names,
                hint="the others are written; `ddr backup verify` says what else is affected; try an older snapshot",
            )
        return count

    def _root(self, tree: str) -> list[bytes]:
        found = self.component.tree(tree)
        if found is None:
            raise Missing(f"{self.component.name} has no tree {tree!r} in this snapshot")
        return _ids(found.root)

    def _entry(self, tree: str, path: str) -> listings.Entry:
        ids = self._root(tree)
        found: listings.Entry | None = None
        for part in path.split("/"):
            found = self._folder(tuple(ids)).get(part)
            if found is None:
                raise Missing(f"{self.component.name}: {tree} has no {path!r} in this snapshot")
            ids = found.chunk_ids() if found.k == "d" else []
        assert found is not None
        return found

    def _folder(self, ids: tuple[bytes, ...]) -> dict[str, listings.Entry]:
        """A listing by name; those asked for last are kept, as files are asked for folder by folder."""
        known = self._folders.get(ids)
        if known is None:
            known = {entry.name: entry for entry in listings.read(self.reader, ids)}
            self._folders[ids] = known
            if len(self._folders) > _FOLDERS_KEPT:
                self._folders.popitem(last=False)
        return known


_FOLDERS_KEPT = 32


def _ids(hexed: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(one) for one in hexed]


_MOST_OPEN = 128


class _Plots:
    """Files that are being filled, chunk by chunk in any order, from several threads."""

    def __init__(self) -> None:
        self.entries: list[listings.Entry] = []
        self._paths: list[str] = []
        self._left: list[int] = []
        self._places: list[Path] = []
        self._open: dict[int, int] = {}
        self._begun: set[int] = set()
        self._lock = threading.Lock()

    def sow(
        self, place: Path, path: str, entry: listings.Entry, size_of: Callable[[bytes], int]
    ) -> Iterator[reading.Wanted]:
        """The chunks of one file, each with the place it goes to."""
        number = len(self.entries)
        ids = entry.chunk_ids()
        self.entries.append(entry)
        self._paths.append(path)
        self._places.append(place)
        self._left.append(len(ids))
        if not ids:
            with _watched(place):
                self._create(place, b"")
            return
        sizes = [0]
        if len(ids) > 1:
            try:
                sizes = [size_of(chunk) for chunk in ids]
            except Damaged:
                return  # nobody knows where its chunks begin: it stays unfinished, and is named
        for chunk, at in zip(ids, itertools.accumulate(sizes, initial=0), strict=False):
            yield reading.Wanted(chunk, self._filler(number, at, is_whole=len(ids) == 1))

    def _filler(self, number: int, at: int, *, is_whole: bool) -> Callable[[bytes | memoryview], None]:
        def fill(content: bytes | memoryview) -> None:
            try:
                if is_whole:
                    self._create(self._places[number], content)
                else:
                    self._put(number, at, content)
            except FileExistsError:
                raise Refused(
                    f"{self._places[number]} is there already; nothing is overwritten",
                    hint="restore into another place",
                ) from None
            except OSError as problem:
                raise _unwritable(self._places[number], problem) from problem
            with self._lock:
                self._left[number] -= 1
                fd = self._open.pop(number, None) if not self._left[number] else None
            if fd is not None:
                os.close(fd)

        return fill

    def _create(self, place: Path, content: bytes | memoryview) -> None:
        fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write_at(fd, content, 0)
        finally:
            os.close(fd)

    def _put(self, number: int, at: int, content: bytes | memoryview) -> None:
        with self._lock:
            fd = self._open.get(number)
            if fd is None:
                if len(self._open) >= _MOST_OPEN:
                    os.close(self._open.pop(next(iter(self._open))))
                flags = os.O_WRONLY | os.O_CLOEXEC | (0 if number in self._begun else os.O_CREAT | os.O_EXCL)
                self._begun.add(number)
                fd = self._open[number] = os.open(self._places[number], flags, 0o600)
            fd = os.dup(fd)
        try:
            _write_at(fd, content, at)
        finally:
            os.close(fd)

    def unfinished(self) -> list[str]:
        return [path for path, left in zip(self._paths, self._left, strict=True) if left]

    def close(self) -> None:
        for fd in self._open.values():
            with contextlib.suppress(OSError):
                os.close(fd)
        self._open.clear()


@contextlib.contextmanager
def _watched(place: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise Refused(f"{place} is there already; nothing is overwritten", hint="restore into another place") from None
    except OSError as problem:
        raise _unwritable(place, problem) from problem


def _unwritable(place: Path, problem: OSError) -> Unavailable:
    return Unavailable(f"{place} cannot be written: {redact.foreign(problem)}", hint=durable.advice(problem, place))


def _write_at(fd: int, content: bytes | memoryview, at: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(fd, view, at)
        at += written
        view = view[written:]
