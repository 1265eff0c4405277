"""Ordered changes, computed without touching anything."""

from __future__ import annotations

from dataclasses import dataclass

from ddr.domain import planes, revisions, signals
from ddr.lib import decode, digest


@dataclass(frozen=True)
class Check:
    """One thing that was looked at while planning."""

    name: str
    state: signals.State
    detail: str


@dataclass(frozen=True)
class Move:
    """Switch one plane from one revision to another."""

    plane: planes.Plane
    live: revisions.Revision
    target: revisions.Revision

    @property
    def is_needed(self) -> bool:
        return not self.live.is_same(self.target)

    def reversed(self) -> Move:
        return Move(self.plane, live=self.target, target=self.live)


@dataclass(frozen=True)
class Reverter:
    """Who could put back what a plan takes away; `stop` is what stops them, '' where nobody said how."""

    plane: planes.Plane
    name: str
    how: str
    stop: str = ""
    is_stopped: bool = False


@dataclass(frozen=True)
class Plan:
    """What would be done to a service, why it may be done, and what speaks against it."""

    service: str
    moves: tuple[Move, ...]
    checks: tuple[Check, ...] = ()

    @property
    def refusals(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.state is signals.State.BAD)

    @property
    def digest(self) -> str:
        """Binds an approval: two plans with one digest do the same."""
        return digest.of_value({"service": self.service, "moves": decode.encode(self.moves)})
