"""How a service stands: every plane's live revision against the newest known-good release, every signal judged."""

from __future__ import annotations

from collections.abc import Sequence

from ddr.diagnose import watch
from ddr.domain import incidents, planes, releases, services, signals, status
from ddr.errors import DdrError
from ddr.journal import views
from ddr.ports import connector, platform


def look(
    on: platform.Platform, board: views.Board, service: str, runs: Sequence[status.OpenRun] = ()
) -> status.ServiceStatus:
    """Only looks. A plane or source that does not answer is said to be unknown; the others go on."""
    entry = on.service(service)
    good = board.last_good(service)
    judged = watch.judge(on, service)
    seen = tuple(_look_at(on, entry, plane, good) for plane in on.planes.get(service, {}))
    open_incidents = tuple(board.open_incidents(service))
    return status.ServiceStatus(
        service=service,
        at=on.clock.now(),
        state=_state(judged, seen, open_incidents),
        planes=seen,
        signals=judged,
        incidents=open_incidents,
        runs=tuple(runs),
        last_good=good,
        fallback=_fallback(on, service),
    )


def _look_at(
    on: platform.Platform, entry: services.Service, plane: planes.Plane, good: releases.Release | None
) -> status.PlaneStatus:
    seen = on.plane(entry.name, plane)
    name = entry.planes[plane]
    try:
        live = seen.revision()
        frozen = seen.frozen() if isinstance(seen, connector.Freezable) else ""
    except DdrError as problem:
        return status.PlaneStatus(plane, name, None, problem=problem.message)
    recorded = good.revisions.get(plane) if good else None
    known_good = recorded.is_same(live) if recorded else None
    overwritten = good is not None and releases.overwritten(good, live) is not None
    return status.PlaneStatus(plane, name, live, known_good, frozen, overwritten=overwritten)


def _fallback(on: platform.Platform, service: str) -> bool:
    try:
        return service in on.servers and on.servers[service].fallback()
    except DdrError:
        return False


def _state(
    judged: Sequence[signals.Judgement],
    seen: Sequence[status.PlaneStatus],
    open_incidents: Sequence[incidents.Incident],
) -> signals.State:
    """Bytes that changed under their name are wrong before a signal sees it."""
    is_bad = any(judgement.state is signals.State.BAD for judgement in judged)
    if open_incidents or is_bad or any(plane.overwritten for plane in seen):
        return signals.State.BAD
    unknown = any(judgement.state is signals.State.UNKNOWN for judgement in judged)
    return signals.State.UNKNOWN if unknown or any(plane.problem for plane in seen) else signals.State.OK
