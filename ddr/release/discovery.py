"""Looking for what nobody recorded: an alias moved by hand, weights overwritten, a tag that names other bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ddr.domain import changes, events, planes, records, releases, revisions, timelines
from ddr.errors import Unavailable
from ddr.lib import digest
from ddr.ports import journal
from ddr.ports import platform as platforms
from ddr.release import ledger, timeline

SOURCE = timelines.OBSERVE
_TRIES = 8

HEARTBEAT = timedelta(hours=6)
"""So long after the last sighting in the journal one is recorded although nothing is new: `release show --at` then
knows what was served in quiet weeks, and a journal grows by four events a day."""


@dataclass(frozen=True)
class LastLook:
    """When this machine looked last, and at what: it makes `not_before` minutes wide where the journal's own last
    sighting is hours old. No truth: without it the journal's is taken."""

    at: datetime
    content: str


@dataclass(frozen=True)
class Discovery:
    """`found` is what nobody recorded and what the journal did not know yet, `announced` what somebody did record
    since the last sighting. `compared_with` is the time of that sighting, None for the first look of all."""

    live: releases.Release
    found: tuple[changes.Change, ...]
    announced: tuple[changes.Change, ...]
    compared_with: datetime | None
    silent: tuple[str, ...]
    is_recorded: bool

    @property
    def memory(self) -> LastLook:
        """To be handed in at the next look."""
        return LastLook(self.live.at, content(self.live.revisions))


def content(live: Mapping[planes.Plane, revisions.Revision]) -> str:
    """Digest of what the planes have live, by names and bytes."""
    return digest.of_value([[plane, one.object, one.name, one.digest] for plane, one in sorted(live.items())])


def observe(
    platform: platforms.Platform, service: str, *, only_look: bool = False, last: LastLook | None = None
) -> Discovery:
    """Hold what is live against the newest sighting in the journal, and record what is new. Unavailable.

    Whatever differs and is told by a source that names it (a deployment log, a rollback) is announced. The rest goes
    into the journal as changes that nobody recorded, with when they were first seen and when they were not there yet,
    and behind them the observation that the next look is held against: killed in between, it is told once.

    Every write is a compare-and-set on what was read of the ledger of this service: of two who look at once one
    records, the other looks again and finds it told. With the store away nobody can know of the other; those who read
    fold what both found into one (`timelines.once`).
    """
    recorded: list[changes.Change] = []
    for _ in range(_TRIES):
        try:
            seen = _observe(platform, service, only_look, last, recorded)
        except journal.Overtaken:
            continue
        return dataclasses.replace(seen, found=tuple(dict.fromkeys([*recorded, *seen.found])))
    raise Unavailable(
        f"others recorded what they saw of {service} {_TRIES} times while this one looked",
        hint="what is live keeps changing, or many look at once: run it again",
    )


def _observe(
    platform: platforms.Platform,
    service: str,
    only_look: bool,
    last: LastLook | None,
    recorded: list[changes.Change],
) -> Discovery:
    """One try. Overtaken; what went into the journal before is in `recorded`."""
    board = ledger.board(platform)
    seen_up_to = board.newest.seq if board.newest else 0
    known = board.sightings(service)
    if not known:
        live = ledger.observe(platform, service)
        if not only_look:
            _note(platform, service, live, seen_up_to)
        return Discovery(live, (), (), None, _unread(platform, live), not only_look)
    newest = known[-1].at
    looked = timeline.look(platform, service, newest, board)
    live = looked.live or ledger.observe(platform, service)
    before = {plane: one for sighting in known for plane, one in sighting.revisions.items()}
    steps = [step for step in timelines.steps([*known, live]) if step.seen is live]
    stepped = [change for step in steps for change in _of_step(step, looked.told)]
    on_the_way = [
        change
        for change in looked.timeline.changes
        if _is_new(change, before, live) and not any(timelines.accounts_for(change, step) for step in steps)
    ]
    found = tuple(_narrowed(change, before, last) for change in (*stepped, *on_the_way))
    announced = tuple(
        change
        for change in looked.timeline.changes
        if change.recorded and change.before and change.at > newest and change.source != timelines.LEDGER
    )
    differs = any(plane not in before or not before[plane].is_same(one) for plane, one in live.revisions.items())
    records_ = not only_look and (bool(found) or differs or live.at - newest >= HEARTBEAT)
    if records_:
        for change in found:
            made = platform.journal.append(records.ChangeRecorded(service, change), _unless_told(service, seen_up_to))
            seen_up_to = max(seen_up_to, made.seq)
            recorded.append(change)
        _note(platform, service, live, seen_up_to)
    silent = (*looked.timeline.silent, *_unread(platform, live, looked.timeline.silent))
    return Discovery(live, found, announced, newest, silent, records_)


def _of_step(step: timelines.Step, told: Sequence[changes.Change]) -> list[changes.Change]:
    """The step as a change that nobody recorded; none where somebody did, or the journal has it from an earlier look.

    That a version was registered is no record of its being made live: it only says that it cannot have been earlier.
    """
    between = [one for one in told if timelines.accounts_for(one, step) and step.not_before <= one.at <= step.seen.at]
    if any(one.source == SOURCE or (one.recorded and one.before) for one in between):
        return []
    sighted = [one for one in between if not one.recorded]
    made = timelines.untold(step, sighted[0].at if sighted else step.seen.at)
    arrived = [one for one in between if one.recorded]
    arrived += [one for one in timelines.arrivals(told, made) if step.not_before <= one.at]
    on_the_way = [one for one in told if one.source == SOURCE and one.plane is step.now.plane and not one.layer]
    on_the_way = [one for one in on_the_way if step.not_before < one.at <= made.at and one.before != one.after]
    if on_the_way:  # somebody has found a part of it, and was cut off before he wrote down what is live
        furthest = max(on_the_way, key=lambda one: one.at)
        made = dataclasses.replace(made, before=furthest.after if step.was.name != step.now.name else made.before)
        step = dataclasses.replace(step, not_before=furthest.at)
    limits = [step.not_before, *(one.at for one in arrived), *(one.not_before for one in sighted[:1] if one.not_before)]
    since = max(limit for limit in limits if limit <= made.at)
    said = [
        f"{one.summary} by {one.actor}" if one.actor != "unknown" else one.summary for one in arrived if one.summary
    ]
    made = dataclasses.replace(
        made, not_before=since, link=next((one.link for one in (*between, *arrived) if one.link), "")
    )
    return [dataclasses.replace(made, summary="; ".join([made.summary, *said]))]


def _is_new(change: changes.Change, before: Mapping[planes.Plane, revisions.Revision], live: releases.Release) -> bool:
    """Nobody recorded it, and it is not the late echo of what the journal knows: a first answer an hour later."""
    if change.recorded or change.source == SOURCE:
        return False
    was, now = before.get(change.plane), live.revisions.get(change.plane)
    return not (was is not None and now is not None and was.is_same(now) and change.after == was.name)


def _narrowed(
    change: changes.Change, before: Mapping[planes.Plane, revisions.Revision], last: LastLook | None
) -> changes.Change:
    since = change.not_before
    if last is not None and last.content == content(before) and last.at <= change.at:
        since = max(since, last.at) if since is not None else last.at
    summary = change.summary or "found by looking; no log tells of it"
    return dataclasses.replace(change, source=SOURCE, not_before=since, summary=summary)


def _note(platform: platforms.Platform, service: str, live: releases.Release, seen_up_to: int) -> None:
    seen: Sequence[revisions.Revision] = tuple(live.revisions.values())
    noted = records.PlanesObserved(service, releases.OBSERVED, tuple(seen))
    platform.journal.append(noted, _unless_told(service, seen_up_to))


def _unless_told(service: str, seen_up_to: int) -> journal.Unless:
    """What somebody else has recorded of this service meanwhile is to be looked at first."""

    def says(event: events.Event) -> bool:
        match event.record:
            case records.ChangeRecorded(named) | records.PlanesObserved(named, releases.OBSERVED):
                return named == service
            case records.ReleaseRecorded(release):
                return release.service == service
        return False

    return journal.Unless(seen_up_to, says)


def _unread(platform: platforms.Platform, live: releases.Release, told: Sequence[str] = ()) -> tuple[str, ...]:
    """The note of what could not be read, unless its planes were named already as sources that do not answer."""
    unread = [plane for plane in platform.service(live.service).planes if plane not in live.revisions]
    is_told = all(any(entry.startswith(f"{plane} plane: ") for entry in told) for plane in unread)
    return (live.note,) if live.note and not (unread and is_told) else ()
