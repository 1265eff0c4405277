"""What runs in Ray's workers in the tests: benches that note who opened them, wait, die, or are away for a moment.

`drive` is a build in a process of its own, which makes two parts and waits with the others to be killed.
"""

from __future__ import annotations

import functools
import itertools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from ddr.errors import Unavailable
from ddr.index import build, stages
from ddr.index.spread import ray_driver, rays
from ddr.wiring import indexes
from tests.unit.index import builds

WAIT_S = 120.0
IMPATIENT = ray_driver.Cluster(cpus=2, seen_s=0, environment={"RAY_gcs_rpc_server_reconnect_timeout_s": "5"})
"""When its head is away, what is left of it ends soon."""


def note(folder: Path, what: str) -> int:
    """How often it was noted before; each note has the process in its name."""
    for number in itertools.count():
        try:
            (folder / f"{what}.{number}.{os.getpid()}").touch(exist_ok=False)
        except FileExistsError:
            continue
        before = [path for path in folder.glob(f"{what}.*") if not path.name.endswith(f".{number}.{os.getpid()}")]
        return len(before)
    raise AssertionError


def noted(folder: Path, what: str) -> list[int]:
    """The processes of its notes."""
    return [int(path.suffix[1:]) for path in sorted(folder.glob(f"{what}.*"))]


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def plainly(path: str, report: stages.Report) -> stages.Bench:
    return indexes.of_plan(path, report)


def together(path: str, folder: Path, report: stages.Report) -> stages.Bench:
    """No part ends before a second process has begun one."""

    def told(progress: stages.Progress) -> None:
        report(progress)
        note(folder, progress.stage)
        until(lambda: len({int(one.suffix[1:]) for one in folder.iterdir()}) > 1)

    return indexes.of_plan(path, told)


def dying(path: str, folder: Path, stage: str, times: int, report: stages.Report) -> stages.Bench:
    """In the middle of the part, the first so many times."""

    def told(progress: stages.Progress) -> None:
        report(progress)
        if progress.stage == stage and not progress.is_kept and note(folder, stage) < times:
            os.kill(os.getpid(), signal.SIGKILL)

    return indexes.of_plan(path, told)


def away(path: str, folder: Path, times: int, report: stages.Report) -> stages.Bench:
    """Of all calls the first so many find that a system does not answer."""
    if note(folder, "call") < times:
        raise Unavailable("the store does not answer", hint="later")
    return indexes.of_plan(path, report)


def counted(path: str, folder: Path, report: stages.Report) -> stages.Bench:
    note(folder, "call")
    return indexes.of_plan(path, report)


def held(path: str, folder: Path, report: stages.Report) -> stages.Bench:
    """The third part and later ones wait for good."""

    def told(progress: stages.Progress) -> None:
        report(progress)
        note(folder, progress.stage)
        if int(progress.stage.rpartition("-")[2]) > 1:
            until(lambda: (folder / "go").exists())

    return indexes.of_plan(path, told)


def drive(path: str, notes: str) -> None:
    bench = indexes.of_plan(path, builds.silent)
    build.build(bench, rays.spread(bench, functools.partial(held, path, Path(notes)), IMPATIENT))
