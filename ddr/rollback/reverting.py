"""Who could put the bad revision back a minute later, and what stops them."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from ddr.domain import planes, plans, signals
from ddr.errors import DdrError
from ddr.lib import timetext
from ddr.ports import connector
from ddr.ports import platform as platforms

LOOKED_BACK = timedelta(days=7)


def who_reverts(platform: platforms.Platform, service: str, plane: planes.Plane) -> tuple[plans.Reverter, ...]:
    """From the plane's own system (`Reverting`), from `promoters` in ddr.yaml, and from whoever moved it lately.

    Raises nothing: what does not answer is a reverter nobody could rule out.
    """
    acting = platform.plane(service, plane)
    found: list[plans.Reverter] = []
    try:
        if isinstance(acting, connector.Reverting):
            found += acting.who_reverts()
    except DdrError as problem:
        found.append(plans.Reverter(plane, "somebody", f"who owns the {plane} plane cannot be seen: {problem.message}"))
    found += [
        plans.Reverter(plane, promoter.name, promoter.how or "named in ddr.yaml", promoter.stop)
        for promoter in platform.service(service).promoters
        if promoter.plane is plane
    ]
    known = {reverter.name for reverter in found}
    return (*found, *(reverter for reverter in _seen(platform, acting, plane) if reverter.name not in known))


def unfrozen(acting: connector.Observable, plane: planes.Plane) -> plans.Check | None:
    """What to do by hand where no freeze keeps anybody from moving the plane again; None where one does."""
    if isinstance(acting, connector.Freezable):
        return None
    what = f"nothing freezes the {plane} plane, its system has no such mark; by hand: {_BY_HAND} {plane}"
    return plans.Check("freeze", signals.State.UNKNOWN, what)


_BY_HAND = "pause the pipeline or job that deploys"


def _stop(acting: connector.Observable, plane: planes.Plane, actor: str) -> str:
    if isinstance(acting, connector.Freezable):
        return f"the freeze, if {actor} obeys it; else tell them, or pause their job"
    return f"nothing here: tell {actor}, or {_BY_HAND} {plane}"


def _seen(
    platform: platforms.Platform, acting: connector.Observable, plane: planes.Plane
) -> tuple[plans.Reverter, ...]:
    try:
        told = acting.changes(platform.clock.now() - LOOKED_BACK)
    except DdrError:
        return ()
    moved = Counter(change.actor for change in told if change.actor not in ("unknown", "", platform.actor))
    days = timetext.format_duration(LOOKED_BACK)
    return tuple(
        plans.Reverter(
            plane, actor, f"changed it {times} time{'' if times == 1 else 's'} in {days}", _stop(acting, plane, actor)
        )
        for actor, times in moved.most_common(3)
        if not actor.startswith("ddr")
    )
