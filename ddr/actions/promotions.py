"""Stopping and letting go whatever would bring a bad revision back. Only what this run froze is thawed by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ddr.actions import kinds, serving
from ddr.domain import outcomes, planes, services
from ddr.ports import connector, verb

_CANNOT = "cannot be frozen"


def _why(run: str) -> str:
    """The text by which a run knows its own freeze again."""
    return f"frozen by ddr run {run}"


class _OfPlane(kinds.Action):
    Inputs = serving.PlaneInputs

    def lacks(self, inputs: serving.PlaneInputs, service: services.Service) -> Sequence[str]:
        return kinds.lacks_port(self.on, service, inputs.plane, connector.Freezable, _CANNOT)

    def reach(self, settled: Mapping[str, str]) -> connector.Freezable:
        plane = planes.Plane(settled["plane"])
        found: connector.Freezable = kinds.reach(self.on, settled["service"], plane, connector.Freezable, _CANNOT)
        return found


class Freeze(_OfPlane):
    """Nothing promotes or materializes on the plane until it is thawed. An older freeze is kept as it is."""

    name = "promotions.freeze"

    def prepare(self, call: verb.Call) -> verb.Prepared:
        plane = self.inputs(call).plane
        settled = {"service": call.service, "plane": plane.value, "why": _why(call.run)}
        was = self.reach(settled).frozen()
        if was and was != settled["why"]:
            will = f"keep the {plane} plane frozen, as it is: {was}"
            return verb.Prepared(will, (), "nothing", {**settled, "was": was})
        return verb.Prepared(
            will=f"freeze the {plane} plane of {call.service}: nothing is promoted or materialized",
            touches=(f"{plane} plane (freeze mark)",),
            undo="thaw it",
            settled={**settled, "was": ""},
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        reached = self.reach(settled)
        reached.freeze(settled["why"])
        now = reached.frozen()
        if not now:
            return kinds.failed(f"the {settled['plane']} plane was frozen and is not")
        return kinds.ok(f"the {settled['plane']} plane is frozen: {now}")

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        return verb.Seen.DONE if self.reach(settled).frozen() else verb.Seen.NOT_DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        return _thaw(self.reach(settled), settled)


class Thaw(_OfPlane):
    """Lets go what this run froze; somebody else's freeze stays."""

    name = "promotions.thaw"

    def prepare(self, call: verb.Call) -> verb.Prepared:
        plane = self.inputs(call).plane
        settled = {"service": call.service, "plane": plane.value, "why": _why(call.run)}
        self.reach(settled).frozen()
        return verb.Prepared(
            will=f"thaw the {plane} plane of {call.service}, if this run froze it",
            touches=(f"{plane} plane (freeze mark)",),
            undo="freeze it again",
            settled=settled,
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        outcome = _thaw(self.reach(settled), settled)
        return kinds.ok(outcome.summary) if outcome.status is outcomes.Status.UNDONE else outcome

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        return verb.Seen.NOT_DONE if self.reach(settled).frozen() == settled["why"] else verb.Seen.DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        reached = self.reach(settled)
        if reached.frozen():
            return kinds.skipped(f"the {settled['plane']} plane is frozen: {reached.frozen()}")
        reached.freeze(settled["why"])
        return kinds.undone(f"the {settled['plane']} plane is frozen again")


def _thaw(reached: connector.Freezable, settled: Mapping[str, str]) -> outcomes.Outcome:
    now = reached.frozen()
    if not now:
        return kinds.skipped(f"the {settled['plane']} plane is not frozen")
    if now != settled["why"]:
        return kinds.skipped(f"left frozen, this run did not do it: {now}")
    reached.thaw()
    return kinds.undone(f"the {settled['plane']} plane is thawed")
