"""Which signals prove that going back helped. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ddr.domain import planes, services

_ANSWERED_BY_CODE = (planes.Plane.MODEL, planes.Plane.INDEX)
"""Planes whose signals are measured on answers: the code gives them."""


def awaited(service: services.Service, moved: Sequence[planes.Plane]) -> tuple[services.SignalSpec, ...]:
    """What the plan announces and the end of the run waits for, all of it.

    Symptoms of anything, what accuses a plane that goes back, and the process that serves (errors, latency): whatever
    is switched, it has to answer. Where the code goes back, also what is measured on its answers. Where nothing goes
    back that serving reads (data), no answer can prove it: none.
    """
    if not any(plane in planes.ROLLED_BACK for plane in moved):
        return ()
    accused = {*moved, planes.Plane.INFRA, *(_ANSWERED_BY_CODE if planes.Plane.CODE in moved else ())}
    return tuple(spec for spec in service.signals if spec.plane is None or spec.plane in accused)
