"""A game day on a terminal: repainted in place where a person watches, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ddr.domain import signals
from ddr.gameday import progress
from ddr.lib import timetext

if TYPE_CHECKING:
    from rich import console as consoles

_BLOCKS = "▁▂▃▄▅▆▇█"
_SHOWN_LINES = 9
_SPARKS = 24


def spark(judgements: tuple[signals.Judgement, ...]) -> str:
    """Values as blocks, each against twice its own threshold; `·` where nothing is known."""
    told = []
    for judgement in judgements[-_SPARKS:]:
        if judgement.value is None or judgement.state is signals.State.UNKNOWN:
            told.append("·")
            continue
        top = 2 * judgement.threshold if judgement.threshold else 1.0
        part = min(1.0, max(0.0, judgement.value / top))
        told.append(_BLOCKS[round(part * (len(_BLOCKS) - 1))])
    return "".join(told)


def render(view: progress.View, running_s: float) -> consoles.RenderableType:
    """The view as rich shows it; `running_s` is how long the command at work has been running."""
    from rich import console as consoles
    from rich import table, text

    head = text.Text()
    head.append(f"{view.position}/{view.total} ", style="dim")
    head.append(view.scenario, style="bold")
    head.append(f"   {view.at:%Y-%m-%d %H:%M}Z" if view.at else "", style="cyan")
    head.append(f"   {view.phase}", style="dim")
    parts: list[consoles.RenderableType] = [head, text.Text(view.title, style="dim"), _signals(view), _times(view)]
    if view.told:
        log = table.Table.grid(padding=(0, 1))
        for line in view.told[-_SHOWN_LINES:]:
            log.add_row(text.Text(line, overflow="ellipsis", no_wrap=True))
        parts += [text.Text(""), log]
    if view.running:
        parts.append(text.Text(f"         ... {running_s:.0f} s", style="dim"))
    return consoles.Group(*parts)


def _signals(view: progress.View) -> consoles.RenderableType:
    from rich import table, text

    grid = table.Table.grid(padding=(0, 2))
    for name, history in view.history.items():
        last = history[-1]
        word, style = {"ok": ("ok", "green"), "bad": ("BAD", "bold red"), "unknown": ("??", "yellow")}[last.state]
        value = "" if last.value is None else f"{last.value:.4g}{last.unit}"
        limit = "" if last.threshold is None else f"limit {last.threshold:.4g}{last.unit}"
        grid.add_row(
            text.Text(f"  {word}", style=style),
            text.Text(name),
            text.Text(spark(history), style=style if last.state == "bad" else "blue"),
            text.Text(value, justify="right"),
            text.Text(limit, style="dim"),
            text.Text(f"n={last.n}", style="dim"),
        )
    return grid


def _times(view: progress.View) -> consoles.RenderableType:
    from rich import text

    line = text.Text("  ")
    before = None
    for reached in view.times:
        gap = f" +{timetext.format_duration(reached.at - before)}" if before else ""
        line.append(f"{reached.moment} ", style="bold")
        line.append(f"{reached.at:%H:%M}{gap}   ", style="cyan")
        before = reached.at
    return line


class _Board:
    """What rich repaints from: always the newest view, with the seconds of the running command."""

    def __init__(self) -> None:
        self.view = progress.View()
        self._since = 0.0

    def take(self, event: progress.Event) -> None:
        if isinstance(event, progress.CommandBegan):
            self._since = time.monotonic()
        self.view = progress.after(self.view, event)

    def __rich__(self) -> consoles.RenderableType:
        return render(self.view, time.monotonic() - self._since)


@contextlib.contextmanager
def live() -> Iterator[progress.Report]:
    """A report that repaints standard error in place. Each scenario's score stays above it."""
    from rich import console as consoles
    from rich import live as lives

    board = _Board()
    console = consoles.Console(stderr=True)
    with lives.Live(board, console=console, refresh_per_second=8, transient=True) as shown:

        def report(event: progress.Event) -> None:
            board.take(event)
            if isinstance(event, progress.Scored):
                played = event.played
                word = "[green]passed[/]" if played.passed else "[red]not passed[/]"
                shown.console.print(f"[bold]{played.name}[/] {word}, {played.points} of {played.possible} points")

        yield report


def lines(write: Callable[[str], None]) -> progress.Report:
    """A report that writes plain lines, for a log or a pipe."""

    def report(event: progress.Event) -> None:
        for line in progress.lines(event):
            write(line)

    return report
