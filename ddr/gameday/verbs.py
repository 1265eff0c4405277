"""The two verbs a game day adds to the faults, so that a scenario is one run of the engine with one undo.

    gameday.hold    remembers what every plane has live, what is frozen, whether the fallback is on; its undo, the
                    last of the run because the step is the first, brings the planes back there by compare-and-set
    gameday.watch   lets platform time pass and looks at the signals meanwhile

`ddr runbook undo RUN` therefore returns the platform even after the game day itself was killed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ddr.domain import outcomes, planes, plans, revisions, services
from ddr.lib import timetext
from ddr.ports import connector, platform, verb
from ddr.rollback import apply

HOLD = "gameday.hold"
WATCH = "gameday.watch"

Watch = Callable[[datetime], outcomes.Outcome]
"""Lets time pass until then; FAILED when what was seen speaks against going on."""


def build(on: platform.Platform, watch: Watch | None = None) -> verb.Catalog:
    """Both verbs. Without `watch` time only passes: that is how a killed game day's run is resumed by hand."""
    return {HOLD: Hold(on), WATCH: WatchUntil(on, watch)}


class Hold:
    """Changes nothing; its undo is what it is for."""

    name = HOLD
    changes = True

    def __init__(self, on: platform.Platform) -> None:
        self._on = on

    def problems(self, inputs: Mapping[str, Any], service: services.Service) -> Sequence[str]:
        return [f"takes no input {name!r}" for name in inputs]

    def prepare(self, call: verb.Call) -> verb.Prepared:
        """`settled` has `live.PLANE` and `frozen.PLANE` for every plane that can be switched or frozen."""
        settled: dict[str, str] = {}
        for plane, port in self._on.planes[call.service].items():
            if isinstance(port, connector.Switchable):
                live = self._on.plane(call.service, plane).revision()
                settled[f"live.{plane}"] = live.name
                settled[f"object.{plane}"] = live.object
                settled[f"digest.{plane}"] = live.digest
                settled[f"blocked.{plane}"] = live.facts.get(revisions.BLOCKED, "")
            if isinstance(port, connector.Freezable):
                settled[f"frozen.{plane}"] = port.frozen()
        server = self._on.servers.get(call.service)
        if server is not None:
            settled["fallback"] = "on" if server.fallback() else ""
        names = [f"{key.removeprefix('live.')} {name}" for key, name in settled.items() if key.startswith("live.")]
        spoken = ", ".join(names)
        return verb.Prepared(f"remember what is live: {spoken}", (), f"bring back {spoken}", settled)

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        return outcomes.Outcome(outcomes.Status.OK, "remembered", values=dict(settled))

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        return verb.Seen.DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        """Only what differs from the start is touched. Conflict when someone else moves a plane meanwhile."""
        done: list[str] = []
        for plane, port in self._on.planes[call.service].items():
            done += _thaw(port, plane, settled)
            done += _unblock(port, plane, settled)
            done += self._switch_back(call, plane, settled)
        done += self._serve_as_before(call.service, settled)
        if not done:
            return outcomes.Outcome(outcomes.Status.SKIPPED, "everything is as at the start")
        return outcomes.Outcome(outcomes.Status.UNDONE, "; ".join(done))

    def _switch_back(self, call: verb.Call, plane: planes.Plane, settled: Mapping[str, str]) -> list[str]:
        if f"live.{plane}" not in settled:
            return []
        start = revisions.Revision(
            plane, settled[f"object.{plane}"], settled[f"live.{plane}"], settled[f"digest.{plane}"]
        )
        live = self._on.plane(call.service, plane).revision()
        if live.name == start.name:
            return []
        apply.switch(self._on, call.service, plans.Move(plane, live, start), f"run {call.run} taken back")
        port = self._on.plane(call.service, plane)
        if isinstance(port, connector.Refreshable):
            port.refresh()  # its next regular run would do it too; no row of the other release is left till then
        return [f"{plane} {live.name} → {start.name}"]

    def _serve_as_before(self, service: str, settled: Mapping[str, str]) -> list[str]:
        server = self._on.servers.get(service)
        if server is None:
            return []
        done = []
        if "fallback" in settled and server.fallback() != bool(settled["fallback"]):
            server.set_fallback(on=bool(settled["fallback"]))
            done.append(f"fallback {settled['fallback'] or 'off'}")
        if not self._serves_what_is_live(service, server):
            server.roll()
            done.append("server rolled")
        return done

    def _serves_what_is_live(self, service: str, server: connector.Servable) -> bool:
        loaded = server.loaded()
        ports = self._on.planes[service]
        return all(revision.is_same(ports[plane].revision()) for plane, revision in loaded.items() if plane in ports)


def _thaw(port: object, plane: planes.Plane, settled: Mapping[str, str]) -> list[str]:
    if isinstance(port, connector.Freezable) and port.frozen() and not settled.get(f"frozen.{plane}"):
        port.thaw()
        return [f"{plane} thawed"]
    return []


def _unblock(port: object, plane: planes.Plane, settled: Mapping[str, str]) -> list[str]:
    name = settled.get(f"live.{plane}", "")
    if not name or not isinstance(port, connector.Markable) or not isinstance(port, connector.Switchable):
        return []
    if port.find(name).facts.get(revisions.BLOCKED) and not settled.get(f"blocked.{plane}"):
        port.unblock(name)
        return [f"{plane} {name} unblocked"]
    return []


class WatchUntil:
    """Only looks, and lets platform time pass: `for` so long."""

    name = WATCH
    changes = False

    def __init__(self, on: platform.Platform, watch: Watch | None) -> None:
        self._on = on
        self._watch = watch

    def problems(self, inputs: Mapping[str, Any], service: services.Service) -> Sequence[str]:
        try:
            timetext.parse_duration(str(inputs.get("for", "")))
        except ValueError as problem:
            return [f"for: {problem}"]
        return []

    def prepare(self, call: verb.Call) -> verb.Prepared:
        return verb.Prepared(f"watch for {call.inputs['for']}")

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        span = timetext.parse_duration(str(call.inputs["for"]))
        if self._watch is not None:
            return self._watch(self._on.clock.now() + span)
        self._on.clock.sleep(span / timedelta(seconds=1))
        return outcomes.Outcome(outcomes.Status.OK, f"{timetext.format_duration(span)} passed")

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        return verb.Seen.NOT_DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        return outcomes.Outcome(outcomes.Status.SKIPPED, "nothing was changed")
