"""Where a run goes from each step, and what follows from that: dead steps, loops, what has surely run before.

Every function takes the steps in the order of the document and ignores names that are not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ddr.domain import outcomes, runbooks

JUMP = "step:"

Steps = Sequence[runbooks.Step]


def passed(outcome: outcomes.Outcome) -> bool:
    """Whether the run goes on as after success."""
    return outcome.status in (outcomes.Status.OK, outcomes.Status.SKIPPED)


def find(steps: Steps, name: str) -> runbooks.Step | None:
    return next((step for step in steps if step.name == name), None)


def after_success(steps: Steps, step: runbooks.Step) -> runbooks.Step | None:
    """The step behind `step`; None where the run ends."""
    if step.is_end:
        return None
    if step.next_step:
        return find(steps, step.next_step)
    at = steps.index(step) + 1
    return steps[at] if at < len(steps) else None


def after_failure(steps: Steps, step: runbooks.Step) -> runbooks.Step | None:
    """As `after_success`, for a step that failed. A step that is not critical never aborts."""
    if step.on_failure.startswith(JUMP):
        return find(steps, step.on_failure.removeprefix(JUMP))
    if step.on_failure == "Continue" or not step.is_critical:
        return after_success(steps, step)
    return None


def _ways(steps: Steps, step: runbooks.Step) -> Iterator[tuple[runbooks.Step, bool]]:
    """Where the run can go, and whether `step` has then succeeded."""
    for way, succeeded in ((after_success(steps, step), True), (after_failure(steps, step), False)):
        if way is not None:
            yield way, succeeded


def reachable(steps: Steps, start: runbooks.Step) -> tuple[runbooks.Step, ...]:
    """Every step that can run from `start` on, itself included, in the order of the document."""
    seen = {start.name}
    waiting = [start]
    while waiting:
        for way, _ in _ways(steps, waiting.pop()):
            if way.name not in seen:
                seen.add(way.name)
                waiting.append(way)
    return tuple(step for step in steps if step.name in seen)


def intended(steps: Steps, start: runbooks.Step) -> tuple[runbooks.Step, ...]:
    """The steps from `start` on that run when none fails. Needs: no loop."""
    found = [start]
    while (way := after_success(steps, found[-1])) is not None:
        found.append(way)
    return tuple(found)


def loop(steps: Steps) -> tuple[str, ...]:
    """The names along one loop, () when there is none."""
    done: set[str] = set()

    def walk(step: runbooks.Step, path: tuple[str, ...]) -> tuple[str, ...]:
        if step.name in path:
            return (*path[path.index(step.name) :], step.name)
        if step.name in done:
            return ()
        for way, _ in _ways(steps, step):
            found = walk(way, (*path, step.name))
            if found:
                return found
        done.add(step.name)
        return ()

    return next((found for step in steps if (found := walk(step, ()))), ())


def surely_succeeded(steps: Steps) -> Mapping[str, frozenset[str]]:
    """For each reachable step the steps that have succeeded before it on every way there. Needs: no loop."""
    before: dict[str, frozenset[str]] = {steps[0].name: frozenset()} if steps else {}
    changed = True
    while changed:
        changed = False
        for step in steps:
            if step.name not in before:
                continue
            for way, succeeded in _ways(steps, step):
                here = before[step.name] | ({step.name} if succeeded else set())
                merged = before[way.name] & here if way.name in before else here
                if before.get(way.name) != merged:
                    before[way.name] = merged
                    changed = True
    return before


def after_a_jump(steps: Steps) -> tuple[runbooks.Step, ...]:
    """The steps that can run after a critical step has failed and the run jumped."""
    failing = [step for step in steps if step.is_critical and step.on_failure.startswith(JUMP)]
    starts = [way for step in failing if (way := after_failure(steps, step)) is not None]
    names = {step.name for start in starts for step in reachable(steps, start)}
    return tuple(step for step in steps if step.name in names)
