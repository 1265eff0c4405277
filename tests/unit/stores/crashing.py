"""Processes that die by SIGKILL at the k-th call into the operating system. Run by `test_crash.py`.

The calls that change something are wrapped here, in the child, by the test; ddr knows nothing of it.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ddr.ports import store
from ddr.stores import local

CALLS = ("mkdir", "open", "write", "utime", "fsync", "link", "replace", "rename", "unlink", "pwrite", "close")
MODES = ("before", "after", "torn")  # the call, and for the last one in the middle of a write
KEY = "folder/of/key"
OLD, NEW = b"old " * 1000, b"new " * 2000
Work = Callable[[store.Store], None]


def create(tried: store.Store) -> None:
    tried.create(KEY, NEW)


def swap(tried: store.Store) -> None:
    entry = tried.head(KEY)
    assert entry
    tried.swap(KEY, NEW, entry.version)


def delete(tried: store.Store) -> None:
    tried.delete(KEY)


def _dying(call: Callable[..., Any], name: str, count: list[int], die_at: int, mode: str) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        count[0] += mode != "torn" or name == "write"
        if count[0] != die_at:
            return call(*args, **kwargs)
        if mode == "after":
            call(*args, **kwargs)
        if mode == "torn":
            fd, content = args
            call(fd, content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    return wrapped


def child(path: str, work: Work, die_at: int, mode: str) -> None:
    tried = local.LocalStore(Path(path))
    count = [0]
    for name in CALLS:
        setattr(os, name, _dying(getattr(os, name), name, count, die_at, mode))
    fcntl.flock = _dying(fcntl.flock, "flock", count, die_at, mode)
    work(tried)


def crash(path: Path, work: Work, die_at: int, mode: str) -> bool:
    """Whether the child died; False when it came to its end before its `die_at`-th call."""
    process = CONTEXT.Process(target=child, args=(str(path), work, die_at, mode))
    process.start()
    process.join()
    code = process.exitcode
    process.close()
    assert code in (0, -signal.SIGKILL), f"the child ended with {code}"
    return code != 0


CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["__main__", "tests.unit.stores.crashing"])
