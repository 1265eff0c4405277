"""Calling one verb by hand, as the engine does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ddr.actions import catalog
from ddr.domain import planes, services
from ddr.incident import desk
from ddr.lib import digest
from ddr.ports import verb
from tests import recovery


@dataclass
class Desk:
    """A world that was hurt, and its verbs."""

    world: recovery.World
    incident: str = ""

    def made(self, name: str) -> verb.Verb:
        return catalog.build(self.world.platform())[name]

    def call(self, step: str = "step", **inputs: Any) -> verb.Call:
        now = self.world.clock.now()
        return verb.Call("postcode", "r1", step, f"r1/{step}", self.incident, now, inputs)

    def settled(self, name: str, **inputs: Any) -> Mapping[str, str]:
        return self.made(name).prepare(self.call(**inputs)).settled


def promoted() -> Desk:
    world = recovery.World()
    world.promote()
    incident = desk.declare(world.journal, "postcode", "SEV2", "wrong digits", at=world.clock.now())
    world.effects.clear()
    return Desk(world, incident.id)


def frozen_features() -> Desk:
    world = recovery.World()
    world.freeze_features()
    world.effects.clear()
    return Desk(world)


@dataclass(frozen=True)
class Case:
    """An action with inputs and a desk on which it has something to do."""

    name: str
    inputs: Mapping[str, Any]
    begin: Callable[[], Desk] = promoted

    def __str__(self) -> str:
        return self.name


def frozen_by_run() -> Desk:
    desk_ = promoted()
    freeze = desk_.made("promotions.freeze")
    call = desk_.call(plane="model")
    freeze.act(call, freeze.prepare(call).settled)
    return desk_


def good_features() -> Desk:
    desk_ = frozen_features()
    desk_.world.features.live = "v2"
    return desk_


def with_a_job() -> Desk:
    """Whose service has a promoter with both commands."""
    desk_ = promoted()
    plain = desk_.world.platform()
    promoter = services.Promoter("nightly", planes.Plane.MODEL, stop="true", resume="true")
    entry = dataclasses.replace(plain.service("postcode"), promoters=(promoter,))
    with_it = dataclasses.replace(plain, services={"postcode": entry})
    desk_.world.platform = lambda: with_it  # type: ignore[method-assign,assignment,misc]
    return desk_


ACTIONS = [
    Case("promotions.freeze", {"plane": "model"}),
    Case("promotions.thaw", {"plane": "model"}, frozen_by_run),
    Case("plane.switch", {"plane": "model", "to": "last-good"}),
    Case(
        "rollback.switch",
        {
            "plane": "model",
            "object": "digit",
            "live": "3",
            "liveDigest": digest.of_bytes(b"bad"),
            "target": "2",
            "targetDigest": digest.of_bytes(b"good"),
            "rolls": True,
        },
    ),
    Case("view.isolate", {"plane": "features"}),
    Case("jobs.suspend", {"job": "nightly"}, with_a_job),
    Case("revision.block", {"plane": "model", "revision": "3", "why": "wrong digits"}),
    Case("serving.roll", {}, good_features),
    Case("serving.fallback", {}),
    Case("features.refresh", {"plane": "features"}, good_features),
    Case("comms.post", {"channel": "team", "text": "hello"}),
    Case("incident.move", {"status": "mitigating"}),
]
"""Every action of the catalog."""
