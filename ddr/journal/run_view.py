"""A run as its events tell it: who works on it, what each step set out to do, did, and took back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ddr.domain import events, outcomes, records, runbooks

Alive = Callable[[int, str, str], bool | None]
"""Whether the process (pid, started, boot) runs; None when that cannot be known here, as for another machine."""


@dataclass(frozen=True)
class Step:
    """What is known of one step. A probe or gate may have an end without an intent: it sets out to change nothing.

    `intended` and its time are those of the first attempt, when the world was as it had been; `attempts` is the
    number of the newest, `ended` its result. The undo takes back all of them together.
    """

    name: str
    attempts: int = 0
    intended: records.StepIntended | None = None
    intended_at: datetime | None = None
    ended: records.StepEnded | None = None
    ended_at: datetime | None = None
    undo_intended_at: datetime | None = None
    undo_ended: records.UndoEnded | None = None
    undo_ended_at: datetime | None = None

    @property
    def outcome(self) -> outcomes.Outcome | None:
        return self.ended.outcome if self.ended else None

    @property
    def is_cut_off(self) -> bool:
        """There is an intent and no result: the effect may be there or not."""
        return self.intended is not None and self.ended is None

    @property
    def is_undo_cut_off(self) -> bool:
        return self.undo_intended_at is not None and self.undo_ended is None

    @property
    def undone(self) -> bool:
        """An undo came to its end and did not fail."""
        return self.undo_ended is not None and self.undo_ended.outcome.status is not outcomes.Status.FAILED

    @property
    def has_effect(self) -> bool:
        """The world may show something of it: it set out to act, and that is not taken back."""
        return self.intended is not None and not self.undone


@dataclass(frozen=True)
class Claim:
    """Who works on the run. `event` is the id of the claim: the newest one is the fence."""

    event: str
    record: records.RunClaimed
    at: datetime
    actor: str
    host: str


@dataclass(frozen=True)
class Decision:
    record: records.ApprovalDecided
    actor: str
    at: datetime


@dataclass(frozen=True)
class Approval:
    """A request with the decisions made for its plan, in order. Whether that is enough is the runbook's to say."""

    request: records.ApprovalRequested
    requester: str
    at: datetime
    decisions: tuple[Decision, ...] = ()

    @property
    def granted_by(self) -> tuple[str, ...]:
        """Everyone whose last word is yes, each once."""
        last = {decision.actor: decision.record.granted for decision in self.decisions}
        return tuple(actor for actor, granted in last.items() if granted)

    @property
    def refused_by(self) -> tuple[str, ...]:
        last = {decision.actor: decision.record.granted for decision in self.decisions}
        return tuple(actor for actor, granted in last.items() if not granted)


@dataclass(frozen=True)
class Run:
    """`steps` are in the order in which they began, `last_actor` wrote the newest event of the run.

    `end` is None again while an ended run is taken back as a whole. `paused` says why it waits, '' if it does not.
    """

    started: records.RunStarted
    at: datetime
    requester: str
    host: str
    seq: int
    last_at: datetime
    last_actor: str
    claim: Claim | None = None
    steps: dict[str, Step] = field(default_factory=dict)
    approvals: tuple[Approval, ...] = ()
    paused: str = ""
    is_paused: bool = False
    end: records.RunEnded | None = None
    ended_at: datetime | None = None

    @property
    def id(self) -> str:
        return self.started.run

    @property
    def status(self) -> str:
        """`running`, `paused`, or how it ended."""
        if self.end is not None:
            return self.end.status
        return "paused" if self.is_paused else "running"

    @property
    def is_awaiting_approval(self) -> bool:
        """An approval was asked for, not refused, and too few have granted it."""
        if self.end is not None or not self.approvals:
            return False
        newest = self.approvals[-1]
        is_past = any(step.intended_at and step.intended_at > newest.at for step in self.steps.values())
        return not is_past and not newest.refused_by and len(newest.granted_by) < newest.request.required

    @property
    def to_undo(self) -> tuple[Step, ...]:
        """The steps whose effect may still be there, the newest first."""
        return tuple(step for step in reversed(self.steps.values()) if step.has_effect)

    @property
    def is_undoing(self) -> bool:
        """Taking it back has begun and has no end yet: only going on with that is left."""
        return self.end is None and any(step.undo_intended_at is not None for step in self.steps.values())

    @property
    def asks_to_undo(self) -> bool:
        """What waits for an approval is taking it back."""
        return self.is_awaiting_approval and self.approvals[-1].request.step == runbooks.UNDO

    @property
    def undo_command(self) -> str:
        """What a rollback is taken back with asks before it does."""
        group = self.started.source if self.started.source == "ddr rollback" else "ddr runbook"
        return f"{group} undo {self.id}"

    @property
    def half_undone(self) -> tuple[str, ...]:
        """Steps of an ended run that alone were to be taken back, and whose undo has no result."""
        return () if self.end is None else tuple(step.name for step in self.steps.values() if step.is_undo_cut_off)

    def is_interrupted(self, now: datetime, alive: Alive) -> bool:
        """It has no end (or a half undone step), waits for nobody, and nobody works on it any more."""
        if self.half_undone == () and (self.end is not None or self.is_paused or self.is_awaiting_approval):
            return False
        if self.claim is None:
            return True  # cut off between its first event and the claim
        owner = self.claim.record
        runs = alive(owner.pid, owner.process_started, owner.boot)
        return now >= owner.until if runs is None else not runs


class RunFold:
    """Keeps the events of one run until its state is asked for."""

    def __init__(self, event: events.Event, record: records.RunStarted) -> None:
        self._started = record
        self._events = [event]
        self.take: Callable[[events.Event], None] = self._events.append
        """Any event that names the run, in order."""

    def run(self) -> Run:
        """The run as it stands now."""
        first, last = self._events[0], self._events[-1]
        claim: Claim | None = None
        paused: str | None = None
        end: events.Event | None = None
        approvals: list[Approval] = []
        steps: dict[str, dict[str, Any]] = {}
        for event in self._events:
            match event.record:
                case records.StepIntended() | records.StepEnded() | records.UndoIntended() | records.UndoEnded():
                    _take_step(steps.setdefault(event.record.step, {"attempts": 0}), event)
                case records.RunClaimed() as record:
                    claim = Claim(event.id, record, event.at, event.actor, event.host)
                    paused, end = (paused, end) if record.only else (None, None)
                case records.RunPaused() as record:
                    paused = record.why
                case records.RunEnded():
                    paused, end = None, event
                case records.ApprovalRequested() as record:
                    approvals.append(Approval(record, event.actor, event.at))
                case records.ApprovalDecided() as record:
                    _decide(approvals, Decision(record, event.actor, event.at))
        return Run(
            started=self._started,
            at=first.at,
            requester=first.actor,
            host=first.host,
            seq=first.seq,
            last_at=last.at,
            last_actor=last.actor,
            claim=claim,
            steps={name: Step(name, **fields) for name, fields in steps.items()},
            approvals=tuple(approvals),
            paused=paused or "",
            is_paused=paused is not None,
            end=end.record if end is not None and isinstance(end.record, records.RunEnded) else None,
            ended_at=end.at if end is not None else None,
        )


def _decide(approvals: list[Approval], decision: Decision) -> None:
    """It belongs to the newest request, if that asked for the same plan; for an older plan it is void."""
    if approvals and approvals[-1].request.plan_digest == decision.record.plan_digest:
        approvals[-1] = replace(approvals[-1], decisions=(*approvals[-1].decisions, decision))


def _take_step(fields: dict[str, Any], event: events.Event) -> None:
    """`fields` are those of Step, changed in place: most events of a journal are about steps."""
    match event.record:
        case records.StepIntended() as record:
            if "intended" not in fields or Step("", **fields).undone:
                fields.clear()
                fields.update(intended=record, intended_at=event.at)
            fields.update(attempts=record.attempt, ended=None, ended_at=None)
        case records.StepEnded() as record:
            fields.update(attempts=max(fields["attempts"], record.attempt), ended=record, ended_at=event.at)
        case records.UndoIntended():
            fields.update(undo_intended_at=event.at, undo_ended=None, undo_ended_at=None)
        case records.UndoEnded() as record:
            fields.update(undo_ended=record, undo_ended_at=event.at)
