"""One writer at a time, on one machine: a lock that the kernel takes back when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ddr.errors import Unavailable

_PAUSE_S = 0.002


class Lock:
    """`flock` on a file that stays. Holds between threads as well as between processes; not reentrant."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Raises Unavailable when another holds it for `timeout_s`: a stopped process never lets go; OSError."""
        fd = self._acquire()
        try:
            yield
        finally:
            os.close(fd)

    def _acquire(self) -> int:
        deadline = time.monotonic() + self._timeout_s
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            try:
                if _taken(fd):
                    with contextlib.suppress(OSError):  # the name is a courtesy: a full disk must still take deletes
                        os.pwrite(fd, b"%-19d\n" % os.getpid(), 0)
                    return fd
                holder = os.pread(fd, 20, 0).decode(errors="replace").strip()
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{self._path} is held by another ddr (process {holder or 'unknown'}) for {self._timeout_s:g} s",
                    hint=f"look at it: `ps {holder or '-e'}`; the lock goes when that process ends",
                )
            time.sleep(_PAUSE_S)


def _taken(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
