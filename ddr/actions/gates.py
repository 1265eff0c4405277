"""Gates: may we go back there, and did it help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ddr.actions import kinds, looking, serving
from ddr.diagnose import watch
from ddr.domain import outcomes, planes, records, services, signals
from ddr.errors import DdrError, InputError, Missing
from ddr.lib import timetext
from ddr.ports import connector, verb
from ddr.rollback import planner


@dataclass(frozen=True)
class TargetInputs:
    plane: planes.Plane
    to: str = planner.LAST_GOOD


class IsNeeded(kinds.Probe):
    """Whether there is something to take back. Before a run's first effect: a run that is not needed ends there."""

    name = "target.needed"
    gives = ("live",)
    again = True
    Inputs = TargetInputs

    def mistakes(self, call: verb.Call) -> Sequence[str]:
        """A revision that was named and is not there."""
        wanted = self.inputs(call)
        plane = self.on.plane(call.service, wanted.plane)
        if wanted.to == planner.LAST_GOOD or not isinstance(plane, connector.Switchable):
            return ()
        try:
            plane.find(wanted.to)
        except (Missing, InputError) as problem:
            return (f"to={wanted.to}: {problem.message}",)
        except DdrError:
            return ()
        return ()

    def will(self, inputs: TargetInputs, call: verb.Call) -> str:
        return f"see whether the {inputs.plane} plane of {call.service} is anywhere else than at {inputs.to}"

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        del settled
        wanted = self.inputs(call)
        seen = planner.look(self.on, call.service, wanted.plane, wanted.to)
        there = planner.is_there(seen, wanted.to)
        stale = serving.held_otherwise(self.on, call.service, wanted.plane) if there else ""
        if stale:
            return kinds.failed(f"nothing to take back: {there}; {stale}")
        if there:
            further = f"-p to={'VERSION' if wanted.to == planner.LAST_GOOD else planner.LAST_GOOD} goes elsewhere"
            return kinds.failed(
                f"nothing to take back: {there}; `ddr diagnose {call.service}` names the layer at fault; {further}"
            )
        against = () if wanted.to == planner.LAST_GOOD else planner.decide(seen, wanted.to).refusals
        if against:
            return kinds.failed(
                f"nobody can go to {wanted.to}: {'; '.join(check.detail for check in against)}; nothing was touched; "
                f"`ddr release list {call.service}` shows what was live, without -p to it is the newest good one"
            )
        live = seen.live[wanted.plane]
        return kinds.ok(f"{live.object} {live.name} is live, not {wanted.to}", live=live.name)


class CheckTarget(kinds.Probe):
    """Whether the way back is open: the target is there, intact, not blocked, and fits what stays."""

    name = "target.check"
    again = True
    gives = ("object", "live", "target", "live_digest", "target_digest")
    Inputs = TargetInputs

    def lacks(self, inputs: TargetInputs, service: services.Service) -> Sequence[str]:
        return kinds.lacks_port(self.on, service, inputs.plane, connector.Switchable, "can be observed, not switched")

    def will(self, inputs: TargetInputs, call: verb.Call) -> str:
        return f"see whether the {inputs.plane} plane of {call.service} can go back to {inputs.to}"

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        del settled
        wanted = self.inputs(call)
        plan = planner.plan(self.on, call.service, wanted.plane, wanted.to)
        lines = tuple(f"{check.name}: {check.state}: {check.detail}" for check in plan.checks)
        if plan.refusals:
            return kinds.failed("; ".join(check.detail for check in plan.refusals), *lines)
        move = plan.moves[0]
        return outcomes.Outcome(
            outcomes.Status.OK,
            f"{wanted.plane} {move.live.name} can go back to {move.target.name}",
            lines,
            {
                "object": move.target.object,
                "live": move.live.name,
                "target": move.target.name,
                "live_digest": move.live.digest,
                "target_digest": move.target.digest,
            },
        )


@dataclass(frozen=True)
class HoldInputs:
    """`count` judgements, one behind every `interval`, must be ok, each from `min_samples` observations at least.

    While there are too few observations the gate waits, `patience` long in all (twice count x interval by default).
    """

    signals: tuple[str, ...]
    count: int = 3
    interval: timedelta = timedelta(minutes=5)
    min_samples: int = 1
    patience: timedelta | None = None

    def __post_init__(self) -> None:
        if not self.signals:
            raise ValueError("signals: name at least one")
        if self.count < 1 or self.interval <= timedelta(0) or self.min_samples < 1:
            raise ValueError("count, interval and minSamples must be more than 0")


class HoldSignals(kinds.Probe):
    """Proof of a recovery from fresh observations alone: none from before the step began counts.

    One bad judgement fails the gate. What still cannot be judged when its patience ends makes it inconclusive.
    """

    name = "signals.hold"
    gives = ("since", "until", "least_n")
    waits = True
    Inputs = HoldInputs

    def lacks(self, inputs: HoldInputs, service: services.Service) -> Sequence[str]:
        return looking.unknown_signals(inputs.signals, service)

    def will(self, inputs: HoldInputs, call: verb.Call) -> str:
        every = timetext.format_duration(inputs.interval)
        return f"see {', '.join(inputs.signals)} ok {inputs.count} times, every {every}, from traffic after now"

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        del settled
        wanted = self.inputs(call)
        since = call.started_at
        lines: list[str] = []
        least = held = 0
        deadline = since + (wanted.patience or 2 * wanted.count * wanted.interval)
        while held < wanted.count:
            self.on.clock.sleep(wanted.interval.total_seconds())
            now = self.on.clock.now()
            judged = watch.judge(self.on, call.service, wanted.signals, now, since=since)
            self.on.journal.append(records.SignalsJudged(call.service, judged))
            place = f"{held + 1}/{wanted.count}"
            lines += [f"{place} {judgement}" for judgement in judged]
            status, why = _verdict(judged, wanted.min_samples)
            if status is outcomes.Status.FAILED or (status is outcomes.Status.INCONCLUSIVE and now >= deadline):
                return outcomes.Outcome(status, f"{why} ({place})", tuple(lines))
            if status is outcomes.Status.OK:
                held += 1
                least = min(judgement.n for judgement in judged)
        values = {"since": timetext.format_time(since), "until": timetext.format_time(now), "least_n": str(least)}
        return outcomes.Outcome(outcomes.Status.OK, _held(wanted, since, now, least), tuple(lines), values)


def _held(wanted: HoldInputs, since: datetime, until: datetime, least: int) -> str:
    span = timetext.format_duration(until - since)
    return f"{', '.join(wanted.signals)} ok {wanted.count} times over {span} of fresh observations, n >= {least}"


def _verdict(judged: Sequence[signals.Judgement], least: int) -> tuple[outcomes.Status, str]:
    """FAILED when something is bad, INCONCLUSIVE when something cannot be judged yet; with why."""
    bad = [str(judgement) for judgement in judged if judgement.state is signals.State.BAD]
    if bad:
        return outcomes.Status.FAILED, "; ".join(bad)
    unknown = [str(judgement) for judgement in judged if judgement.state is signals.State.UNKNOWN]
    thin = [
        f"{judgement.signal}: n={judgement.n}, {least} are needed"
        for judgement in judged
        if judgement.state is signals.State.OK and judgement.n < least
    ]
    return (outcomes.Status.INCONCLUSIVE if unknown or thin else outcomes.Status.OK), "; ".join(unknown + thin)
