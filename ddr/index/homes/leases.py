"""Who reads a version in a folder, and who takes it away: locks on the folder itself, which the kernel takes back when
their holders die."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ddr.errors import Refused
from ddr.lib import openfiles


def shared(folder: Path) -> int:
    """A descriptor that keeps it from being taken away until it is closed. FileNotFoundError where it is gone."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        if not os.path.samestat(os.fstat(fd), folder.stat()):
            raise FileNotFoundError(f"{folder} was taken away between the look and the lock")
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextlib.contextmanager
def unread(folder: Path) -> Iterator[None]:
    """Refused while anybody holds it."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as problem:
        who = openfiles.holders(folder) or "another process"
        raise Refused(f"{folder.name} is being read by {who}", hint="it goes when they let go of it") from problem
    finally:
        os.close(fd)
