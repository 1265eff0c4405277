"""A service that ran well, was vouched for, and then something happened to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import click

from ddr.cli import diagnose as printer
from ddr.diagnose import advice, examine
from ddr.domain import diagnoses, planes
from ddr.ports import platform as platforms_
from ddr.release import ledger, timeline
from tests import platforms, worlds

Fault = Callable[[worlds.World], None]

FAULTS: dict[str, tuple[planes.Plane, Fault]] = {
    "bad model promoted": (planes.Plane.MODEL, lambda world: world.promote("3")),
    "bad model promoted in silence": (planes.Plane.MODEL, lambda world: world.promote("3", logged=False)),
    "weights overwritten": (planes.Plane.MODEL, lambda world: world.overwrite_weights()),
    "features frozen": (planes.Plane.FEATURES, lambda world: world.freeze_features()),
    "features zeroed": (planes.Plane.FEATURES, lambda world: world.zero_features()),
    "bad code released": (planes.Plane.CODE, lambda world: world.release_code("1.5.0")),
}

HAND = advice.Hand(
    {planes.Plane.MODEL: "bad-model-promotion", planes.Plane.FEATURES: "stale-online-features"}, "stale-server"
)


@dataclass
class Scene:
    """A world at the moment somebody asks. `hurt_at` is when it was hurt."""

    world: worlds.World
    on: platforms_.Platform
    hurt_at: datetime

    def diagnose(self, *, replay: bool = True, hand: advice.Hand = HAND) -> diagnoses.Diagnosis:
        told = timeline.changes(self.on, "digits", examine.horizon(self.world.clock.now()))
        return examine.examine(self.on, "digits", changes=told, replay=replay, hand=hand)


def healthy(seed: int = 1, hours: float = 4.0) -> Scene:
    """Three hours of traffic, recorded as known good, and then `hours` - 3 more."""
    world = worlds.World(seed)
    world.planes[planes.Plane.CODE].contents["1.5.0"] = b"right=0.6 wrong rounding"
    on = platforms.platform(world)
    world.advance(3)
    ledger.record(on, "digits", known_good=True)
    world.advance(hours - 3)
    return Scene(world, on, world.clock.now())


def hurt(fault: str, seed: int = 1, *, decoys: bool = False, after_hours: float = 1.0) -> Scene:
    """Healthy, then the fault; with decoys an innocent code release just before and a config change just after."""
    scene = healthy(seed)
    if decoys and FAULTS[fault][0] is not planes.Plane.CODE:
        scene.world.release_code("1.4.1")
        scene.world.advance(0.1)
    at = scene.world.clock.now()
    FAULTS[fault][1](scene.world)
    if decoys:
        scene.world.advance(0.1)
        scene.world.change_config()
    scene.world.advance(after_hours)
    return Scene(scene.world, scene.on, at)


def printed(found: diagnoses.Diagnosis) -> str:
    """What a person reads, without colours."""
    return click.unstyle(printer.text(found))
