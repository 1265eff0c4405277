"""What happened to a service over a stretch of time, as the journal tells it: the matter of every report.

Times come in pairs: `at` on the clock of the platform, `wall_s` in seconds on the wall since the account begins
(in a sandbox an hour of platform time takes about a second). `seq` is the number of the journal event behind a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ddr.domain import diagnoses, planes, revisions, signals


@dataclass(frozen=True)
class Stamp:
    """One moment on both clocks."""

    at: datetime
    wall_s: float
    seq: int = 0


@dataclass(frozen=True)
class Times:
    """The five times of an incident; None where it did not come so far."""

    first_bad: Stamp | None = None
    detected: Stamp | None = None
    diagnosed: Stamp | None = None
    contained: Stamp | None = None
    verified: Stamp | None = None

    @property
    def moments(self) -> tuple[tuple[str, Stamp | None], ...]:
        return (
            ("first bad", self.first_bad),
            ("detected", self.detected),
            ("diagnosed", self.diagnosed),
            ("contained", self.contained),
            ("verified", self.verified),
        )


class Kind(StrEnum):
    """What sort of thing a happening is; a report gives each its own shape."""

    CHANGE = "change"
    DECOY = "decoy"
    FAULT = "fault"
    SIGNAL = "signal bad"
    ACTION = "action"
    APPROVAL = "approval"
    COMMS = "comms"
    INCIDENT = "incident"
    UNDO = "undo"


@dataclass(frozen=True)
class Happening:
    """Something at a time. `plane` None stands for the response as a whole; `until` makes it a stretch."""

    kind: Kind
    at: datetime
    title: str
    plane: planes.Plane | None = None
    until: datetime | None = None
    detail: str = ""
    actor: str = ""
    seq: int = 0


@dataclass(frozen=True)
class Series:
    """Every judgement of one signal, oldest first. `detector` says how it is judged ('' if unknown)."""

    signal: str
    plane: planes.Plane | None
    judgements: tuple[signals.Judgement, ...]
    detector: str = ""

    @property
    def unit(self) -> str:
        return next((judgement.unit for judgement in self.judgements if judgement.unit), "")

    @property
    def bad(self) -> tuple[signals.Judgement, ...]:
        return tuple(judgement for judgement in self.judgements if judgement.state is signals.State.BAD)


@dataclass(frozen=True)
class Command:
    """A command as it was typed: `words` without the program, `output` shortened."""

    ended: Stamp
    actor: str
    words: tuple[str, ...]
    exit_code: int
    wall_s: float
    output: str = ""


@dataclass(frozen=True)
class Impact:
    """Wrong answers customers got in [since, until), and what is usual: the same count over quiet hours before."""

    since: datetime
    until: datetime
    wrong: int
    answers: int
    usual_wrong: int = 0
    usual_answers: int = 0

    @property
    def rate(self) -> float:
        return self.wrong / self.answers if self.answers else 0.0

    @property
    def usual_rate(self) -> float:
        return self.usual_wrong / self.usual_answers if self.usual_answers else 0.0

    @property
    def excess(self) -> int:
        """Wrong answers beyond the usual rate, rounded; never below 0."""
        return max(0, round(self.wrong - self.usual_rate * self.answers))


@dataclass(frozen=True)
class View:
    """What the planes had live at a named moment."""

    moment: str
    at: datetime
    revisions: tuple[revisions.Revision, ...]


@dataclass(frozen=True)
class Run:
    """A run of a runbook or of faults. `status` is its end, or how far it came."""

    id: str
    name: str
    purpose: str
    status: str
    why: str = ""


@dataclass(frozen=True)
class Account:
    """One stretch of one service's time."""

    service: str
    since: datetime
    until: datetime
    times: Times = Times()
    customers: str = ""
    impact: Impact | None = None
    diagnosis: diagnoses.Diagnosis | None = None
    series: tuple[Series, ...] = ()
    happenings: tuple[Happening, ...] = ()
    commands: tuple[Command, ...] = ()
    views: tuple[View, ...] = ()
    incident: str = ""
    incident_status: str = ""
    runs: tuple[Run, ...] = ()

    def view(self, moment: str) -> View | None:
        """The newest view of that name."""
        return next((view for view in reversed(self.views) if view.moment == moment), None)
