"""Taking a run back: the steps that intended an effect, newest first, each behind a durable intent of its own.

Undo never forces. What someone else changed since is a conflict: it is left alone, said, and the run ends as failed;
the other steps are still taken back, because each of them checks the world for itself. Undo may be cut off and called
again: every verb's undo may be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

from ddr.domain import outcomes, records, runbooks
from ddr.errors import DdrError, Refused
from ddr.journal import run_view
from ddr.runbook import history, layers, progress
from ddr.runbook import work as works

ATTEMPTS = 3
"""How often an undo is tried against a system that does not answer."""


def undo(work: works.Work, only: Sequence[str] = ()) -> tuple[str, str]:
    """('undone' or 'failed', why), of all steps or of `only` these. Needs a run whose owner this process is."""
    names = tuple(name for name in _effects(work.seen()) if not only or name in only)
    for at, name in enumerate(names, start=1):
        if history.step_of(work.seen(), name).has_effect:
            _undo(work, work.procedure.step(name), at, len(names))
    seen = work.seen()
    left = [f"{step.name}: {_why(step)}" for step in seen.to_undo if step.name in names]
    if left:
        return "failed", "not everything could be taken back: " + "; ".join(left)
    taken = ", ".join(name for name in names if _was_taken_back(seen, name))
    return "undone", f"taken back: {taken}" if taken else "nothing had been changed"


def _effects(seen: run_view.Run) -> tuple[str, ...]:
    """Steps that intended an effect, newest first."""
    return tuple(name for name, step in reversed(seen.steps.items()) if step.intended is not None)


def _was_taken_back(seen: run_view.Run, name: str) -> bool:
    """Not where there was nothing to take back, as of a message."""
    ended = history.step_of(seen, name).undo_ended
    return ended is not None and ended.outcome.status is outcomes.Status.UNDONE


def _why(step: run_view.Step) -> str:
    return step.undo_ended.outcome.summary if step.undo_ended is not None else "cut off"


def _undo(work: works.Work, step: runbooks.Step, at: int, of: int) -> None:
    found = work.verb_of(step)
    seen = work.seen()
    state = history.step_of(seen, step.name)
    assert state.intended is not None
    call = work.call(step, seen, strict=False)
    work.check_fence()
    work.tools.report(progress.UndoBegan(step.name, at, of, state.intended.undo))
    work.append(records.UndoIntended(work.run, step.name, state.attempts))
    work.check_fence()
    settled = state.intended.settled
    on_top = layers.above(work.tools.catalog, seen, step.name)
    try:
        if on_top:
            raise Refused(f"{on_top} lies on it and is not taken back yet")
        outcome = work.patiently(step, ATTEMPTS, lambda: found.undo(call, settled))
    except DdrError as problem:
        outcome = outcomes.Outcome(outcomes.Status.FAILED, problem.message)
    work.append(records.UndoEnded(work.run, step.name, state.attempts, outcome))
    work.tools.report(progress.UndoEnded(step.name, outcome))
