"""What `ddr status` says about backups: RPO and RTO held against what was promised, and the 3-2-1-1-0 score.

Pure. Times and measurements come in, verdicts go out; what is not known is `unknown`, and that is never ok.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ddr.domain import services
from ddr.lib import timetext

DRILLS_COUNTED = 20
"""So many of the newest drills: weekly ones are five months, enough for a p95 and still today's data."""

STALE_DRILL = timedelta(days=35)
"""A monthly drill may be some days late; older ones say little about today's data and today's servers. Our choice."""

_NEEDED_COPIES, _NEEDED_MEDIA, _NEEDED_OFF_SITE, _NEEDED_IMMUTABLE = 3, 2, 1, 1


class Verdict(StrEnum):
    OK = "ok"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Drill:
    """One rehearsal that ended. `took_s` is from the decision to a server that answers, measured."""

    at: datetime
    took_s: float
    is_passed: bool


@dataclass(frozen=True)
class Repository:
    """Facts of one place that holds a copy; None is not known.

    `medium` is what it lies on (`local disk`, `s3 eu-west-1`): equal words fail together. `newest_at` is when its
    newest snapshot was taken. `locked_until`: until then nobody can delete that snapshot, not even with our keys; in
    mode governance somebody can who has a right of his own.
    """

    name: str
    medium: str
    is_off_site: bool | None
    newest_at: datetime | None
    locked_until: datetime | None = None
    lock_mode: str = ""


@dataclass(frozen=True)
class Point:
    """One promise. `found` and `wanted` in seconds or as a count; None where nothing was measured."""

    name: str
    verdict: Verdict
    found: float | None
    wanted: float
    why: str


@dataclass(frozen=True)
class Readiness:
    """`rto_p95_s` is by nearest rank: the slowest of all, below 20 drills. `score` counts the points that are ok."""

    rpo: Mapping[str, Point]
    rto: Mapping[str, Point]
    rto_p50_s: float | None
    rto_p95_s: float | None
    drills: int
    points: tuple[Point, ...]

    @property
    def score(self) -> int:
        return sum(point.verdict is Verdict.OK for point in self.points)

    @property
    def missing(self) -> tuple[str, ...]:
        """What keeps the score from being whole, one line each."""
        return tuple(f"{point.name}: {point.why}" for point in self.points if point.verdict is not Verdict.OK)

    @property
    def is_ok(self) -> bool:
        every = (*self.rpo.values(), *self.rto.values(), *self.points)
        return all(point.verdict is Verdict.OK for point in every)


def judge(
    promised: Mapping[str, services.Objectives],
    now: datetime,
    verified_at: datetime | None,
    drills: Sequence[Drill],
    repositories: Sequence[Repository],
) -> Readiness:
    """`verified_at` is when the newest verified snapshot was taken (not when it was verified): the age of what can be
    had back. `drills` in any order. A failed drill that is the newest makes the RTO bad: it says that it cannot be
    done today, whatever earlier ones took. A time after `now` is unknown, as then a clock is wrong."""
    passed = sorted((one for one in drills if one.is_passed), key=lambda one: one.at)[-DRILLS_COUNTED:]
    times_s = [one.took_s for one in passed]
    newest = max(drills, key=lambda one: one.at, default=None)
    return Readiness(
        rpo={name: _rpo(name, of.rpo, now, verified_at) for name, of in promised.items()},
        rto={name: _rto(name, of.rto, now, newest, times_s) for name, of in promised.items()},
        rto_p50_s=percentile(times_s, 0.5),
        rto_p95_s=percentile(times_s, 0.95),
        drills=len(times_s),
        points=_points(promised, now, verified_at, newest, repositories),
    )


def percentile(values: Sequence[float], share: float) -> float | None:
    """Nearest rank: the smallest value that at least this share is not above. None without values."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else None


def _rpo(name: str, wanted: timedelta, now: datetime, verified_at: datetime | None) -> Point:
    wanted_s = wanted.total_seconds()
    if verified_at is None:
        return Point(name, Verdict.UNKNOWN, None, wanted_s, "no snapshot was ever verified")
    age = now - verified_at
    if age < timedelta(0):
        return Point(name, Verdict.UNKNOWN, None, wanted_s, "the newest verified snapshot is dated in the future")
    said = f"the newest verified snapshot is {timetext.format_duration(age)} old"
    return Point(name, Verdict.OK if age <= wanted else Verdict.BAD, age.total_seconds(), wanted_s, said)


def _rto(name: str, wanted: timedelta, now: datetime, newest: Drill | None, times_s: Sequence[float]) -> Point:
    wanted_s, p95_s = wanted.total_seconds(), percentile(times_s, 0.95)
    if newest is None:
        return Point(name, Verdict.UNKNOWN, None, wanted_s, "there was no drill; an RTO is measured, not estimated")
    if not newest.is_passed:
        return Point(name, Verdict.BAD, p95_s, wanted_s, f"the newest drill, of {_clock(newest.at)}, failed")
    if not timedelta(0) <= now - newest.at <= STALE_DRILL:
        return Point(name, Verdict.UNKNOWN, p95_s, wanted_s, f"the newest drill is of {_clock(newest.at)}")
    assert p95_s is not None
    said = f"p95 of {len(times_s)} drill{'s' if len(times_s) != 1 else ''} is {timetext.format_duration(p95_s)}"
    return Point(name, Verdict.OK if p95_s <= wanted_s else Verdict.BAD, p95_s, wanted_s, said)


def _points(
    promised: Mapping[str, services.Objectives],
    now: datetime,
    verified_at: datetime | None,
    newest: Drill | None,
    repositories: Sequence[Repository],
) -> tuple[Point, ...]:
    """3 copies, 2 media, 1 off site, 1 immutable, 0 errors.

    The live data are the first copy and a medium of their own. A repository counts while its newest snapshot is not
    older than the strictest RPO (without one: a day).
    """
    fresh_within = min((of.rpo for of in promised.values()), default=timedelta(days=1))
    unknown = [one.name for one in repositories if one.newest_at is None]
    fresh = [one for one in repositories if one.newest_at and timedelta(0) <= now - one.newest_at <= fresh_within]
    stale = [one.name for one in repositories if one not in fresh and one.newest_at is not None]
    aside = [f"{', '.join(stale)} too old or dated in the future"] if stale else []
    aside += [f"nothing known of {', '.join(unknown)}"] if unknown else []
    rest = f" ({'; '.join(aside)})" if aside else ""
    media = sorted({one.medium for one in fresh if one.medium})
    sites: dict[str, list[str]] = {}
    for one in fresh:
        if one.is_off_site:
            sites.setdefault(one.medium, []).append(one.name)
    off_site = [" and ".join(names) + (" (one site)" if len(names) > 1 else "") for names in sites.values()]
    locked = [_locked(one, now) for one in fresh if one.locked_until is not None and one.locked_until > now]
    unsure = bool(unknown)
    unsure_off = unsure or any(one.is_off_site is None for one in fresh)
    return (
        _count("copies", 1 + len(fresh), _NEEDED_COPIES, f"the live data and {_named(fresh)}{rest}", unsure=unsure),
        _count("media", 1 + len(media), _NEEDED_MEDIA, f"live, {', '.join(media) or 'no other'}{rest}", unsure=unsure),
        _count(
            "off site", len(off_site), _NEEDED_OFF_SITE, f"{', '.join(off_site) or 'none'}{rest}", unsure=unsure_off
        ),
        _count(
            "immutable", len(locked), _NEEDED_IMMUTABLE, f"{', '.join(locked) or 'none is locked'}{rest}", unsure=unsure
        ),
        _errors(now, verified_at, newest),
    )


def _locked(of: Repository, now: datetime) -> str:
    assert of.locked_until is not None
    left = f"{of.lock_mode}, {(of.locked_until - now).days} days left" if of.lock_mode else ""
    return f"{of.name} ({left})" if left else of.name


def _named(repositories: Sequence[Repository]) -> str:
    return ", ".join(one.name for one in repositories) or "no repository"


def _count(name: str, found: int, wanted: int, why: str, *, unsure: bool) -> Point:
    verdict = Verdict.OK if found >= wanted else Verdict.UNKNOWN if unsure else Verdict.BAD
    return Point(name, verdict, found, wanted, f"{found} of {wanted}: {why}")


def _errors(now: datetime, verified_at: datetime | None, newest: Drill | None) -> Point:
    if newest is not None and not newest.is_passed:
        return Point("errors", Verdict.BAD, 1, 0, f"the newest drill, of {_clock(newest.at)}, failed")
    if verified_at is None or newest is None:
        lacking = "no snapshot was ever verified" if verified_at is None else "there was no drill"
        return Point("errors", Verdict.UNKNOWN, None, 0, lacking)
    if verified_at > now or not timedelta(0) <= now - newest.at <= STALE_DRILL:
        return Point("errors", Verdict.UNKNOWN, None, 0, f"the newest drill is of {_clock(newest.at)}")
    return Point("errors", Verdict.OK, 0, 0, f"verified, and restored in the drill of {_clock(newest.at)}")


def _clock(at: datetime) -> str:
    return timetext.format_clock(at)
