"""What a run would do, looked up now, without one write: probes look, actions are only prepared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddr.domain import outcomes, runbooks, services
from ddr.errors import DdrError
from ddr.ports import platform, verb
from ddr.runbook import flow, procedure, scope

RUN = "run-to-be"
"""The id a preview uses where the real run's id will stand."""


@dataclass(frozen=True)
class Line:
    """One step. `outcome` is what a probe saw; `problem` says why the step could not be planned."""

    step: str
    kind: runbooks.StepKind
    verb: str
    why: str
    will: str = ""
    touches: tuple[str, ...] = ()
    undo: str = ""
    outcome: outcomes.Outcome | None = None
    problem: str = ""
    on_failure: str = "Abort"


@dataclass(frozen=True)
class Preview:
    title: str
    service: str
    lines: tuple[Line, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(f"{line.step}: {line.problem}" for line in self.lines if line.problem)


class _Unknown(dict[str, object]):
    """Values that only the run itself will know, as `<value of step>`."""

    def __init__(self, step: str) -> None:
        super().__init__()
        self._step = step

    def __contains__(self, _name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> object:
        return f"<{name} of {self._step}>"


def preview(
    on: platform.Platform,
    catalog: verb.Catalog,
    what: procedure.Procedure,
    service: services.Service,
    parameters: Mapping[str, str],
    incident: str,
) -> Preview:
    """Steps in the order of the document. A gate that has to wait, and what needs its values, is only described."""
    known: dict[str, Mapping[str, object]] = {
        **scope.of_service(service),
        **scope.of_run(RUN, what.title, on.actor, incident, parameters),
    }
    seen: dict[str, object] = {step.name: _Unknown(step.name) for step in what.steps}
    known["steps"] = seen
    lines = []
    for step in what.steps:
        line = _line(on, catalog, what, step, known, service, incident)
        if line.outcome is not None:
            seen[step.name] = {**scope.of_step({}, line.outcome)}
        lines.append(line)
    return Preview(what.title, service.name, tuple(lines))


def _line(
    on: platform.Platform,
    catalog: verb.Catalog,
    what: procedure.Procedure,
    step: runbooks.Step,
    known: scope.Scope,
    service: services.Service,
    incident: str,
) -> Line:
    line = Line(step.name, step.kind, step.verb, step.why, on_failure=step.on_failure)
    if step.verb == runbooks.APPROVAL:
        return _with(line, will=_approval(what.approval, service.owners.approvers))
    try:
        found = catalog[step.verb]
        call = verb.Call(
            service.name, RUN, step.name, f"{RUN}/{step.name}", incident, on.clock.now(), _fill(step, known)
        )
        prepared = found.prepare(call)
        described = _with(line, will=prepared.will, touches=prepared.touches, undo=prepared.undo)
        if found.changes or (isinstance(found, verb.Described) and found.waits):
            return described
        outcome = found.act(call, prepared.settled)
        ends = not flow.passed(outcome) and step.is_critical and step.on_failure == "Abort"
        return _with(described, outcome=outcome, problem=f"the run ends here: {outcome.summary}" if ends else "")
    except DdrError as problem:
        return _with(line, problem=problem.message)


def _fill(step: runbooks.Step, known: scope.Scope) -> Mapping[str, Any]:
    filled: Mapping[str, Any] = scope.fill(step.inputs, known, step.name)
    return filled


def _approval(rules: runbooks.Approval, approvers: Sequence[str]) -> str:
    people = ", ".join(approvers)
    return f"waits for {rules.min_required_approvals} approval(s) of: {people}; valid {rules.timeout_seconds} s"


def _with(line: Line, **changes: Any) -> Line:
    return dataclasses.replace(line, **changes)
