"""Who suffers from it: impaired (measured bad), exposed (reached by it, not measured), cleared (tested clean)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ddr.diagnose import scene as scenes
from ddr.diagnose import watch
from ddr.domain import measures, planes, services, signals
from ddr.errors import DdrError
from ddr.ports import platform as platforms


@dataclass(frozen=True)
class Affected:
    impaired: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()


def measured(service: services.Service, bad: Iterable[signals.Judgement]) -> str:
    """`digits (golden 39.3 % (limit 11.0 %), n=300; ...)`."""
    kinds = {spec.name: spec.detector for spec in service.signals}
    numbers = (f"{one.signal} {measures.measured(one, kinds[one.signal])}" for one in bad)
    return f"{service.name} ({'; '.join(numbers)})"


def of(platform: platforms.Platform, scene: scenes.Scene, plane: planes.Plane | None) -> Affected:
    """This service with its numbers, its consumers, and the services that share the plane's connector."""
    impaired = [measured(scene.service, scene.bad)]
    exposed, cleared = list(scene.service.consumers), []
    shared = scene.service.planes.get(plane) if plane else None
    for other in platform.services.values():
        if other.name == scene.service.name or plane is None or not shared or other.planes.get(plane) != shared:
            continue
        try:
            judged = watch.judge(platform, other.name)
        except DdrError as problem:
            exposed.append(f"{other.name} (not judged: {problem.message})")
            continue
        bad = [one for one in judged if one.state is signals.State.BAD]
        if bad:
            impaired.append(measured(other, bad))
        elif judged and all(one.state is signals.State.OK for one in judged):
            cleared.append(f"{other.name} ({len(judged)} signals ok)")
        else:
            exposed.append(other.name)
    return Affected(tuple(impaired), tuple(exposed), tuple(cleared))
