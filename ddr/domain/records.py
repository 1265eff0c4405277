"""What the journal records: one dataclass a kind, and the list of them all.

A field may be added with a default; a field or kind that was ever written is never renamed or reused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal

from ddr.domain import (
    accounts,
    backup_records,
    changes,
    diagnoses,
    gamedays,
    incidents,
    index_records,
    journal_records,
    outcomes,
    planes,
    releases,
    revisions,
    signals,
)


@dataclass(frozen=True)
class ReleaseRecorded:
    kind: ClassVar[str] = "release.recorded"
    release: releases.Release


@dataclass(frozen=True)
class RevisionMarked:
    """`good` false means: nothing may bring this revision back."""

    kind: ClassVar[str] = "revision.marked"
    service: str
    plane: planes.Plane
    object: str
    name: str
    digest: str
    good: bool
    why: str


@dataclass(frozen=True)
class ChangeRecorded:
    kind: ClassVar[str] = "change.recorded"
    service: str
    change: changes.Change


@dataclass(frozen=True)
class IncidentDeclared:
    kind: ClassVar[str] = "incident.declared"
    incident: str
    service: str
    severity: incidents.Severity
    title: str
    first_bad: datetime | None = None
    judgements: tuple[signals.Judgement, ...] = ()


@dataclass(frozen=True)
class IncidentMoved:
    kind: ClassVar[str] = "incident.moved"
    incident: str
    status: incidents.Status
    why: str = ""


@dataclass(frozen=True)
class IncidentNoted:
    kind: ClassVar[str] = "incident.noted"
    incident: str
    text: str


@dataclass(frozen=True)
class DiagnosisMade:
    kind: ClassVar[str] = "diagnosis.made"
    service: str
    diagnosis: diagnoses.Diagnosis
    incident: str = ""


@dataclass(frozen=True)
class RunStarted:
    """`document` is the frozen text; what runs is this, never the file as it is later."""

    kind: ClassVar[str] = "run.started"
    run: str
    title: str
    purpose: Literal["runbook", "faults"]
    document: str
    document_digest: str
    service: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    incident: str = ""
    source: str = ""


@dataclass(frozen=True)
class RunClaimed:
    """Who works on the run from here on. The newest claim is the fence: an older owner must stop.

    With `only` the owner takes back these steps of a run that has ended, and the run keeps the end it has.
    """

    kind: ClassVar[str] = "run.claimed"
    run: str
    pid: int
    process_started: str
    boot: str
    until: datetime
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepIntended:
    """Written before the effect. `settled` is all that is needed to do, look for, or undo it."""

    kind: ClassVar[str] = "step.intended"
    run: str
    step: str
    attempt: int
    verb: str
    key: str
    settled: Mapping[str, str]
    will: str
    undo: str


@dataclass(frozen=True)
class StepEnded:
    kind: ClassVar[str] = "step.ended"
    run: str
    step: str
    attempt: int
    outcome: outcomes.Outcome
    adopted: bool = False


@dataclass(frozen=True)
class UndoIntended:
    kind: ClassVar[str] = "undo.intended"
    run: str
    step: str
    attempt: int


@dataclass(frozen=True)
class UndoEnded:
    kind: ClassVar[str] = "undo.ended"
    run: str
    step: str
    attempt: int
    outcome: outcomes.Outcome


@dataclass(frozen=True)
class ApprovalRequested:
    """`settled` has a digest of what each following action would do; `plan_digest` is the digest of them all."""

    kind: ClassVar[str] = "approval.requested"
    run: str
    step: str
    plan_digest: str
    summary: tuple[str, ...]
    approvers: tuple[str, ...]
    required: int
    separation_of_duties: bool
    expires: datetime
    settled: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ApprovalDecided:
    kind: ClassVar[str] = "approval.decided"
    run: str
    plan_digest: str
    granted: bool
    why: str = ""
    break_glass: bool = False


@dataclass(frozen=True)
class RunPaused:
    kind: ClassVar[str] = "run.paused"
    run: str
    why: str


@dataclass(frozen=True)
class RunEnded:
    kind: ClassVar[str] = "run.ended"
    run: str
    status: Literal["recovered", "contained", "switched", "failed", "undone", "injected"]
    why: str = ""


@dataclass(frozen=True)
class MessagePosted:
    kind: ClassVar[str] = "message.posted"
    channel: str
    text: str
    key: str
    delivered: bool
    why: str = ""


@dataclass(frozen=True)
class GameDayStarted:
    kind: ClassVar[str] = "gameday.started"
    gameday: str
    scenarios: tuple[str, ...]
    seed: int
    state_digest: str
    possible: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class ScenarioStarted:
    kind: ClassVar[str] = "scenario.started"
    gameday: str
    scenario: str
    document: str
    state_digest: str


@dataclass(frozen=True)
class ScenarioReached:
    """How far a scenario has come; `not-run` and `broken-off` end it early, and `why` says what was in the way."""

    kind: ClassVar[str] = "scenario.reached"
    gameday: str
    scenario: str
    phase: Literal["steady", "detected", "undone", "steady-again", "not-run", "broken-off"]
    why: str = ""


@dataclass(frozen=True)
class SignalsJudged:
    """All signals of a service at one time, while someone watched it closely."""

    kind: ClassVar[str] = "signals.judged"
    service: str
    judgements: tuple[signals.Judgement, ...]


@dataclass(frozen=True)
class PlanesObserved:
    """What the planes of a service had live at a moment that matters."""

    kind: ClassVar[str] = "planes.observed"
    service: str
    moment: str
    revisions: tuple[revisions.Revision, ...]


@dataclass(frozen=True)
class CommandEnded:
    """A command that was typed (or run as if typed), by whom, and how it ended. `output` is shortened."""

    kind: ClassVar[str] = "command.ended"
    words: tuple[str, ...]
    by: str
    exit_code: int
    wall_s: float
    output: str = ""


@dataclass(frozen=True)
class ImpactMeasured:
    kind: ClassVar[str] = "impact.measured"
    service: str
    impact: accounts.Impact


@dataclass(frozen=True)
class ScenarioScored:
    kind: ClassVar[str] = "scenario.scored"
    gameday: str
    scenario: str
    points: Mapping[str, int]
    possible: Mapping[str, int]
    passed: bool
    expectations: tuple[gamedays.Expectation, ...] = ()
    state_digest: str = ""


@dataclass(frozen=True)
class GameDayEnded:
    kind: ClassVar[str] = "gameday.ended"
    gameday: str
    passed: bool
    state_digest: str
    why: str = ""


@dataclass(frozen=True)
class Foreign:
    """An event of a kind this version does not know. Kept and chained, not understood."""

    kind: ClassVar[str] = "?"
    original: str


Record = (
    ReleaseRecorded
    | RevisionMarked
    | ChangeRecorded
    | IncidentDeclared
    | IncidentMoved
    | IncidentNoted
    | DiagnosisMade
    | RunStarted
    | RunClaimed
    | StepIntended
    | StepEnded
    | UndoIntended
    | UndoEnded
    | ApprovalRequested
    | ApprovalDecided
    | RunPaused
    | RunEnded
    | MessagePosted
    | GameDayStarted
    | ScenarioStarted
    | ScenarioReached
    | SignalsJudged
    | PlanesObserved
    | CommandEnded
    | ImpactMeasured
    | ScenarioScored
    | GameDayEnded
    | backup_records.BackupMade
    | backup_records.BackupVerified
    | backup_records.BackupDrilled
    | backup_records.BackupLocked
    | backup_records.BackupsForgotten
    | backup_records.BackupCopied
    | backup_records.BackupRestored
    | index_records.IndexBuilt
    | index_records.IndexIntended
    | index_records.IndexMoved
    | index_records.IndexChecked
    | index_records.IndexRemoved
    | journal_records.JournalAdopted
    | journal_records.JournalMended
    | Foreign
)

KINDS: dict[str, type[Record]] = {record.kind: record for record in Record.__args__ if record is not Foreign}
