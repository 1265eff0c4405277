"""One run in the hands of one process: its history, its frozen steps, its fence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from ddr.domain import outcomes, records, runbooks
from ddr.errors import Conflict, Damaged, InputError, Unavailable
from ddr.journal import run_view
from ddr.lib import digest
from ddr.ports import platform, verb
from ddr.runbook import claim, deadline, history, procedure, progress, scope

LONGEST_WAIT_S = 30.0

T = TypeVar("T")


class Stop:
    """Asks the engine to pause behind the step it works on. What Ctrl-C does the first time."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self) -> None:
        self.asked = True


@dataclass(frozen=True)
class Tools:
    """What every run of one engine works with."""

    platform: platform.Platform
    catalog: verb.Catalog
    report: progress.Report = progress.nowhere
    stop: Stop = field(default_factory=Stop)
    owner: claim.Owner = field(default_factory=claim.Owner.here)


class TakenOver(Conflict):
    """Someone else owns the run now; nothing more may be appended or done here."""


class Work:
    """Made by claiming the run. Everything it appends or does is behind the fence."""

    def __init__(
        self, tools: Tools, follower: history.Follower, *, take_over: bool = False, only: tuple[str, ...] = ()
    ) -> None:
        self.tools = tools
        self.follower = follower
        seen = follower.read()
        self.run = seen.id
        self.looked: set[str] = set()
        """Steps that looked in this process: what they saw is fresh."""
        self.procedure = frozen(seen.started)
        self.service = tools.platform.service(seen.started.service)
        longest_s = max((step.timeout_seconds for step in self.procedure.steps), default=0)
        self._claim = claim.take(
            tools.platform.journal, seen, tools.owner, self.now(), longest_s, take_over=take_over, only=only
        )
        self.check_fence()

    def now(self) -> datetime:
        return self.tools.platform.clock.now()

    def seen(self) -> run_view.Run:
        return self.follower.read()

    def check_fence(self) -> None:
        """Raises TakenOver when someone else has claimed the run since."""
        held = self.follower.read().claim
        if held is not None and held.event != self._claim:
            raise TakenOver(
                f"run {self.run} was taken over by {held.actor} on {held.host} (process {held.record.pid})",
                expected="this process owns the run",
                found=f"{held.actor} on {held.host}",
                hint="nothing more is done here; the new owner goes on",
            )

    def append(self, record: records.Record) -> None:
        self.tools.platform.journal.append(record)

    def verb_of(self, step: runbooks.Step) -> verb.Verb:
        """Raises InputError where the catalog lacks it: the run was begun by another ddr, or elsewhere."""
        found = self.tools.catalog.get(step.verb)
        if found is None:
            raise InputError(
                f"run {self.run}: step {step.name!r} needs the verb {step.verb}, which is not known here",
                hint="use the ddr that began the run",
            )
        return found

    def scope(self, seen: run_view.Run) -> scope.Scope:
        started = seen.started
        known = {
            **scope.of_service(self.service),
            **scope.of_run(self.run, started.title, seen.requester, started.incident, started.parameters),
        }
        known["steps"] = {
            name: scope.of_step(step.intended.settled if step.intended else {}, step.ended.outcome)
            for name, step in seen.steps.items()
            if step.ended is not None
        }
        return known

    def call(self, step: runbooks.Step, seen: run_view.Run, *, strict: bool = True) -> verb.Call:
        """The step with its templates filled. Raises InputError where a name has no value (unless not `strict`)."""
        known = self.scope(seen)
        inputs: Mapping[str, Any] = (
            scope.fill(step.inputs, known, step.name) if strict else scope.fill_known(step.inputs, known)
        )
        return verb.Call(
            service=self.service.name,
            run=self.run,
            step=step.name,
            key=f"{self.run}/{step.name}",
            incident=seen.started.incident,
            started_at=history.step_of(seen, step.name).intended_at or self.now(),
            inputs=inputs,
        )

    def began(self, step: runbooks.Step, prepared: verb.Prepared | None = None) -> None:
        """Tell the screen."""
        self.tools.report(
            progress.StepBegan(
                step.name,
                self.procedure.position(step.name),
                len(self.procedure.steps),
                step.kind,
                step.verb,
                step.why,
                prepared.will if prepared else "",
                prepared.touches if prepared else (),
                prepared.undo if prepared else "",
            )
        )

    def ended(self, step: runbooks.Step, attempt: int, outcome: outcomes.Outcome, *, adopted: bool = False) -> None:
        """The result, durable, then told."""
        self.append(records.StepEnded(self.run, step.name, attempt, outcome, adopted))
        self.tools.report(progress.StepEnded(step.name, outcome, adopted))

    def wait(self, step: runbooks.Step, attempt: int, attempts: int, problem: Unavailable) -> None:
        """Before the next attempt: 1, 2, 4 ... seconds and up to half as much again, different for every step."""
        spread = int(digest.of_bytes(f"{self.run}/{step.name}/{attempt}".encode())[-4:], 16) / 0xFFFF
        wait_s = min(2.0 ** (attempt - 1), LONGEST_WAIT_S) * (1 + spread / 2)
        self.tools.report(progress.Retrying(step.name, attempt + 1, attempts, problem.message, wait_s))
        self.tools.platform.clock.sleep(wait_s)

    def patiently(self, step: runbooks.Step, attempts: int, do: Callable[[], T]) -> T:
        """`do` within the step's time limit, again while it is Unavailable. For what may be repeated freely."""
        for attempt in range(1, attempts + 1):
            try:
                with deadline.limit(step.timeout_seconds):
                    return do()
            except Unavailable as problem:
                if attempt == attempts:
                    raise
                self.wait(step, attempt, attempts, problem)
            except deadline.Passed:
                raise Unavailable(f"no answer within {step.timeout_seconds} s") from None
        raise AssertionError("attempts is 1 or more")


def frozen(started: records.RunStarted) -> procedure.Procedure:
    """The steps as they were when the run began. Raises Damaged where the text is not the one that was approved."""
    if digest.of_bytes(started.document.encode()) != started.document_digest:
        raise Damaged(f"run {started.run}: the frozen document does not match its digest")
    return procedure.of_run(started)
