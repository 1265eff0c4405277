"""`--to` as a person types it, and what the ledger says was live then. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from ddr.domain import planes
from ddr.errors import InputError, Missing
from ddr.journal import views
from ddr.lib import timetext

_DAYS = {"today": 0, "yesterday": 1}
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?")
_CLOCK = re.compile(r"(today|yesterday)(?:\s+|\s*at\s*)(\d{1,2}):(\d{2})")
_AGO = re.compile(r"(.+?)\s*ago")
FORMS = "2026-11-21T14:05Z, `2h ago` or `yesterday 14:05` (UTC)"


@dataclass(frozen=True)
class Then:
    """What was live on a plane, and which record says so."""

    name: str
    digest: str
    source: str


def parse(text: str, now: datetime) -> datetime | None:
    """The time `text` means; None where it is no time but a name. Raises InputError for a time that cannot be."""
    plain = text.strip().lower()
    try:
        if _ISO.fullmatch(text.strip()):
            at = timetext.parse_time(text)
        elif ago := _AGO.fullmatch(plain):
            at = now - timetext.parse_duration(ago[1])
        elif clock := _CLOCK.fullmatch(plain):
            day = now - timedelta(days=_DAYS[clock[1]])
            at = day.replace(hour=int(clock[2]), minute=int(clock[3]), second=0, microsecond=0)
        elif plain in _DAYS:
            raise InputError(f"--to {text!r}: at what time?", hint=f"write it like {plain} 14:05 (UTC)")
        else:
            return None
    except (ValueError, OverflowError) as problem:
        raise InputError(f"--to {text!r} is no time: {problem}", hint=f"write it like {FORMS}") from problem
    if at > now:
        raise InputError(
            f"--to {text!r} is {timetext.format_clock(at)}, and it is {timetext.format_clock(now)}",
            hint="name a time that has passed; times without a zone are UTC",
        )
    return at


def live_at(board: views.Board, service: str, plane: planes.Plane, at: datetime) -> Then:
    """What the newest release or recorded change of the plane until `at` says. Missing where none is that old."""
    told = [
        (release.at, Then(found.name, found.digest, f"release {release.id}"))
        for release in board.releases.get(service, ())
        for found in [release.revisions.get(plane)]
        if found is not None
    ]
    oldest = min((when for when, _ in told), default=None)
    told += [
        (change.at, Then(change.after, "", f"a change that {change.actor} recorded"))
        for change in board.changes.get(service, ())
        if change.plane is plane and change.recorded and change.after
    ]
    before = [(when, then) for when, then in told if when <= at]
    if not before:
        since = f"the oldest record is of {timetext.format_clock(oldest)}" if oldest else "nothing was ever recorded"
        raise Missing(
            f"{service}: nobody recorded what was live on {plane} at {timetext.format_clock(at)}; {since}",
            hint=f"`ddr release list {service}` shows what is known; or name the revision with --to",
        )
    when, then = max(before, key=lambda entry: entry[0])
    if not then.digest:  # a change names no bytes; a release that saw the same name does
        same = [known.digest for seen, known in told if known.name == then.name and known.digest and seen <= at]
        then = Then(then.name, same[-1] if same else "", then.source)
    return Then(then.name, then.digest, f"{then.source} of {timetext.format_clock(when)}")
