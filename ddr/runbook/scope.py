"""What `{{ ... }}` may name in a runbook, and filling it in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ddr.domain import outcomes, services
from ddr.errors import InputError
from ddr.lib import template

Scope = Mapping[str, Mapping[str, object]]

RUN = ("id", "title", "requester")
SERVICE = ("name", "customers")
OWNERS = ("team", "oncall", "decisionMaker")
INCIDENT = ("id",)
SUMMARY = "summary"
"""Every step that ended has this value beside its own."""


def of_service(service: services.Service) -> Scope:
    """`service.*` and `owners.*`."""
    owners = service.owners
    return {
        "service": {"name": service.name, "customers": service.customers},
        "owners": {"team": owners.team, "oncall": owners.oncall, "decisionMaker": owners.decision_maker},
    }


def of_run(run: str, title: str, requester: str, incident: str, parameters: Mapping[str, str]) -> Scope:
    """`run.*`, `incident.*` and `parameters.*`."""
    return {
        "run": {"id": run, "title": title, "requester": requester},
        "incident": {"id": incident},
        "parameters": dict(parameters),
    }


def of_step(settled: Mapping[str, str], outcome: outcomes.Outcome) -> Mapping[str, str]:
    """What `steps.NAME.*` gives: what the step was settled on, and what it found."""
    return {**settled, **outcome.values, SUMMARY: outcome.summary}


def names(value: Any) -> Iterator[str]:
    """Every dotted name in every text of a nested value."""
    if isinstance(value, str):
        yield from template.names(value)
    elif isinstance(value, Mapping):
        for child in value.values():
            yield from names(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from names(child)


def fill(value: Any, scope: Scope, step: str) -> Any:
    """`value` with every text filled. Raises InputError where a name has no value."""
    try:
        return _fill(value, scope)
    except template.UnknownName as problem:
        raise InputError(f"step {step!r} asks for {{{{ {problem.name} }}}}, which has no value here") from problem


def _fill(value: Any, scope: Scope) -> Any:
    if isinstance(value, str):
        return template.fill(value, scope)
    if isinstance(value, Mapping):
        return {name: _fill(child, scope) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [_fill(child, scope) for child in value]
    return value


def fill_known(value: Any, scope: Scope) -> Any:
    """As `fill`, but a text that asks for something unknown is left as it is written."""
    if isinstance(value, str):
        try:
            return template.fill(value, scope)
        except template.UnknownName:
            return value
    if isinstance(value, Mapping):
        return {name: fill_known(child, scope) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [fill_known(child, scope) for child in value]
    return value
