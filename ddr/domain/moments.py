"""What a service had live at a time in the past, and how anybody can know."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ddr.domain import changes, planes, releases, revisions, timelines
from ddr.lib import timetext


class Certainty(StrEnum):
    """`seen`: it was looked at at that very time. `told`: a source says when it was moved there. `inferred`: it was
    seen before, and nothing speaks against it. `open`: it was another one before and after, and nobody knows which
    of the two was live. `unknown`: nothing is recorded from before."""

    SEEN = "seen"
    TOLD = "told"
    INFERRED = "inferred"
    OPEN = "open"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Then:
    """One plane at that time. `other` is the second possibility where it is `open`."""

    plane: planes.Plane
    certainty: Certainty
    why: str
    revision: revisions.Revision | None = None
    other: revisions.Revision | None = None


def at(when: datetime, sighted: Sequence[releases.Sighting], told: Sequence[changes.Change]) -> tuple[Then, ...]:
    """Every plane that was ever seen. `sighted` and `told` are oldest first, from before `when` to now. Pure."""
    named = {plane for sighting in sighted for plane in sighting.revisions}
    return tuple(_plane(plane, when, sighted, told) for plane in planes.Plane if plane in named)


@dataclass(frozen=True)
class _Seen:
    at: datetime
    revision: revisions.Revision


def _plane(
    plane: planes.Plane, when: datetime, sighted: Sequence[releases.Sighting], told: Sequence[changes.Change]
) -> Then:
    seen = [_Seen(one.at, one.revisions[plane]) for one in sighted if plane in one.revisions]
    before = next((one for one in reversed(seen) if one.at <= when), None)
    after = next((one for one in seen if one.at > when), None)
    since = before.at if before else None
    moves = [one for one in told if one.plane is plane and _is_move(one) and (since is None or one.at > since)]
    made = [one for one in moves if one.at <= when]
    coming = next((one for one in moves if one.at > when and (after is None or one.at <= after.at)), None)
    if before is not None and before.at == when:
        return Then(plane, Certainty.SEEN, "looked at just then", before.revision)
    if made:
        return _moved(plane, when, made[-1], seen, after, coming)
    if before is None:
        return _unseen(plane, seen, coming)
    return _between(plane, when, before, after, coming)


def _moved(
    plane: planes.Plane,
    when: datetime,
    move: changes.Change,
    seen: Sequence[_Seen],
    after: _Seen | None,
    coming: changes.Change | None,
) -> Then:
    """The last thing that is told of it from before that time is a move."""
    found = _named(plane, move, move.after, seen)
    if not move.recorded:
        why = f"first seen {_clock(move.at)}; nobody recorded the move"
        certainty = Certainty.INFERRED
    else:
        who = move.actor if move.actor != "unknown" else "nobody knows whom"
        why = f"moved there {_clock(move.at)} by {who} ({move.source})"
        certainty = Certainty.TOLD
    is_told = coming is not None and (coming.recorded or (coming.not_before is not None and coming.not_before > when))
    if after is not None and not is_told and not _fits(found, after.revision):
        why += f"; but it was {_short(after.revision, found)} when it was next looked at, {_clock(after.at)}"
        return Then(plane, Certainty.OPEN, why, found, after.revision)
    return Then(plane, certainty, why, found)


def _is_move(change: changes.Change) -> bool:
    return not change.layer and not change.arrived


def _unseen(plane: planes.Plane, seen: Sequence[_Seen], coming: changes.Change | None) -> Then:
    """Nothing is told from before that time; the next move may say where it came from."""
    if coming is not None and coming.before and coming.recorded:
        why = f"the move of {_clock(coming.at)} ({coming.source}) left it; nobody had looked before"
        return Then(plane, Certainty.TOLD, why, _named(plane, coming, coming.before, seen))
    first = seen[0]
    why = f"first seen {_clock(first.at)}, as {first.revision.name}; nothing is recorded from before"
    return Then(plane, Certainty.UNKNOWN, why)


def _between(
    plane: planes.Plane, when: datetime, before: _Seen, after: _Seen | None, coming: changes.Change | None
) -> Then:
    """It was seen before; no move is told since."""
    last = f"seen {_clock(before.at)}"
    if after is None:
        return Then(plane, Certainty.INFERRED, f"{last}, and nobody has looked since", before.revision)
    if before.revision.is_same(after.revision) and coming is None:
        why = f"{last} and again {_clock(after.at)}, the same; no move is told in between"
        return Then(plane, Certainty.INFERRED, why, before.revision)
    if coming is not None and coming.recorded and coming.source != "ledger":
        why = f"{last}; moved away {_clock(coming.at)} by {coming.actor} ({coming.source})"
        return Then(plane, Certainty.TOLD, why, before.revision)
    not_before = coming.not_before if coming is not None else before.at
    if not_before is not None and when <= not_before:
        why = f"{last}; it was moved later, between {_clock(not_before)} and {_clock(after.at)}"
        return Then(plane, Certainty.INFERRED, why, before.revision)
    seen_at = coming.at if coming is not None else after.at
    why = f"{last}, and {_short(after.revision, before.revision)} from {_clock(seen_at)}; nobody recorded when it moved"
    return Then(plane, Certainty.OPEN, why, before.revision, after.revision)


def _named(plane: planes.Plane, move: changes.Change, name: str, seen: Sequence[_Seen]) -> revisions.Revision:
    """The revision a move names, with its bytes where a sighting knows them. Overwritten bytes are named with theirs:
    `2 (0a1b2c3d4e5f)`."""
    for one in seen:
        if name in (one.revision.name, timelines.with_digest(one.revision)):
            return one.revision
    return revisions.Revision(plane, move.object, name)


def _fits(found: revisions.Revision, seen: revisions.Revision) -> bool:
    return found.is_same(dataclasses.replace(seen, object=found.object))


def _short(one: revisions.Revision, beside: revisions.Revision | None) -> str:
    return one.name if beside is None or beside.name != one.name else timelines.with_digest(one)


def _clock(at: datetime) -> str:
    return timetext.format_clock(at)
