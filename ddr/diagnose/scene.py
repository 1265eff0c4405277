"""All that is looked at before anything is concluded: revisions, judgements, onset, changes, the known-good release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ddr.diagnose import watch
from ddr.domain import changes, measures, planes, releases, revisions, services, signals, timelines
from ddr.errors import DdrError
from ddr.journal import views
from ddr.lib import timetext
from ddr.ports import platform as platforms

A_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Problem:
    """Why something could not be looked at, and what a person can do about it."""

    why: str
    hint: str


@dataclass(frozen=True)
class Scene:
    """`live` is what the planes point at, `loaded` what the server has in memory.

    `earlier` are the known-good releases before `good`, newest first.
    `changes` are all that could matter, oldest first, those that nobody recorded included. `not_checked` says what
    could not be looked at, and why; `unread` are the planes among it, `silent_server` the server (None where it
    answers). `fallback`: the fallback answers instead of the model.
    """

    service: services.Service
    at: datetime
    good: releases.Release | None
    earlier: tuple[releases.Release, ...]
    live: Mapping[planes.Plane, revisions.Revision]
    loaded: Mapping[planes.Plane, revisions.Revision]
    judged: tuple[signals.Judgement, ...]
    onset: watch.Onset | None = None
    changes: tuple[changes.Change, ...] = ()
    usual_error: float = 0.0
    seasonal: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = field(default=())
    unread: Mapping[planes.Plane, Problem] = field(default_factory=dict)
    silent_server: Problem | None = None
    fallback: bool = False

    @property
    def bad(self) -> tuple[signals.Judgement, ...]:
        return tuple(judgement for judgement in self.judged if judgement.state is signals.State.BAD)

    def spoken_of(self, plane: planes.Plane, state: signals.State) -> tuple[signals.Judgement, ...]:
        """The signals about this plane that are in that state."""
        return tuple(one for one in self.judged if one.plane is plane and one.state is state)

    def recorded(self, plane: planes.Plane) -> revisions.Revision | None:
        """What the known-good release has for this plane."""
        return self.good.revisions.get(plane) if self.good else None

    def is_overwritten(self, plane: planes.Plane) -> bool:
        """The known-good revision's name with other bytes."""
        now = self.live.get(plane)
        return self.good is not None and now is not None and releases.overwritten(self.good, now) is not None

    def is_served_otherwise(self, plane: planes.Plane) -> bool:
        """The server has something else in memory than the plane points at: another name, or other bytes."""
        now, held = self.live.get(plane), self.loaded.get(plane)
        return now is not None and held is not None and not revisions.is_held(now, held)

    def is_served_as_recorded(self, plane: planes.Plane) -> bool:
        """What the server has in memory is known good, whatever the plane points at."""
        was, held = self.recorded(plane), self.loaded.get(plane)
        return was is not None and held is not None and revisions.is_held(was, held)

    def is_harmed_by_server(self, plane: planes.Plane) -> bool:
        """The server answers with something that is not what the plane points at, and not known good either."""
        return self.is_served_otherwise(plane) and not self.is_served_as_recorded(plane)

    def is_pointed_well(self, plane: planes.Plane) -> bool:
        """The plane points at the known-good revision, so that a server which does not follow has to be rolled."""
        was, now = self.recorded(plane), self.live.get(plane)
        return now is not None and (was is None or was.is_same(now))

    def is_new(self, plane: planes.Plane) -> bool:
        """What is live is known not to be the known-good revision."""
        was, now = self.recorded(plane), self.live.get(plane)
        return was is not None and now is not None and not was.is_same(now)

    def is_as_recorded(self, plane: planes.Plane) -> bool:
        """What is live, and loaded where the server says so, is byte for byte the known-good revision."""
        was, now, held = self.recorded(plane), self.live.get(plane), self.loaded.get(plane)
        if was is None or now is None or not was.digest or not now.digest or not was.is_same(now):
            return False
        return held is None or revisions.is_held(was, held)

    def has_come_back(self, plane: planes.Plane) -> bool:
        """Is as recorded, and was something else since: what answered then may have been that."""
        was = self.recorded(plane)
        return (
            was is not None
            and self.good is not None
            and self.is_as_recorded(plane)
            and any(
                change.plane is plane
                and change.before
                and change.at >= self.good.at
                and change.after not in (was.name, timelines.with_digest(was))
                for change in self.changes
            )
        )

    def has_stayed(self, plane: planes.Plane) -> bool:
        """Is as recorded, and nothing tells that it ever was something else since."""
        return self.is_as_recorded(plane) and not self.has_come_back(plane)

    def has_earlier(self, plane: planes.Plane) -> bool:
        """Whether an earlier known-good release names another revision of the plane to go back to."""
        was = self.recorded(plane)
        found = (release.revisions[plane] for release in self.earlier if plane in release.revisions)
        return was is not None and any(revision.name != was.name for revision in found)

    def spec(self, name: str) -> services.SignalSpec:
        return next(spec for spec in self.service.signals if spec.name == name)


def look(platform: platforms.Platform, service: str, timeline: timelines.Timeline | None) -> Scene:
    """Reads everything, each source with its own failure."""
    entry, at = platform.service(service), platform.clock.now()
    not_checked = [f"changes of {who}" for who in timeline.silent] if timeline else ["changes: no timeline was given"]
    board = views.fold(platform.journal.events())
    good = board.last_good(service)
    if good is None:
        not_checked.append("the ledger: no release is recorded as known good")
    live, unread = _live(platform, entry, not_checked)
    loaded, silent_server = _loaded(platform, service, not_checked)
    watcher = watch.Watcher(platform, service, good)
    judged = tuple(watcher.judge(spec, at - spec.window, at) for spec in entry.signals)
    not_checked += [f"{one.signal}: {one.why}" for one in judged if one.state is signals.State.UNKNOWN]
    return Scene(
        service=entry,
        at=at,
        good=good,
        earlier=_earlier(board.releases.get(service, ()), good),
        live=live,
        loaded=loaded,
        judged=judged,
        onset=_onset(watcher, entry, judged, good, at),
        changes=_all_changes(timeline, entry.name, good, live, at),
        usual_error=_usual_error(watcher, entry),
        seasonal=_seasonal(watcher, entry, judged, at),
        not_checked=tuple(not_checked),
        unread=unread,
        silent_server=silent_server,
        fallback=watch.fallback(platform, service),
    )


def _earlier(ledgered: Sequence[releases.Release], good: releases.Release | None) -> tuple[releases.Release, ...]:
    return tuple(one for one in reversed(ledgered) if good and one.known_good and one.at < good.at)


def _live(
    platform: platforms.Platform, entry: services.Service, not_checked: list[str]
) -> tuple[dict[planes.Plane, revisions.Revision], dict[planes.Plane, Problem]]:
    found, unread = {}, {}
    for plane in entry.planes:
        try:
            found[plane] = platform.plane(entry.name, plane).revision()
        except DdrError as problem:
            unread[plane] = Problem(problem.message, problem.hint)
            not_checked.append(f"{plane}: {problem.message}")
    return found, unread


def _loaded(
    platform: platforms.Platform, service: str, not_checked: list[str]
) -> tuple[Mapping[planes.Plane, revisions.Revision], Problem | None]:
    if service not in platform.servers:
        not_checked.append("what the server has loaded: the service names no server")
        return {}, None
    try:
        return platform.servers[service].loaded(), None
    except DdrError as problem:
        not_checked.append(f"what the server has loaded: {problem.message}")
        return {}, Problem(problem.message, problem.hint)


def _onset(
    watcher: watch.Watcher,
    entry: services.Service,
    judged: Sequence[signals.Judgement],
    good: releases.Release | None,
    at: datetime,
) -> watch.Onset | None:
    """From the wrong answers themselves, else from the symptoms walked back, else since the known-good release."""
    bad = [spec for spec in entry.signals if any(one.signal == spec.name for one in judged if _is_bad(one))]
    symptoms = [spec for spec in bad if watch.has_a_past(spec)]
    if not bad:
        return None
    if not symptoms:
        return watch.Onset(max(good.at, at - watch.FURTHEST) if good else at - watch.FURTHEST, at)
    seen = watcher.onset_of_errors(at)
    if seen:
        return seen
    walked = [watcher.onset(spec, at) for spec in symptoms]
    return watch.Onset(min(one.since for one in walked), min(one.until for one in walked))


def _is_bad(judgement: signals.Judgement) -> bool:
    return judgement.state is signals.State.BAD


def _all_changes(
    timeline: timelines.Timeline | None,
    service: str,
    good: releases.Release | None,
    live: Mapping[planes.Plane, revisions.Revision],
    at: datetime,
) -> tuple[changes.Change, ...]:
    """The timeline, and what differs from the known-good release without being in it."""
    told = timeline.changes if timeline else ()
    if good is None:
        return told
    return timelines.completed(told, [good, releases.Release("live", service, at, live)])


def _usual_error(watcher: watch.Watcher, entry: services.Service) -> float:
    """The share of wrong answers in the reference, 0 where no symptom measures one."""
    for spec in entry.signals:
        reading = watcher.reference(spec) if spec.plane is None and spec.detector == "shift" else None
        if reading and isinstance(reading.sample, signals.Share):
            return reading.sample.rate
    return 0.0


def _seasonal(
    watcher: watch.Watcher, entry: services.Service, judged: Sequence[signals.Judgement], at: datetime
) -> tuple[str, ...]:
    """Bad symptoms that were as bad at the same hour a week ago."""
    bad = {one.signal for one in judged if one.state is signals.State.BAD}
    told = []
    for spec in entry.signals:
        if spec.name in bad and spec.plane is None:
            then = at - A_WEEK
            before = watcher.judge(spec, then - spec.window, then)
            if before.state is signals.State.BAD and before.value is not None:
                number = measures.value(before.value, spec.detector, spec.unit)
                told.append(f"{spec.name} was {number} at {timetext.format_clock(then)} too")
    return tuple(told)
