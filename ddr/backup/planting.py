"""A tree of files into listings and chunks; files that are as the parent snapshot has them are not read again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ddr.backup import chunks, listings, reading, writing
from ddr.domain import snapshots
from ddr.errors import DdrError, Missing, Unavailable
from ddr.lib import redact
from ddr.ports import restorable

Scan = Callable[[str, bytes], None]
"""Told of new text: where it is, and the bytes. Raises Refused when a secret is in it."""


@dataclass
class _Folder:
    """A folder that is being listed; `known` is what the parent snapshot has in it."""

    seen: restorable.FileSeen
    known: dict[str, listings.Entry]
    entries: list[listings.Entry] = field(default_factory=list)


@dataclass
class Planter:
    """Puts trees into a writer. `reader` reads the parent snapshot's listings."""

    writer: writing.Writer
    reader: reading.Reader
    warn: Callable[[str], None]
    scan: Scan
    progress: restorable.Progress | None = None
    _buffer: bytearray = field(default_factory=bytearray)

    def plant(self, name: str, files: restorable.FileTree, parent: snapshots.Tree | None) -> snapshots.Tree:
        """Store a whole tree. Files that vanish or cannot be read are warnings."""
        root = _Folder(
            restorable.FileSeen("", "folder"),
            self._known([bytes.fromhex(one) for one in parent.root] if parent else []),
        )
        stack = [root]
        count = folders = size_bytes = 0
        expected = parent.files if parent else 0
        for seen in files.entries():
            above = seen.path.rpartition("/")[0]
            while stack[-1].seen.path != above:
                self._close(stack)
            here = stack[-1]
            if seen.kind == "folder":
                folders += 1
                before = here.known.get(seen.path.rpartition("/")[2])
                known = self._known(before.chunk_ids()) if before is not None and before.k == "d" else {}
                stack.append(_Folder(seen, known))
                continue
            entry = self._entry(name, files, seen, here.known)
            if entry is None:
                continue
            here.entries.append(entry)
            count += 1
            size_bytes += entry.s
            if self.progress and count % 64 == 0:
                self.progress(name, count, expected)
        while len(stack) > 1:
            self._close(stack)
        ids = listings.write(self.writer, root.entries)
        return snapshots.Tree(name, tuple(one.hex() for one in ids), count, folders, size_bytes)

    def _known(self, ids: list[bytes]) -> dict[str, listings.Entry]:
        """What the parent has in a folder; nothing where it cannot be read: then all is read again."""
        if not ids:
            return {}
        try:
            return {entry.name: entry for entry in listings.read(self.reader, ids)}
        except DdrError as problem:
            self.warn(f"a folder of the parent snapshot cannot be read, all in it is read again: {problem.message}")
            return {}

    def _close(self, stack: list[_Folder]) -> None:
        done = stack.pop()
        ids = listings.write(self.writer, done.entries)
        stack[-1].entries.append(listings.entry_of(done.seen, ids))

    def _entry(
        self, name: str, files: restorable.FileTree, seen: restorable.FileSeen, known: dict[str, listings.Entry]
    ) -> listings.Entry | None:
        if seen.kind == "link":
            return listings.entry_of(seen)
        before = known.get(seen.path.rpartition("/")[2])
        if before is not None and _is_unchanged(before, seen):
            ids = before.chunk_ids()
            index = self.writer.index
            if all(one in index for one in ids):
                self.writer.reused.update(ids)
                return listings.entry_of(seen, ids)
        try:
            return self._read(name, files, seen)
        except (Missing, FileNotFoundError):
            self.warn(f"{name}: {seen.path} was gone before it could be read")
        except (OSError, Unavailable) as problem:
            self.writer.check()  # it may be the repository that takes no more, and not the file
            self.warn(f"{name}: {seen.path} could not be read: {redact.foreign(problem)}")
        return None

    def _read(self, name: str, files: restorable.FileTree, seen: restorable.FileSeen) -> listings.Entry:
        path = files.local(seen)
        where = f"{name}/{seen.path}"
        if path is None:
            ids, size = self._store(where, _cut(files.read(seen), seen.size_bytes))
            if size != seen.size_bytes:
                return self._changed(name, seen, ids, size)
            return listings.entry_of(seen, ids)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(fd, "rb", buffering=0) as file:
            if seen.size_bytes <= chunks.CUT_FROM:
                content = _all(fd, seen.size_bytes)
                pieces = [content] if content else []
                if len(content) > chunks.MOST:
                    pieces = list(chunks.cut_stream(pieces, chunks.LARGE))  # it grew while it was read
                ids, size = self._store(where, iter(pieces))
            else:
                self._buffer = self._buffer or chunks.new_buffer()
                ids, size = self._store(where, chunks.cut_file(file, self._buffer))
            after = os.fstat(fd)
        if size != seen.size_bytes or after.st_mtime_ns != seen.mtime_ns:
            return self._changed(name, seen, ids, size)
        return listings.entry_of(seen, ids)

    def _changed(self, name: str, seen: restorable.FileSeen, ids: list[bytes], size_bytes: int) -> listings.Entry:
        """Kept as it was read, without its mark: the next backup reads it again."""
        self.warn(f"{name}: {seen.path} was written while it was read; it may be a mixture")
        entry = listings.entry_of(seen, ids)
        entry.s, entry.x = size_bytes, ""
        return entry

    def _store(self, where: str, pieces: Iterator[bytes]) -> tuple[list[bytes], int]:
        ids, size = [], 0
        for piece in pieces:
            new = self.writer.new_chunks_added
            ids.append(self.writer.add(piece))
            if self.writer.new_chunks_added != new:
                self.scan(where, piece)
            size += len(piece)
        return ids, size


def _is_unchanged(before: listings.Entry, seen: restorable.FileSeen) -> bool:
    same = before.k == "f" and seen.mark != "" and before.x == seen.mark
    return same and (before.s, before.t) == (seen.size_bytes, seen.mtime_ns)


def _all(fd: int, size_bytes: int) -> bytes:
    """The file as it is now, in one read where it has the expected size."""
    content = os.read(fd, size_bytes + 1)
    while len(content) > size_bytes or (content and len(content) < size_bytes):
        more = os.read(fd, chunks.CUT_FROM)
        if not more:
            break
        content += more
    return content


def _cut(pieces: Iterator[bytes], size_bytes: int) -> Iterator[bytes]:
    if size_bytes > chunks.CUT_FROM:
        yield from chunks.cut_stream(pieces, chunks.LARGE)
        return
    content = b"".join(pieces)
    if len(content) > chunks.MOST:
        yield from chunks.cut_stream([content], chunks.LARGE)
    elif content:
        yield content
