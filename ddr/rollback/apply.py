"""Carrying a plan out: it only obeys. Every switch is compare-and-set, read back, and recorded as a change."""

from __future__ import annotations

from typing import Protocol, TypeVar, cast

from ddr.domain import changes, planes, plans, records, revisions
from ddr.errors import Conflict, DdrError, Refused, Unsupported
from ddr.lib import digest
from ddr.ports import connector
from ddr.ports import platform as platforms

Plane = TypeVar("Plane", bound=connector.Observable)


def apply(platform: platforms.Platform, plan: plans.Plan, why: str = "rollback") -> tuple[revisions.Revision, ...]:
    """Switch every plane of the plan; what is live then, in the order of the moves. Repeatable.

    Raises Refused when a check of the plan is BAD, Conflict when the world is not as planned. When a later move
    fails, the earlier ones are switched back, as far as nobody else has moved them since.
    """
    if plan.refusals:
        raise Refused(f"{plan.service}: " + "; ".join(check.detail for check in plan.refusals))
    done: list[plans.Move] = []
    after = []
    for move in plan.moves:
        try:
            after.append(switch(platform, plan.service, move, why))
        except DdrError:
            for earlier in reversed(done):
                switch(platform, plan.service, earlier.reversed(), f"taken back: {why}")
            raise
        done.append(move)
    return tuple(after)


def switch(platform: platforms.Platform, service: str, move: plans.Move, why: str) -> revisions.Revision:
    """One move. The target's bytes are read again first; the change is recorded when something was changed."""
    acting = switchable(platform, service, move.plane)
    before = live(acting)
    if before.is_same(move.target):
        return before
    target = acting.find(move.target.name)
    if not target.is_same(move.target):
        raise Conflict(
            f"{service}: {move.plane} {target.name} no longer has the bytes that were planned",
            expected=digest.short(move.target.digest),
            found=digest.short(target.digest),
            hint="plan again",
        )
    return set_(platform, service, move, why, target)


def set_(
    platform: platforms.Platform, service: str, move: plans.Move, why: str, target: revisions.Revision | None = None
) -> revisions.Revision:
    """The compare-and-set alone, read back and recorded. Raises Conflict when the world is not as the move says."""
    acting = switchable(platform, service, move.plane)
    after = acting.switch(target or move.target, move.live)
    if not after.is_same(move.target):
        raise Conflict(
            f"{service}: after the switch the {move.plane} plane shows {after}, not {move.target}",
            expected=str(move.target),
            found=str(after),
            hint="someone moves it at the same time; freeze promotions and look who",
        )
    change = changes.Change(
        plane=move.plane,
        object=move.target.object,
        at=platform.clock.now(),
        before=move.live.name,
        after=move.target.name,
        actor=platform.actor,
        summary=why,
        source="ddr",
    )
    platform.journal.append(records.ChangeRecorded(service, change))
    return after


def live(acting: connector.Observable) -> revisions.Revision:
    """What is live; where that is damaged its name alone, because one can still go away from it."""
    return acting.pointed() if isinstance(acting, connector.Pointing) else acting.revision()


def again(acting: Plane) -> Plane:
    """The plane for a second look at what was read a moment ago. Whatever is written relies on a strict one."""
    return cast(Plane, acting.recalled()) if isinstance(acting, connector.Recalling) else acting


class Acting(connector.Observable, connector.Switchable, Protocol):
    """A plane that can be looked at and switched."""


def switchable(platform: platforms.Platform, service: str, plane: planes.Plane) -> Acting:
    """Raises Unsupported when the plane's connector can only look."""
    acting = platform.plane(service, plane)
    if not isinstance(acting, connector.Switchable):
        raise Unsupported(f"{service}: the {plane} plane can be observed, not switched")
    return cast(Acting, acting)
