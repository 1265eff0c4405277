"""Processes that die by SIGKILL at the k-th call into the operating system, and calls that the disk refuses.

The calls that change something are wrapped in a forked child, by the test; ddr knows nothing of it.
"""

from __future__ import annotations

import fcntl
import io
import itertools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CALLS = ("mkdir", "open", "write", "fsync", "link", "replace", "rename", "unlink", "symlink", "chmod", "rmdir", "close")
MODES = ("before", "after", "torn")
Work = Callable[[Path], object]


def _dying(call: Callable[..., Any], name: str, count: list[int], die_at: int, mode: str) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        count[0] += mode != "torn" or name == "write"
        if count[0] != die_at:
            return call(*args, **kwargs)
        if mode == "after":
            call(*args, **kwargs)
        if mode == "torn" and name == "write":
            fd, content = args
            call(fd, content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    return wrapped


def ends(work: Callable[[], object]) -> int:
    """How a forked child ends that does this: 0, or minus the signal."""
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - it must not come back into pytest
            import traceback

            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def dies(work: Callable[[], object], die_at: int, mode: str) -> bool:
    """Whether it died; False when it came to its end before its `die_at`-th call."""

    def child() -> None:
        count = [0]
        for name in CALLS:
            setattr(os, name, _dying(getattr(os, name), name, count, die_at, mode))
        fcntl.flock = _dying(fcntl.flock, "flock", count, die_at, mode)
        work()

    code = ends(child)
    assert code in (0, -signal.SIGKILL), f"the child ended with {code}"
    return code != 0


def each_death(base: Path, prepare: Work, work: Work) -> Iterator[tuple[Path, str]]:
    """For each call in each mode a folder made by `prepare` in which `work` died there."""
    for mode in MODES:
        for die_at in itertools.count(1):
            folder = base / f"{mode}-{die_at}"
            folder.mkdir()
            prepare(folder)
            if not dies(lambda folder=folder: work(folder), die_at, mode):  # type: ignore[misc]
                break
            yield folder, f"{mode} call {die_at}"
            shutil.rmtree(folder)


def failing(patched: pytest.MonkeyPatch, call: str, number: int, code: int) -> list[int]:
    """The `number`-th call of that name raises; how many there were is counted in what it returns."""
    count = [0]

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            count[0] += 1
            if count[0] == number:
                if call == "close":
                    real(*args, **kwargs)
                raise OSError(code, os.strerror(code))
            return real(*args, **kwargs)

        return wrapped

    if call == "read":
        real_open = io.open

        class Reader(io.FileIO):
            def read(self, size: int | None = -1) -> bytes:
                return bytes(wrap(super().read)(size))

        def opening(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            return Reader(path, "r") if mode == "rb" else real_open(path, mode, *args, **kwargs)

        patched.setattr(Path, "open", lambda self, mode="r", buffering=-1: opening(self, mode))
    else:
        patched.setattr(os, call, wrap(getattr(os, call)))
    return count
