"""Files that survive a crash: written beside, fsynced, renamed or linked into place, folder fsynced."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shlex
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

_SETTLE_EVERY_S = 0.5


def advice(problem: OSError, path: Path) -> str:
    """What a person can do where there is no room for `path`; nothing for other problems."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        place = shlex.quote(str(_lasting(path)))
        return f"the disk is full: make room (`df -h {place}; df -i {place}`) and run it again"
    if problem.errno == errno.EFBIG:
        return "the file would be larger than allowed here: look at `ulimit -f`"
    return ""


def _lasting(path: Path) -> Path:
    """The nearest folder above that is there and is not taken away when nothing comes of it."""
    return next((one for one in path.parents if one.suffix != ".tmp" and one.is_dir()), path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """`mkdir -p` whose every new name is durable."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def settle(folder: Path) -> None:
    """All that was written so far to the file system of `folder` is on its disk. OSError where the disk says no."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if sys.platform == "linux":
            import ctypes

            libc = ctypes.CDLL(None, use_errno=True)
            if libc.syncfs(fd):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
        else:
            os.sync()
    finally:
        os.close(fd)


@contextlib.contextmanager
def settling(folder: Path) -> Iterator[None]:
    """Settle `folder` again and again while much is written to it, so that the disk works meanwhile, and at the end.

    Left to itself the kernel keeps gigabytes back until it is asked, and then everybody waits.
    """
    done = threading.Event()

    def work() -> None:
        while not done.wait(_SETTLE_EVERY_S):
            with contextlib.suppress(OSError):  # the last one tells
                settle(folder)

    thread = threading.Thread(target=work, name="ddr-settle", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    settle(folder)


def _write_beside(path: Path, content: bytes, fraction_ns: int | None) -> tuple[Path, os.stat_result]:
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        if fraction_ns is not None:
            second = os.fstat(fd).st_mtime_ns // 1_000_000_000
            os.utime(fd, ns=(second * 1_000_000_000 + fraction_ns,) * 2)
        os.fsync(fd)
        written = os.fstat(fd)
    except BaseException:
        os.close(fd)
        beside.unlink(missing_ok=True)
        raise
    os.close(fd)
    return beside, written


def replace(path: Path, content: bytes, *, fraction_ns: int | None = None) -> os.stat_result:
    """Readers see the old bytes or the new ones, never a part, also after a power cut. Returns what was written.

    The kernel's clock ticks every few milliseconds: two writes of one tick have one modification time. Who must
    tell them apart gives `fraction_ns`, at random, in place of its fraction of a second.
    """
    beside, written = _write_beside(path, content, fraction_ns)
    try:
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return written


def create(path: Path, content: bytes, *, fraction_ns: int | None = None) -> os.stat_result:
    """As `replace`, but raises FileExistsError where `path` is there already; of two at once, one wins."""
    beside, written = _write_beside(path, content, fraction_ns)
    try:
        os.link(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)
    return written


def point(link: Path, target: str) -> None:
    """Make `link` a symbolic link to `target`, in one step for every reader."""
    beside = link.with_name(f".{link.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    beside.symlink_to(target)
    try:
        beside.replace(link)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(link.parent)
