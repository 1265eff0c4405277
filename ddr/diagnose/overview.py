"""How a service stands: every plane's live revision against the newest known-good release, every signal judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ddr.diagnose import advice, watch
from ddr.domain import incidents, planes, releases, revisions, services, signals, status
from ddr.errors import DdrError
from ddr.journal import views
from ddr.ports import connector, platform

_UNDER_A_FALLBACK = (planes.Plane.FEATURES, planes.Plane.INFRA)
"""Their signals mean the same while the fallback answers."""


def look(
    on: platform.Platform,
    board: views.Board,
    service: str,
    runs: Sequence[status.OpenRun] = (),
    lift: str = "",
) -> status.ServiceStatus:
    """Only looks. A plane, source or server that does not answer is said to be unknown; the others go on.

    `lift` is the command that takes the fallback off.
    """
    entry = on.service(service)
    good = board.last_good(service)
    judged = watch.judge(on, service)
    loaded, silent, hint = _loaded(on, service)
    seen = tuple(_look_at(on, entry, plane, good, loaded) for plane in on.planes.get(service, {}))
    open_incidents = tuple(board.open_incidents(service))
    fallback = watch.fallback(on, service)
    bad = _bad(judged, seen, open_incidents, fallback=fallback)
    unknown = _unknown(judged, seen, silent)
    state = signals.State.BAD if bad else signals.State.UNKNOWN if unknown else signals.State.OK
    mend = _mend(seen, silent, hint)
    harmed = [plane.plane for plane in seen if plane.known_good is False or plane.served]
    harmed += [one.plane for one in judged if one.state is signals.State.BAD and one.plane in _UNDER_A_FALLBACK]
    return status.ServiceStatus(
        service=service,
        at=on.clock.now(),
        state=state,
        planes=seen,
        signals=judged,
        incidents=open_incidents,
        runs=tuple(runs),
        last_good=good,
        fallback=fallback,
        reasons=(*bad, *unknown),
        mend=mend,
        next_command=_next(
            service, state, judged, open_incidents, runs, mend, advice.lifting(lift) if fallback and not harmed else ""
        ),
    )


def _loaded(on: platform.Platform, service: str) -> tuple[Mapping[planes.Plane, revisions.Revision], str, str]:
    """What the server has in memory, or why it cannot be asked and what helps."""
    if service not in on.servers:
        return {}, "", ""
    try:
        return on.servers[service].loaded(), "", ""
    except DdrError as problem:
        return {}, problem.message, problem.hint


def _look_at(
    on: platform.Platform,
    entry: services.Service,
    plane: planes.Plane,
    good: releases.Release | None,
    loaded: Mapping[planes.Plane, revisions.Revision],
) -> status.PlaneStatus:
    seen = on.plane(entry.name, plane)
    name = entry.planes[plane]
    try:
        live = seen.revision()
        frozen = seen.frozen() if isinstance(seen, connector.Freezable) else ""
    except DdrError as problem:
        return status.PlaneStatus(plane, name, None, problem=problem.message, hint=problem.hint)
    recorded = good.revisions.get(plane) if good else None
    known_good = recorded.is_same(live) if recorded else None
    overwritten = good is not None and releases.overwritten(good, live) is not None
    held = loaded.get(plane)
    served = held if held is not None and not revisions.is_held(live, held) else None
    return status.PlaneStatus(plane, name, live, known_good, frozen, overwritten=overwritten, served=served)


def _bad(
    judged: Sequence[signals.Judgement],
    seen: Sequence[status.PlaneStatus],
    open_incidents: Sequence[incidents.Incident],
    *,
    fallback: bool,
) -> tuple[str, ...]:
    """Why it is bad. Bytes that changed under their name are wrong before a signal sees it."""
    told = []
    named = ", ".join(one.signal for one in judged if one.state is signals.State.BAD)
    told += [f"{named} bad"] if named else []
    for plane in seen:
        if plane.overwritten and plane.revision:
            told.append(f"bytes of {plane.plane} {plane.revision.name} changed in place")
        if plane.served and plane.revision:
            told.append(f"{plane.plane} {served_otherwise(plane.revision, plane.served)}")
    told += ["the fallback answers"] if fallback else []
    told += [f"{incident.id} is open" for incident in open_incidents]
    return tuple(told)


def served_otherwise(pointed: revisions.Revision, held: revisions.Revision) -> str:
    """`served 4, plane points at 2`; with the bytes where the name is the same."""
    if pointed.name != held.name:
        return f"served {held.name}, plane points at {pointed.name}"
    return f"served {held}, plane points at {pointed}"


def _unknown(judged: Sequence[signals.Judgement], seen: Sequence[status.PlaneStatus], silent: str) -> tuple[str, ...]:
    """Why nobody can say."""
    told = [f"{plane.plane} cannot be read" for plane in seen if plane.problem]
    told += [f"the server does not say what it has loaded: {silent}"] if silent else []
    named = ", ".join(one.signal for one in judged if one.state is signals.State.UNKNOWN)
    told += [f"{named} cannot be judged"] if named else []
    return tuple(told)


def _mend(seen: Sequence[status.PlaneStatus], silent: str, hint: str) -> tuple[str, ...]:
    """By hand. The server is named where every plane can be read: without a plane it does not answer either."""
    told = [f"{plane.plane}: {plane.hint}" for plane in seen if plane.problem and plane.hint]
    if silent and not any(plane.problem for plane in seen):
        told.append(f"server: {hint or 'look at its log'}")
    return tuple(told)


def _next(
    service: str,
    state: signals.State,
    judged: Sequence[signals.Judgement],
    open_incidents: Sequence[incidents.Incident],
    runs: Sequence[status.OpenRun],
    mend: Sequence[str],
    lift: str,
) -> str:
    """What to type: a run that has no end comes first. '' where all is well.

    `lift` is said where the planes are well: what is measured of answers is about the fallback.
    """
    is_over = all(one.state is signals.State.OK for one in judged)
    waiting = next((run.next_command for run in runs if run.next_command), "")
    if waiting or state is signals.State.OK:
        return waiting
    if mend:
        return f"ddr status {service}   # again, when that is mended"
    if state is signals.State.UNKNOWN:
        return "ddr doctor"
    if lift:
        return lift
    diagnose = f"ddr diagnose {service}"
    if len(open_incidents) == 1:
        incident = open_incidents[0].id
        over = f'   # or, if it is over: ddr incident resolve {incident} --why "..."'
        return f"{diagnose} --incident {incident}" + (over if is_over else "")
    return diagnose
