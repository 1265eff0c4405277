"""Releases as they were recorded, and what was found out about their revisions later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ddr.domain import events, planes, records, releases, revisions

Name = tuple[str, str]
"""A revision as a mark names it: (name, digest)."""


class ReleaseFold:
    """Takes ReleaseRecorded, RevisionMarked and PlanesObserved, in order."""

    def __init__(self) -> None:
        self._sighted: dict[str, dict[str, releases.Sighting]] = {}
        self._bad: dict[tuple[str, planes.Plane, str], dict[Name, str]] = {}

    def observe(self, event: events.Event, seen: records.PlanesObserved) -> None:
        """What was looked at for another reason, as a game day does, is no part of the ledger."""
        if seen.moment == releases.OBSERVED:
            found = releases.Observation(event.at, {one.plane: one for one in seen.revisions})
            sighted = self._sighted.setdefault(seen.service, {})
            sighted[f"look {len(sighted)}"] = found

    def record(self, release: releases.Release) -> None:
        """A release that was recorded before under the same id is replaced: it may have become known good since."""
        self._sighted.setdefault(release.service, {})[release.id] = release

    def mark(self, mark: records.RevisionMarked) -> None:
        bad = self._bad.setdefault((mark.service, mark.plane, mark.object), {})
        if not mark.good:
            bad[mark.name, mark.digest] = mark.why
            return
        for name, digest in list(bad):
            if name == mark.name and (digest == mark.digest or not mark.digest):
                del bad[name, digest]

    def sighted(self) -> dict[str, list[releases.Sighting]]:
        """By service, oldest first; of one instant (a clock that stands, a release right behind a look) as written."""
        return {name: sorted(found.values(), key=lambda each: each.at) for name, found in self._sighted.items()}

    def releases(self) -> dict[str, list[releases.Release]]:
        """By service, oldest first; a service of which nothing was released is left out."""
        found = {
            name: [one for one in sighted if isinstance(one, releases.Release)]
            for name, sighted in self.sighted().items()
        }
        return {name: recorded for name, recorded in found.items() if recorded}

    def bad(self) -> dict[tuple[str, planes.Plane, str], dict[Name, str]]:
        """By service, plane and object: why nothing may bring this revision back."""
        return {place: dict(found) for place, found in self._bad.items() if found}


def is_bad(revision: revisions.Revision, marks: Mapping[Name, str]) -> bool:
    """Whether a mark names it. A mark or a revision without a digest is compared by name alone: other bytes under the
    same name may be good, unknown ones are not."""
    return any(
        name == revision.name and (not digest or not revision.digest or digest == revision.digest)
        for name, digest in marks
    )


def last_good(
    recorded: Iterable[releases.Release], bad: Mapping[tuple[str, planes.Plane, str], Mapping[Name, str]]
) -> releases.Release | None:
    """The newest that was recorded known good and has no revision that is marked bad."""
    by_time = sorted(recorded, key=lambda each: each.at)
    for release in by_time[::-1]:  # of one instant the one written last
        if release.known_good and not any(
            is_bad(revision, bad.get((release.service, plane, revision.object), {}))
            for plane, revision in release.revisions.items()
        ):
            return release
    return None
