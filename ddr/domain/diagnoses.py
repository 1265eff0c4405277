"""Which plane is to blame, how sure that is, and by what evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ddr.domain import changes, planes, revisions


class Verdict(StrEnum):
    """By rule: CONFIRMED only on an identity mismatch or a successful swap test."""

    CONFIRMED = "CONFIRMED"
    LIKELY = "LIKELY"
    POSSIBLE = "POSSIBLE"
    INCONCLUSIVE = "INCONCLUSIVE"
    HEALTHY = "HEALTHY"


@dataclass(frozen=True)
class Evidence:
    """One independent test. `ratio` is its likelihood ratio: above 1 speaks for the candidate, below against."""

    test: str
    says: str
    ratio: float


@dataclass(frozen=True)
class Candidate:
    """A plane, or `unknown` (plane None), with what speaks for and against it. `change` is the culprit named.

    Candidates are alternatives and their probabilities sum to 1, but for the `together` of a diagnosis: each of those
    is weighed against what is not among them.
    """

    plane: planes.Plane | None
    probability: float
    evidence: tuple[Evidence, ...] = ()
    change: changes.Change | None = None


@dataclass(frozen=True)
class Diagnosis:
    """`candidates` are ranked, most probable first. `onset` is the interval in which it began.

    `together` are the planes that are broken each by a sign of its own, where there is more than one.
    `mend` is what a person has to put right by hand before more can be said.
    `caution` is what to know before typing `next_command`, '' where there is nothing.
    """

    service: str
    at: datetime
    verdict: Verdict
    candidates: tuple[Candidate, ...]
    onset_from: datetime | None = None
    onset_to: datetime | None = None
    live: tuple[revisions.Revision, ...] = ()
    ruled_out: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()
    impaired: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    next_command: str = ""
    caution: str = ""
    together: tuple[planes.Plane, ...] = ()
    mend: tuple[str, ...] = ()

    @property
    def leading(self) -> Candidate | None:
        return self.candidates[0] if self.candidates else None
