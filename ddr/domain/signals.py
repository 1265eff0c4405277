"""What was measured, and what a detector made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ddr.domain import planes
from ddr.lib import timetext


class State(StrEnum):
    """`unknown` is a verdict of its own: an absent series is never healthy."""

    OK = "ok"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Share:
    """`hits` of `n` observations had the property (were wrong, were zero, failed)."""

    hits: int
    n: int

    @property
    def rate(self) -> float:
        return self.hits / self.n if self.n else 0.0


@dataclass(frozen=True)
class Values:
    """Observations of one number, in order of time."""

    values: tuple[float, ...]


@dataclass(frozen=True)
class Gauge:
    """One number that stands for `n` observations."""

    value: float
    n: int


@dataclass(frozen=True)
class ColumnShares:
    """A share for each column of a table."""

    columns: Mapping[str, Share]


@dataclass(frozen=True)
class Identity:
    """What should be there and what is there, as digests or names."""

    expected: str
    found: str
    n: int = 1


Sample = Share | Values | Gauge | ColumnShares | Identity


@dataclass(frozen=True)
class Reading:
    """A sample of one series over [since, until]; `sample` is None where there is none, and `why` says why."""

    series: str
    since: datetime
    until: datetime
    sample: Sample | None
    why: str = ""


@dataclass(frozen=True)
class Judgement:
    """What a detector says of one signal. `value` and `threshold` share `unit`; n is the sample size."""

    signal: str
    plane: planes.Plane | None
    state: State
    at: datetime
    value: float | None = None
    threshold: float | None = None
    n: int = 0
    unit: str = ""
    why: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.signal} {self.state}: {self.why}"
        limit = f" (limit {self._spoken(self.threshold)})" if self.threshold is not None else ""
        tail = f": {self.why}" if self.why else ""
        return f"{self.signal} {self.state}: {self._spoken(self.value)}{limit}, n={self.n}{tail}"

    def _spoken(self, value: float) -> str:
        return timetext.format_duration(value) if self.unit == "s" else f"{value:.4g}{self.unit}"
