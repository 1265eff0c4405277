"""One step of a run: look, or change the world behind a durable intent.

    prepare (only looks) -> StepIntended, durable -> fence -> act -> StepEnded, durable

A step found with an intent and no result was cut off: `observe` says whether its effect is there. DONE is adopted,
NOT_DONE is tried again with what was settled before the first attempt, OTHER stops the run and asks a person.
"""

from __future__ import annotations

from ddr.domain import outcomes, records, runbooks
from ddr.errors import Conflict, DdrError, Unavailable
from ddr.ports import verb
from ddr.runbook import deadline, gates, history, recheck
from ddr.runbook import work as works


def perform(work: works.Work, step: runbooks.Step) -> None:
    """Bring one step to its end, or leave it where the run now goes another way.

    Raises ApprovalRequired, Conflict (stop and ask), Unavailable (before any effect).
    """
    work.check_fence()
    if step.kind == "gate" and step.verb == runbooks.APPROVAL:
        work.began(step)
        if recheck.still_passes(work):
            work.ended(step, 1, gates.ask(work, step))
        return
    found = work.verb_of(step)
    if not found.changes:
        _look(work, step, found)
    elif history.step_of(work.seen(), step.name).is_cut_off:
        _finish_open(work, step, found)
    elif not recheck.is_first_effect(work, step) or recheck.still_passes(work):
        _change(work, step, found)


def _look(work: works.Work, step: runbooks.Step, found: verb.Verb) -> None:
    """A probe or a gate. What does not answer is inconclusive, which is no pass."""
    seen = work.seen()
    try:
        call = work.call(step, seen)
        prepared = work.patiently(step, step.max_attempts, lambda: found.prepare(call))
        work.began(step, prepared)
        outcome = work.patiently(step, step.max_attempts, lambda: found.act(call, prepared.settled))
    except Unavailable as problem:
        outcome = outcomes.Outcome(outcomes.Status.INCONCLUSIVE, problem.message)
    except DdrError as problem:
        outcome = _failed(problem)
    work.looked.add(step.name)
    work.ended(step, 1, outcome)


def _change(work: works.Work, step: runbooks.Step, found: verb.Verb) -> None:
    seen = work.seen()
    try:
        call = work.call(step, seen)
        prepared = work.patiently(step, step.max_attempts, lambda: found.prepare(call))
    except DdrError as problem:
        work.began(step)
        work.ended(step, 1, _failed(problem))
        return
    refused = gates.require_approved(work, step, found, prepared)
    if refused is not None:
        work.began(step, prepared)
        work.ended(step, 1, refused)
        return
    work.began(step, prepared)
    intent = records.StepIntended(
        work.run, step.name, 1, step.verb, call.key, dict(prepared.settled), prepared.will, prepared.undo
    )
    _act(work, step, found, call, intent)


def _act(
    work: works.Work, step: runbooks.Step, found: verb.Verb, call: verb.Call, intent: records.StepIntended
) -> None:
    """Intend, act, record; again while the system is Unavailable and the effect is not there."""
    while True:
        work.append(intent)
        work.check_fence()
        call = work.call(step, work.seen())
        try:
            with deadline.limit(step.timeout_seconds):
                outcome = found.act(call, intent.settled)
        except Unavailable as problem:
            if not _cut_off(work, step, found, call, intent, problem, again=True):
                return
        except deadline.Passed:
            late = Unavailable(f"took longer than {step.timeout_seconds} s and was cut off")
            _cut_off(work, step, found, call, intent, late, again=False)
            return
        except DdrError as problem:
            work.ended(step, intent.attempt, _failed(problem))
            return
        else:
            work.ended(step, intent.attempt, outcome)
            return
        intent = _next(intent)


def _cut_off(
    work: works.Work,
    step: runbooks.Step,
    found: verb.Verb,
    call: verb.Call,
    intent: records.StepIntended,
    problem: Unavailable,
    *,
    again: bool,
) -> bool:
    """Whether to try again. The effect of what was cut off is unknown until it is looked for."""
    try:
        seen = work.patiently(step, step.max_attempts, lambda: found.observe(call, intent.settled))
    except Unavailable:
        why = f"{problem.message}; whether it took effect could not be seen"
        work.ended(step, intent.attempt, outcomes.Outcome(outcomes.Status.FAILED, why))
        return False
    if seen is verb.Seen.DONE:
        _adopt(work, step, intent, f"{intent.will}: done, although: {problem.message}")
        return False
    if seen is verb.Seen.OTHER:
        raise _other(work, step, intent)
    if again and intent.attempt < step.max_attempts:
        work.wait(step, intent.attempt, step.max_attempts, problem)
        return True
    work.ended(step, intent.attempt, _failed(problem))
    return False


def _finish_open(work: works.Work, step: runbooks.Step, found: verb.Verb) -> None:
    """A step that an earlier process had begun. Unavailable is raised: nothing was done, resume again later."""
    state = history.step_of(work.seen(), step.name)
    intent = state.intended
    assert intent is not None
    call = work.call(step, work.seen())
    work.began(step, verb.Prepared(intent.will, undo=intent.undo))
    seen = work.patiently(step, max(step.max_attempts, 2), lambda: found.observe(call, intent.settled))
    last = _with_attempt(intent, state.attempts)
    if seen is verb.Seen.DONE:
        _adopt(work, step, last, f"{intent.will}: found done")
    elif seen is verb.Seen.OTHER:
        raise _other(work, step, intent)
    else:
        _act(work, step, found, call, _next(last))


def _adopt(work: works.Work, step: runbooks.Step, intent: records.StepIntended, summary: str) -> None:
    outcome = outcomes.Outcome(outcomes.Status.OK, summary, values=dict(intent.settled))
    work.ended(step, intent.attempt, outcome, adopted=True)


def _other(work: works.Work, step: runbooks.Step, intent: records.StepIntended) -> Conflict:
    return Conflict(
        f"run {work.run} stopped at step {step.name!r}: it was cut off while it wanted to: {intent.will}; "
        "the world now shows neither the state before nor the state after",
        expected=intent.will,
        found="something else",
        hint=f"look at what is live (ddr status); then `ddr runbook undo {work.run}`, "
        f"or put it as it was and `ddr runbook resume {work.run}`",
    )


def _failed(problem: DdrError) -> outcomes.Outcome:
    evidence = (f"hint: {problem.hint}",) if problem.hint else ()
    return outcomes.Outcome(outcomes.Status.FAILED, problem.message, evidence)


def _next(intent: records.StepIntended) -> records.StepIntended:
    return _with_attempt(intent, intent.attempt + 1)


def _with_attempt(intent: records.StepIntended, attempt: int) -> records.StepIntended:
    return records.StepIntended(
        intent.run, intent.step, attempt, intent.verb, intent.key, intent.settled, intent.will, intent.undo
    )
