"""Moving a plane to another revision, and blocking a revision for everyone who promotes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ddr.actions import kinds, serving
from ddr.domain import outcomes, planes, plans, records, revisions, services
from ddr.errors import Conflict, Damaged, DdrError, Refused
from ddr.journal import views
from ddr.lib import digest
from ddr.ports import connector, verb
from ddr.rollback import apply, planner, targets


@dataclass(frozen=True)
class SwitchInputs:
    plane: planes.Plane
    to: str = planner.LAST_GOOD


class SwitchPlane(kinds.Action):
    """Compare-and-set one plane. Undo sets it back the same way and lets the server load it."""

    name = "plane.switch"
    gives = ("plane", "object", "live", "live_digest", "target", "target_digest")
    Inputs: ClassVar[type[Any]] = SwitchInputs

    def lacks(self, inputs: SwitchInputs, service: services.Service) -> Sequence[str]:
        return kinds.lacks_port(self.on, service, inputs.plane, connector.Switchable, "can be observed, not switched")

    def prepare(self, call: verb.Call) -> verb.Prepared:
        wanted = self.inputs(call)
        plan = planner.plan(self.on, call.service, wanted.plane, wanted.to)
        if plan.refusals:
            raise Refused(
                f"{call.service}: the {wanted.plane} plane is not switched: "
                + "; ".join(check.detail for check in plan.refusals),
                hint="`ddr runbook plan` shows every check; name another revision, or contain",
            )
        move = plan.moves[0]
        return verb.Prepared(
            will=f"switch {call.service} {move.plane} {move.live.name} -> {_spoken(move.target)}",
            touches=(f"{move.plane} plane ({self.on.service(call.service).planes[move.plane]})",),
            undo=f"switch back to {_spoken(move.live)}, unless someone moved it since",
            settled={
                "service": call.service,
                "plane": move.plane.value,
                "object": move.target.object,
                "live": move.live.name,
                "live_digest": move.live.digest,
                "target": move.target.name,
                "target_digest": move.target.digest,
            },
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        move = move_of(settled)
        plan = plans.Plan(settled["service"], (move,))
        live = apply.apply(self.on, plan, f"run {call.run}, step {call.step}")[0]
        return outcomes.Outcome(
            outcomes.Status.OK,
            f"{move.plane} is {_spoken(live)}, was {move.live.name}",
            (f"read back: {_spoken(live)}",),
            dict(settled),
        )

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        move = move_of(settled)
        live = self.on.plane(settled["service"], move.plane).revision()
        if live.is_same(move.target):
            return verb.Seen.DONE
        return verb.Seen.NOT_DONE if live.is_same(move.live) else verb.Seen.OTHER

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        move, service = move_of(settled), settled["service"]
        live = apply.live(self.on.plane(service, move.plane))
        if not live.is_same(move.target) and not live.is_same(move.live):
            raise Conflict(
                f"{service}: the {move.plane} plane is {_spoken(live)}; this run had set it to {move.target.name}, "
                "so someone else moved it since and it is left alone",
                expected=_spoken(move.target),
                found=_spoken(live),
                hint="look who moved it with `ddr changes`",
            )
        if move.is_needed:
            apply.switch(self.on, service, move.reversed(), f"run {call.run} taken back")
        rolled = self.roll_behind(settled)
        if rolled.status is outcomes.Status.FAILED:
            return rolled
        return kinds.undone(f"{move.plane} is {move.live.name} again")

    def undo_needs_a_yes(self, settled: Mapping[str, str]) -> str:
        """Where it would go back to what is marked bad; what cannot be read is asked of ddr's record alone."""
        move, service = move_of(settled), settled["service"]
        found = move.live
        acting = self.on.plane(service, move.plane)
        if isinstance(acting, connector.Switchable):
            with contextlib.suppress(DdrError):
                found = apply.again(acting).find(move.live.name)
        why = targets.why_blocked(found, views.fold(self.on.journal.events()).blocked(service, move.plane))
        return f"it brings back {move.plane} {move.live.name}, and {why}" if why else ""

    def roll_behind(self, settled: Mapping[str, str]) -> outcomes.Outcome:
        """The server loads what is live again."""
        return serving.roll(self.on, settled["service"])


def _spoken(revision: revisions.Revision) -> str:
    bytes_ = f" ({digest.short(revision.digest)})" if revision.digest else ""
    return f"{revision.name}{bytes_}"


def move_of(settled: Mapping[str, str]) -> plans.Move:
    """The move that a switch was settled on."""
    plane = planes.Plane(settled["plane"])
    live = revisions.Revision(plane, settled["object"], settled["live"], settled["live_digest"])
    target = revisions.Revision(plane, settled["object"], settled["target"], settled["target_digest"])
    return plans.Move(plane, live, target)


@dataclass(frozen=True)
class BlockInputs:
    plane: planes.Plane
    revision: str
    why: str


class BlockRevision(kinds.Action):
    """Nothing may bring this revision back: marked in ddr's journal, and in its own system where that can be done."""

    name = "revision.block"
    Inputs = BlockInputs

    def lacks(self, inputs: BlockInputs, service: services.Service) -> Sequence[str]:
        return kinds.lacks_port(self.on, service, inputs.plane, connector.Switchable, "cannot look up a revision")

    def prepare(self, call: verb.Call) -> verb.Prepared:
        wanted = self.inputs(call)
        looked: apply.Acting = kinds.reach(
            self.on, call.service, wanted.plane, connector.Switchable, "cannot look up a revision"
        )
        found = self._found(looked, wanted)
        marks = isinstance(looked, connector.Markable)
        return verb.Prepared(
            will=f"block {wanted.plane} {_spoken(found)}: {wanted.why}",
            touches=("journal", f"{wanted.plane} plane (a mark)") if marks else ("journal",),
            undo="take the mark off, unless it was there before",
            settled={
                "service": call.service,
                "plane": wanted.plane.value,
                "object": found.object,
                "revision": found.name,
                "digest": found.digest,
                "why": f"{wanted.why} (run {call.run})",
                "was": found.facts.get(revisions.BLOCKED, ""),
            },
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        looked = self.on.plane(settled["service"], planes.Plane(settled["plane"]))
        if isinstance(looked, connector.Markable) and not settled["was"]:
            looked.block(settled["revision"], settled["why"])
        if not self._is_blocked(settled):
            self.on.journal.append(_mark(settled, good=False, why=settled["why"]))
        return kinds.ok(f"{settled['plane']} {settled['revision']} is blocked")

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        looked = self.on.plane(settled["service"], planes.Plane(settled["plane"]))
        marked = True
        if isinstance(looked, connector.Markable) and isinstance(looked, connector.Switchable) and settled["digest"]:
            marked = bool(looked.find(settled["revision"]).facts.get(revisions.BLOCKED))
        return verb.Seen.DONE if marked and self._is_blocked(settled) else verb.Seen.NOT_DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        if settled["was"]:
            return kinds.skipped(f"{settled['plane']} {settled['revision']} was blocked before this run")
        looked = self.on.plane(settled["service"], planes.Plane(settled["plane"]))
        if isinstance(looked, connector.Markable):
            looked.unblock(settled["revision"])
        if self._is_blocked(settled):
            self.on.journal.append(_mark(settled, good=True, why=f"run {call.run} taken back"))
        return kinds.undone(f"{settled['plane']} {settled['revision']} is no longer blocked")

    def undo_needs_a_yes(self, settled: Mapping[str, str]) -> str:
        if settled["was"] or not self._is_blocked(settled):
            return ""
        return f"it takes the block off {settled['plane']} {settled['revision']}"

    def _found(self, looked: apply.Acting, wanted: BlockInputs) -> revisions.Revision:
        """What is damaged is blocked by its name alone."""
        try:
            return apply.again(looked).find(wanted.revision)
        except Damaged:
            return revisions.Revision(wanted.plane, apply.live(looked).object, wanted.revision)

    def _is_blocked(self, settled: Mapping[str, str]) -> bool:
        board = views.fold(self.on.journal.events())
        blocked = board.blocked(settled["service"], planes.Plane(settled["plane"]))
        return (settled["revision"], settled["digest"]) in blocked


def _mark(settled: Mapping[str, str], *, good: bool, why: str) -> records.RevisionMarked:
    return records.RevisionMarked(
        settled["service"],
        planes.Plane(settled["plane"]),
        settled["object"],
        settled["revision"],
        settled["digest"],
        good,
        why,
    )
