"""Whether every `{{ ... }}` in a runbook's steps names something that will be known by then."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

from ddr.domain import runbooks
from ddr.ports import verb
from ddr.runbook import flow, scope

_FIXED = {"run": scope.RUN, "service": scope.SERVICE, "owners": scope.OWNERS, "incident": scope.INCIDENT}


def problems(book: runbooks.Runbook, catalog: verb.Catalog) -> Iterator[tuple[int, tuple[str, ...], str]]:
    """(index of the step, key, what) for every name that will have no value. Needs steps without a loop.

    An action behind an approval may only use what was known when the approval was asked for.
    """
    known = {**_FIXED, "parameters": tuple(book.parameters)}
    before = flow.surely_succeeded(book.steps)
    approved = _known_when_approved(book.steps, before)
    for at, step in enumerate(book.steps):
        for key, value in step.inputs.items():
            for name in scope.names(value):
                head, _, rest = name.partition(".")
                if head == "steps":
                    what = _step_value(rest, step, book.steps, before, approved, catalog)
                else:
                    what = _fixed_value(head, rest, known)
                if what:
                    yield at, ("with", key), f"{{{{ {name} }}}} {what}"


def _fixed_value(head: str, rest: str, known: Mapping[str, Sequence[str]]) -> str:
    if head not in known:
        return f"is not known; templates may name {', '.join([*known, 'steps.<name>.<value>'])}"
    if rest not in known[head]:
        allowed = ", ".join(f"{head}.{name}" for name in known[head]) or "there are no parameters"
        return f"is not known; allowed: {allowed}"
    return ""


def _step_value(
    rest: str,
    step: runbooks.Step,
    steps: Sequence[runbooks.Step],
    before: Mapping[str, frozenset[str]],
    approved: Mapping[str, frozenset[str]],
    catalog: verb.Catalog,
) -> str:
    name, _, value = rest.partition(".")
    source = flow.find(steps, name)
    if source is None:
        close = difflib.get_close_matches(name, [other.name for other in steps], n=1)
        return f"names no step{f'; did you mean {close[0]}?' if close else ''}"
    if step.name in before and name not in before[step.name]:
        return f"may have no value: {name!r} does not always succeed before {step.name!r}"
    if step.kind == "action" and step.name in approved and name not in approved[step.name]:
        return f"is only known after the approval; what is approved must be known by then: {step.name!r} cannot use it"
    found = catalog.get(source.verb)
    if source.verb == runbooks.APPROVAL or isinstance(found, verb.Described):
        gives = (*(found.gives if isinstance(found, verb.Described) else ()), scope.SUMMARY)
        if value not in gives:
            return f"is not what {source.verb} gives; allowed: {', '.join(gives)}"
    return "" if value else f"names no value; write steps.{name}.VALUE"


def _known_when_approved(
    steps: Sequence[runbooks.Step], before: Mapping[str, frozenset[str]]
) -> Mapping[str, frozenset[str]]:
    """For each step that runs behind an approval gate: what has surely succeeded when the gate asks."""
    known: dict[str, frozenset[str]] = {}
    for gate in steps:
        if gate.verb != runbooks.APPROVAL or gate.name not in before:
            continue
        for step in flow.reachable(steps, gate):
            if step is not gate:
                known[step.name] = known.get(step.name, before[gate.name]) & before[gate.name]
    return known
