"""`--to` as a person types it, and what was live then."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ddr.domain import moments, planes, plans, revisions, signals
from ddr.errors import InputError, Missing, Refused
from ddr.lib import digest, timetext

_LIKE_A_TIME = re.compile(r"\d{4}-\d{2}-.*|.*\bago|.*\d:\d.*|(last )?(today|yesterday|\w+day)\b.*", re.IGNORECASE)
FORMS = "2026-11-21T14:05, `2h ago` or `yesterday 14:05` (UTC)"


@dataclass(frozen=True)
class Recalled:
    """What was live on every plane at a time, and who could not be asked."""

    planes: tuple[moments.Then, ...]
    silent: tuple[str, ...] = ()


Past = Callable[[str, datetime], Recalled]
"""What was live on a service at a time: what `ddr release show --at` says, so that both commands say the same."""


@dataclass(frozen=True)
class LiveThen:
    """One plane at the time that was typed."""

    then: moments.Then
    revision: revisions.Revision
    silent: tuple[str, ...] = ()


def parse(text: str, now: datetime) -> datetime | None:
    """The time `text` means; None where it is no time but a name. Raises InputError for a time that cannot be."""
    try:
        return timetext.parse_moment(text, now)
    except ValueError as problem:
        if not _LIKE_A_TIME.fullmatch(text.strip()):
            return None
        raise InputError(f"--to {problem}", hint=f"write it like {FORMS}") from problem


def live_at(past: Past, service: str, plane: planes.Plane, at: datetime) -> LiveThen:
    """What was live on the plane then.

    Missing where nothing is known of that time, Refused where it was one of two and nobody can say which.
    """
    recalled = past(service, at)
    found = next((then for then in recalled.planes if then.plane is plane), None)
    clock = timetext.format_clock(at)
    if found is None or found.revision is None:
        why = found.why if found else "nothing was ever recorded of it"
        raise Missing(
            f"{service}: nobody can say what was live on {plane} at {clock}: {why}",
            hint=f"`ddr release list {service}` shows what is known; or name the revision with --to",
        )
    if found.certainty is moments.Certainty.OPEN and found.other is not None:
        both = (found.revision.name, found.other.name)
        if both[0] != both[1]:
            raise Refused(
                f"{service}: {plane} was at {both[0]} or at {both[1]} at {clock}: {found.why}; nothing was touched",
                hint=f"name the one you mean: --to {both[0]}   or   --to {both[1]}",
            )
    return LiveThen(found, found.revision, recalled.silent)


def as_then(target: revisions.Revision, live: LiveThen) -> plans.Check:
    """Whether the revision is today what it was then, and how that is known."""
    was, then = live.revision, live.then
    name = "as it was then"
    if was.digest and target.digest and was.digest != target.digest:
        what = f"{target.name} had other bytes then: {digest.short(was.digest)}, now {digest.short(target.digest)}"
        return plans.Check(name, signals.State.BAD, f"{what} ({then.why})")
    sure = bool(was.digest) and then.certainty is not moments.Certainty.OPEN and not live.silent
    told = "; ".join([f"{target.name}: {then.why}", *(f"not asked: {one}" for one in live.silent)])
    return plans.Check(name, signals.State.OK if sure else signals.State.UNKNOWN, told)
