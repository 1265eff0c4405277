"""Parts of an index made by Ray: each part one task, each task one worker call inside a Ray worker's process.

Inside, and not as the command `ddr index worker` in a process of its own: when Ray's worker is killed the work ends
with it, where a child would go on unseen; Ray's watch over memory sees what the part takes; errors come back as they
are, not as text; and libraries are loaded once for all parts of a worker. What opens a bench over there comes in by
argument and travels by its name.

A task that died is tried again by Ray, elsewhere where it can. What is wrong for good comes back as a value, so that
Ray does not try it again. Back comes a receipt and no more: the files lie where all machines see them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pickle
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

from ddr import errors
from ddr.domain import indexes
from ddr.index import stages, worker
from ddr.index.spread import ray_driver
from ddr.index.spread.ray_driver import Cluster, Open, Order
from ddr.lib import process, redact

STAGE = "ray"
_TICK_S = 1.0
_END_S = 15.0
"""For Ray to stop the cluster that it started; killed with all its processes when it takes longer."""
_LAST_WORDS_BYTES = 16 << 10
_LONGEST_FOLDER = 40  # sockets lie below it, and their whole path has 107 characters at most

Spread = Callable[[Sequence[indexes.Part]], None]


def spread(bench: stages.Bench, opened: Open, cluster: Cluster, driver: Driver | None = None) -> Spread:
    """For `build.build`: makes parts on the cluster, by a driver that runs, or one that is started for it.

    Raises what the worker call raised, with the part named; Unavailable when a part's process died again and again or
    the cluster went away; Refused when no node is large enough, or the work folder is not the same one everywhere.
    """

    def make(parts: Sequence[indexes.Part]) -> None:
        order = _order(bench.plan, opened, parts)
        rows = {part.number: part.stop - part.start for part in parts}
        total, done = sum(part.stop - part.start for part in parts), 0

        def told(number: int) -> None:
            nonlocal done
            done += rows[number]
            bench.report(stages.Progress(STAGE, done, total))

        with contextlib.ExitStack() as stack:
            running = driver or stack.enter_context(driving(cluster))
            bench.report(stages.Progress(STAGE, 0, total))
            running.make(order, told)
        _see(bench, parts, cluster.seen_s)

    return make


def _order(plan: indexes.Plan, opened: Open, parts: Sequence[indexes.Part]) -> Order:
    if plan.device.partition(":")[2]:
        raise errors.Refused(
            f"the plan names {plan.device}, and Ray gives each task a GPU of its choice",
            hint="device: cuda; or --on here",
        )
    memory_mib = max((one.memory_mib for one in plan.estimates if one.stage == "parts"), default=0)
    return Order(opened, [part.number for part in parts], int(plan.device == "cuda"), memory_mib)


def _see(bench: stages.Bench, parts: Sequence[indexes.Part], seen_s: float) -> None:
    """Receipts came back: their files must be here, too."""
    deadline = time.monotonic() + seen_s
    while missing := [part.number for part in parts if not _is_here(bench, part)]:
        if time.monotonic() >= deadline:
            raise errors.Refused(
                f"Ray made part {missing[0]}, and {bench.work.folder} does not have it",
                hint="all nodes need the same work folder (NFS or the like), or a home in a bucket",
            )
        time.sleep(min(_TICK_S, seen_s))


def _is_here(bench: stages.Bench, part: indexes.Part) -> bool:
    return bench.work.done(stages.part_stage(part.number), worker.inputs(bench, part), is_read=False) is not None


class Driver:
    """A process that is connected to Ray, and takes orders until it is ended."""

    def __init__(self, started: subprocess.Popen[bytes], words: BinaryIO) -> None:
        self._started, self._words = started, words

    @property
    def pid(self) -> int:
        return self._started.pid

    def make(self, order: Order, told: Callable[[int], None]) -> None:
        """Tells each part as it is made. Raises as `spread` says; what is left then goes on until the driver ends."""
        content = pickle.dumps(order)
        assert self._started.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended, and `heard` says why
            self._started.stdin.write(len(content).to_bytes(ray_driver.LENGTH_BYTES) + content)
            self._started.stdin.flush()
        while ray_driver.END not in (said := self.heard()):
            told(said[ray_driver.DONE])

    def heard(self) -> dict[str, Any]:
        """What it says next; an error that it says is raised."""
        assert self._started.stdout
        line = self._started.stdout.readline()
        if not line.endswith(b"\n"):
            raise errors.Unavailable(
                f"Ray's driver ended in the middle{self._last_words()}",
                hint="the cluster went away, or the machine has no memory left; the same command goes on",
            )
        said: dict[str, Any] = json.loads(line)
        if ray_driver.FAILED in said:
            raise ray_driver.Failure(**said[ray_driver.FAILED]).error()
        return said

    def _last_words(self) -> str:
        code = self._started.wait()
        how = f" ({signal.Signals(-code).name})" if code < 0 else ""
        size = self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, size - _LAST_WORDS_BYTES))
        lines = [line for line in self._words.read().decode(errors="replace").splitlines() if line.strip()]
        # what it logged begins with a bracket; below that stands where in its code it was
        logged = [line.partition("] ")[2] for line in lines if line.startswith("[")]
        return how + (f": {redact.foreign((logged or lines)[-1])}" if lines else "")


@contextlib.contextmanager
def driving(cluster: Cluster) -> Iterator[Driver]:
    """A driver that is connected: to the cluster of the address, or to one of our own for so long."""
    parent = tempfile.gettempdir()
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="ddr-ray-", dir=parent if len(parent) <= _LONGEST_FOLDER else "/tmp")  # noqa: S108 - a folder of its own, 0700
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        words = stack.enter_context(tempfile.TemporaryFile())
        shown = {**dataclasses.asdict(cluster), "environment": {}}  # which may be secret, and arguments are not
        started = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from ddr.index.spread import ray_driver; ray_driver.main()",
                json.dumps({"cluster": shown, "folder": folder}),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
            env=_environment(cluster),
            start_new_session=True,  # the terminal's Ctrl-C is for us, who end it
        )
        stack.callback(_end, started)
        driver = Driver(started, words)
        driver.heard()
        yield driver


def _end(started: subprocess.Popen[bytes]) -> None:
    """With its cluster, if that is ours: nothing of it stays."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        started.terminate()
        started.wait(_END_S)
    process.end_session(started)


def _environment(cluster: Cluster) -> dict[str, str]:
    """Of the driver, and of all processes of a cluster that it starts.

    Such a cluster can be reached by this user's processes on this machine only, and tells nobody about itself.
    """
    alone = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the one switch by which Ray listens on loopback alone
        "RAY_AUTH_MODE": "token",  # other users of the machine reach loopback, too
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_gcs_rpc_server_reconnect_timeout_s": "15",  # nobody starts its head again; what is left ends after so long
        **cluster.environment,
    }
    return {**os.environ, "PYTHONPATH": process.import_path(), **({} if cluster.address else alone)}
