"""Saying of a release that it is good, or that nothing of it is to come back."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from ddr.domain import planes, records, releases, revisions
from ddr.errors import DdrError, InputError, Missing
from ddr.journal import views
from ddr.ports import connector
from ddr.ports import platform as platforms
from ddr.release import ledger


@dataclass(frozen=True)
class Marked:
    """`marked` are the revisions whose block was set or lifted; `troubles` say where a mark could not be put into the
    plane's own system. The journal has them all."""

    release: releases.Release
    marked: tuple[revisions.Revision, ...]
    troubles: tuple[str, ...] = ()


def good(platform: platforms.Platform, service: str, release: str, why: str = "") -> Marked:
    """Vouch for it; what of it was blocked may be used again. Repeatable. UnknownName; Unavailable, Refused where a
    plane of it was never read: nothing could go back to what is missing."""
    board = ledger.board(platform)
    found = ledger.find(platform, service, release, board)
    lacking = [plane for plane in platform.service(service).planes if plane not in found.revisions]
    if lacking:
        raise InputError(
            f"{found.id} is not vouched for: {', '.join(lacking)} could not be read when it was recorded",
            hint=f"when all can be read: ddr release record {service} --known-good",
        )
    lifted, troubles = [], []
    for one in found.revisions.values():
        if not board.blocked_why(service, one):
            continue
        platform.journal.append(_mark(service, one, good=True, why=why or f"{found.id} marked good"))
        lifted.append(one)
        troubles += _outside(platform, service, one, "")
    if not found.known_good:
        note = "; ".join(part for part in (found.note, f"vouched for by {platform.actor}", why) if part)
        found = dataclasses.replace(found, known_good=True, note=note)
        platform.journal.append(records.ReleaseRecorded(found))
    return Marked(found, tuple(lifted), tuple(troubles))


def bad(
    platform: platforms.Platform, service: str, release: str, which: Sequence[planes.Plane] = (), why: str = ""
) -> Marked:
    """Block its revisions on `which` planes: nothing goes back there and nothing promotes them. Repeatable.

    Without `which`: the planes that differ from the newest other release that is known good, because what both share
    is what one goes back to. The journal comes first, then a mark in the plane's own system. UnknownName; InputError
    where nobody can tell which plane is meant.
    """
    board = ledger.board(platform)
    found = ledger.find(platform, service, release, board)
    chosen = _chosen(found, which) if which else _suspects(board, found)
    marked, troubles = [], []
    for one in chosen:
        reason = why or f"{found.id} marked bad by {platform.actor}"
        if not board.blocked_why(service, one):
            platform.journal.append(_mark(service, one, good=False, why=reason))
        marked.append(one)
        troubles += _outside(platform, service, one, reason)
    if found.known_good:
        found = ledger.withdraw(platform, service, found.id, why or "marked bad")
    return Marked(found, tuple(marked), tuple(troubles))


@dataclass(frozen=True)
class Loss:
    """What marking would take: `blocked` are the revisions, `planes` have no known-good way back any more, `still` are
    commands for what is left."""

    release: releases.Release
    planes: tuple[planes.Plane, ...]
    blocked: tuple[revisions.Revision, ...]
    still: tuple[str, ...]


def last_way(
    platform: platforms.Platform, service: str, release: str, which: Sequence[planes.Plane] | None
) -> Loss | None:
    """What would be lost where some plane had a known-good way back before and has none after: that is asked first.

    `which` as for `bad`; None: the release is withdrawn and nothing is blocked. Only looks. As `bad` raises.
    """
    board = ledger.board(platform)
    found = ledger.find(platform, service, release, board)
    chosen: list[revisions.Revision] = []
    if which is not None:
        chosen = _chosen(found, which) if which else _suspects(board, found)
    recorded = board.releases.get(service, [])
    good = [one for one in recorded if one.known_good]
    left = [one for one in good if one.id != found.id]
    planes_ = found.revisions if found.known_good else {one.plane: one for one in chosen}
    had = [plane for plane in planes_ if _ways(board, service, good, plane)]
    lost = [plane for plane in had if not _ways(board, service, left, plane, chosen)]
    if not lost:
        return None
    still = []
    for plane in [one.plane for one in chosen] or [one for one in lost if one in planes.ROLLED_BACK]:
        others = _ways(board, service, recorded, plane, [*chosen, found.revisions[plane]])
        still += [f"ddr rollback {plane} {service} --to {name}   # recorded, nobody vouches for it" for name in others]
    return Loss(
        found,
        tuple(lost),
        tuple(chosen),
        (*still[-3:], f"ddr contain {service}   # stops the harm, and is no way back"),
    )


def _ways(
    board: views.Board,
    service: str,
    among: Sequence[releases.Release],
    plane: planes.Plane,
    gone: Sequence[revisions.Revision] = (),
) -> list[str]:
    """The names of this plane's revisions in these releases that are not blocked and not to be."""
    ones = [one.revisions[plane] for one in among if plane in one.revisions]
    free = [one for one in ones if not any(one.is_same(other) for other in gone)]
    return list(dict.fromkeys(one.name for one in free if not board.blocked_why(service, one)))


def _chosen(found: releases.Release, which: Sequence[planes.Plane]) -> list[revisions.Revision]:
    for plane in which:
        if plane not in found.revisions:
            have = ", ".join(found.revisions)
            raise InputError(f"{found.id} has no {plane} plane", hint=f"it has: {have}")
    return [found.revisions[plane] for plane in which]


def _suspects(board: views.Board, found: releases.Release) -> list[revisions.Revision]:
    others = [one for one in board.releases.get(found.service, []) if one.known_good and one.id != found.id]
    if not others:
        raise InputError(
            f"which plane of {found.id} is bad? No other release is known good to hold it against",
            hint=f"name it: --plane {' | --plane '.join(found.revisions)}",
        )
    differing = [
        one
        for plane, one in found.revisions.items()
        if plane not in others[-1].revisions or not one.is_same(others[-1].revisions[plane])
    ]
    if not differing:
        raise InputError(
            f"which plane of {found.id} is bad? All are those of {others[-1].id}, which is known good",
            hint="name it with --plane; that blocks it for every release that has it",
        )
    return differing


def _mark(service: str, one: revisions.Revision, *, good: bool, why: str) -> records.RevisionMarked:
    return records.RevisionMarked(service, one.plane, one.object, one.name, one.digest, good, why)


def _outside(platform: platforms.Platform, service: str, one: revisions.Revision, why: str) -> list[str]:
    """Put the mark on (or take it off, without `why`) in the plane's own system, for everyone else who promotes.

    A mark there names no bytes: where the name has other bytes now than the release had, it is left alone.
    """
    try:
        acting = platform.plane(service, one.plane)
        if not isinstance(acting, connector.Markable):
            return []
        if isinstance(acting, connector.Switchable) and not acting.find(one.name).is_same(one):
            return [f"{one.plane} {one.name} has other bytes now than the release had: no mark on it in its own system"]
        if why:
            acting.block(one.name, why)
        else:
            acting.unblock(one.name)
    except Missing:
        return []  # what is gone is promoted by nobody
    except DdrError as problem:
        return [f"{one.plane} {one.name}: no mark in its own system: {problem.message}"]
    return []
