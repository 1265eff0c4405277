"""An engine with a screen: a repainted one where a person watches, plain lines elsewhere. Ctrl-C pauses."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.runbook import engine as engines
    from ddr.runbook import progress, screen, work


def exit_code(status: str) -> int:
    """Of a run that has its end. Contained is a finding: the fallback answers, the cause is still there."""
    from ddr import errors

    if status == "contained":
        return errors.EXIT_FINDING
    return errors.EXIT_OK if status in ("recovered", "switched", "undone", "injected") else errors.EXIT_FAILED


@dataclass
class Live:
    """One call of the engine and what it showed. `run` is known from its first event on."""

    session: sessions.Session
    made: engines.Engine
    run: str
    painter: _Painter

    def finish(self, call: Callable[[engines.Engine], engines.Finish]) -> int:
        """Run it and show how it ended; the exit code follows from that."""
        from ddr import errors

        try:
            ended = call(self.made)
        except (errors.ApprovalRequired, errors.Interrupted) as pause:
            if not self.painter.view.run:
                raise  # an earlier run is in the way; this one was not begun
            self.painter.close()
            self._show("waiting" if isinstance(pause, errors.ApprovalRequired) else "paused", pause.message)
            return pause.exit_code
        self.painter.close()
        self._show(ended.status, ended.why)
        return exit_code(ended.status)

    def _show(self, status: str, why: str) -> None:
        waiting = self.painter.view.waiting
        document = {
            "run": self.painter.view.run or self.run,
            "status": status,
            "why": why,
            "incident": self.painter.view.incident,
            "plan_digest": self.painter.view.plan,
            "plan": waiting.request.summary if waiting else (),
            "approve": waiting.command if waiting else "",
            "steps": [
                {"step": step, "status": outcome, "summary": told} for step, outcome, told in self.painter.view.past
            ],
        }
        self.session.show(document, self.painter.last)


class _Painter:
    """Turns progress into a screen. On a terminal it repaints in place; else each step is one line on stderr."""

    def __init__(self, session: sessions.Session) -> None:
        from ddr.runbook import screen

        self.view: screen.View = screen.View()
        self._screen = screen
        self._session = session
        self._repaints = sessions.is_terminal() and not session.json
        self._painted = 0

    def __call__(self, event: progress.Event) -> None:
        self.view = self._screen.after(self.view, event)
        if self._repaints:
            self._repaint()
        elif not self._session.json:
            self._line(event)

    def last(self) -> str:
        """How it stands in the end, in place of what was painted."""
        if self._repaints:
            self._clear()
        return self._screen.final(self.view)

    def close(self) -> None:
        sys.stdout.flush()

    def _clear(self) -> None:
        if self._painted:
            sys.stdout.write(f"\x1b[{self._painted}A\x1b[J")
            self._painted = 0

    def _repaint(self) -> None:
        text = self._session.screen(self._screen.render(self.view))
        self._clear()
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        self._painted = text.count("\n") + 1

    def _line(self, event: progress.Event) -> None:
        from ddr.runbook import progress

        if isinstance(event, progress.StepBegan) and event.will:
            self._session.notice(f"[{event.position}/{event.total}] {event.step}: {event.will}")
        elif isinstance(event, progress.StepEnded | progress.UndoEnded):
            self._session.notice(f"      {event.step}: {event.outcome.status}: {event.outcome.summary}")


@contextlib.contextmanager
def engine(session: sessions.Session, run: str = "") -> Iterator[Live]:
    """An engine over the verbs, or over the faults where `run` injected them."""
    from ddr.runbook import engine as engines
    from ddr.runbook import work

    wired = session.wired()
    painter = _Painter(session)
    stop = work.Stop()
    made = engines.Engine(wired.platform, wired.catalog_of(run), report=painter, stop=stop)
    with _ctrl_c(stop):
        yield Live(session, made, run, painter)


@contextlib.contextmanager
def _ctrl_c(stop: work.Stop) -> Iterator[None]:
    """The first Ctrl-C asks to pause behind the step, the second interrupts it."""

    def ask(_number: int, _frame: FrameType | None) -> Any:
        if stop.asked:
            raise KeyboardInterrupt
        stop.ask()
        click.echo("\npausing behind this step; Ctrl-C again pauses now", err=True)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
