"""Who holds a lock on a file, and holding one: so that "it is locked" can name a process."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ddr.errors import Unavailable
from ddr.lib import redact

_POLL_S = 0.02


def holders(path: Path) -> str:
    """The processes of this machine that hold a lock on `path`, for a message; '' where that is not to be known."""
    try:
        stat = path.stat()
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return ""
    node = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
    pids = dict.fromkeys(fields[-4] for line in lines if node in (fields := line.split()) and "->" not in fields)
    return ", ".join(_name(pid) for pid in pids if pid.isdigit() and int(pid) > 0)


def _name(pid: str) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return f"process {pid}"
    return f"process {pid} ({redact.foreign(words)[:80].strip()})"


class Held(Unavailable):
    """Somebody else has the lock."""


class Gone(Unavailable):
    """The lock was deleted while it was waited for: it binds nobody."""


@contextmanager
def locked(path: Path, timeout_s: float = 5.0) -> Iterator[None]:
    """Hold the lock file `path`, which is made when it is not there; it binds whoever asks for it.

    Held when somebody else has it for longer than `timeout_s`, Gone when it was deleted meanwhile, Unavailable when it
    cannot be opened.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as problem:
        raise Unavailable(
            f"the lock {path} cannot be opened: {problem.strerror}", hint="look at the folder and its rights"
        ) from problem
    try:
        _take(fd, path, time.monotonic() + timeout_s, timeout_s)
        if not _is_at(path, fd):
            raise Gone(f"the lock {path} was deleted meanwhile", hint="the same command again")
        yield
    finally:
        os.close(fd)


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except OSError:
        return False


def _take(fd: int, path: Path, deadline: float, timeout_s: float) -> None:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            if problem.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise Unavailable(f"{path} cannot be locked: {problem.strerror}") from problem
        else:
            return
        if time.monotonic() >= deadline:
            who = holders(path) or "another process"
            raise Held(
                f"{path} is locked for more than {timeout_s:g} s by {who}",
                hint="wait for that deployment to end, or end it, then try again",
            )
        time.sleep(_POLL_S)
