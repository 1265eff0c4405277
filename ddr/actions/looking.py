"""Probes: what changed, and what the signals say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ddr.actions import kinds
from ddr.diagnose import watch
from ddr.domain import outcomes, services, signals
from ddr.lib import timetext
from ddr.ports import verb
from ddr.release import timeline

SHOWN = 12
"""How many changes are written into the evidence, newest first."""


@dataclass(frozen=True)
class ChangesInputs:
    window: timedelta = timedelta(hours=24)


class ListChanges(kinds.Probe):
    """The recent changes of all planes, newest first."""

    name = "changes.list"
    gives = ("count", "newest")
    Inputs = ChangesInputs

    def will(self, inputs: ChangesInputs, call: verb.Call) -> str:
        return f"list what changed on {call.service} in the last {timetext.format_duration(inputs.window)}"

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        del settled
        window = self.inputs(call).window
        told = timeline.changes(self.on, call.service, self.on.clock.now() - window)
        newest_first = tuple(reversed(told.changes))
        lines = [
            f"{timetext.format_clock(change.at)} {change.name} by {change.actor}"
            + ("" if change.recorded else " (nobody recorded it)")
            for change in newest_first[:SHOWN]
        ]
        lines += [f"not heard: {source}" for source in told.silent]
        many = f"{len(newest_first)} change{'' if len(newest_first) == 1 else 's'}"
        summary = f"{many} in {timetext.format_duration(window)}"
        newest = newest_first[0].name if newest_first else "none"
        summary += f", newest: {newest}" if newest_first else ""
        return kinds.ok(summary, *lines, count=str(len(newest_first)), newest=newest)


@dataclass(frozen=True)
class SignalsInputs:
    """No name means all signals of the service."""

    signals: tuple[str, ...] = ()


def unknown_signals(names: Sequence[str], service: services.Service) -> Sequence[str]:
    known = [spec.name for spec in service.signals]
    return tuple(
        f"signals: {service.name} watches no {name!r}; it watches: {', '.join(known) or 'nothing'}"
        for name in names
        if name not in known
    )


class ReadSignals(kinds.Probe):
    """Every signal, judged now. It is OK when they could be judged, whatever they say."""

    name = "signals.read"
    gives = ("bad", "unknown")
    Inputs = SignalsInputs

    def lacks(self, inputs: SignalsInputs, service: services.Service) -> Sequence[str]:
        return unknown_signals(inputs.signals, service)

    def will(self, inputs: SignalsInputs, call: verb.Call) -> str:
        return f"judge {', '.join(inputs.signals) or 'all signals'} of {call.service}"

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        del settled
        judged = watch.judge(self.on, call.service, self.inputs(call).signals or None)
        bad = _named(judged, signals.State.BAD)
        unknown = _named(judged, signals.State.UNKNOWN)
        summary = f"{len(judged)} signals: bad: {bad or 'none'}; unknown: {unknown or 'none'}"
        return kinds.ok(summary, *map(str, judged), bad=bad, unknown=unknown)


def _named(judged: Sequence[signals.Judgement], state: signals.State) -> str:
    return ", ".join(judgement.signal for judgement in judged if judgement.state is state)
