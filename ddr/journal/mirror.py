"""This machine's copy of the journal: of one behind a network, for when that is away and to read only its tail; of
one on this machine, to bring back an event that gets lost.

A line is `<number> <sha256> <event>`, so that a line damaged here is told from an event changed there: the first is
dropped and fetched again, the second is what the copy exists to find out.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ddr.journal import layout, reading
from ddr.lib import digest, durable

_DIGITS = 12
_HEX = 64
_PREFIX = _DIGITS + 1 + _HEX + 1
_TAIL = 1 << 16


class Mirror:
    """One file that grows at its end, from event 1 on without a gap. Anyone may delete it."""

    def __init__(self, folder: Path, name: str = "journal-copy.jsonl") -> None:
        self.path = folder / name

    def head(self) -> layout.Head:
        """The newest event that is copied whole; none where the copy cannot be read."""
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            return _head(file.fileno())[0]
        return layout.NOTHING

    def read(self, start: int = 1) -> Sequence[bytes]:
        """The copied events from `start` on, as far as the lines are whole; none where the copy cannot be read."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return []
        lines = content.split(b"\n")[start - 1 : -1]  # what is behind the last newline is still being written
        found = []
        for seq, line in enumerate(lines, start):
            raw = _raw(seq, line)
            if raw is None:
                break
            found.append(raw)
        return found

    def extend(self, links: Iterable[reading.Link]) -> None:
        """Add what follows the newest copied event; leave out what is there. OSError.

        With another process at it nothing is done: it is a copy, the next reader completes it.
        """
        durable.make_folder(self.path.parent)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                head, end = _head(fd)
                lines, seq = [], head.seq
                for link in links:
                    if link.seq == seq + 1:
                        lines.append(_line(link))
                        seq = link.seq
                if lines:
                    os.ftruncate(fd, end)
                    _write(fd, b"".join(lines), end)
        finally:
            os.close(fd)  # and the lock with it

    def cut(self, seq: int) -> None:
        """Drop event `seq` and all behind it: the copy is damaged there. OSError."""
        with contextlib.suppress(FileNotFoundError):
            kept = self.path.read_bytes().split(b"\n")[: seq - 1]
            durable.replace(self.path, b"".join(line + b"\n" for line in kept))

    def set_aside(self, mark: str) -> None:
        """Keep it under another name, as what was seen of a journal that is no longer there. OSError."""
        with contextlib.suppress(FileNotFoundError):
            self.path.replace(self.path.with_name(f"journal-copy-{mark}.jsonl"))


def _line(link: reading.Link) -> bytes:
    hexed = link.digest.removeprefix(digest.PREFIX)
    return f"{link.seq:0{_DIGITS}d} {hexed} ".encode() + layout.to_line(link.raw)


def _raw(seq: int, line: bytes) -> bytes | None:
    """The event of a line without its newline, None when the line is not what was written."""
    raw = layout.of_line(line[_PREFIX:] + b"\n")
    expected = f"{seq:0{_DIGITS}d} {hashlib.sha256(raw).hexdigest()} ".encode()
    return raw if line[:_PREFIX] == expected else None


def _head(fd: int) -> tuple[layout.Head, int]:
    """The newest whole line, and where it ends. The lines before it are looked at when they are read."""
    size = os.fstat(fd).st_size
    length = _TAIL
    while True:
        start = max(0, size - length)
        content = os.pread(fd, size - start, start)
        end = content.rfind(b"\n")
        begin = content.rfind(b"\n", 0, max(end, 0))
        if end < 0 and start == 0:
            return layout.NOTHING, 0
        if end >= 0 and (begin >= 0 or start == 0):
            break
        length *= 8
    line = content[begin + 1 : end]
    number = line[:_DIGITS].lstrip(b"0")
    if line[_PREFIX:].startswith(b'{"seq":' + number + b",") and _raw(int(number), line) is not None:
        return _head_in(int(number), line), start + end + 1
    return _head_of_all(os.pread(fd, size, 0))


def _head_of_all(content: bytes) -> tuple[layout.Head, int]:
    """As `_head`, from the first line on, for a copy whose end is damaged or a torn event."""
    head, end = layout.NOTHING, 0
    for seq, line in enumerate(content.split(b"\n")[:-1], 1):
        if _raw(seq, line) is None:
            break
        head = _head_in(seq, line)
        end += len(line) + 1
    return head, end


def _head_in(seq: int, line: bytes) -> layout.Head:
    return layout.Head(seq, digest.PREFIX + line[_DIGITS + 1 : _DIGITS + 1 + _HEX].decode())


def _write(fd: int, content: bytes, at: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(fd, view, at)
        at += written
        view = view[written:]
