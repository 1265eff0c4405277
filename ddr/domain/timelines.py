"""All that happened to a service, put together from sources that each remember a part of it."""

from __future__ import annotations

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
        """The recorded one before the found one, the one with an actor before the one without, then the earliest."""
        return min(self.told, key=lambda change: (not change.recorded, change.actor == "unknown", change.at))

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


def unrecorded(
    before: releases.Release, after: releases.Release, told: Sequence[changes.Change]
) -> tuple[changes.Change, ...]:
    """What differs between two releases and no change in `told` accounts for.

    Its time is not known: it is seen `at` the later release and happened after the earlier one.
    """
    found = []
    for was, now in differences(before, after.revisions):
        if any(_accounts_for(change, was, now, before.at, after.at) for change in told):
            continue
        same_name = was.name == now.name
        found.append(
            changes.Change(
                plane=now.plane,
                object=now.object,
                at=after.at,
                before=with_digest(was) if same_name else was.name,
                after=with_digest(now) if same_name else now.name,
                summary="its bytes were overwritten in place" if same_name else "nobody recorded this move",
                source="ledger",
                recorded=False,
                not_before=before.at,
            )
        )
    return tuple(found)


def _accounts_for(
    change: changes.Change, was: revisions.Revision, now: revisions.Revision, since: datetime, until: datetime
) -> bool:
    if change.plane is not now.plane or not since < change.at <= until:
        return False
    if was.name == now.name:
        return digest.short(now.digest) in change.after
    return change.after == now.name


def with_digest(revision: revisions.Revision) -> str:
    """`2 (0a1b2c3d4e5f)`: the name with its bytes, where the name alone does not tell them apart."""
    return f"{revision.name} ({digest.short(revision.digest)})" if revision.digest else revision.name


def differences(
    recorded: releases.Release, live: Mapping[planes.Plane, revisions.Revision]
) -> tuple[tuple[revisions.Revision, revisions.Revision], ...]:
    """(recorded, live) of every plane that both sides know and that is not the same."""
    pairs = ((recorded.revisions[plane], now) for plane, now in live.items() if plane in recorded.revisions)
    return tuple((was, now) for was, now in pairs if not was.is_same(now))
