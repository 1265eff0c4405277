"""The program that drives Ray: it connects, hands parts out as tasks, and says what became of each.

A process of its own, started by `rays`: Ray's library ends the process that loaded it when the cluster goes away, it
prints on standard output, and reads settings from the environment as it is loaded. None of that is for a build.

In come orders, pickled, each behind its length in eight bytes; the end of the input is the end of the program. Out go
lines of JSON: `ready` when the cluster is there, `done` with a part's number, `end` behind each order, and instead of
the one or the other `failed` with an error.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import pickle
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from ddr import errors
from ddr.index import stages, worker
from ddr.index.spread import sameness
from ddr.lib import process, redact
from ddr.ports import store

if TYPE_CHECKING:
    from ddr.index import work as works

RETRIES = 3
"""Of a part whose process died, or to which a system did not answer."""
READY, DONE, END, FAILED = "ready", "done", "end", "failed"
LENGTH_BYTES = 8
_STARTS = 4
_TICK_S = 1.0
_KNOCK_S = 10.0
_STORE_BYTES = 80 << 20  # nearly the least that Ray takes: only receipts go through it
_MIB = 1 << 20

Open = Callable[[stages.Report], stages.Bench]
"""Opens the bench of the plan on the machine where it is called; a function of a module, or a partial of one."""


@dataclass(frozen=True)
class Cluster:
    """Where tasks run. Without `address` a cluster is started on this machine and stopped again.

    `cpus` and `memory_mib` are what a cluster of ours may take, `environment` what its processes get besides ours.
    `patience_s`: how long a cluster may have no node that is large enough (one that grows has none at first).
    `seen_s`: how long files may take until they are seen here (a network file system remembers what was not there).
    """

    address: str = ""
    cpus: int = 1
    memory_mib: int = 0
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    patience_s: float = 300.0
    seen_s: float = 60.0


@dataclass(frozen=True)
class Order:
    """Parts to make. `memory_mib` is what one takes, 0 when nobody estimated it; `gpus` how many it is given."""

    opened: Open
    parts: Sequence[int]
    gpus: int = 0
    memory_mib: int = 0


@dataclass(frozen=True)
class Failure:
    """An error by the name of its class: what was wrong with a part for good, so that Ray does not try it again."""

    kind: str
    message: str
    hint: str

    @staticmethod
    def of(problem: errors.DdrError) -> Failure:
        """Of a class that is none of those below it counts as the nearest one above."""
        kind = next((base.__name__ for base in type(problem).__mro__ if base.__name__ in _KINDS), "")
        return Failure(kind, problem.message, problem.hint)

    def error(self) -> errors.DdrError:
        return _KINDS.get(self.kind, errors.DdrError)(self.message, hint=self.hint)


_KINDS: Mapping[str, type[errors.DdrError]] = {
    kind.__name__: kind
    for kind in (
        errors.Conflict,
        errors.Damaged,
        errors.InputError,
        errors.Missing,
        errors.Refused,
        errors.Unavailable,
        errors.Unsupported,
    )
}


class Again(Exception):
    """Ray is to try the task once more."""


@dataclass(frozen=True)
class Needs:
    """Of each task."""

    cpus: int
    gpus: int
    memory_bytes: int

    @staticmethod
    def of(order: Order, nodes: Sequence[Mapping[str, float]]) -> Needs:
        """All processors for all parts, evenly; at least one each and no more than a node has."""
        each = [int(node.get("CPU", 0)) for node in nodes]
        cpus = max(1, min(max(each, default=1), sum(each) // max(len(order.parts), 1)))
        return Needs(cpus, order.gpus, order.memory_mib * _MIB)

    def fit(self, node: Mapping[str, float]) -> bool:
        return (
            node.get("CPU", 0) >= self.cpus
            and node.get("GPU", 0) >= self.gpus
            and node.get("memory", 0) >= self.memory_bytes
        )


def main() -> None:
    """Arguments: the cluster's settings as JSON, and a folder for one that is started here."""
    process.die_with_parent()
    settings = json.loads(sys.argv[1])
    orders, answers = os.fdopen(os.dup(0), "rb"), os.dup(1)
    os.dup2(2, 1)

    def say(what: str, value: object = None) -> None:
        os.write(answers, json.dumps({what: value}).encode() + b"\n")

    try:
        ray = connect(Cluster(**settings["cluster"]), settings["folder"])
        say(READY)
        while (order := _next(orders)) is not None:
            try:
                _Round(ray, Cluster(**settings["cluster"]), order).run(lambda part: say(DONE, part))
                say(END)
            except errors.DdrError as problem:
                say(FAILED, dataclasses.asdict(Failure.of(problem)))
        ray.shutdown()
    except errors.DdrError as problem:
        say(FAILED, dataclasses.asdict(Failure.of(problem)))


def _next(orders: BinaryIO) -> Order | None:
    length = orders.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        return None
    found = pickle.loads(orders.read(int.from_bytes(length)))  # noqa: S301 - from the process that started this one
    assert isinstance(found, Order)
    return found


def connect(cluster: Cluster, folder: str) -> Any:
    """Ray, connected. It gives its processes 30 seconds to come up, which a busy machine exceeds once and not twice."""
    _knock(cluster.address)
    try:
        import ray
        import ray.exceptions
    except ImportError as problem:
        raise errors.Unsupported(
            f"ray cannot be imported: {redact.foreign(problem)}", hint="pip install 'ddr[ray]'; or --on here"
        ) from problem
    started = {} if cluster.address else _started(cluster, folder)
    for tries_left in range(0 if cluster.address else _STARTS - 1, -1, -1):
        try:
            ray.init(address=cluster.address or "local", log_to_driver=False, logging_level=logging.ERROR, **started)
        except Exception as problem:  # Ray raises a bare one when its processes do not come up
            ray.shutdown()
            if tries_left:
                continue
            raise _away(cluster.address, problem) from problem
        break
    return ray


def _knock(address: str) -> None:
    """Where nobody listens Ray itself knocks for more than ten minutes and says nothing."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), _KNOCK_S).close()
        except (OSError, OverflowError) as problem:
            raise _away(address, problem) from problem


def _away(address: str, problem: Exception) -> errors.Unavailable:
    where = redact.foreign(address) if address else "a cluster on this machine"
    return errors.Unavailable(
        f"Ray: {where}: {redact.foreign(problem)}",
        hint="`ray status` shows a cluster; RAY_ADDRESS names it, without it one is started here",
    )


def _started(cluster: Cluster, folder: str) -> dict[str, Any]:
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


class _Round:
    """One order.

    What a failed one has left is not cancelled: Ray (2.60) ends the whole process when a task that is cancelled by
    force ends at that moment. It goes on until the process ends.
    """

    def __init__(self, ray: Any, cluster: Cluster, order: Order) -> None:
        self._ray, self._cluster, self._order = ray, cluster, order
        self._needs = Needs.of(order, self._nodes())

    def run(self, told: Callable[[int], None]) -> None:
        task = self._ray.remote(_part).options(
            num_cpus=self._needs.cpus,
            num_gpus=self._needs.gpus,
            memory=self._needs.memory_bytes or None,
            max_retries=RETRIES,
            retry_exceptions=[Again],
        )
        patience_s = self._cluster.patience_s if self._cluster.address else 0.0
        if not patience_s and not self._fits(nodes := self._nodes()):
            raise self._lonely(nodes)
        left = {task.remote(self._order.opened, part, self._needs.cpus): part for part in self._order.parts}
        alone_since = time.monotonic()
        while left:
            ready, _ = self._ray.wait(list(left), timeout=_TICK_S)
            for one in ready:
                self._take(one, left[one])
                told(left.pop(one))
            nodes = self._nodes()
            if ready or self._fits(nodes):
                alone_since = time.monotonic()
            elif time.monotonic() - alone_since >= patience_s:
                raise self._lonely(nodes)

    def _nodes(self) -> list[Mapping[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _fits(self, nodes: Sequence[Mapping[str, float]]) -> bool:
        return any(self._needs.fit(node) for node in nodes)

    def _lonely(self, nodes: Sequence[Mapping[str, float]]) -> errors.DdrError:
        if not nodes:
            return errors.Unavailable("Ray: the cluster has no node left", hint="the same command goes on")
        needs = self._needs
        memory = f" and {needs.memory_bytes // _MIB:,} MiB" if needs.memory_bytes else ""
        return errors.Refused(
            f"no node of Ray has {needs.cpus} CPU{f', {needs.gpus} GPU' if needs.gpus else ''}{memory} for a part",
            hint="a larger node, or a smaller rowsPerPart",
        )

    def _take(self, one: object, part: int) -> None:
        """The answer of a task that ended."""
        problems = self._ray.exceptions
        try:
            answer = self._ray.get(one)
        except problems.OutOfMemoryError as problem:
            raise errors.Refused(
                f"part {part}: killed for memory, {RETRIES + 1} times",
                hint="a node with more memory, or a smaller rowsPerPart; what is done stays done",
            ) from problem
        except problems.RayTaskError as problem:
            cause = problem.cause if isinstance(problem.cause, Again) else None
            what, hint = cause.args if cause else (redact.foreign(problem), "the worker's log in Ray has the rest")
            raise (errors.Unavailable if cause else errors.DdrError)(f"part {part}: {what}", hint=hint) from problem
        except problems.RayError as problem:
            raise errors.Unavailable(
                f"part {part}: its process died {RETRIES + 1} times: {redact.foreign(problem)}",
                hint="the same command goes on; `ddr index worker` makes that part alone and shows why",
            ) from problem
        if isinstance(answer, Failure):
            raise dataclasses.replace(answer, message=f"part {part}: {answer.message}").error()


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
        return Failure.of(problem)


def _silent(progress: stages.Progress) -> None:
    """Nobody watches a task; whole parts are counted."""
    del progress
