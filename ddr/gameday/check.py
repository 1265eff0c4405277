"""Whether a scenario can be played on a platform: everything that can be known before anything is touched."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ddr.domain import gamedays, services
from ddr.errors import BadDocument, Problem
from ddr.gameday import parse
from ddr.ports import verb


def check(source: parse.Source, faults: verb.Catalog, service: services.Service, runbooks: Collection[str]) -> None:
    """Raises BadDocument with every problem. `runbooks` are the names of those that are at hand."""
    problems = tuple(find_problems(source, faults, service, runbooks))
    if problems:
        raise BadDocument(
            sorted(problems, key=lambda problem: (problem.line, problem.key)),
            hint="mend the lines above; nothing was started",
        )


def find_problems(
    source: parse.Source, faults: verb.Catalog, service: services.Service, runbooks: Collection[str]
) -> Iterator[Problem]:
    """Every problem, in no order."""
    yield from _method(source, faults, service)
    yield from _signals(source, service)
    yield from _expectations(source, service, runbooks)
    yield from _scoring(source)


def _method(source: parse.Source, faults: verb.Catalog, service: services.Service) -> Iterator[Problem]:
    method = source.scenario.method
    if all(injection.decoy for injection in method):
        yield source.problem(["method"], "injects no fault; one entry at least must not be a decoy")
    seen: set[str] = set()
    for at, injection in enumerate(method):
        if injection.name in seen:
            yield source.problem(["method", at, "name"], f"{injection.name!r} stands here twice")
        seen.add(injection.name)
        found = faults.get(injection.fault)
        if found is None:
            known = ", ".join(sorted(faults)) or "there are none"
            yield source.problem(["method", at, "fault"], f"{injection.fault!r} is no fault here; known: {known}")
            continue
        for what in found.problems(injection.inputs, service):
            yield source.problem(["method", at, "with"], what)


def _signals(source: parse.Source, service: services.Service) -> Iterator[Problem]:
    scenario = source.scenario
    known = {spec.name for spec in service.signals}
    listed = ", ".join(sorted(known)) or "there are none"
    groups: tuple[tuple[list[str | int], Sequence[str]], ...] = (
        (["steady-state-hypothesis", "signals"], scenario.steady_state.signals),
        (["invariants"], scenario.invariants),
        (["expect", "detect", "signals"], scenario.expect.detect.signals),
    )
    for keys, names in groups:
        if not names:
            yield source.problem(keys, f"is empty; known signals: {listed}")
        for at, name in enumerate(names):
            if name not in known:
                yield source.problem([*keys, at], f"{service.name} has no signal {name!r}; known: {listed}")
    for name in sorted(set(scenario.invariants) & set(scenario.expect.detect.signals)):
        yield source.problem(["invariants"], f"{name} cannot stay green and be expected to go bad")


def _expectations(source: parse.Source, service: services.Service, runbooks: Collection[str]) -> Iterator[Problem]:
    scenario = source.scenario
    expect = scenario.expect
    here = ", ".join(service.planes)
    if expect.diagnose.plane not in service.planes:
        yield source.problem(["expect", "diagnose", "plane"], f"{service.name} has no such plane; it has {here}")
    if expect.diagnose.rank < 1:
        yield source.problem(["expect", "diagnose", "rank"], "counts from 1")
    decoys = {injection.name for injection in scenario.method if injection.decoy}
    for at, name in enumerate(expect.diagnose.not_named):
        if name not in decoys:
            spoken = ", ".join(sorted(decoys)) or "there are none"
            where: list[str | int] = ["expect", "diagnose", "notNamed", at]
            yield source.problem(where, f"{name!r} is no decoy of this method; decoys: {spoken}")
    if expect.recover.runbook not in runbooks:
        spoken = ", ".join(sorted(runbooks)) or "there are none"
        yield source.problem(["expect", "recover", "runbook"], f"is no runbook here; known: {spoken}")
    for at, plane in enumerate(expect.recover.only):
        if plane not in service.planes:
            yield source.problem(["expect", "recover", "only", at], f"{service.name} has no such plane; it has {here}")


def _scoring(source: parse.Source) -> Iterator[Problem]:
    scoring = source.scenario.scoring
    wanted = ", ".join(gamedays.EXPECTATIONS)
    for name, points in scoring.items():
        if name not in gamedays.EXPECTATIONS:
            yield source.problem(["scoring", name], f"is no expectation; one of {wanted}")
        elif points < 1:
            yield source.problem(["scoring", name], "must be 1 or more")
    for name in gamedays.EXPECTATIONS:
        if name not in scoring:
            yield source.problem(["scoring"], f"{name} has no points")
