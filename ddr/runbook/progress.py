"""What an engine reports while it works, for a live screen. Nothing is decided by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ddr.domain import outcomes, records


@dataclass(frozen=True)
class Done:
    """A step that came to its end in an earlier process. `changed`: the world shows it, and it is not taken back."""

    step: str
    outcome: outcomes.Outcome
    changed: bool
    undo: str = ""


@dataclass(frozen=True)
class RunBegan:
    """`resumed` when an earlier process had begun it; `done` is what that one did.

    `containment` is the step that contains, `only` are the steps that alone are taken back now, `attached` says that
    nobody named the incident and the open one of the service was taken. `undo` is the command that takes it back,
    `plan` the digest of what is carried out, where people were shown one.
    """

    run: str
    title: str
    service: str
    steps: tuple[str, ...]
    resumed: bool = False
    incident: str = ""
    done: tuple[Done, ...] = ()
    containment: str = ""
    only: tuple[str, ...] = ()
    attached: bool = False
    undo: str = ""
    plan: str = ""


@dataclass(frozen=True)
class StepBegan:
    """`position` of `total`; what it will do is empty for what only looks."""

    step: str
    position: int
    total: int
    kind: str
    verb: str
    why: str
    will: str = ""
    touches: tuple[str, ...] = ()
    undo: str = ""


@dataclass(frozen=True)
class StepEnded:
    """`adopted` when the effect was found done although no result had been written."""

    step: str
    outcome: outcomes.Outcome
    adopted: bool = False


@dataclass(frozen=True)
class Retrying:
    step: str
    attempt: int
    of: int
    why: str
    wait_s: float


@dataclass(frozen=True)
class ApprovalAsked:
    """`command` is what an approver pastes; `why` says why it is asked again, '' the first time."""

    request: records.ApprovalRequested
    command: str
    why: str = ""


@dataclass(frozen=True)
class GlassBroken:
    """The approval was passed over. Loud on purpose."""

    run: str
    actor: str
    why: str


@dataclass(frozen=True)
class UndoBegan:
    step: str
    position: int
    total: int
    will: str


@dataclass(frozen=True)
class UndoEnded:
    step: str
    outcome: outcomes.Outcome


@dataclass(frozen=True)
class RunPaused:
    run: str
    why: str


@dataclass(frozen=True)
class RunEnded:
    """`before`: it had this end already, and nothing was done now."""

    run: str
    status: str
    why: str
    before: bool = False


Event = (
    RunBegan
    | StepBegan
    | StepEnded
    | Retrying
    | ApprovalAsked
    | GlassBroken
    | UndoBegan
    | UndoEnded
    | RunPaused
    | RunEnded
)
Report = Callable[[Event], None]


def nowhere(_event: Event) -> None:
    """Reports to nobody."""
