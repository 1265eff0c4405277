"""A whole runbook against the catalog and the service, before anything runs. Every problem, each with its line."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ddr.domain import runbooks, services
from ddr.errors import BadDocument, Problem
from ddr.ports import verb
from ddr.runbook import flow, parse, scope, templates

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_POLICIES = "Abort, Continue or step:NAME"


@dataclass(frozen=True)
class Findings:
    """`problems` keep the runbook from running, `warnings` do not."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def check(
    document: parse.Document,
    catalog: verb.Catalog,
    service: services.Service | None,
    *,
    at: datetime | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Findings:
    """Everything that is wrong with running `document` for `service`.

    Without `parameters` a required one counts as given, without `at` the review date is not looked at, without a
    service everything is checked that does not depend on one.
    """
    checker = _Checker(document, catalog, service, parameters)
    checker.check()
    warnings = [*_review(document, at), *(_signals(document, service) if service is not None else ())]
    return Findings(_in_order(checker.problems), _in_order(warnings))


def _in_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: (problem.line, problem.key, problem.what)))


def require(
    document: parse.Document,
    catalog: verb.Catalog,
    service: services.Service,
    parameters: Mapping[str, str],
) -> Mapping[str, str]:
    """The parameters with their defaults. Raises BadDocument with every problem."""
    found = check(document, catalog, service, parameters=parameters)
    if found.problems:
        raise BadDocument(found.problems, hint="mend the lines above; nothing was started")
    return with_defaults(document.book, parameters)


def with_defaults(book: runbooks.Runbook, parameters: Mapping[str, str]) -> Mapping[str, str]:
    """Every parameter the runbook has: as given, else its default."""
    return {name: parameters.get(name, parameter.default) for name, parameter in book.parameters.items()}


def steps_problems(
    steps: Sequence[runbooks.Step], catalog: verb.Catalog, service: services.Service | None
) -> Iterator[tuple[int, tuple[str, ...], str]]:
    """(index, keys, what) of every step whose verb does not fit: unknown, of the wrong kind, with wrong inputs."""
    for at, step in enumerate(steps):
        if step.verb == runbooks.APPROVAL and step.kind == "gate":
            if not step.inputs.keys() <= {runbooks.PLAN, runbooks.SAYS}:
                yield at, ("with",), "the approval gate takes no inputs; `approval:` of the runbook says how"
            continue
        found = catalog.get(step.verb)
        if found is None:
            yield at, (step.kind,), _unknown_verb(step.verb, catalog)
            continue
        if found.changes != (step.kind == "action"):
            yield at, (step.kind,), _wrong_kind(step, found)
        for what in _inputs_problems(found, step.inputs, service):
            name = re.split(r"[.\[:]", what, maxsplit=1)[0]
            keys = ("with", name) if name in step.inputs else ("with",)
            yield at, keys, f"{step.verb}: {what.removeprefix(f'{name}: ') if name in step.inputs else what}"
        if isinstance(found, verb.Described) and found.may_fail and step.is_critical:
            yield at, (step.kind,), f"{step.verb} never blocks a recovery; write isCritical: false"


def _inputs_problems(found: verb.Verb, inputs: Mapping[str, Any], service: services.Service | None) -> Sequence[str]:
    if service is not None:
        return found.problems(inputs, service)
    shaped: object = found
    return shaped.shape_problems(inputs) if isinstance(shaped, verb.Shaped) else ()


def _unknown_verb(name: str, catalog: verb.Catalog) -> str:
    known = [*catalog, runbooks.APPROVAL]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"{name} is no verb; did you mean {close[0]}?"
    return f"{name} is no verb; there are: {', '.join(sorted(known))}"


def _wrong_kind(step: runbooks.Step, found: verb.Verb) -> str:
    if found.changes:
        return f"{step.verb} changes the world; write action: {step.verb}"
    return f"{step.verb} only looks; write probe: {step.verb} or gate: {step.verb}"


class _Checker:
    """Collects the problems of one document."""

    def __init__(
        self,
        document: parse.Document,
        catalog: verb.Catalog,
        service: services.Service | None,
        parameters: Mapping[str, str] | None,
    ) -> None:
        self.document = document
        self.book = document.book
        self.catalog = catalog
        self.service = service
        self.parameters = parameters
        self.problems: list[Problem] = []

    def check(self) -> None:
        self._check_parameters()
        self._check_names()
        self._check_verbs()
        if self._check_targets():
            self._check_flow()
        self._check_target()
        self._check_validation()
        self._check_approval()
        self._check_texts()

    def _say(self, what: str, *keys: str | int) -> None:
        dotted = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")
        self.problems.append(Problem(self.document.path, self.document.line(*keys), dotted, what))

    def _check_parameters(self) -> None:
        if self.parameters is None:
            return
        for name in self.parameters:
            if name not in self.book.parameters:
                known = ", ".join(self.book.parameters) or "it has none"
                self._say(f"{name} is no parameter of this runbook; known: {known}", "parameters")
        for name, parameter in self.book.parameters.items():
            if parameter.required and not self.parameters.get(name) and not parameter.default:
                self._say(f"is required: {parameter.description}", "parameters", name)

    def _check_names(self) -> None:
        if not self.book.steps:
            self._say("has no step; a runbook has at least one", "steps")
        first: dict[str, int] = {}
        for at, step in enumerate(self.book.steps):
            if not _NAME.fullmatch(step.name):
                self._say(f"{step.name!r} must be small letters, digits and hyphens", "steps", at, "name")
            if step.name in first:
                where = self.document.line("steps", first[step.name])
                self._say(f"{step.name!r} is taken by the step on line {where}", "steps", at, "name")
            first.setdefault(step.name, at)

    def _check_verbs(self) -> None:
        known = {**(scope.of_service(self.service) if self.service else {}), "run": {}, "incident": {}}
        if self.parameters is not None:
            known["parameters"] = dict(with_defaults(self.book, self.parameters))
        filled = [dataclasses.replace(step, inputs=scope.fill_known(step.inputs, known)) for step in self.book.steps]
        for at, key, what in steps_problems(filled, self.catalog, self.service):
            self._say(what, "steps", at, *key)

    def _check_targets(self) -> bool:
        """Whether every jump leads somewhere."""
        before = len(self.problems)
        for at, step in enumerate(self.book.steps):
            policy = step.on_failure
            if policy.startswith(flow.JUMP):
                self._check_jump(policy.removeprefix(flow.JUMP), at, "onFailure")
            elif policy not in ("Abort", "Continue"):
                self._say(f"is {policy!r}, must be {_POLICIES}", "steps", at, "onFailure")
            if step.next_step:
                self._check_jump(step.next_step, at, "nextStep")
            if step.is_end and step.next_step:
                self._say("this step is the end (isEnd); it has no next step", "steps", at, "nextStep")
        return len(self.problems) == before

    def _check_jump(self, name: str, at: int, key: str) -> None:
        names = [step.name for step in self.book.steps]
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            more = f"did you mean {close[0]}?" if close else f"there are: {', '.join(names)}"
            self._say(f"there is no step {name!r}; {more}", "steps", at, key)

    def _check_flow(self) -> None:
        steps = self.book.steps
        if not steps or len({step.name for step in steps}) < len(steps):
            return
        loop = flow.loop(steps)
        if loop:
            at = next(at for at, step in enumerate(steps) if step.name == loop[0])
            self._say(f"goes round in a loop: {' -> '.join(loop)}", "steps", at)
            return
        alive = {step.name for step in flow.reachable(steps, steps[0])}
        for at, step in enumerate(steps):
            if step.name not in alive:
                self._say("is never reached; the step before it ends the run or jumps past it", "steps", at)
        for step in flow.after_a_jump(steps):
            if step.is_end and step.end_status == "recovered":
                at = steps.index(step)
                self._say(
                    "is reached after a failure and would end as recovered; write endStatus: contained", "steps", at
                )
        for at, key, what in templates.problems(self.book, self.catalog):
            self._say(what, "steps", at, *key)

    def _check_target(self) -> None:
        target = self.book.target
        if self.service is not None and target.plane not in self.service.planes:
            have = ", ".join(self.service.planes) or "none"
            self._say(f"service {self.service.name} has no {target.plane} plane; it has: {have}", "target", "plane")
        step = flow.find(self.book.steps, target.containment)
        if step is None:
            names = ", ".join(step.name for step in self.book.steps)
            self._say(f"{target.containment!r} is no step; there are: {names}", "target", "containment")
        elif step.kind != "action":
            self._say(f"step {step.name!r} is a {step.kind}; containment is an action", "target", "containment")

    def _check_validation(self) -> None:
        if not self.book.validation:
            self._say("names no step; recovery is proved, not assumed", "validation")
        for at, name in enumerate(self.book.validation):
            step = flow.find(self.book.steps, name)
            if step is None:
                names = ", ".join(step.name for step in self.book.steps)
                self._say(f"{name!r} is no step; there are: {names}", "validation", at)
            elif step.kind != "gate" or step.verb == runbooks.APPROVAL:
                self._say(f"step {name!r} proves nothing; name a gate that looks at the result", "validation", at)

    def _check_approval(self) -> None:
        asked = self.book.approval
        gates = [at for at, step in enumerate(self.book.steps) if step.verb == runbooks.APPROVAL]
        if asked.min_required_approvals < 1 or asked.timeout_seconds < 1:
            self._say("minRequiredApprovals and timeoutSeconds must be 1 or more", "approval")
        if self.service is None:
            return
        able = len({person.strip().casefold() for person in self.service.owners.approvers})
        if gates and able < asked.min_required_approvals:
            needed = f"needs {asked.min_required_approvals} approval(s)"
            what = f"{needed}; service {self.service.name} names {able} approver(s) in owners.approvers"
            self._say(what, "steps", gates[0], "gate")

    def _check_texts(self) -> None:
        """Texts beside the steps are filled from the service alone."""
        known = {"service": scope.SERVICE, "owners": scope.OWNERS}
        allowed = ", ".join(f"{head}.{name}" for head, names in known.items() for name in names)
        for key, node in self.document.root.fields.items():
            for name in () if key == "steps" else scope.names(node.plain()):
                head, _, rest = name.partition(".")
                if rest not in known.get(head, {}):
                    self._say(f"{{{{ {name} }}}} is not known here; allowed: {allowed}", key)


def _review(document: parse.Document, at: datetime | None) -> Iterator[Problem]:
    meta = document.book.metadata
    line = document.line("metadata", "reviewed")
    try:
        reviewed = datetime.fromisoformat(meta.reviewed).replace(tzinfo=UTC)
    except ValueError:
        yield Problem(
            document.path, line, "metadata.reviewed", f"{meta.reviewed!r} is no date; write it like 2026-11-21"
        )
        return
    if at is not None and at - reviewed > timedelta(days=meta.review_every_days):
        days = (at - reviewed).days
        what = f"was {days} days ago; {meta.owner} reviews it every {meta.review_every_days} days"
        yield Problem(document.path, line, "metadata.reviewed", what)


def _signals(document: parse.Document, service: services.Service) -> Iterator[Problem]:
    known = {spec.name for spec in service.signals}
    for at, entry in enumerate(document.book.signal):
        if entry.signal not in known:
            line = document.line("signal", at, "signal")
            what = f"service {service.name} does not watch {entry.signal!r}"
            yield Problem(document.path, line, f"signal[{at}].signal", what)
