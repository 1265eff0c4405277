"""Live and target to a plan. `look` asks the systems, `decide` is pure and says everything that speaks against it.

A refusal is a check that is BAD. A check that is UNKNOWN is something to know before saying yes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ddr.domain import planes, plans, releases, revisions, signals
from ddr.errors import DdrError, Missing
from ddr.journal import views
from ddr.lib import digest, timetext
from ddr.ports import connector
from ddr.ports import platform as platforms
from ddr.rollback import apply, fits, targets

LAST_GOOD = "last-good"


@dataclass(frozen=True)
class Sight:
    """What was seen of a service while planning to switch one plane.

    `found` has, for each name that a known-good release gives the plane, the revision as it is now (None when it is
    gone, a text when it cannot be read). `frozen` is why promotions are frozen, '' when they are not, None when the
    plane cannot say.
    """

    service: str
    plane: planes.Plane
    live: Mapping[planes.Plane, revisions.Revision]
    good: tuple[releases.Release, ...]
    found: Mapping[str, targets.Found]
    blocked: Mapping[tuple[str, str], str] = field(default_factory=dict)
    unread: Mapping[planes.Plane, str] = field(default_factory=dict)
    can_switch: bool = True
    frozen: str | None = None


def plan(platform: platforms.Platform, service: str, plane: planes.Plane, to: str = LAST_GOOD) -> plans.Plan:
    """The change that takes `plane` of `service` to `to`: a revision's name, or the newest good one that still stands.

    Touches nothing. Raises Missing when there is nothing to go back to, Unsupported when the service has no such
    plane, Unavailable or Damaged when what is live cannot be read.
    """
    return decide(look(platform, service, plane, to), to)


def look(platform: platforms.Platform, service: str, plane: planes.Plane, to: str) -> Sight:
    """Every question the decision needs answered."""
    board = views.fold(platform.journal.events())
    acting = platform.plane(service, plane)
    live = {plane: apply.live(acting)}
    unread = {}
    for other in platform.service(service).planes:
        if other is not plane:
            try:
                live[other] = platform.plane(service, other).revision()
            except DdrError as problem:
                unread[other] = problem.message
    good = tuple(release for release in reversed(board.releases.get(service, [])) if release.known_good)
    names = {release.revisions[plane].name for release in good if plane in release.revisions}
    wanted = names if to == LAST_GOOD else names | {to}
    return Sight(
        service=service,
        plane=plane,
        live=live,
        good=good,
        found={name: _find(acting, name) for name in sorted(wanted)},
        blocked=board.blocked(service, plane),
        unread=unread,
        can_switch=isinstance(acting, connector.Switchable),
        frozen=acting.frozen() if isinstance(acting, connector.Freezable) else None,
    )


def _find(acting: connector.Observable, name: str) -> targets.Found:
    if not isinstance(acting, connector.Switchable):
        return None
    try:
        return acting.find(name)
    except Missing:
        return None
    except DdrError as problem:
        return problem.message


def decide(seen: Sight, to: str) -> plans.Plan:
    """Pure. Raises Missing when there is no target at all."""
    live = seen.live[seen.plane]
    if to == LAST_GOOD:
        target, checks = targets.last_good(seen.plane, live, seen.good, seen.found, seen.blocked)
    else:
        target, checks = targets.named(seen.plane, live, to, seen.good, seen.found, seen.blocked)
    if target is None:
        why = "; ".join(check.detail for check in checks) or "no release is recorded as known good"
        if to != LAST_GOOD:
            raise Missing(f"{seen.service}: {why}", hint=f"`ddr release list {seen.service}` shows what was live")
        raise Missing(
            f"{seen.service}: there is nothing good to take the {seen.plane} plane back to: {why}",
            hint="name a revision that you vouch for",
        )
    move = plans.Move(seen.plane, live, target)
    return plans.Plan(
        seen.service,
        (move,),
        (
            plans.Check("live", signals.State.OK, _describe(live)),
            *checks,
            *_switching(seen, move),
            *fits.checks(seen.plane, {**seen.live, seen.plane: target}, seen.live, seen.good, seen.unread),
            _reverters(seen),
        ),
    )


def is_there(seen: Sight, to: str) -> str:
    """Why the plane needs no switch to `to`, '' when it does: it is there, with the bytes that were recorded. Pure.

    A live revision that was good once and is blocked now is not where anybody wants to be.
    """
    live = seen.live[seen.plane]
    if to != LAST_GOOD:
        return f"{_describe(live)}, is live already" if live.name == to else ""
    recorded = targets.recorded(seen.plane, live, seen.good)
    if recorded is None or targets.why_blocked(live, seen.blocked):
        return ""
    since = timetext.format_clock(targets.first_good(seen.plane, recorded, seen.good))
    return f"{_describe(live)}, is live, known good since {since}, bytes intact"


def _describe(revision: revisions.Revision) -> str:
    bytes_ = f", bytes {digest.short(revision.digest)}" if revision.digest else ", bytes not known"
    return f"{revision.object} {revision.name}{bytes_}"


def _switching(seen: Sight, move: plans.Move) -> tuple[plans.Check, ...]:
    if not seen.can_switch:
        return (plans.Check("switch", signals.State.BAD, f"the {seen.plane} plane can be observed, not switched"),)
    if not move.is_needed:
        return (plans.Check("switch", signals.State.UNKNOWN, f"{_describe(move.target)} is live already"),)
    return ()


def _reverters(seen: Sight) -> plans.Check:
    """Whoever could bring the bad revision back a minute later."""
    if seen.frozen:
        return plans.Check("reverters", signals.State.OK, f"frozen: {seen.frozen}")
    if seen.frozen == "":
        what = f"nothing keeps the {seen.plane} plane from being moved again; freeze it first"
        return plans.Check("reverters", signals.State.UNKNOWN, what)
    what = f"the {seen.plane} plane cannot be frozen; look for whoever deploys to it"
    return plans.Check("reverters", signals.State.UNKNOWN, what)
