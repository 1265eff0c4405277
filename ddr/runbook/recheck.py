"""What was true when a run paused is looked at again before people decide on it, and before the first effect behind.

A person may take half an hour to say yes. Meanwhile somebody moves the alias, or the way back is damaged. What the
plan is made of must then be the world as it is, and a way that is closed by now leads to the containment.
"""

from __future__ import annotations

from ddr.domain import outcomes, runbooks
from ddr.errors import DdrError, Unavailable
from ddr.ports import verb
from ddr.runbook import flow, history
from ddr.runbook import work as works


def still_passes(work: works.Work) -> bool:
    """Look again at what earlier processes of this run looked at. False where the run has to go another way now.

    Raises Unavailable: nothing was decided, resume again later.
    """
    seen = work.seen()
    for name, state in seen.steps.items():
        step = work.procedure.step(name)
        if state.outcome is None or not flow.passed(state.outcome) or name in work.looked or not _is_wanted(work, step):
            continue
        outcome = _look(work, step)
        work.looked.add(name)
        if not _says_the_same(outcome, state.outcome):
            work.ended(step, 1, outcome)
        if not flow.passed(outcome):
            return False
    return True


def is_first_effect(work: works.Work, step: runbooks.Step) -> bool:
    """Whether `step` stands behind an approval that was passed, and nothing behind it was begun."""
    seen = work.seen()
    ended = history.outcomes_of(seen)
    for gate in work.procedure.steps:
        if gate.verb == runbooks.APPROVAL and gate.name in ended and flow.passed(ended[gate.name]):
            behind = flow.reachable(work.procedure.steps, gate)
            if step in behind:
                return all(history.step_of(seen, other.name).intended is None for other in behind)
    return False


def _is_wanted(work: works.Work, step: runbooks.Step) -> bool:
    found: object = work.tools.catalog.get(step.verb)
    return isinstance(found, verb.Rechecked) and found.again


def _look(work: works.Work, step: runbooks.Step) -> outcomes.Outcome:
    found = work.verb_of(step)
    try:
        call = work.call(step, work.seen())
        prepared = work.patiently(step, step.max_attempts, lambda: found.prepare(call))
        return work.patiently(step, step.max_attempts, lambda: found.act(call, prepared.settled))
    except Unavailable:
        raise
    except DdrError as problem:
        return outcomes.Outcome(outcomes.Status.FAILED, problem.message)


def _says_the_same(one: outcomes.Outcome, other: outcomes.Outcome) -> bool:
    return (one.status, one.summary, one.values) == (other.status, other.summary, other.values)
