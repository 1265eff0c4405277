"""Following one run event by event, and what the engine asks of its view."""

from __future__ import annotations

from collections.abc import Mapping

from ddr.domain import outcomes, records
from ddr.errors import UnknownName
from ddr.journal import run_view
from ddr.ports import journal


class Follower:
    """Keeps up with one run: `read` gives its view with all that was appended since, by anyone."""

    def __init__(self, journal_: journal.Journal, run: str) -> None:
        self._journal = journal_
        self._run = run
        self._after = 0
        self._seen: set[str] = set()
        self._fold: run_view.RunFold | None = None

    def read(self) -> run_view.Run:
        """Raises UnknownName when there is no such run, Damaged where the journal is."""
        for event in self._journal.events(self._after):
            self._after = max(self._after, event.seq)
            record = event.record
            if getattr(record, "run", None) != self._run or event.id in self._seen:
                continue
            self._seen.add(event.id)  # what waits in the spool is told each time, and once more when it is joined
            if self._fold is not None:
                self._fold.take(event)
            elif isinstance(record, records.RunStarted):
                self._fold = run_view.RunFold(event, record)
        if self._fold is None:
            raise UnknownName(f"there is no run {self._run!r}", hint="`ddr runbook runs` shows them")
        return self._fold.run()


def outcomes_of(run: run_view.Run) -> Mapping[str, outcomes.Outcome]:
    """Of every step that ended, in the order in which the steps began."""
    return {name: step.ended.outcome for name, step in run.steps.items() if step.ended is not None}


def step_of(run: run_view.Run, name: str) -> run_view.Step:
    """What is known of a step; an empty view of one that has not begun."""
    return run.steps.get(name, run_view.Step(name))


def is_released(run: run_view.Run) -> bool:
    """Whether its owner has let go of it."""
    return run.is_paused or run.end is not None


def is_undoing(run: run_view.Run) -> bool:
    """Whether taking it back has begun and has no end yet."""
    return run.is_undoing
