"""What `ddr doctor` says of one thing it tried."""

from __future__ import annotations

from dataclasses import dataclass

from ddr.domain import signals
from ddr.errors import DdrError


@dataclass(frozen=True)
class Visit:
    """What was tried and how it stands. `cannot` names what ddr will refuse to do there, and why."""

    what: str
    state: signals.State
    why: str
    can: tuple[str, ...] = ()
    cannot: tuple[str, ...] = ()


def failed(what: str, problem: DdrError, cannot: tuple[str, ...] = ()) -> Visit:
    """With its next move, where it has one."""
    text = f"{problem.message}\n      next: {problem.hint}" if problem.hint else problem.message
    return Visit(what, signals.State.BAD, text, cannot=cannot)
