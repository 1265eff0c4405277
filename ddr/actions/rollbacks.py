"""What a rollback's procedure is made of: pinned to what was planned, so a resumed run goes nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ddr.actions import kinds, switching
from ddr.diagnose import watch
from ddr.domain import outcomes, planes, plans, records, revisions, services, signals
from ddr.errors import Conflict, DdrError
from ddr.journal import views
from ddr.lib import timetext
from ddr.ports import connector, verb
from ddr.ports import platform as platforms
from ddr.release import timeline
from ddr.rollback import apply, proof, proposal

POLL = timedelta(seconds=1)
LOOKED_BACK = timedelta(hours=1)
_IN_FORCE = ("rollback.switch", "features.refresh", "serving.roll")
_COUNTED = "counted "
PROOF_EVERY = timedelta(seconds=30)


@dataclass(frozen=True)
class Pinned:
    """One switch as it was planned. `rolls`: taking it back lets the server load what the planes then point at."""

    plane: planes.Plane
    object: str
    live: str
    live_digest: str
    target: str
    target_digest: str
    rolls: bool = False

    @property
    def move(self) -> plans.Move:
        return plans.Move(
            self.plane,
            revisions.Revision(self.plane, self.object, self.live, self.live_digest),
            revisions.Revision(self.plane, self.object, self.target, self.target_digest),
        )


@dataclass(frozen=True)
class Stays:
    """A plane that is not moved, as it was when that was planned."""

    plane: planes.Plane
    object: str
    name: str
    digest: str

    @property
    def revision(self) -> revisions.Revision:
        return revisions.Revision(self.plane, self.object, self.name, self.digest)


@dataclass(frozen=True)
class CheckInputs:
    """`plan` is the digest that people were shown."""

    moves: tuple[Pinned, ...]
    stays: tuple[Stays, ...] = ()
    plan: str = ""


def _who(on: platforms.Platform, service: str, plane: planes.Plane, since: datetime) -> str:
    """Who moved the plane, as far as any system remembers."""
    try:
        board = views.fold(on.journal.events())
        own = [
            change.at for change in board.changes.get(service, ()) if change.plane is plane and change.source == "ddr"
        ]
        told = timeline.changes(on, service, max([since - LOOKED_BACK, *own]))
    except DdrError:
        return "nobody can say who"
    moves = [change for change in told.changes if change.plane is plane and not change.arrived]
    found = [change for change in moves if change.recorded and change.source != "ddr"]
    if not found:
        return f"no system remembers who did it; ask whoever promotes to {plane}"
    last = found[-1]
    return f"by {last.actor} at {timetext.format_clock(last.at)} ({last.source or 'a change log'})"


class CheckPlan(kinds.Probe):
    """The plan once more, from the world as it is: nothing is switched from where it was not seen.

    Bytes that were read for the plan a moment ago are not read again here: the switch reads them before it writes.
    """

    name = "rollback.check"
    again = True
    Inputs = CheckInputs

    def lacks(self, inputs: CheckInputs, service: services.Service) -> Sequence[str]:
        return [
            what
            for move in inputs.moves
            for what in kinds.lacks_port(
                self.on, service, move.plane, connector.Switchable, "can be observed, not switched"
            )
        ]

    def will(self, inputs: CheckInputs, call: verb.Call) -> str:
        spoken = ", ".join(f"{move.plane} {move.live} -> {move.target}" for move in inputs.moves)
        return f"see that {spoken} is still what was planned for {call.service}"

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        del settled
        inputs = self.inputs(call)
        wanted = {pinned.plane: pinned.target for pinned in inputs.moves}
        found = proposal.propose(self.on, call.service, wanted, again=True)
        now = {**found.stays, **{move.plane: move.live for move in found.plan.moves}}
        for pinned in inputs.moves:
            live = now[pinned.plane]
            if not live.is_same(pinned.move.live):
                who = _who(self.on, call.service, pinned.plane, self.on.clock.now())
                return kinds.failed(
                    f"the {pinned.plane} plane is at {live} now, and the plan was made for {pinned.move.live}: "
                    f"moved {who}; nothing was switched; plan again"
                )
        lines = tuple(f"{check.name}: {check.state}: {check.detail}" for check in found.plan.checks)
        planned = {pinned.plane: pinned.move.target for pinned in inputs.moves}
        for move in found.plan.moves:
            if not move.target.is_same(planned[move.plane]):
                return kinds.failed(f"{move.target} has other bytes than were planned; plan again", *lines)
        if found.plan.refusals:
            why = "; ".join(check.detail for check in found.plan.refusals)
            left = f"; still possible: --to {' or '.join(found.possible)}" if found.possible else ""
            return kinds.failed(f"{why}{left}; nothing was switched", *lines)
        spoken = ", ".join(f"{move.plane} {move.live.name} -> {move.target.name}" for move in found.plan.moves)
        return kinds.ok(f"{spoken}: as planned", *lines)


class SwitchPinned(switching.SwitchPlane):
    """Compare-and-set from what was planned to what was planned. Undo sets it back the same way."""

    name = "rollback.switch"
    Inputs = Pinned

    def layer(self, settled: Mapping[str, str]) -> str:
        return f"plane:{settled['plane']}"

    def prepare(self, call: verb.Call) -> verb.Prepared:
        pinned: Pinned = self.inputs(call)
        move = pinned.move
        acting = apply.switchable(self.on, call.service, move.plane)
        live = apply.live(apply.again(acting))
        if not live.is_same(move.live) and not live.is_same(move.target):
            raise Conflict(
                f"{call.service}: {move.plane} is at {live}, not at {move.live} as planned; nothing was changed",
                expected=str(move.live),
                found=str(live),
                hint="look who moved it with `ddr changes`, then plan again",
            )
        how = acting.write(move.target, move.live) if isinstance(acting, connector.Spoken) else ""
        return verb.Prepared(
            will=how or f"switch {call.service} {move.plane} {move.live.name} -> {move.target.name}",
            touches=(f"{move.plane} plane ({self.on.service(call.service).planes[move.plane]})",),
            undo=f"switch {move.plane} back to {move.live.name}, unless someone moved it since",
            settled={
                "service": call.service,
                "plane": move.plane.value,
                "object": pinned.object,
                "live": pinned.live,
                "live_digest": pinned.live_digest,
                "target": pinned.target,
                "target_digest": pinned.target_digest,
                "rolls": "yes" if pinned.rolls else "",
            },
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        """The connector compares, sets and reads back; what it found there is not asked for twice."""
        move, service = switching.move_of(settled), settled["service"]
        live = apply.set_(self.on, service, move, f"run {call.run}, step {call.step}")
        return kinds.ok(f"{move.plane} is {live.name}, was {move.live.name}", f"read back: {live}", **settled)

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        move = switching.move_of(settled)
        live = apply.live(self.on.plane(settled["service"], move.plane))
        if live.is_same(move.target):
            return verb.Seen.DONE
        return verb.Seen.NOT_DONE if live.is_same(move.live) else verb.Seen.OTHER

    def roll_behind(self, settled: Mapping[str, str]) -> outcomes.Outcome:
        """Of several planes the first one switched is the last one set back: then all fit again, and are loaded."""
        return super().roll_behind(settled) if settled["rolls"] else kinds.skipped("the server is rolled at the end")


@dataclass(frozen=True)
class HoldInputs:
    """Watched for `window`; with 0s looked at once. `fallback`: the fallback has to answer. `counts`: a proof follows,
    so what sources have counted by now is kept for it."""

    moves: tuple[Pinned, ...] = ()
    stays: tuple[Stays, ...] = ()
    window: timedelta = timedelta(0)
    fallback: bool = False
    counts: bool = False


_READ_BACK = "nothing is left to look at: each step has read back what it did"


def _looked_at(inputs: HoldInputs, *, is_served: bool) -> str:
    """What is held against the world, '' for nothing."""
    seen = [f"{move.plane} is at {move.target}" + (", in the server too" if is_served else "") for move in inputs.moves]
    seen += ["the fallback answers"] if inputs.fallback and is_served else []
    return ", ".join([*seen, *(["the other planes are what they were"] if inputs.stays else [])])


class HoldsStill(kinds.Probe):
    """What was switched stays switched, the server holds it, and nothing else is another than before."""

    name = "rollback.hold"
    waits = True
    gives = ("looks",)
    Inputs = HoldInputs

    def will(self, inputs: HoldInputs, call: verb.Call) -> str:
        if not inputs.window:
            seen = _looked_at(inputs, is_served=call.service in self.on.servers)
            return f"look once whether {seen}" if seen else _READ_BACK
        span = timetext.format_duration(inputs.window)
        return f"watch for {span} that nobody takes it back, and that the other planes are what they were"

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        del settled
        inputs: HoldInputs = self.inputs(call)
        start, looks = self.on.clock.now(), 0
        counted = watch.counts(self.on, call.service) if inputs.counts else {}
        while True:
            looks += 1
            wrong = self._wrong(call, inputs, start, first=looks == 1)
            if wrong:
                return kinds.failed(wrong)
            left = start + inputs.window - self.on.clock.now()
            if left <= timedelta(0):
                break
            self.on.clock.sleep(min(POLL, left).total_seconds())
        kept = ", ".join(f"{stay.plane} {stay.name}" for stay in inputs.stays)
        span = timetext.format_duration(self.on.clock.now() - start)
        many = f"seen {looks} time{'' if looks == 1 else 's'} in {span}" if inputs.window else "looked at once"
        moved = ", ".join(f"{move.plane} {move.target}" for move in inputs.moves)
        summary = f"{moved or 'all of it'} holds, {many}" + (f"; untouched: {kept}" if kept else "")
        if not inputs.window and not inputs.stays:
            seen = _looked_at(inputs, is_served=call.service in self.on.servers)
            summary = f"looked once: {seen}" if seen else _READ_BACK
        lines = [f"unchanged: {stay.revision}" for stay in inputs.stays]
        kept_counts = {f"{_COUNTED}{source}": text for source, text in counted.items()}
        return kinds.ok(summary, *lines, looks=str(looks), **kept_counts)

    def _wrong(self, call: verb.Call, inputs: HoldInputs, start: datetime, *, first: bool) -> str:
        """At the first look the bytes may be those that the switch has read back a moment ago."""
        on, service = self.on, call.service
        for move in inputs.moves:
            acting = on.plane(service, move.plane)
            live = apply.live(apply.again(acting) if first else acting)
            if not live.is_same(move.move.target):
                who = _who(on, service, move.plane, start)
                back = "somebody took it back" if live.is_same(move.move.live) else "somebody moved it on"
                return (
                    f"{move.plane} is at {live} again, not at {move.move.target}: {back}, {who}; stop them, then "
                    f"roll back again, or contain it: ddr contain {service}"
                )
        for stay in inputs.stays:
            live = apply.live(on.plane(service, stay.plane))
            if not live.is_same(stay.revision):
                who = _who(on, service, stay.plane, start)
                return f"{stay.plane} was {stay.revision} and is {live}: changed meanwhile, {who}; ddr did not touch it"
        if service in on.servers and (inputs.moves or inputs.fallback):
            server = on.server(service)
            if inputs.fallback and not server.fallback():
                return "the fallback is off again"
            loaded = server.loaded()
            for move in inputs.moves:
                held = loaded.get(move.plane)
                if held is not None and not revisions.is_held(move.move.target, held):
                    return f"the server holds {held}, not {move.move.target}"
        return ""


@dataclass(frozen=True)
class ProveInputs:
    """`moves` have to stand while it is proved: a run may be resumed when somebody has gone on from there."""

    planes: tuple[planes.Plane, ...]
    patience: timedelta = timedelta(minutes=5)
    moves: tuple[Pinned, ...] = ()


class Prove(kinds.Probe):
    """Signals judged from observations after the rollback alone, waited for as long as `patience`. One that is bad
    fails it; while one of those that were announced cannot be judged, it is inconclusive and names it."""

    name = "rollback.prove"
    waits = True
    gives = ("judged",)
    Inputs = ProveInputs

    def will(self, inputs: ProveInputs, call: verb.Call) -> str:
        return f"judge the signals of {call.service} on what comes after now, {_spoken(inputs.patience)} at most"

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        del settled
        inputs: ProveInputs = self.inputs(call)
        service = self.on.service(call.service)
        specs = {spec.name: spec for spec in service.signals}
        wanted = {spec.name for spec in proof.awaited(service, inputs.planes)}
        moved_on = self._moved_on(call, inputs)
        if moved_on:
            return kinds.failed(moved_on)
        since, counted = self._in_force(call)
        deadline = self.on.clock.now() + inputs.patience
        while True:
            now = self.on.clock.now()
            judged = watch.judge(self.on, call.service, None, now, since=since, counted=counted)
            bad = [one for one in judged if one.state is signals.State.BAD]
            good = [one for one in judged if one.state is signals.State.OK and one.signal in wanted]
            open_ = [one for one in judged if one.state is signals.State.UNKNOWN and one.signal in wanted]
            if now > since and (bad or not open_ or now >= deadline):
                break
            left = max((deadline - now).total_seconds(), 1.0)
            self.on.clock.sleep(min(max(PROOF_EVERY, inputs.patience / 20).total_seconds(), left))
        self.on.journal.append(records.SignalsJudged(call.service, judged))
        lines = tuple(str(one) for one in judged)
        if bad:
            return kinds.failed(_still_bad(bad, specs, inputs.planes, call.service), *lines)
        if open_ or not good:
            names = ", ".join(one.signal for one in open_) or "the service has no signal for it"
            why = "; ".join(f"{one.signal}: {one.why or f'n={one.n}'}" for one in open_)
            what = f"switched, not proved: {names} not judged yet in {_spoken(now - since)}" + (
                f" ({why})" if why else ""
            )
            return outcomes.Outcome(outcomes.Status.INCONCLUSIVE, what, lines)
        fine = ", ".join(f"{one.signal} ok (n={one.n}{f'; {one.why}' if one.why else ''})" for one in good)
        return kinds.ok(f"judged after the rollback: {fine}", *lines, judged=",".join(one.signal for one in good))

    def _moved_on(self, call: verb.Call, inputs: ProveInputs) -> str:
        """Bytes may be those that were read back a moment ago."""
        for move in inputs.moves:
            live = apply.live(apply.again(self.on.plane(call.service, move.plane)))
            if not live.is_same(move.move.target):
                who = _who(self.on, call.service, move.plane, self.on.clock.now())
                return f"{move.plane} is at {live} by now, not at {move.move.target}, so nothing can be proved: {who}"
        return ""

    def _in_force(self, call: verb.Call) -> tuple[datetime, Mapping[str, str]]:
        """Since when the rollback answers, and what was counted then: a run that is resumed counts what came while it
        was paused."""
        run = views.fold(self.on.journal.events()).runs.get(call.run)
        steps = list(run.steps.values()) if run else []
        ended = [
            step.ended_at
            for step in steps
            if step.ended_at is not None and step.intended is not None and step.intended.verb in _IN_FORCE
        ]
        values = [item for step in steps if step.outcome is not None for item in step.outcome.values.items()]
        counted = {name.removeprefix(_COUNTED): text for name, text in values if name.startswith(_COUNTED)}
        return max(ended, default=call.started_at), counted


def _spoken(span: timedelta) -> str:
    return timetext.format_duration(span)


def _still_bad(
    bad: Sequence[signals.Judgement],
    specs: Mapping[str, services.SignalSpec],
    moved: Sequence[planes.Plane],
    service: str,
) -> str:
    """The rollback is in force and did not heal, or not alone."""
    names = ", ".join(one.signal for one in bad)
    others = sorted({spec.plane for one in bad if (spec := specs[one.signal]).plane and spec.plane not in moved})
    also = f" (accuses {', '.join(others)})" if others else ""
    return f"it is taken back and loaded, and still bad: {names}{also}; `ddr diagnose {service}` looks again"
