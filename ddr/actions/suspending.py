"""Stopping the jobs that promote or retrain, by the commands that ddr.yaml names, and starting them again."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ddr.actions import kinds
from ddr.domain import outcomes, services
from ddr.errors import DdrError, Refused, Unavailable
from ddr.lib import digest, redact, template
from ddr.ports import verb

LONGEST_S = 120


@dataclass(frozen=True)
class SuspendInputs:
    """`job` is the name of a promoter of the service."""

    job: str


class Suspend(kinds.Action):
    """Runs `stop` of a promoter; taken back by its `resume`. Both run without a shell, and again after a crash: they
    have to be repeatable. The commands stay in ddr.yaml: the journal has their names and digests."""

    name = "jobs.suspend"
    Inputs = SuspendInputs

    def lacks(self, inputs: SuspendInputs, service: services.Service) -> Sequence[str]:
        if any(True for _ in template.names(inputs.job)):
            return ()
        try:
            _suspendable(service, inputs.job)
        except DdrError as problem:
            return (f"job: {problem.message}",)
        return ()

    def prepare(self, call: verb.Call) -> verb.Prepared:
        found = _suspendable(self.on.service(call.service), self.inputs(call).job)
        return verb.Prepared(
            will=f"suspend {found.name}: run `{found.stop}`",
            touches=(f"job {found.name}",),
            undo=f"run `{found.resume}`",
            settled={"service": call.service, "job": found.name, "commands": _mark(found)},
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        found = _suspendable(self.on.service(settled["service"]), settled["job"])
        if _mark(found) != settled["commands"]:
            return kinds.failed(f"the commands of {found.name} in ddr.yaml are others than those that were planned")
        problem = _run(found.stop)
        if problem:
            return kinds.failed(f"{found.name} is not suspended: {problem}")
        return kinds.ok(f"{found.name} is suspended: its stop command ended well")

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        """Nobody can see it; the command is run again."""
        return verb.Seen.NOT_DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        found = _suspendable(self.on.service(settled["service"]), settled["job"])
        problem = _run(found.resume)
        if problem:
            raise Unavailable(f"{found.name} does not run again: {problem}", hint=f"by hand: {found.resume}")
        return kinds.undone(f"{found.name} runs again: its resume command ended well")


def _suspendable(service: services.Service, job: str) -> services.Promoter:
    """Raises Refused."""
    found = next((one for one in service.promoters if one.name == job), None)
    if found is None:
        there = ", ".join(one.name for one in service.promoters) or "none"
        raise Refused(f"{service.name} has no promoter {job!r}; it has: {there}", hint="`promoters:` in ddr.yaml")
    if not found.can_be_suspended:
        raise Refused(
            f"ddr cannot suspend {job}: it needs both `stop` and `resume` in ddr.yaml",
            hint=f"by hand: {found.stop}" if found.stop else "stop it by hand",
        )
    return found


def _mark(of: services.Promoter) -> str:
    return digest.of_value([of.stop, of.resume])


def _run(command: str) -> str:
    """What went wrong, '' where nothing did."""
    try:
        words = shlex.split(command)
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST_S, check=False
        )
    except ValueError as problem:
        return f"`{command}` is no command: {problem}"
    except subprocess.TimeoutExpired:
        return f"the command did not end within {LONGEST_S} s"
    except OSError as problem:
        return f"the command cannot be run: {redact.foreign(problem)}"
    if done.returncode == 0:
        return ""
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return f"the command ended with {done.returncode}" + (f": {redact.foreign(said[-1][:200])}" if said else "")
