"""What comes next in a run, from its steps and the outcomes so far. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ddr.domain import outcomes, runbooks
from ddr.runbook import flow, procedure


@dataclass(frozen=True)
class Ending:
    """The run is over. A failed critical step, or a validation that did not pass, never ends as recovered."""

    status: Literal["recovered", "contained", "switched", "failed", "injected"]
    why: str = ""


def position(what: procedure.Procedure, ended: Mapping[str, outcomes.Outcome]) -> runbooks.Step | Ending:
    """The step to run now, or the end."""
    failed: list[str] = []
    step = what.steps[0] if what.steps else None
    last = step
    while step is not None:
        outcome = ended.get(step.name)
        if outcome is None or awaits_proof(what, step, outcome):
            return step
        last = step
        if flow.passed(outcome):
            step = flow.after_success(what.steps, step)
            continue
        if step.is_critical:
            failed.append(f"step {step.name!r} {outcome.status}: {outcome.summary}")
        step = flow.after_failure(what.steps, step)
        if step is None and last.is_critical:
            return Ending("failed", failed[-1])
    return _end(what, last, failed, ended)


def awaits_proof(what: procedure.Procedure, step: runbooks.Step, outcome: outcomes.Outcome | None) -> bool:
    """A validation that could not be judged is judged again: not knowing is no reason to contain what may be well."""
    return outcome is not None and outcome.status is outcomes.Status.INCONCLUSIVE and step.name in what.validation


def _end(
    what: procedure.Procedure,
    last: runbooks.Step | None,
    failed: list[str],
    ended: Mapping[str, outcomes.Outcome],
) -> Ending:
    why = "; ".join(failed)
    if what.purpose == "faults":
        return Ending("failed", why) if failed else Ending("injected")
    status = last.end_status if last is not None and last.is_end else "recovered"
    if status != "recovered":
        return Ending(status, why)
    unproved = [name for name in what.validation if name not in ended or not flow.passed(ended[name])]
    if unproved and not failed:
        return Ending("failed", f"the recovery is not proved: {', '.join(unproved)}")
    return Ending("failed", why) if failed else Ending("recovered")
