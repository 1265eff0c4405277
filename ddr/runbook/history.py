"""One run as its events tell it, followed event by event: where it is, who works on it, what was approved."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ddr.domain import events, outcomes, records
from ddr.errors import Missing
from ddr.ports import journal


@dataclass(frozen=True)
class Step:
    """What is known of one step. `settled` and `intended_at` are those of the first attempt: the world as it was."""

    intended: records.StepIntended | None = None
    intended_at: datetime | None = None
    attempt: int = 0
    ended: records.StepEnded | None = None
    undo_attempt: int = 0
    undo_ended: records.UndoEnded | None = None

    @property
    def is_open(self) -> bool:
        """There is an intent and no result: the effect may be there or not."""
        return self.intended is not None and self.ended is None

    @property
    def is_taken_back(self) -> bool:
        return self.undo_ended is not None and self.undo_ended.outcome.status is not outcomes.Status.FAILED


@dataclass(frozen=True)
class Decision:
    record: records.ApprovalDecided
    actor: str
    at: datetime


@dataclass(frozen=True)
class Request:
    """An approval that was asked for, with the decisions made after it for the same plan."""

    record: records.ApprovalRequested
    actor: str
    at: datetime
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True)
class Claim:
    """Who works on the run. `event` names the claim: the newest one is the fence."""

    event: str
    record: records.RunClaimed
    actor: str
    host: str


@dataclass(frozen=True)
class History:
    """`claim` is the newest; `released` says that its owner has let go of the run (paused or ended it)."""

    started: records.RunStarted
    requester: str
    started_at: datetime
    seq: int = 0
    claim: Claim | None = None
    released: bool = False
    steps: Mapping[str, Step] = field(default_factory=dict)
    requests: tuple[Request, ...] = ()
    paused: str = ""
    end: records.RunEnded | None = None
    undoing: bool = False

    @property
    def run(self) -> str:
        return self.started.run

    @property
    def is_finished(self) -> bool:
        """It has an end, and no undo has begun since."""
        return self.end is not None and not self.undoing

    @property
    def outcomes(self) -> Mapping[str, outcomes.Outcome]:
        """Of every step that ended, in the order in which they ended."""
        return {name: step.ended.outcome for name, step in self.steps.items() if step.ended is not None}

    def step(self, name: str) -> Step:
        return self.steps.get(name, Step())


def begin(event: events.Event, record: records.RunStarted) -> History:
    return History(record, event.actor, event.at, event.seq)


def told(history: History, event: events.Event) -> History:
    """The history one event later; events of other runs change nothing."""
    record = event.record
    if getattr(record, "run", None) != history.run or isinstance(record, records.RunStarted):
        return history
    change = dataclasses.replace
    match record:
        case records.RunClaimed():
            claim = Claim(event.id, record, event.actor, event.host)
            return change(history, claim=claim, released=False, paused="")
        case records.RunPaused():
            return change(history, released=True, paused=record.why)
        case records.RunEnded():
            return change(history, released=True, paused="", end=record, undoing=False)
        case records.ApprovalRequested():
            return change(history, requests=(*history.requests, Request(record, event.actor, event.at)))
        case records.ApprovalDecided():
            return change(history, requests=_decided(history.requests, Decision(record, event.actor, event.at)))
        case records.UndoIntended() | records.UndoEnded():
            step = _undo(history.step(record.step), record)
            return change(history, steps={**history.steps, record.step: step}, undoing=True)
        case records.StepIntended() | records.StepEnded():
            step = _step(history.step(record.step), record, event.at)
            rest = {name: other for name, other in history.steps.items() if name != record.step}
            return change(history, steps={**rest, record.step: step})
    return history


def _step(step: Step, record: records.StepIntended | records.StepEnded, at: datetime) -> Step:
    if isinstance(record, records.StepEnded):
        return dataclasses.replace(step, ended=record, attempt=max(step.attempt, record.attempt))
    first = step.intended or record
    return dataclasses.replace(step, intended=first, intended_at=step.intended_at or at, attempt=record.attempt)


def _undo(step: Step, record: records.UndoIntended | records.UndoEnded) -> Step:
    if isinstance(record, records.UndoIntended):
        return dataclasses.replace(step, undo_attempt=record.attempt, undo_ended=None)
    return dataclasses.replace(step, undo_ended=record)


def _decided(requests: tuple[Request, ...], decision: Decision) -> tuple[Request, ...]:
    """The decision belongs to the newest request, if that asked for the same plan; an older one is void."""
    if not requests or requests[-1].record.plan_digest != decision.record.plan_digest:
        return requests
    newest = requests[-1]
    return (*requests[:-1], dataclasses.replace(newest, decisions=(*newest.decisions, decision)))


def runs(of: Iterable[events.Event]) -> dict[str, History]:
    """Every run in the journal, oldest first. A second start under a taken name is not one."""
    found: dict[str, History] = {}
    for event in of:
        name = getattr(event.record, "run", None)
        if isinstance(event.record, records.RunStarted):
            found.setdefault(event.record.run, begin(event, event.record))
        elif isinstance(name, str) and name in found:
            found[name] = told(found[name], event)
    return found


class Follower:
    """Keeps up with one run: `read` gives its history with all that was appended since, by anyone."""

    def __init__(self, journal_: journal.Journal, run: str) -> None:
        self._journal = journal_
        self._run = run
        self._after = 0
        self._seen: set[str] = set()
        self._history: History | None = None

    def read(self) -> History:
        """Raises Missing when there is no such run, Damaged where the journal is."""
        for event in self._journal.events(self._after):
            self._after = max(self._after, event.seq)
            if event.id in self._seen:
                continue
            if event.is_spooled or getattr(event.record, "run", None) == self._run:
                self._seen.add(event.id)
            self._take(event)
        if self._history is None:
            raise Missing(f"there is no run {self._run!r}", hint="`ddr runbook list --runs` shows them")
        return self._history

    def _take(self, event: events.Event) -> None:
        if self._history is not None:
            self._history = told(self._history, event)
        elif isinstance(event.record, records.RunStarted) and event.record.run == self._run:
            self._history = begin(event, event.record)
