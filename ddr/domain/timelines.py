"""All that happened to a service, put together from sources that each remember a part of it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ddr.domain import changes, planes, releases, revisions
from ddr.lib import digest

SAME_MOVE = timedelta(hours=1)
"""Two sources that tell of the same move within this time tell of one move: answers come after deployments."""


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

        Where it does not know what was there before (a registry knows arrivals, not moves), another one may.
        """
        best = min(self.told, key=lambda change: (not change.recorded, change.actor == "unknown", change.at))
        if best.before:
            return best
        return dataclasses.replace(best, before=next((change.before for change in self.told if change.before), ""))

    def holds(self, change: changes.Change) -> bool:
        """Whether `change` is this move, told by someone who has not told of it yet.

        A sighting sees only what came out: where two moves follow each other fast it misses the middle.
        """
        first = self.best
        if any(one.source == change.source for one in self.told) or abs(change.at - first.at) > SAME_MOVE:
            return False
        if (first.plane, first.after) != (change.plane, change.after):
            return False
        sighted = not (first.recorded and change.recorded)
        return sighted or not first.before or not change.before or first.before == change.before


def merged(found: Iterable[changes.Change]) -> tuple[changes.Change, ...]:
    """Every move once, oldest first, told by the best source. One source's own repetitions all stay."""
    groups: list[_Group] = []
    for change in sorted(found, key=lambda change: change.at):
        group = next((group for group in reversed(groups) if group.holds(change)), None)
        if group is None:
            groups.append(_Group([change]))
        else:
            group.told.append(change)
    return tuple(sorted((group.best for group in groups), key=lambda change: change.at))


def completed(told: Sequence[changes.Change], ledgered: Sequence[releases.Release]) -> tuple[changes.Change, ...]:
    """`told`, merged, with every difference between successive releases that it does not account for.

    The time of such a difference is not known: it is seen at the later release and happened after the earlier one.
    Bytes overwritten under one name may have been sighted without their digests; the sighting then gives the time.
    """
    merged_ = merged(told)
    found: list[changes.Change] = []
    used: list[changes.Change] = []
    for before, after in itertools.pairwise(ledgered):
        between = [change for change in merged_ if before.at <= change.at <= after.at]
        for was, now in differences(before, after.revisions):
            if any(_accounts_for(change, was, now) for change in between):
                continue
            sightings = [change for change in between if _sights_overwriting(change, now)]
            used += sightings
            found.append(_unrecorded(was, now, before.at, sightings[-1].at if sightings else after.at))
    kept = [*(change for change in merged_ if change not in used), *found]
    return tuple(sorted(kept, key=lambda change: change.at))


def _accounts_for(change: changes.Change, was: revisions.Revision, now: revisions.Revision) -> bool:
    if change.plane is not now.plane:
        return False
    return change.after == (with_digest(now) if was.name == now.name else now.name)


def _sights_overwriting(change: changes.Change, now: revisions.Revision) -> bool:
    return change.plane is now.plane and change.before == change.after == now.name and not change.recorded


def _unrecorded(was: revisions.Revision, now: revisions.Revision, since: datetime, seen_at: datetime) -> changes.Change:
    same_name = was.name == now.name
    return changes.Change(
        plane=now.plane,
        object=now.object,
        at=seen_at,
        before=with_digest(was) if same_name else was.name,
        after=with_digest(now) if same_name else now.name,
        summary="its bytes were overwritten in place" if same_name else "nobody recorded this move",
        source="ledger",
        recorded=False,
        not_before=since,
    )


def with_digest(revision: revisions.Revision) -> str:
    """`2 (0a1b2c3d4e5f)`: the name with its bytes, where the name alone does not tell them apart."""
    return f"{revision.name} ({digest.short(revision.digest)})" if revision.digest else revision.name


def differences(
    recorded: releases.Release, live: Mapping[planes.Plane, revisions.Revision]
) -> tuple[tuple[revisions.Revision, revisions.Revision], ...]:
    """(recorded, live) of every plane that both sides know and that is not the same."""
    pairs = ((recorded.revisions[plane], now) for plane, now in live.items() if plane in recorded.revisions)
    return tuple((was, now) for was, now in pairs if not was.is_same(now))
