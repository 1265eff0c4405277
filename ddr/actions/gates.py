"""Gates: may we go back there, and did it help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ddr.actions import kinds, looking
from ddr.diagnose import watch
from ddr.domain import outcomes, planes, records, services, signals
from ddr.lib import timetext
from ddr.ports import connector, verb
from ddr.rollback import planner


@dataclass(frozen=True)
class TargetInputs:
    plane: planes.Plane
    to: str = planner.LAST_GOOD


class CheckTarget(kinds.Probe):
    """Whether the way back is open: the target is there, intact, not blocked, and fits what stays."""

    name = "target.check"
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
    """Each of `count` judgements, one behind every `interval`, must be ok; `min_samples` of them at least."""

    signals: tuple[str, ...]
    count: int = 3
    interval: timedelta = timedelta(minutes=5)
    min_samples: int = 1

    def __post_init__(self) -> None:
        if not self.signals:
            raise ValueError("signals: name at least one")
        if self.count < 1 or self.interval <= timedelta(0) or self.min_samples < 1:
            raise ValueError("count, interval and minSamples must be more than 0")


class HoldSignals(kinds.Probe):
    """Proof of a recovery from fresh observations alone: none from before the step began counts.

    One bad judgement fails the gate; one that cannot be made, or from too few observations, makes it inconclusive.
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
        least = 0
        for number in range(1, wanted.count + 1):
            self.on.clock.sleep(wanted.interval.total_seconds())
            now = self.on.clock.now()
            judged = watch.judge(self.on, call.service, wanted.signals, now, since=since)
            self.on.journal.append(records.SignalsJudged(call.service, judged))
            lines += [f"{number}/{wanted.count} {judgement}" for judgement in judged]
            verdict = _verdict(judged, wanted.min_samples)
            if verdict is not None:
                status, why = verdict
                return outcomes.Outcome(status, f"{why} ({number}/{wanted.count})", tuple(lines))
            least = min(judgement.n for judgement in judged)
        values = {"since": timetext.format_time(since), "until": timetext.format_time(now), "least_n": str(least)}
        return outcomes.Outcome(outcomes.Status.OK, _held(wanted, since, now, least), tuple(lines), values)


def _held(wanted: HoldInputs, since: datetime, until: datetime, least: int) -> str:
    span = timetext.format_duration(until - since)
    return f"{', '.join(wanted.signals)} ok {wanted.count} times over {span} of fresh observations, n >= {least}"


def _verdict(judged: Sequence[signals.Judgement], least: int) -> tuple[outcomes.Status, str] | None:
    """Why the gate does not hold, None while it does."""
    bad = [str(judgement) for judgement in judged if judgement.state is signals.State.BAD]
    if bad:
        return outcomes.Status.FAILED, "; ".join(bad)
    unknown = [str(judgement) for judgement in judged if judgement.state is signals.State.UNKNOWN]
    thin = [
        f"{judgement.signal}: n={judgement.n}, {least} are needed"
        for judgement in judged
        if judgement.state is signals.State.OK and judgement.n < least
    ]
    return (outcomes.Status.INCONCLUSIVE, "; ".join(unknown + thin)) if unknown or thin else None
