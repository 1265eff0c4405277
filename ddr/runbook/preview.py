"""What a run would do, looked up now, without one write: probes look, actions are only prepared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddr.domain import outcomes, runbooks, services
from ddr.errors import DdrError, InputError
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
    known = _known(on, what, service, parameters, incident)
    seen: dict[str, object] = {step.name: _Unknown(step.name) for step in what.steps}
    known["steps"] = seen
    lines: list[Line] = []
    for step in what.steps:
        closed = _closed(step, lines)
        if closed:
            lines.append(_with(_plain(step), will=f"is not known: {closed} says no"))
            continue
        line = _line(on, catalog, what, step, known, service, incident)
        if line.outcome is not None and flow.passed(line.outcome):
            seen[step.name] = {**scope.of_step({}, line.outcome)}
        lines.append(line)
    return Preview(what.title, service.name, tuple(lines))


def require_sensible(
    on: platform.Platform,
    catalog: verb.Catalog,
    what: procedure.Procedure,
    service: services.Service,
    parameters: Mapping[str, str],
) -> None:
    """Raises InputError where a parameter names what does not exist: that is a slip, no decision to contain."""
    known = _known(on, what, service, parameters, "")
    wrong: list[str] = []
    for step in what.steps:
        found: object = catalog.get(step.verb)
        if not isinstance(found, verb.Sensible) or any(name.startswith("steps.") for name in scope.names(step.inputs)):
            continue
        call = verb.Call(service.name, RUN, step.name, f"{RUN}/{step.name}", "", on.clock.now(), _fill(step, known))
        wrong += found.mistakes(call)
    if wrong:
        raise InputError(
            f"{what.title}: {'; '.join(dict.fromkeys(wrong))}; nothing was started",
            hint=f"`ddr release list {service.name}` shows what was live",
        )


def _known(
    on: platform.Platform,
    what: procedure.Procedure,
    service: services.Service,
    parameters: Mapping[str, str],
    incident: str,
) -> dict[str, Mapping[str, object]]:
    return {**scope.of_service(service), **scope.of_run(RUN, what.title, on.actor, incident, parameters)}


def _closed(step: runbooks.Step, lines: Sequence[Line]) -> str:
    """The look that says no and whose values the step would need, '' where there is none."""
    needs = {name.split(".")[1] for name in scope.names(step.inputs) if name.startswith("steps.")}
    return next((line.step for line in lines if line.step in needs and _says_no(line)), "")


def _says_no(line: Line) -> bool:
    return line.outcome is not None and not flow.passed(line.outcome)


def _plain(step: runbooks.Step) -> Line:
    return Line(step.name, step.kind, step.verb, step.why, on_failure=step.on_failure)


def _line(
    on: platform.Platform,
    catalog: verb.Catalog,
    what: procedure.Procedure,
    step: runbooks.Step,
    known: scope.Scope,
    service: services.Service,
    incident: str,
) -> Line:
    line = _plain(step)
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
