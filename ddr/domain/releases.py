"""The revisions, one per plane, that served together."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ddr.domain import planes, revisions

OBSERVED = "observed"
"""The moment of a PlanesObserved that is part of the ledger: somebody looked for what nobody had recorded."""


@dataclass(frozen=True)
class Lineage:
    """What a release was made of, as whoever deployed it said or the planes know; '' where nobody does.

    `lock` is the digest of the environment's lock file, `data` the data it was trained on, `backup` a snapshot of the
    repository that holds what it needs, `link` where a person can read on. `evaluation` is numbers by their names.
    """

    commit: str = ""
    image: str = ""
    lock: str = ""
    data: str = ""
    run: str = ""
    backup: str = ""
    link: str = ""
    evaluation: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Release:
    """`known_good` says a person or a passed verification vouched for it; `at` is when it was seen live, `by` who
    recorded it ('' in records of before there was this field)."""

    id: str
    service: str
    at: datetime
    revisions: Mapping[planes.Plane, revisions.Revision]
    known_good: bool = False
    note: str = ""
    lineage: Lineage = field(default_factory=Lineage)
    by: str = ""


@dataclass(frozen=True)
class Observation:
    """What ddr saw live when it looked at `at`, without anybody having deployed or vouched."""

    at: datetime
    revisions: Mapping[planes.Plane, revisions.Revision]


class Sighting(Protocol):
    """A release or an observation: at this time these revisions were live. A plane that could not be read is left
    out."""

    @property
    def at(self) -> datetime: ...

    @property
    def revisions(self) -> Mapping[planes.Plane, revisions.Revision]: ...


def overwritten(release: Release, now: revisions.Revision) -> revisions.Revision | None:
    """What the release recorded under the name of `now`, where `now` has other bytes; None where it has not."""
    was = release.revisions.get(now.plane)
    return was if was is not None and was.name == now.name and not was.is_same(now) else None


def same_revisions(one: Sighting, other: Sighting) -> bool:
    """The same planes with the same revisions. Unlike `Revision.is_same`, bytes that became known are a difference."""
    planes_ = one.revisions.keys() | other.revisions.keys()
    return all(_identity(one.revisions.get(plane)) == _identity(other.revisions.get(plane)) for plane in planes_)


def _identity(of: revisions.Revision | None) -> tuple[str, str, str]:
    return (of.object, of.name, of.digest) if of is not None else ("", "", "")


def in_window(recorded: Sequence[Release], since: datetime) -> tuple[Release, ...]:
    """The known-good ones of `recorded`, oldest first, that served at some time from `since` on; and the newest of
    them however old it is, because the way back goes there."""
    good = [release for release in recorded if release.known_good]
    ended = {one.id: other.at for one, other in itertools.pairwise(recorded)}
    return tuple(one for one in good if one is good[-1] or ended.get(one.id, one.at) >= since)


def names(release: Release) -> tuple[str, ...]:
    """What it calls by name and cannot be deployed without."""
    said = [release.lineage.backup]
    for one in release.revisions.values():
        said += [one.name, one.facts.get(revisions.BACKUP, "")]
    return tuple(dict.fromkeys(name for name in said if name))


def joined(one: Lineage, other: Lineage) -> Lineage | None:
    """What both say together; None where they contradict each other."""
    said: dict[str, str] = {}
    for field_ in dataclasses.fields(Lineage):
        if field_.name == "evaluation":
            continue
        first, second = getattr(one, field_.name), getattr(other, field_.name)
        if first and second and first != second:
            return None
        said[field_.name] = first or second
    if any(one.evaluation[name] != value for name, value in other.evaluation.items() if name in one.evaluation):
        return None
    return Lineage(**said, evaluation={**one.evaluation, **other.evaluation})
