"""One feature view of Feast: what is measured there, and its plane.

Feast's own gauge says that a job ran; here an age is that of the newest event that was read back from the store.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

from ddr.connectors.feast.online import plane as planes_of
from ddr.connectors.feast.online import state, view
from ddr.domain import planes, signals
from ddr.errors import InputError
from ddr.lib import clock as clocks
from ddr.ports import signal

_OLD_SHARE = 0.95
_LIVE_WITHIN = timedelta(minutes=1)

SERIES: Mapping[str, signal.SampleKind] = {
    "event-age-newest": "gauge",
    "event-age-p95": "gauge",
    "expired-share": "share",
    "null-shares": "columns",
    "rows": "gauge",
    "lost-share": "share",
}
Settings = view.Settings


@dataclass(frozen=True)
class Binding:
    """A plane says nothing more: one connector is one view."""


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> FeastOnline:
    return FeastOnline(base / settings.repo, settings, clock)


@dataclass
class FeastOnline(view.View):
    """Implements Signal and Keepable."""

    series: ClassVar[Mapping[str, signal.SampleKind]] = SERIES

    def plane(self, binding: Binding, plane: planes.Plane) -> planes_of.OnlineView:
        del binding
        return planes_of.OnlineView(self, plane)

    def read(self, series: str, since: datetime, until: datetime) -> signals.Reading:
        """As the port says. An online store has no past: only a window that ends now can be read."""
        if series not in SERIES:
            raise InputError(f"a feature view has no series {series!r}", hint=f"it has: {', '.join(SERIES)}")
        now = self.clock.now()
        if until < now - _LIVE_WITHIN:
            why = f"{self.settings.view} keeps no past: {series} is known for now only"
            return signals.Reading(series, since, until, None, why)
        with self.opened() as at:
            sample, why = self._measured(series, at, now.timestamp())
        return signals.Reading(series, since, until, sample, why)

    def _measured(self, series: str, at: view.Place, now_s: float) -> tuple[signals.Sample | None, str]:
        nothing = f"{at.store.label}: no values"
        if series in ("rows", "lost-share"):
            entities = at.store.count(at.view)
            if series == "rows":
                return (signals.Gauge(float(entities), entities), "") if entities else (None, nothing)
            return self._lost(entities)
        found = at.store.sample(at.view, self.settings.sample)
        if series == "null-shares":
            return (signals.ColumnShares(dict(found.nulls)), "") if found.nulls else (None, nothing)
        ages = sorted(now_s - one for one in found.times_s)
        late = sum(age < -_LIVE_WITHIN.total_seconds() for age in ages)
        why = f"{late} of {len(ages)} values are from the future" if late else ""
        ages = ages[late:]
        if not ages:
            return None, why or nothing
        if series == "expired-share":
            if not at.view.ttl_s:
                return None, f"{at.view.name} has no ttl"
            return signals.Share(sum(age > at.view.ttl_s for age in ages), len(ages)), why
        pick = 0 if series == "event-age-newest" else math.ceil(_OLD_SHARE * len(ages)) - 1
        return signals.Gauge(ages[pick], len(ages)), why

    def _lost(self, entities: int) -> tuple[signals.Sample | None, str]:
        """How many of the entities of the last kept state are missing."""
        states = self.shelf.kept(self.keeps)
        before = int(states[-1].facts.get(state.ENTITIES, "0")) if states else 0
        if not before:
            return None, f"no state of {self.keeps} is kept; `ddr features snapshot` keeps one"
        return signals.Share(max(0, before - entities), before), ""
