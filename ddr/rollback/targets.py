"""Which revision to go back to: the newest good one whose bytes are still the ones that were good. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from ddr.domain import planes, plans, releases, revisions, signals
from ddr.lib import digest, timetext

Found = revisions.Revision | str | None
"""A revision as it is now, the reason why it cannot be read, or None when it is gone."""

Blocked = Mapping[tuple[str, str], str]
Choice = tuple[revisions.Revision | None, tuple[plans.Check, ...]]


def last_good(
    plane: planes.Plane,
    live: revisions.Revision,
    good: Sequence[releases.Release],
    found: Mapping[str, Found],
    blocked: Blocked,
) -> Choice:
    """The newest good release's revision that is not live, not blocked and intact; what was passed over is said.

    `good` are the known-good releases, newest first.
    """
    passed: list[plans.Check] = []
    tried: set[tuple[str, str]] = set()
    for release in good:
        recorded = release.revisions.get(plane)
        if recorded is None or (recorded.name, recorded.digest) in tried:
            continue
        tried.add((recorded.name, recorded.digest))
        why = _objection(recorded, live, found.get(recorded.name), blocked)
        if not why:
            now = found[recorded.name]
            assert isinstance(now, revisions.Revision)
            when = f"known good since {timetext.format_clock(first_good(plane, recorded, good))}"
            target = plans.Check("target", signals.State.OK, f"{recorded.object} {recorded.name}, {when}, bytes intact")
            return now, (*passed, _unless_unknown(recorded, target))
        passed.append(plans.Check("passed over", signals.State.UNKNOWN, f"{recorded.object} {recorded.name}: {why}"))
    return None, tuple(passed)


def recorded(
    plane: planes.Plane, live: revisions.Revision, good: Sequence[releases.Release]
) -> revisions.Revision | None:
    """`live` as a known-good release has it, None when none has it with these bytes."""
    found = (release.revisions[plane] for release in good if plane in release.revisions)
    return next((revision for revision in found if revision.is_same(live)), None)


def first_good(plane: planes.Plane, recorded: revisions.Revision, good: Sequence[releases.Release]) -> datetime:
    """When the oldest of the known-good releases with it was seen live."""
    return min(
        release.at for release in good if plane in release.revisions and release.revisions[plane].is_same(recorded)
    )


def _unless_unknown(recorded: revisions.Revision, check: plans.Check) -> plans.Check:
    if recorded.digest:
        return check
    what = f"{recorded.object} {recorded.name}: its bytes were never recorded, so nobody can say they are the same"
    return plans.Check("target", signals.State.UNKNOWN, what)


def _objection(recorded: revisions.Revision, live: revisions.Revision, now: Found, blocked: Blocked) -> str:
    """Why a good revision cannot be gone back to, '' when it can."""
    if recorded.is_same(live):
        return "it is live now"
    if now is None:
        return "it is no longer there"
    if isinstance(now, str):
        return f"it cannot be read: {now}"
    if recorded.digest and now.digest != recorded.digest:
        return (
            f"its bytes were changed in place: recorded {digest.short(recorded.digest)}, "
            f"now {digest.short(now.digest) or 'unknown'}"
        )
    return why_blocked(now, blocked)


def why_blocked(now: revisions.Revision, blocked: Blocked) -> str:
    """Why nobody is to go to a revision, '' when nothing is against it."""
    marked = blocked.get((now.name, now.digest), "") or blocked.get((now.name, ""), "")  # damaged: by its name alone
    why = marked or now.facts.get(revisions.BLOCKED, "")
    return f"it is blocked: {why}" if why else ""


def named(
    plane: planes.Plane,
    live: revisions.Revision,
    name: str,
    good: Sequence[releases.Release],
    found: Mapping[str, Found],
    blocked: Blocked,
) -> Choice:
    """The revision a person named. It is held against what was recorded of it, where something was."""
    now = found.get(name)
    if now is None:
        gone = plans.Check("target", signals.State.BAD, f"there is no {live.object} {name}")
        return None, (gone,)
    if isinstance(now, str):
        return None, (plans.Check("target", signals.State.BAD, f"{live.object} {name} cannot be read: {now}"),)
    records = [release.revisions[plane] for release in good if plane in release.revisions]
    same_name = [recorded for recorded in records if recorded.name == name and recorded.digest]
    block = why_blocked(now, blocked)
    if block:
        check = plans.Check("target", signals.State.BAD, f"{now.object} {name}: {block}")
    elif not same_name:
        what = f"{now.object} {name} was never recorded as known good; you vouch for it"
        check = plans.Check("target", signals.State.UNKNOWN, what)
    elif all(recorded.digest != now.digest for recorded in same_name):
        what = (
            f"{now.object} {name}: its bytes were changed in place: recorded {digest.short(same_name[0].digest)}, "
            f"now {digest.short(now.digest) or 'unknown'}"
        )
        check = plans.Check("target", signals.State.BAD, what)
    else:
        check = plans.Check("target", signals.State.OK, f"{now.object} {name}, recorded as known good, bytes intact")
    return now, (check,)
