"""The signals of a service read and judged: live against the time before the newest known-good release."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ddr.detect import judge as judges
from ddr.detect import turning
from ddr.domain import releases, services, signals
from ddr.errors import DdrError, Missing
from ddr.journal import views
from ddr.ports import platform as platforms
from ddr.ports import signal as ports

SLICES = 4
"""A window is walked in this many parts: with an hour's window the onset is known to a quarter of an hour."""

FURTHEST = timedelta(days=1)
"""How far back an onset is looked for."""


BEFORE = timedelta(hours=2)
"""Of the time before the known-good release, what an onset is compared with."""

MOST_REQUESTS = 5000


@dataclass(frozen=True)
class Onset:
    """It began after `since` and not later than `until`."""

    since: datetime
    until: datetime


def judge(
    platform: platforms.Platform,
    service: str,
    names: Collection[str] | None = None,
    until: datetime | None = None,
    *,
    since: datetime | None = None,
    counted: Mapping[str, str] | None = None,
) -> tuple[signals.Judgement, ...]:
    """Every signal of the service, or the named ones, judged over [until - window, until); `until` is now.

    `since` cuts the windows short: after a rollback only what was observed since then may count. `counted` is what
    `counts` said then: sources that only count are held against it. A source that fails makes its own signals UNKNOWN
    with its reason, the others go on. Missing when a name is not a signal's.
    """
    entry = platform.service(service)
    unknown = sorted(set(names or ()) - {spec.name for spec in entry.signals})
    if unknown:
        known = ", ".join(spec.name for spec in entry.signals) or "none"
        raise Missing(f"{service} has no signal {', '.join(unknown)}", hint=f"its signals: {known}")
    watcher = Watcher(platform, service, last_good(platform, service), counted)
    wanted = [spec for spec in entry.signals if names is None or spec.name in names]
    at = until or platform.clock.now()
    return tuple(watcher.judge(spec, max(at - spec.window, since or at - spec.window), at) for spec in wanted)


def counts(platform: platforms.Platform, service: str) -> Mapping[str, str]:
    """What each source of the service that only counts has counted by now; without those that do not answer."""
    found: dict[str, str] = {}
    for name in sorted({spec.source for spec in platform.service(service).signals}):
        source: object = platform.sources.get(service, {}).get(name)
        if isinstance(source, ports.Counting):
            with contextlib.suppress(DdrError):
                found[name] = source.count()
    return found


def last_good(platform: platforms.Platform, service: str) -> releases.Release | None:
    """The newest release somebody vouched for; it ends the time that live readings are compared with."""
    return views.fold(platform.journal.events()).last_good(service)


def fallback(platform: platforms.Platform, service: str) -> bool:
    """Whether the fallback answers; False where the server cannot be asked, which is said elsewhere."""
    try:
        return service in platform.servers and platform.servers[service].fallback()
    except DdrError:
        return False


def onset(platform: platforms.Platform, service: str, judgement: signals.Judgement) -> Onset:
    """The interval in which a bad signal turned bad. Missing when the judgement's signal is not the service's."""
    specs = {spec.name: spec for spec in platform.service(service).signals}
    if judgement.signal not in specs:
        raise Missing(f"{service} has no signal {judgement.signal}")
    watcher = Watcher(platform, service, last_good(platform, service))
    return watcher.onset(specs[judgement.signal], judgement.at)


def first_bad(platform: platforms.Platform, service: str, judged: Iterable[signals.Judgement]) -> datetime | None:
    """By when the earliest of the bad ones among these was bad for sure; None when none is bad."""
    specs = {spec.name: spec for spec in platform.service(service).signals}
    watcher = Watcher(platform, service, last_good(platform, service))
    bad = [one for one in judged if one.state is signals.State.BAD]
    times = [watcher.onset(specs[one.signal], one.at).until if has_a_past(specs[one.signal]) else one.at for one in bad]
    seen = watcher.onset_of_errors(max(one.at for one in bad)) if bad else None
    return seen.until if seen else min(times, default=None)


def has_a_past(spec: services.SignalSpec) -> bool:
    """Whether the signal can be read over earlier windows: symptoms are logged, probes of a plane look at now."""
    return spec.plane is None and spec.detector in ("share", "shift", "distribution", "columns")


def _oldest_bad(newest: int, count: int, is_bad: Callable[[int], bool]) -> int:
    """The oldest of the bad slices that reach back from `newest` without a gap; few looks, each costs a reading."""
    bad, step = newest, 1
    while bad + step < count and is_bad(bad + step):
        bad, step = bad + step, step * 2
    clear = min(bad + step, count)
    while clear - bad > 1:
        middle = (bad + clear) // 2
        bad, clear = (middle, clear) if is_bad(middle) else (bad, middle)
    return bad


class Watcher:
    """Judges any stretch of time of one service; reads each signal's reference once."""

    def __init__(
        self,
        platform: platforms.Platform,
        service: str,
        good: releases.Release | None,
        counted: Mapping[str, str] | None = None,
    ) -> None:
        self._platform = platform
        self._counted = counted
        self._service = service
        self._good = good
        self._references: dict[str, signals.Reading | None] = {}

    def judge(self, spec: services.SignalSpec, since: datetime, until: datetime) -> signals.Judgement:
        """`spec` over [since, until), judged at `until`."""
        live = self._read(spec, since, until, self._counted)
        reference = self.reference(spec) if live.sample is not None else None
        return judges.judge(spec, live, reference, until)

    def onset(self, spec: services.SignalSpec, until: datetime) -> Onset:
        """When `spec`, bad at `until`, turned bad. Walks back in quarters of its window, in growing steps, then halves.

        The walk ends at the known-good release, or a day back. Where no quarter is bad by itself, only the whole
        window shows it and is the answer.
        """
        width = spec.window / SLICES
        thin = dataclasses.replace(spec, min_samples=max(1, spec.min_samples // SLICES))
        floor = until - FURTHEST if self._good is None else max(self._good.at, until - FURTHEST)
        count = max(0, (until - floor) // width)
        seen: dict[int, signals.State] = {}

        def state(back: int) -> signals.State:
            if back not in seen:
                seen[back] = self.judge(thin, until - (back + 1) * width, until - back * width).state
            return seen[back]

        newest = next((back for back in range(min(SLICES, count)) if state(back) is signals.State.BAD), None)
        if newest is None:
            return Onset(min(max(floor, until - spec.window), until), until)
        bad = _oldest_bad(newest, count, lambda back: state(back) is signals.State.BAD)
        calm = (back for back in range(bad + 1, min(bad + 1 + SLICES, count)) if state(back) is signals.State.OK)
        first_calm = next(calm, None)
        since = floor if first_calm is None else until - (first_calm + 1) * width
        return Onset(since, until - bad * width)

    def onset_of_errors(self, until: datetime) -> Onset | None:
        """When answers turned wrong, from logged requests whose truth is known; None where they do not show it."""
        log = self._platform.request_logs.get(self._service)
        begin = until - FURTHEST if self._good is None else max(until - FURTHEST, self._good.at - BEFORE)
        try:
            requests = log.logged(begin, until, MOST_REQUESTS) if log else ()
        except DdrError:
            return None
        turn = turning.newest_turn([request.answer != request.truth for request in requests])
        return Onset(requests[turn[0] - 1].at, requests[turn[1]].at) if turn else None

    def reference(self, spec: services.SignalSpec) -> signals.Reading | None:
        """The reading of before the known-good release, None where the detector needs none or there is none."""
        if spec.detector not in judges.NEEDS_REFERENCE or self._good is None:
            return None
        if spec.name not in self._references:
            self._references[spec.name] = self._read(spec, self._good.at - spec.reference, self._good.at)
        return self._references[spec.name]

    def _read(
        self, spec: services.SignalSpec, since: datetime, until: datetime, counted: Mapping[str, str] | None = None
    ) -> signals.Reading:
        source = self._platform.sources.get(self._service, {}).get(spec.source)
        if source is None:
            return signals.Reading(spec.series, since, until, None, f"no source {spec.source!r} is connected")
        try:
            if counted is not None and isinstance(source, ports.Counting):
                if spec.source not in counted:
                    why = f"{spec.source} only counts, and nobody knows what it had counted before"
                    return signals.Reading(spec.series, since, until, None, why)
                return source.read_since(spec.series, counted[spec.source], since, until)
            return source.read(spec.series, since, until)
        except DdrError as problem:
            return signals.Reading(spec.series, since, until, None, f"{spec.source}: {problem.message}")
