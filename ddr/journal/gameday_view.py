"""A game day: which scenarios were played, how far each came, which runs belong to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ddr.domain import events, records


@dataclass(frozen=True)
class Scenario:
    """`reached` are its phases in order with their time; `scored` is None for one that was cut off."""

    name: str
    started: records.ScenarioStarted
    at: datetime
    reached: tuple[tuple[str, datetime], ...] = ()
    scored: records.ScenarioScored | None = None
    scored_at: datetime | None = None
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class GameDay:
    """`runs` are all runs that were started by its actor while it was on, faults and responses."""

    started: records.GameDayStarted
    at: datetime
    actor: str
    seq: int
    scenarios: dict[str, Scenario] = field(default_factory=dict)
    runs: tuple[str, ...] = ()
    ended: records.GameDayEnded | None = None
    ended_at: datetime | None = None

    @property
    def id(self) -> str:
        return self.started.gameday

    @property
    def not_run(self) -> tuple[str, ...]:
        """Scenarios it set out to play and did not begin."""
        return tuple(name for name in self.started.scenarios if name not in self.scenarios)


class GameDayFold:
    """Takes the events of game days; of two with one id the first counts."""

    def __init__(self) -> None:
        self._days: dict[str, GameDay] = {}
        self._open: dict[str, str] = {}  # by host: the game day that is on there

    def take(self, event: events.Event) -> None:
        record = event.record
        match record:
            case records.GameDayStarted():
                self._days.setdefault(record.gameday, GameDay(record, event.at, event.actor, event.seq))
                self._open[event.host] = record.gameday
            case records.RunStarted():
                self._take_run(event.host, record.run)
            case records.ScenarioStarted() | records.ScenarioReached() | records.ScenarioScored():
                day = self._days.get(record.gameday)
                if day is not None:
                    self._days[day.id] = replace(day, scenarios=_told(day.scenarios, event))
            case records.GameDayEnded():
                day = self._days.get(record.gameday)
                if day is not None:
                    self._days[day.id] = replace(day, ended=record, ended_at=event.at)
                self._open.pop(event.host, None)

    def _take_run(self, host: str, run: str) -> None:
        day = self._days.get(self._open.get(host, ""))
        if day is None:
            return
        scenarios = dict(day.scenarios)
        if scenarios:
            name, scenario = next(reversed(scenarios.items()))
            if scenario.scored is None:
                scenarios[name] = replace(scenario, runs=(*scenario.runs, run))
        self._days[day.id] = replace(day, runs=(*day.runs, run), scenarios=scenarios)

    def days(self) -> dict[str, GameDay]:
        return dict(self._days)


def _told(scenarios: Mapping[str, Scenario], event: events.Event) -> dict[str, Scenario]:
    found = dict(scenarios)
    match event.record:
        case records.ScenarioStarted() as record:
            found[record.scenario] = Scenario(record.scenario, record, event.at)
        case records.ScenarioReached(scenario=name, phase=phase) if name in found:
            found[name] = replace(found[name], reached=(*found[name].reached, (phase, event.at)))
        case records.ScenarioScored() as record if record.scenario in found:
            found[record.scenario] = replace(found[record.scenario], scored=record, scored_at=event.at)
    return found
