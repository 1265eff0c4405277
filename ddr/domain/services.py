"""One ML service: what its planes point at, how it is watched, what was promised, who owns it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from ddr.domain import planes

DetectorKind = Literal["share", "shift", "distribution", "columns", "ceiling", "floor", "identity"]


@dataclass(frozen=True)
class Objectives:
    """How much may be lost (rpo), how long recovery may take (rto), how soon a fault must be noticed."""

    rpo: timedelta
    rto: timedelta
    detect_within: timedelta = timedelta(hours=1)


@dataclass(frozen=True)
class Escalation:
    after: timedelta
    to: str


@dataclass(frozen=True)
class Owners:
    team: str
    oncall: str
    decision_maker: str
    approvers: tuple[str, ...] = ()
    escalation: tuple[Escalation, ...] = ()


@dataclass(frozen=True)
class SignalSpec:
    """How one series of a connector is judged.

    `plane` is the plane the signal speaks about; without one it is a symptom that any plane can cause.
    `limit` is the detector's own limit in the unit of the series (a share, a count of seconds, PSI).
    """

    name: str
    source: str
    series: str
    detector: DetectorKind
    plane: planes.Plane | None = None
    limit: float | None = None
    window: timedelta = timedelta(hours=1)
    reference: timedelta = timedelta(hours=6)
    min_samples: int = 1
    unit: str = ""


@dataclass(frozen=True)
class Promoter:
    """Whoever moves a plane by itself: a retraining, a promotion bot. `stop` is the command that stops it, `resume` the
    one that lets it go on. With both `ddr contain --suspend` runs them; without `resume` they are for people."""

    name: str
    plane: planes.Plane
    how: str = ""
    stop: str = ""
    resume: str = ""

    @property
    def can_be_suspended(self) -> bool:
        """Nothing is stopped that nobody says how to start."""
        return bool(self.stop and self.resume)


@dataclass(frozen=True)
class Service:
    """`planes` names the connector of each plane; `customers` says who notices when it is wrong."""

    name: str
    planes: Mapping[planes.Plane, str]
    signals: tuple[SignalSpec, ...]
    objectives: Objectives
    owners: Owners
    customers: str = ""
    serving: str = ""
    consumers: tuple[str, ...] = field(default=())
    promoters: tuple[Promoter, ...] = ()
