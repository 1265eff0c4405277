"""What answers requests: load what the planes point at, run the materialization, answer with the fallback."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ddr.actions import kinds
from ddr.domain import outcomes, planes, revisions, services
from ddr.errors import DdrError
from ddr.journal import views
from ddr.ports import connector, verb
from ddr.ports import platform as platforms
from ddr.rollback import targets

_CANNOT_REFRESH = "cannot be refreshed"


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
    return tuple(
        f"{pointed.plane}: the plane points at {pointed}, the server has {held}"
        for pointed, held in _behind(on, service, loaded)
    )


def _behind(
    on: platforms.Platform, service: str, loaded: Mapping[planes.Plane, revisions.Revision]
) -> Sequence[tuple[revisions.Revision, revisions.Revision]]:
    """(pointed at, held) of every plane where these are not the same."""
    pairs = [
        (on.plane(service, plane).revision(), held)
        for plane, held in loaded.items()
        if plane in on.planes.get(service, {})
    ]
    return [(pointed, held) for pointed, held in pairs if not revisions.is_held(pointed, held)]


def held_otherwise(on: platforms.Platform, service: str, plane: planes.Plane) -> str:
    """That the server does not hold what the plane points at, and what helps; '' when it does or cannot be asked."""
    try:
        loaded = on.servers[service].loaded() if service in on.servers else {}
        behind = [held for _, held in _behind(on, service, loaded) if held.plane is plane]
    except DdrError:
        return ""
    if not behind:
        return ""
    return f"but the server holds {behind[0]}: `ddr runbook run stale-server --service {service}` rolls it"


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


@dataclass(frozen=True)
class BehindInputs:
    """`loads`: what a roll may bring into the server."""

    loads: Literal["known-good", "anything"] = "known-good"


class IsBehind(kinds.Probe):
    """Whether the server holds something else than its planes point at, and whether that may be loaded.

    What no known-good release has, or what is blocked, is no cure: its plane is taken back first.
    """

    name = "serving.behind"
    gives = ("held", "loads")
    Inputs = BehindInputs

    def lacks(self, inputs: BehindInputs, service: services.Service) -> Sequence[str]:
        return _no_server(self.on, service)

    def will(self, inputs: BehindInputs, call: verb.Call) -> str:
        return f"see whether the server of {call.service} holds something else than its planes point at"

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        del settled
        behind = _behind(self.on, call.service, self.on.server(call.service).loaded())
        lines = tuple(f"{held.plane}: holds {held}, would load {pointed}" for pointed, held in behind)
        if not behind:
            return kinds.failed(
                "nothing to roll: the server holds what its planes point at; "
                f"`ddr diagnose {call.service}` names the layer at fault"
            )
        if self.inputs(call).loads == "known-good":
            wrong = [why for pointed, _ in behind for why in [self._objection(call.service, pointed)] if why]
            if wrong:
                return kinds.failed("; ".join(wrong), *lines)
        held = ", ".join(f"{was.plane} {was.name}" for _, was in behind)
        loads = ", ".join(f"{now.plane} {now.name}" for now, _ in behind)
        return kinds.ok(f"the server holds {held}, its planes point at {loads}", *lines, held=held, loads=loads)

    def _objection(self, service: str, pointed: revisions.Revision) -> str:
        """Why it is not to be loaded, '' when it may be."""
        board = views.fold(self.on.journal.events())
        good = [release for release in board.releases.get(service, []) if release.known_good]
        what = f"a roll would load {pointed.plane} {pointed}"
        blocked = targets.why_blocked(pointed, board.blocked(service, pointed.plane))
        if blocked:
            return f"{what}, and {blocked}; take the plane back first"
        if not good or targets.recorded(pointed.plane, pointed, good):
            return ""
        further = "take the plane back first, or vouch for it with -p loads=anything"
        return f"{what}, which no known-good release has with these bytes; {further}"


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
        if not kinds.lacks_port(self.on, service, inputs.plane, connector.Materializable, ""):
            return ()
        return kinds.lacks_port(self.on, service, inputs.plane, connector.Refreshable, _CANNOT_REFRESH)

    def _refreshes(self, settled: Mapping[str, str]) -> Callable[[], outcomes.Outcome]:
        plane, service = planes.Plane(settled["plane"]), settled["service"]
        made = self.on.plane(service, plane)
        if isinstance(made, connector.Materializable):
            return made.materialize
        reached: connector.Refreshable = kinds.reach(self.on, service, plane, connector.Refreshable, _CANNOT_REFRESH)
        return reached.refresh

    def prepare(self, call: verb.Call) -> verb.Prepared:
        plane = self.inputs(call).plane
        settled = {"service": call.service, "plane": plane.value}
        self._refreshes(settled)
        return verb.Prepared(
            will=f"run the {plane} materialization of {call.service} that is live, and read back what it wrote",
            touches=(f"rows of the {plane} plane",),
            undo="nothing: fresh rows stay",
            settled=settled,
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        return self._refreshes(settled)()

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        """A refresh may be repeated, so one that was cut off is simply done again."""
        return verb.Seen.NOT_DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        return kinds.skipped("fresh rows stay; they are what the source says")
