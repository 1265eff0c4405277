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
import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from ddr import errors
from ddr.domain import indexes
from ddr.index import stages, worker
from ddr.index.spread import sameness
from ddr.lib import redact
from ddr.ports import store

if TYPE_CHECKING:
    from ddr.index import work as works

STAGE = "ray"
RETRIES = 3
"""Of a part whose process died, or to which a system did not answer."""
_STARTS = 4
_TICK_S = 1.0
_STORE_BYTES = 80 << 20  # nearly the least that Ray takes: only receipts go through it
_LONGEST_FOLDER = 40  # sockets lie below it, and their whole path has 107 characters at most
_MIB = 1 << 20

Open = Callable[[stages.Report], stages.Bench]
"""Opens the bench of the plan on the machine where it is called; a function of a module, or a partial of one."""
Spread = Callable[[Sequence[indexes.Part]], None]


@dataclass(frozen=True)
class Cluster:
    """Where tasks run. Without `address` a cluster is started on this machine and stopped again.

    `cpus` and `memory_mib` are what a cluster of ours may take, `environment` what its processes get besides ours.
    `patience_s`: how long a cluster may have no node that is large enough (one that grows has none at first).
    `seen_s`: how long files may take until the driver sees them (a network file system remembers what was not there).
    """

    address: str = ""
    cpus: int = 1
    memory_mib: int = 0
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    patience_s: float = 300.0
    seen_s: float = 60.0


@dataclass(frozen=True)
class Failure:
    """An error of the worker call, by the name of its class."""

    kind: str
    message: str
    hint: str


class Again(Exception):
    """Ray is to try the task once more."""


@dataclass(frozen=True)
class _Needs:
    """Of each task. `memory_bytes` 0: nobody estimated it."""

    cpus: int
    gpus: int
    memory_bytes: int

    def fit(self, node: Mapping[str, float]) -> bool:
        return (
            node.get("CPU", 0) >= self.cpus
            and node.get("GPU", 0) >= self.gpus
            and node.get("memory", 0) >= self.memory_bytes
        )


def spread(bench: stages.Bench, opened: Open, cluster: Cluster) -> Spread:
    """For `build.build`: makes parts on the cluster.

    Raises what the worker call raised, with the part named; Unavailable when a part's process died again and again;
    Refused when no node is large enough, or the work folder is not the same one everywhere.
    """

    def make(parts: Sequence[indexes.Part]) -> None:
        with connected(cluster):
            _Run(bench, opened, cluster, parts).run()

    return make


@contextlib.contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """A connection to Ray: one that is there already, that of the address, or a cluster of our own for so long."""
    loaded = sys.modules.get("ray")
    if loaded is not None and loaded.is_initialized():
        yield
        return
    with contextlib.ExitStack() as stack:
        started: dict[str, Any] = {}
        if not cluster.address:
            if loaded is not None and not _token.cache_info().currsize:
                raise errors.Unsupported(
                    "ray was loaded before ddr could tell it to keep to itself", hint="name a cluster by RAY_ADDRESS"
                )
            stack.enter_context(_environment({**_alone(), **cluster.environment}))  # read as ray is loaded
            started = _started(stack, cluster)
        ray = _ray()
        stack.callback(ray.shutdown)
        _begin(ray, cluster, started)
        yield


def _begin(ray: Any, cluster: Cluster, started: Mapping[str, Any]) -> None:
    """Ray gives its processes 30 seconds to come up, which a machine that is busy exceeds once and not twice.

    A driver of Ray prints on standard output that tasks died, where `--json` has its document; no option stops it.
    """
    ray._private.worker._worker_logs_enabled = False
    for tries_left in range(0 if cluster.address else _STARTS - 1, -1, -1):
        try:
            ray.init(address=cluster.address or "local", log_to_driver=False, logging_level=logging.ERROR, **started)
        except Exception as problem:  # Ray raises a bare one when its processes do not come up
            ray.shutdown()
            if tries_left:
                continue
            where = redact.foreign(cluster.address) if cluster.address else "a cluster on this machine"
            raise errors.Unavailable(
                f"Ray: {where}: {redact.foreign(problem)}",
                hint="`ray status` shows a cluster; RAY_ADDRESS names it, without it one is started here",
            ) from problem
        return


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as problem:
        raise errors.Unsupported(
            f"ray cannot be imported: {redact.foreign(problem)}", hint="pip install 'ddr[ray]'; or --on here"
        ) from problem
    return ray


@cache
def _token() -> str:
    """Who has it may run code in our cluster. One for the process: Ray's client reads it once."""
    return secrets.token_hex(32)


def _alone() -> dict[str, str]:
    """A cluster that only this user's processes on this machine can reach, and that tells nobody about itself."""
    return {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the one switch by which Ray listens on loopback alone
        "RAY_AUTH_MODE": "token",  # other users of the machine reach loopback, too
        "RAY_AUTH_TOKEN": _token(),
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }


def _started(stack: contextlib.ExitStack, cluster: Cluster) -> dict[str, Any]:
    parent = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="ddr-ray-", dir=parent if len(parent) <= _LONGEST_FOLDER else "/tmp")  # noqa: S108 - a folder of its own, 0700
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    found: dict[str, Any] = {
        "num_cpus": cluster.cpus,
        "include_dashboard": False,
        "object_store_memory": _STORE_BYTES,
        "_temp_dir": folder,
        "_system_config": {"task_oom_retries": RETRIES},  # Ray's own number is: for ever
    }
    if cluster.memory_mib:
        found["_memory"] = cluster.memory_mib * _MIB
    return found


@contextlib.contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Ray takes these from nowhere else."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _Run:
    """One round of parts."""

    def __init__(self, bench: stages.Bench, opened: Open, cluster: Cluster, parts: Sequence[indexes.Part]) -> None:
        self._bench, self._opened, self._cluster, self._parts = bench, opened, cluster, parts
        self._ray = _ray()
        self._needs = _needs(bench.plan, len(parts), self._nodes())
        self._rows = sum(part.stop - part.start for part in parts)

    def run(self) -> None:
        task = self._ray.remote(_part).options(
            num_cpus=self._needs.cpus,
            num_gpus=self._needs.gpus,
            memory=self._needs.memory_bytes or None,
            max_retries=RETRIES,
            retry_exceptions=[Again],
        )
        self._bench.report(stages.Progress(STAGE, 0, self._rows))
        left = {task.remote(self._opened, part.number, self._needs.cpus): part for part in self._parts}
        done, alone_since = 0, time.monotonic()
        try:
            while left:
                ready, _ = self._ray.wait(list(left), timeout=_TICK_S)
                for one in ready:
                    part = left[one]
                    self._take(one, part)
                    del left[one]
                    done += part.stop - part.start
                    self._bench.report(stages.Progress(STAGE, done, self._rows))
                if ready or any(self._needs.fit(node) for node in self._nodes()):
                    alone_since = time.monotonic()
                else:
                    self._check_patience(time.monotonic() - alone_since)
        finally:
            for one in left:
                self._ray.cancel(one, force=True)
        self._see()

    def _nodes(self) -> list[Mapping[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _check_patience(self, alone_s: float) -> None:
        if alone_s < (self._cluster.patience_s if self._cluster.address else 0):
            return
        needs = self._needs
        memory = f" and {needs.memory_bytes // _MIB:,} MiB" if needs.memory_bytes else ""
        raise errors.Refused(
            f"no node of Ray has {needs.cpus} CPU{f', {needs.gpus} GPU' if needs.gpus else ''}{memory} for a part",
            hint="a larger node, or a smaller rows_per_part",
        )

    def _take(self, one: object, part: indexes.Part) -> None:
        """The answer of a task that ended."""
        problems = self._ray.exceptions
        try:
            answer = self._ray.get(one)
        except problems.OutOfMemoryError as problem:
            raise errors.Refused(
                f"part {part.number}: killed for memory, {RETRIES + 1} times",
                hint="a node with more memory, or a smaller rows_per_part; what is done stays done",
            ) from problem
        except problems.RayTaskError as problem:
            cause = problem.cause if isinstance(problem.cause, Again) else None
            what, hint = cause.args if cause else (redact.foreign(problem), "the worker's log in Ray has the rest")
            raise (errors.Unavailable if cause else errors.DdrError)(
                f"part {part.number}: {what}", hint=hint
            ) from problem
        except problems.RayError as problem:
            raise errors.Unavailable(
                f"part {part.number}: its process died {RETRIES + 1} times: {redact.foreign(problem)}",
                hint="the same command goes on; `ddr index worker` makes that part alone and shows why",
            ) from problem
        if isinstance(answer, Failure):
            raise _KINDS.get(answer.kind, errors.DdrError)(f"part {part.number}: {answer.message}", hint=answer.hint)

    def _see(self) -> None:
        """Receipts came back: their files must be here, too."""
        deadline = time.monotonic() + self._cluster.seen_s
        while missing := [part.number for part in self._parts if not self._is_here(part)]:
            if time.monotonic() >= deadline:
                raise errors.Refused(
                    f"Ray made part {missing[0]}, and {self._bench.work.folder} does not have it",
                    hint="all nodes need the same work folder (NFS or the like), or a home in a bucket",
                )
            time.sleep(min(_TICK_S, self._cluster.seen_s))

    def _is_here(self, part: indexes.Part) -> bool:
        inputs = worker.inputs(self._bench, part)
        return self._bench.work.done(stages.part_stage(part.number), inputs, is_read=False) is not None


_KINDS: Mapping[str, type[errors.DdrError]] = {
    kind.__name__: kind
    for kind in (
        errors.Conflict,
        errors.Damaged,
        errors.InputError,
        errors.Missing,
        errors.Refused,
        errors.Unavailable,
    )
}


def _needs(plan: indexes.Plan, parts: int, nodes: Sequence[Mapping[str, float]]) -> _Needs:
    """All processors for all parts, evenly; at least one each and no more than a node has."""
    if plan.device.partition(":")[2]:
        raise errors.Refused(
            f"the plan names {plan.device}, and Ray gives each task a GPU of its choice",
            hint="device: cuda; or --on here",
        )
    each = [int(node.get("CPU", 0)) for node in nodes]
    cpus = max(1, min(max(each, default=1), sum(each) // max(parts, 1)))
    memory_mib = max((one.memory_mib for one in plan.estimates if one.stage == "parts"), default=0)
    return _Needs(cpus, int(plan.device == "cuda"), memory_mib * _MIB)


def _part(opened: Open, number: int, threads: int) -> works.Receipt | Failure:
    """The task. Runs in a Ray worker."""
    try:
        bench = opened(_silent)
        sameness.ensure(bench.plan)
        return worker.part(dataclasses.replace(bench, threads=threads), number)
    except (store.Unusable, store.Full) as problem:
        return Failure(errors.Unavailable.__name__, problem.message, problem.hint)
    except errors.Unavailable as problem:
        raise Again(problem.message, problem.hint) from None
    except errors.DdrError as problem:
        kind = next((base.__name__ for base in type(problem).__mro__ if base.__name__ in _KINDS), "")
        return Failure(kind, problem.message, problem.hint)


def _silent(progress: stages.Progress) -> None:
    """Nobody watches a task; whole parts are counted by the driver."""
    del progress
