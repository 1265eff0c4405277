"""What a game day reports while it runs, and the view a screen shows of it. Pure; nothing is decided by it."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ddr.domain import accounts, gamedays, signals


@dataclass(frozen=True)
class DayBegan:
    gameday: str
    scenarios: tuple[str, ...]


@dataclass(frozen=True)
class ScenarioBegan:
    name: str
    title: str
    position: int
    total: int


@dataclass(frozen=True)
class PhaseBegan:
    """`what` is a short sentence: waiting for a steady state."""

    what: str
    at: datetime


@dataclass(frozen=True)
class Judged:
    at: datetime
    judgements: tuple[signals.Judgement, ...]


@dataclass(frozen=True)
class Injected:
    name: str
    what: str
    at: datetime
    decoy: bool


@dataclass(frozen=True)
class Reached:
    """One of the five times, with what made it."""

    moment: str
    at: datetime
    what: str


@dataclass(frozen=True)
class CommandBegan:
    actor: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class CommandEnded:
    command: accounts.Command


@dataclass(frozen=True)
class Undone:
    what: str
    at: datetime


@dataclass(frozen=True)
class Scored:
    played: gamedays.Played


@dataclass(frozen=True)
class DayEnded:
    result: gamedays.GameDay


Event = (
    DayBegan
    | ScenarioBegan
    | PhaseBegan
    | Judged
    | Injected
    | Reached
    | CommandBegan
    | CommandEnded
    | Undone
    | Scored
    | DayEnded
)
Report = Callable[[Event], None]


def nowhere(_event: Event) -> None:
    """Reports to nobody."""


@dataclass(frozen=True)
class View:
    """What a screen shows: folded from the events so far."""

    gameday: str = ""
    scenario: str = ""
    title: str = ""
    position: int = 0
    total: int = 0
    phase: str = ""
    at: datetime | None = None
    history: Mapping[str, tuple[signals.Judgement, ...]] = field(default_factory=dict)
    times: tuple[Reached, ...] = ()
    told: tuple[str, ...] = ()
    running: CommandBegan | None = None
    scores: tuple[gamedays.Played, ...] = ()


REMEMBERED = 40
"""How many judgements of a signal a screen keeps."""


def after(view: View, event: Event) -> View:
    """The view one event later."""
    change = dataclasses.replace
    match event:
        case DayBegan(gameday, _):
            return View(gameday=gameday)
        case ScenarioBegan(name, title, position, total):
            return View(view.gameday, name, title, position, total, scores=view.scores)
        case PhaseBegan(what, at):
            return change(view, phase=what, at=at)
        case Judged(at, judgements):
            history = dict(view.history)
            for judgement in judgements:
                history[judgement.signal] = (*history.get(judgement.signal, ()), judgement)[-REMEMBERED:]
            return change(view, at=at, history=history)
        case Reached(_, at, _):
            return change(view, at=at, times=(*view.times, event))
        case CommandBegan():
            return change(view, running=event, told=(*view.told, *lines(event)))
        case CommandEnded(command):
            return change(view, running=None, at=command.ended.at, told=(*view.told, *lines(event)))
        case Injected() | Undone():
            return change(view, at=event.at, told=(*view.told, *lines(event)))
        case Scored(played):
            return change(view, phase="", scores=(*view.scores, played))
        case DayEnded():
            return change(view, phase="", running=None)


def lines(event: Event) -> list[str]:
    """An event as plain lines, for a log or a pipe; [] where there is nothing to say."""
    match event:
        case DayBegan(gameday, scenarios):
            return [f"game day {gameday}: {', '.join(scenarios)}"]
        case ScenarioBegan(name, title, position, total):
            return ["", f"scenario {position} of {total}: {name}", f"  {title}"]
        case PhaseBegan(what, at):
            return [f"  {at:%H:%M}  {what}"]
        case Judged(at, judgements):
            bad = [str(judgement) for judgement in judgements if judgement.state is not signals.State.OK]
            return [f"  {at:%H:%M}    {line}" for line in bad]
        case Injected(name, what, at, decoy):
            return [f"  {at:%H:%M}  {'decoy' if decoy else 'fault'} {name}: {what}"]
        case Reached(moment, at, what):
            return [f"  {at:%H:%M}  {moment}" + (f": {what}" if what else "")]
        case CommandBegan(actor, words):
            return [f"         {actor} $ ddr {shlex.join(words)}"]
        case CommandEnded(command):
            first = command.output.strip().splitlines()[:1]
            told = f": {first[0]}" if first else ""
            return [f"         exit {command.exit_code}, {command.wall_s:.1f} s{told}"]
        case Undone(what, at):
            return [f"  {at:%H:%M}  {what}"]
        case Scored(played):
            return [f"  {played.points} of {played.possible} points: {'passed' if played.passed else 'not passed'}"]
        case DayEnded(result):
            return ["", f"{result.points} of {result.possible} points"]
