"""Serving an agreed stand-in for a feature view: containment where its rows are wrong and cannot be had back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ddr.actions import kinds, serving
from ddr.domain import outcomes, planes, services
from ddr.ports import connector, verb

_CANNOT = "cannot serve a stand-in"


class Isolate(kinds.Action):
    """An isolation that was there before is kept, and not taken off by undo."""

    name = "view.isolate"
    Inputs = serving.PlaneInputs

    def lacks(self, inputs: serving.PlaneInputs, service: services.Service) -> Sequence[str]:
        return kinds.lacks_port(self.on, service, inputs.plane, connector.Isolatable, _CANNOT)

    def _reach(self, settled: Mapping[str, str]) -> connector.Isolatable:
        plane = planes.Plane(settled["plane"])
        found: connector.Isolatable = kinds.reach(self.on, settled["service"], plane, connector.Isolatable, _CANNOT)
        return found

    def prepare(self, call: verb.Call) -> verb.Prepared:
        plane = self.inputs(call).plane
        settled = {"service": call.service, "plane": plane.value, "why": f"isolated by ddr run {call.run}"}
        was = self._reach(settled).isolated()
        if was and was != settled["why"]:
            return verb.Prepared(f"keep {plane} isolated, as it is: {was}", (), "nothing", {**settled, "was": was})
        return verb.Prepared(
            will=f"serve the agreed stand-in for the {plane} view of {call.service}",
            touches=(f"rows of the {plane} plane",),
            undo="serve the view's own rows again",
            settled={**settled, "was": ""},
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        reached = self._reach(settled)
        reached.isolate(settled["why"])
        now = reached.isolated()
        if not now:
            return kinds.failed(f"the {settled['plane']} view was isolated and is not")
        return kinds.ok(f"the {settled['plane']} view gives its stand-in: {now}")

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        return verb.Seen.DONE if self._reach(settled).isolated() else verb.Seen.NOT_DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        if settled["was"]:
            return kinds.skipped(f"it was isolated before this run: {settled['was']}")
        reached = self._reach(settled)
        now = reached.isolated()
        if not now:
            reached.join()  # what was cut off on the way there; else there is nothing to do
            return kinds.skipped(f"the {settled['plane']} view is not isolated")
        if now != settled["why"]:
            return kinds.skipped(f"left isolated, this run did not do it: {now}")
        reached.join()
        return kinds.undone(f"the {settled['plane']} view gives its own rows again")
