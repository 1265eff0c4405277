"""What came out of a game day: per scenario the account, what was expected, and what of it was met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from ddr.domain import accounts, signals

EXPECTATIONS = ("detect", "diagnose", "affected", "recover")

STOPPED = "stopped from the keyboard"


class Standing(StrEnum):
    """`not run` is never a pass: it counts 0 points of those possible."""

    MET = "met"
    MISSED = "missed"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Check:
    """One thing an expectation asks, and what was found."""

    what: str
    standing: Standing
    expected: str
    found: str


@dataclass(frozen=True)
class Expectation:
    """`points` are all of `possible` when every check is met, else 0."""

    name: str
    points: int
    possible: int
    checks: tuple[Check, ...] = ()

    @property
    def standing(self) -> Standing:
        states = {check.standing for check in self.checks}
        if Standing.MISSED in states:
            return Standing.MISSED
        return Standing.MET if states == {Standing.MET} else Standing.NOT_RUN


@dataclass(frozen=True)
class Invariant:
    """A signal that must stay green all along. `judged` is how often it was looked at; 0 is no proof."""

    signal: str
    judged: int
    broken: tuple[signals.Judgement, ...] = ()

    @property
    def standing(self) -> Standing:
        if self.broken:
            return Standing.MISSED
        return Standing.MET if self.judged else Standing.NOT_RUN


@dataclass(frozen=True)
class Steady:
    """The steady state, judged before and after. Empty means: not judged."""

    before: tuple[signals.Judgement, ...] = ()
    after: tuple[signals.Judgement, ...] = ()

    @property
    def held_before(self) -> bool:
        return bool(self.before) and all(judgement.state is signals.State.OK for judgement in self.before)

    @property
    def held_after(self) -> bool:
        return bool(self.after) and all(judgement.state is signals.State.OK for judgement in self.after)


@dataclass(frozen=True)
class Played:
    """One scenario as it was played. `why_not` says why it was not run to its end ('' when it was)."""

    name: str
    title: str = ""
    story: str = ""
    document: str = ""
    account: accounts.Account | None = None
    expectations: tuple[Expectation, ...] = ()
    invariants: tuple[Invariant, ...] = ()
    steady: Steady = Steady()
    state_before: str = ""
    state_after: str = ""
    fault_run: str = ""
    response_run: str = ""
    why_not: str = ""
    wall_s: float = 0.0

    @property
    def points(self) -> int:
        return sum(expectation.points for expectation in self.expectations)

    @property
    def possible(self) -> int:
        return sum(expectation.possible for expectation in self.expectations)

    @property
    def is_restored(self) -> bool:
        """Whether the platform's state digest is what it was before."""
        return bool(self.state_before) and self.state_before == self.state_after

    @property
    def passed(self) -> bool:
        """Every expectation met, every invariant held, the platform as before and steady again."""
        return (
            bool(self.expectations)
            and not self.why_not
            and all(expectation.standing is Standing.MET for expectation in self.expectations)
            and all(invariant.standing is Standing.MET for invariant in self.invariants)
            and self.is_restored
            and self.steady.held_before
            and self.steady.held_after
        )


@dataclass(frozen=True)
class Head:
    """The journal's newest event when the game day ended: everything before it is chained to this digest."""

    seq: int
    digest: str


@dataclass(frozen=True)
class GameDay:
    """`ended` when every scenario had its turn; `why` says what cut it short."""

    id: str
    at: datetime
    wall: datetime
    actor: str
    host: str
    played: tuple[Played, ...]
    head: Head = Head(0, "")
    wall_s: float = 0.0
    ended: bool = False
    why: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def points(self) -> int:
        return sum(played.points for played in self.played)

    @property
    def possible(self) -> int:
        return sum(played.possible for played in self.played)

    @property
    def is_restored(self) -> bool:
        """Whether every scenario that was begun left the platform's state as it found it."""
        return all(played.is_restored for played in self.played if played.account)

    @property
    def was_stopped(self) -> bool:
        """By a person; the faults were undone all the same."""
        return self.why == STOPPED

    @property
    def passed(self) -> bool:
        """Exit code 0 means this, and only this."""
        return self.ended and not self.why and bool(self.played) and all(played.passed for played in self.played)
