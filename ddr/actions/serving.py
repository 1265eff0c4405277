"""What answers requests: load what the planes point at, run the materialization, answer with the fallback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ddr.actions import kinds
from ddr.domain import outcomes, planes, revisions, services
from ddr.ports import connector, verb
from ddr.ports import platform as platforms


@dataclass(frozen=True)
class NoInputs:
    pass


@dataclass(frozen=True)
class PlaneInputs:
    plane: planes.Plane


def _no_server(on: platforms.Platform, service: services.Service) -> Sequence[str]:
    return () if service.name in on.servers else (f"service {service.name} names no server (serving: CONNECTOR)",)


def differences(
    on: platforms.Platform, service: str, loaded: Mapping[planes.Plane, revisions.Revision]
) -> Sequence[str]:
    """Planes that point at something else than the server has in memory."""
    found = []
    for plane, in_memory in loaded.items():
        if plane in on.planes.get(service, {}):
            pointed = on.plane(service, plane).revision()
            if not (pointed.name == in_memory.name and _same_bytes(pointed, in_memory)):
                found.append(f"{plane}: the plane points at {pointed}, the server has {in_memory}")
    return tuple(found)


def _same_bytes(one: revisions.Revision, other: revisions.Revision) -> bool:
    return not one.digest or not other.digest or one.digest == other.digest


def roll(on: platforms.Platform, service: str) -> outcomes.Outcome:
    """Roll the server and hold what it loaded against the planes. SKIPPED where the service names no server."""
    if service not in on.servers:
        return kinds.skipped(f"service {service} names no server")
    loaded = on.server(service).roll()
    wrong = differences(on, service, loaded)
    shown = tuple(f"loaded {plane} {revision}" for plane, revision in loaded.items())
    if wrong:
        return kinds.failed("; ".join(wrong), *shown)
    return kinds.ok("the server has loaded what the planes point at", *shown)


class Roll(kinds.Action):
    """Needs no undo of its own: switching a plane back rolls the server again."""

    name = "serving.roll"
    Inputs = NoInputs

    def lacks(self, inputs: NoInputs, service: services.Service) -> Sequence[str]:
        return _no_server(self.on, service)

    def prepare(self, call: verb.Call) -> verb.Prepared:
        self.on.server(call.service)
        return verb.Prepared(
            will=f"let the server of {call.service} load what the planes point at",
            touches=(f"server of {call.service}",),
            undo="nothing by itself; switching a plane back rolls the server again",
            settled={"service": call.service},
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        return roll(self.on, settled["service"])

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        service = settled["service"]
        wrong = differences(self.on, service, self.on.server(service).loaded())
        return verb.Seen.NOT_DONE if wrong else verb.Seen.DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        return kinds.skipped("the server follows the planes")


class Fallback(kinds.Action):
    """Containment: the fallback answers instead of the model."""

    name = "serving.fallback"
    Inputs = NoInputs

    def lacks(self, inputs: NoInputs, service: services.Service) -> Sequence[str]:
        return _no_server(self.on, service)

    def prepare(self, call: verb.Call) -> verb.Prepared:
        was = self.on.server(call.service).fallback()
        return verb.Prepared(
            will=f"answer with the fallback instead of the model on {call.service}",
            touches=(f"server of {call.service}",),
            undo="leave it on, as it was" if was else "answer with the model again",
            settled={"service": call.service, "was": "on" if was else "off"},
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        self.on.server(settled["service"]).set_fallback(on=True)
        if not self.on.server(settled["service"]).fallback():
            return kinds.failed("the server was told to use the fallback and does not")
        return kinds.ok("the fallback answers")

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        return verb.Seen.DONE if self.on.server(settled["service"]).fallback() else verb.Seen.NOT_DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        if settled["was"] == "on":
            return kinds.skipped("the fallback was on before this run")
        self.on.server(settled["service"]).set_fallback(on=False)
        return kinds.undone("the model answers again")


class Refresh(kinds.Action):
    """Run the materialization that is live now, and believe only the rows it wrote."""

    name = "features.refresh"
    gives = ("rows",)
    Inputs = PlaneInputs

    def lacks(self, inputs: PlaneInputs, service: services.Service) -> Sequence[str]:
        return kinds.lacks_port(self.on, service, inputs.plane, connector.Refreshable, "cannot be refreshed")

    def prepare(self, call: verb.Call) -> verb.Prepared:
        plane = self.inputs(call).plane
        kinds.reach(self.on, call.service, plane, connector.Refreshable, "cannot be refreshed")
        return verb.Prepared(
            will=f"run the {plane} materialization of {call.service} that is live, and read back what it wrote",
            touches=(f"rows of the {plane} plane",),
            undo="nothing: fresh rows stay",
            settled={"service": call.service, "plane": plane.value},
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        plane = planes.Plane(settled["plane"])
        reached: connector.Refreshable = kinds.reach(
            self.on, settled["service"], plane, connector.Refreshable, "cannot be refreshed"
        )
        return reached.refresh()

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        """A refresh may be repeated, so one that was cut off is simply done again."""
        return verb.Seen.NOT_DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        return kinds.skipped("fresh rows stay; they are what the source says")
