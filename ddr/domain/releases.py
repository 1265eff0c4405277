"""The revisions, one per plane, that served together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ddr.domain import planes, revisions


@dataclass(frozen=True)
class Release:
    """`known_good` says a person or a passed verification vouched for it; `at` is when it was seen live."""

    id: str
    service: str
    at: datetime
    revisions: Mapping[planes.Plane, revisions.Revision]
    known_good: bool = False
    note: str = ""


def overwritten(release: Release, now: revisions.Revision) -> revisions.Revision | None:
    """What the release recorded under the name of `now`, where `now` has other bytes; None where it has not."""
    was = release.revisions.get(now.plane)
    return was if was is not None and was.name == now.name and not was.is_same(now) else None
