"""All that happened to a service, put together from sources that each remember a part of it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ddr.domain import changes, differences, planes, releases, revisions
from ddr.lib import digest

SAME_MOVE = timedelta(hours=1)
"""Two sources that tell of the same move within this time tell of one move: answers come after deployments."""

_MOST_AT_ONCE = 200
"""A plane with more moves than this at one time was imported: they stay as they came."""

DEPENDENCIES, DATA = "dependencies", "data"
"""Layers that change and are no planes of their own."""

LAYERS = (DEPENDENCIES, DATA)
LEDGER = "ledger"
OBSERVE = "ddr release observe"
"""The source of changes that were found by looking, and recorded as what nobody had recorded."""


@dataclass(frozen=True)
class Timeline:
    """Changes, oldest first. `silent` names each source that could not be asked, and why."""

    changes: tuple[changes.Change, ...] = ()
    silent: tuple[str, ...] = ()


@dataclass
class _Group:
    """One move with everyone who told of it."""

    told: list[changes.Change]

    @property
    def best(self) -> changes.Change:
        """The recorded one before the found one, the one with an actor before the one without, then the earliest.

        Where it does not know what was there before (a registry knows arrivals, not moves), another one may; so for
        a link and for what is different inside. But an arrival does not make a move known that was found by looking.
        """
        looked = next((change for change in self.told if change.source == OBSERVE), None)
        if looked is not None and not any(change.recorded and change.before for change in self.told):
            return looked
        best = min(self.told, key=lambda change: (not change.recorded, change.actor == "unknown", change.at))
        lacking = [name for name in ("before", "link", "detail") if not getattr(best, name)]
        said: dict[str, Any] = {
            name: next((getattr(one, name) for one in self.told if getattr(one, name)), "") for name in lacking
        }
        return dataclasses.replace(best, **said) if any(said.values()) else best

    def holds(self, change: changes.Change) -> bool:
        """Whether `change` is this move, told by someone who has not told of it yet.

        A sighting sees only what came out: where two moves follow each other fast it misses the middle.
        """
        first = self.best
        if any(one.source == change.source for one in self.told) or abs(change.at - first.at) > SAME_MOVE:
            return False
        if (first.plane, first.layer, first.after) != (change.plane, change.layer, change.after):
            return False
        sighted = not (first.recorded and change.recorded)
        return sighted or not first.before or not change.before or first.before == change.before


def merged(found: Iterable[changes.Change]) -> tuple[changes.Change, ...]:
    """Every move once, oldest first, told by the best source. One source's own repetitions all stay, but for what two
    observers found at once."""
    groups: dict[tuple[planes.Plane, str, str, bool], list[_Group]] = {}
    told = once(sorted(found, key=lambda change: change.at))
    place = {id(change): at for at, change in enumerate(told)}
    for change in told:
        alike = groups.setdefault((change.plane, change.layer, change.after, change.arrived), [])
        group = next((group for group in reversed(alike) if group.holds(change)), None)
        if group is None:
            alike.append(_Group([change]))
        else:
            group.told.append(change)
    every = [(group.best, min(place[id(one)] for one in group.told)) for alike in groups.values() for group in alike]
    return in_order(best for best, _ in sorted(every, key=lambda pair: pair[1]))


def in_order(found: Iterable[changes.Change]) -> tuple[changes.Change, ...]:
    """By time. At one time each plane's moves follow from one another: from what the one left goes the next, and
    what was registered was so before it was moved to. Where that does not decide, the order they came in stays."""
    told = sorted(found, key=lambda change: change.at)
    kept: list[changes.Change] = []
    state: dict[tuple[planes.Plane, str], str] = {}
    for _, at_once in itertools.groupby(told, key=lambda change: change.at):
        together = list(at_once)
        by_place: dict[tuple[planes.Plane, str], list[changes.Change]] = {}
        for change in together:
            by_place.setdefault((change.plane, change.layer), []).append(change)
        chained = {place: iter(_chained(one, state.get(place, ""))) for place, one in by_place.items()}
        for change in together:
            here = next(chained[change.plane, change.layer])
            kept.append(here)
            if not here.arrived:
                state[here.plane, here.layer] = here.after
    return tuple(kept)


def _chained(told: Sequence[changes.Change], state: str) -> list[changes.Change]:
    """Those of one plane at one time, where `state` was live before; '' where nobody knows."""
    if not 1 < len(told) <= _MOST_AT_ONCE:
        return list(told)
    chain = [change for change in told if change.arrived]
    left = [change for change in told if not change.arrived]
    while left:
        begins = [one for one in left if not any(one.before == other.after for other in left if other is not one)]
        follows = [one for one in left if state and one.before == state]
        # A dead end (2 → 4 before 2 → 3, 3 → 2) waits until nothing else goes on from here.
        returns = [one for one in follows if any(one.after == other.before for other in left if other is not one)]
        chain.append((returns or follows or begins or left)[0])
        state = chain[-1].after
        left = [one for one in left if one is not chain[-1]]
    return chain


def once(found: Sequence[changes.Change]) -> tuple[changes.Change, ...]:
    """Without what a second observer found again, who did not know of the first: the store was away. `found` is sorted.

    It is the same move where both saw the same step, the second one did not see the old state after the first one had
    seen the new one, and nobody tells that it was left in between.
    """
    kept: list[changes.Change] = []
    last: dict[tuple[str, ...], int] = {}
    stands_since: dict[tuple[planes.Plane, str], tuple[str, int]] = {}
    for change in found:
        place, step = (change.plane, change.layer), (change.plane, change.layer, change.object)
        key = (*step, change.before, change.after)
        at = last.get(key) if change.source == OBSERVE else None
        after, since = stands_since.get(place, ("", 0))
        if at is not None and after == change.after and since <= at and _overlap(kept[at], change):
            limits = [one.not_before for one in (kept[at], change) if one.not_before is not None]
            kept[at] = dataclasses.replace(kept[at], not_before=max(limits))
            continue
        if after != change.after:
            stands_since[place] = (change.after, len(kept))
        if change.source == OBSERVE:
            last[key] = len(kept)
        kept.append(change)
    return tuple(kept)


def _overlap(first: changes.Change, again: changes.Change) -> bool:
    return again.not_before is not None and again.not_before < first.at


def completed(told: Sequence[changes.Change], sighted: Sequence[releases.Sighting]) -> tuple[changes.Change, ...]:
    """`told`, merged, with every difference between two sightings of a plane that it does not account for.

    The time of such a difference is not known: it is seen at the later sighting and happened after the earlier one,
    in which the plane need not be the one before: it may have been unreadable for a while. Bytes overwritten under one
    name may have been noticed without their digests; that then gives the time. An arrival is no move to it,
    but no move to it can have been earlier. So where it is live at the first look of all, it was moved in between.
    """
    merged_ = merged(told)
    found: list[changes.Change] = []
    used: list[changes.Change] = []
    for step in steps(sighted):
        between = [change for change in merged_ if step.not_before <= change.at <= step.seen.at]
        noticed = [change for change in between if _notices_overwriting(change, step.was, step.now)]
        used += noticed
        if not any(accounts_for(change, step) for change in between):
            made = untold(step, noticed[-1].at if noticed else step.seen.at)
            found.append(_not_before_arrival(made, merged_))
    found += _first_seen(merged_, sighted)
    return in_order([*(change for change in merged_ if change not in used), *found])


def arrivals(told: Iterable[changes.Change], of: changes.Change) -> list[changes.Change]:
    """Those of the revision that `of` moved to, before it."""
    return [
        one for one in told
        if one.arrived and (one.plane, one.layer, one.after) == (of.plane, of.layer, of.after) and one.at <= of.at
    ]  # fmt: skip


def _not_before_arrival(made: changes.Change, told: Iterable[changes.Change]) -> changes.Change:
    came = arrivals(told, made)
    if not came:
        return made
    since = max([came[-1].at, *([made.not_before] if made.not_before is not None else [])])
    return dataclasses.replace(made, not_before=since, link=made.link or came[-1].link)


def _first_seen(told: Sequence[changes.Change], sighted: Sequence[releases.Sighting]) -> list[changes.Change]:
    """Moves to what is live at the only look there is, and arrived a while ago: nobody told of them."""
    found = []
    for plane, one in (sighted[-1].revisions if sighted else {}).items():
        if any(plane in sighting.revisions for sighting in sighted[:-1]):
            continue
        summary = "nobody recorded this move"
        made = changes.Change(
            plane, one.object, sighted[-1].at, "", one.name, summary=summary, source=LEDGER, recorded=False
        )
        known = [change for change in told if change.plane is plane and not change.layer and not change.arrived]
        if arrivals(told, made) and not any(change.after in (one.name, with_digest(one)) for change in known):
            found.append(_not_before_arrival(made, told))
    return found


@dataclass(frozen=True)
class Step:
    """A plane was seen as `was` at `not_before`, and as `now` the next time it was seen."""

    not_before: datetime
    seen: releases.Sighting
    was: revisions.Revision
    now: revisions.Revision


def steps(sighted: Sequence[releases.Sighting]) -> list[Step]:
    """Successive sightings of a plane that differ, oldest first."""
    last: dict[planes.Plane, tuple[datetime, revisions.Revision]] = {}
    found: list[Step] = []
    for sighting in sighted:
        for plane, now in sighting.revisions.items():
            if plane in last and not last[plane][1].is_same(now):
                found.append(Step(last[plane][0], sighting, last[plane][1], now))
            last[plane] = (sighting.at, now)
    return found


def accounts_for(change: changes.Change, step: Step) -> bool:
    """Whether the change tells of the step, at whatever time. An arrival tells of none."""
    was, now = step.was, step.now
    if change.plane is not now.plane or change.layer or change.arrived:
        return False
    return change.after == (with_digest(now) if was.name == now.name else now.name)


def _notices_overwriting(change: changes.Change, was: revisions.Revision, now: revisions.Revision) -> bool:
    """Whether it says no more than that one name has other bytes."""
    return was.name == now.name and change.plane is now.plane and change.before == change.after == now.name


def untold(step: Step, seen_at: datetime) -> changes.Change:
    """Nobody told of it. Whoever recorded the release it is first seen in has recorded it with that."""
    was, now = step.was, step.now
    same_name = was.name == now.name
    release = step.seen if isinstance(step.seen, releases.Release) and step.seen.by else None
    what = "its bytes were overwritten in place" if same_name else "nobody recorded this move"
    return changes.Change(
        plane=now.plane,
        object=now.object,
        at=seen_at,
        before=with_digest(was) if same_name else was.name,
        after=with_digest(now) if same_name else now.name,
        actor=release.by if release and not same_name else "unknown",
        summary=f"came with release {release.id}" if release and not same_name else what,
        source=LEDGER,
        recorded=release is not None and not same_name,
        not_before=step.not_before,
        link=release.lineage.link if release else "",
        detail=inside(was, now),
    )


def inside(was: revisions.Revision, now: revisions.Revision) -> str:
    """What is different inside, on one line: facts that both know, without those that only repeat the names."""
    found = [one for one in differences.of_facts(was.facts, now.facts) if one.before and one.after]
    return differences.line(tuple(one for one in found if (one.before, one.after) != (was.name, now.name)))


def described(told: Sequence[changes.Change], sighted: Sequence[releases.Sighting]) -> tuple[changes.Change, ...]:
    """`told`, with what is different inside where the sightings know both revisions and nobody has said it."""
    known: dict[tuple[planes.Plane, str], revisions.Revision] = {}
    for sighting in sighted:
        for plane, revision in sighting.revisions.items():
            known[plane, revision.name] = revision
    return tuple(_described(change, known) for change in told)


def _described(change: changes.Change, known: Mapping[tuple[planes.Plane, str], revisions.Revision]) -> changes.Change:
    was, now = known.get((change.plane, change.before)), known.get((change.plane, change.after))
    if change.detail or change.layer or was is None or now is None or was is now:
        return change
    return dataclasses.replace(change, detail=inside(was, now))


def of_layers(recorded: Sequence[releases.Release]) -> tuple[changes.Change, ...]:
    """What successive releases say of the environment and the data they were made of, where it changed.

    The environment is its lock file, or else the requirements that the code names.
    """
    found: list[changes.Change] = []
    last: dict[str, tuple[str, str]] = {}
    for release in recorded:
        for layer, plane, value, packages in _layers(release):
            before = last.get(layer)
            if before is not None and before[0] != value:
                found.append(_of_layer(release, layer, plane, before, (value, packages)))
            last[layer] = (value, packages)
    return tuple(found)


def _layers(release: releases.Release) -> list[tuple[str, planes.Plane, str, str]]:
    """(layer, plane, what it is, the packages in it) of what the release says."""
    code = release.revisions.get(planes.Plane.CODE)
    facts = code.facts if code is not None else {}
    lock = release.lineage.lock or facts.get(revisions.REQUIREMENTS, "")
    found = []
    if lock:
        found.append((DEPENDENCIES, planes.Plane.CODE, lock, facts.get(revisions.PACKAGES, "")))
    if release.lineage.data and planes.Plane.DATA not in release.revisions:
        found.append((DATA, planes.Plane.MODEL, release.lineage.data, ""))
    return found


def _of_layer(
    release: releases.Release, layer: str, plane: planes.Plane, was: tuple[str, str], now: tuple[str, str]
) -> changes.Change:
    packages = [{revisions.PACKAGES: text} if text else {} for text in (was[1], now[1])]
    return changes.Change(
        plane=plane,
        object="environment" if layer == DEPENDENCIES else "trained on",
        at=release.at,
        before=digest.short(was[0]) or was[0],
        after=digest.short(now[0]) or now[0],
        actor=release.by or "unknown",
        summary=f"came with release {release.id}",
        source=LEDGER,
        layer=layer,
        link=release.lineage.link,
        detail=differences.line(differences.of_facts(*packages)) if all(packages) else "",
    )


def with_digest(revision: revisions.Revision) -> str:
    """`2 (0a1b2c3d4e5f)`: the name with its bytes, where the name alone does not tell them apart."""
    return f"{revision.name} ({digest.short(revision.digest)})" if revision.digest else revision.name
