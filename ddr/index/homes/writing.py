"""A file that is what it was meant to be: written beside, hashed on the way, fsynced, read back, then renamed.

`faiss.write_index` writes to the final name, and what the last flush could not write it keeps to itself: on a full
disk an index without its tail is a success. Here nothing has the final name that was not read back from the disk.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import re
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from ddr.domain import indexes
from ddr.errors import Damaged, InputError, Unavailable
from ddr.index.homes import hashing
from ddr.lib import digest, durable, process
from ddr.ports import store

BLOCK_BYTES = 4 << 20
_FICLONE = 0x40049409
_STALE_S = 86400.0
"""What another machine left beside its file is old enough to be taken away."""
_LEFTOVER = re.compile(r"\..+\.(?:([0-9a-f]{12})-)?(\d+)-[0-9a-f]{8}\.tmp")
_DISK = "this disk or its controller is failing: take another one"
BAD_SECTOR = (errno.EIO, errno.EUCLEAN)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

T = TypeVar("T")
Sink = Callable[[memoryview], None]
Producer = Callable[[Sink], None]
"""Gives the sink all bytes in their order. The sink keeps nothing of a view when it returns."""


def write(path: Path, producer: Producer) -> indexes.File:
    """Whatever goes wrong, `path` is as it was before, or not there. What the producer raises passes through.

    Full where there is no room, Unavailable where the disk fails, Damaged where it gave back other bytes.
    """
    beside = name_beside(path)
    try:
        fd = _told(path, lambda: os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        written, mark = _fill(fd, path, producer)
        _read_back(beside, path, written, mark)
        _told(path, lambda: beside.replace(path))
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    try:
        _told(path, lambda: durable.sync_folder(path.parent))
    except BaseException:  # a name that the disk may not keep is no checkpoint
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise
    return written


def write_bytes(path: Path, content: bytes) -> indexes.File:
    return write(path, lambda sink: sink(memoryview(content)))


def write_pieces(path: Path, pieces: Iterable[bytes]) -> indexes.File:
    """Of what is read piece by piece: another file, the segments of a bucket."""

    def give(sink: Sink) -> None:
        for piece in pieces:
            sink(memoryview(piece))

    return write(path, give)


def clone(source: Path, target: Path) -> bool:
    """A file of its own whose blocks are those of `source` until either is written. False where the file system has no
    such thing, and nothing is there. OSError for what cannot be opened."""
    if sys.platform != "linux":
        return False
    with source.open("rb") as old, target.open("xb") as new:
        try:
            fcntl.ioctl(new, _FICLONE, old.fileno())
        except OSError:
            target.unlink()
            return False
    return True


def make_folder(folder: Path, hint: str) -> None:
    """`mkdir -p`, durable. InputError, with what to do, where no folder can be; Full where there is no room."""
    try:
        durable.make_folder(folder)
    except OSError as problem:
        if problem.errno in _NO_ROOM:
            raise store.Full(f"{folder} cannot be made", hint=durable.advice(problem, folder)) from problem
        linked = (folder, *folder.parents) if isinstance(problem, FileExistsError) else ()
        dangling = next((one for one in linked if one.is_symlink() and not one.exists()), None)
        if dangling is not None:
            what = f"{dangling} is a link to {dangling.readlink()}, which is not there"
            raise InputError(what, hint="make or mount that, or mend the link") from problem
        raise InputError(f"{folder} cannot be made: {problem.strerror or problem}", hint=hint) from problem


def of_file(path: Path) -> indexes.File:
    """What lies there now. OSError."""
    with hashing.Hashing() as hashes:
        for block in blocks(path):
            hashes.add(block)
        return hashes.file(path.name)


def settle(path: Path) -> None:
    """On the disk, and read from there the next time, as far as the kernel says. OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def blocks(path: Path) -> Iterator[bytes]:
    """The content in pieces. OSError."""
    with path.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while block := file.read(BLOCK_BYTES):
            yield block


def name_beside(path: Path) -> Path:
    """For what becomes `path` when it is whole; `is_left` knows it again."""
    return path.with_name(f".{path.name}.{_here()}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def is_left(path: Path, now: float | None = None) -> bool:
    """Whether a process that is no more left it beside its file.

    A process id means something to its own machine only: what others left counts when it is a day old.
    """
    match = _LEFTOVER.fullmatch(path.name)
    if not match:
        return False
    if match[1] == _here():
        return not process.is_alive(int(match[2]))
    with contextlib.suppress(FileNotFoundError):
        return path.lstat().st_mtime < (now or time.time()) - _STALE_S
    return False


def sweep(folder: Path) -> tuple[str, ...]:
    """Take away the files and folders that killed processes left in `folder`; their names."""
    left = [path for path in sorted(folder.glob(".*.tmp")) if is_left(path)]
    return tuple(path.name for path in left if remove(path))


def remove(path: Path) -> bool:
    """A file, or a folder with all that is in it. False where something of it is still there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
    return not os.path.lexists(path)


def _fill(fd: int, path: Path, producer: Producer) -> tuple[indexes.File, str]:
    """With its mark. On the disk when this returns, as far as the kernel says; `fd` is closed in any case."""
    with hashing.Hashing() as hashes:
        block = _Block(fd, path, hashes)
        try:
            producer(block.add)
            block.flush()
            _told(path, lambda: os.fsync(fd))
            size = os.fstat(fd).st_size
            if hasattr(os, "posix_fadvise"):  # so that it is read back from the disk, as far as that can be had
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(fd)
            raise
        _told(path, lambda: os.close(fd))  # some file systems say only here that there was no room
        written, mark = hashes.file(path.name), hashes.mark()
    if size != written.size_bytes:
        raise Damaged(f"{path} would have {size} bytes, {written.size_bytes} were written", hint=_DISK)
    return written, mark


class _Block:
    """Many small pieces as few large writes, hashed as they go."""

    def __init__(self, fd: int, path: Path, hashes: hashing.Hashing) -> None:
        self._fd, self._path, self._hashes = fd, path, hashes
        self._waiting = bytearray()

    def add(self, view: memoryview) -> None:
        rest = memoryview(view).cast("B")
        while rest:
            piece = rest[: BLOCK_BYTES - len(self._waiting)]
            self._waiting += piece
            rest = rest[len(piece) :]
            if len(self._waiting) == BLOCK_BYTES:
                self.flush()

    def flush(self) -> None:
        block, self._waiting = bytes(self._waiting), bytearray()
        self._hashes.add(block)
        rest = memoryview(block)
        while rest:
            count = _told(self._path, functools.partial(os.write, self._fd, rest))
            rest = rest[count:]


def _read_back(beside: Path, path: Path, written: indexes.File, mark: str) -> None:
    if hashing.mark_of(_told_each(path, blocks(beside))) != (written.size_bytes, mark):
        raise Damaged(f"the disk gave other bytes back than were written to {path}", hint=_DISK)


def _told_each(path: Path, pieces: Iterator[bytes]) -> Iterator[bytes]:
    while piece := _told(path, lambda: next(pieces, b"")):
        yield piece


def _told(path: Path, do: Callable[[], T]) -> T:
    try:
        return do()
    except OSError as problem:
        kind = store.Full if problem.errno in _NO_ROOM else Unavailable
        raise kind(
            f"{path} cannot be written: {problem.strerror or problem}; nothing was put there",
            hint=durable.advice(problem, path) or "look at the disk and at the rights of its folder",
        ) from problem


@functools.cache
def _here() -> str:
    """Where a process id names one process: this boot, and this container."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return digest.short(digest.of_value([process.boot_id() or socket.gethostname(), space]))
