"""Tries everything `ddr.yaml` names, and says what it can and may do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ddr.domain import health, planes, releases, signals
from ddr.errors import DdrError, Missing
from ddr.journal import layout, verify
from ddr.lib import digest
from ddr.ports import connector, signal, store
from ddr.rollback import planner
from ddr.stores import probe
from ddr.wiring import build, doctor_backups, doctor_indexes, repository, visits


def visit(wired: build.Wired, environ: Mapping[str, str]) -> tuple[visits.Visit, ...]:
    """Look at the repository, the journal and every connector. Writes only the probe's own keys."""
    repository.forget_verdict(wired.config, environ)
    found = [_store(wired), _journal(wired)]
    for service in wired.platform.services:
        good = _last_good(wired, service)
        for plane, seen in wired.platform.planes[service].items():
            way = _way_back(wired, service, plane, seen)
            found.append(_plane(service, wired.platform.services[service].planes[plane], plane, seen, good, way))
        found += [_server(wired, service)] if service in wired.platform.servers else []
    used = {name for entry in wired.config.planes.values() for plane in entry.values() for name in [plane.connector]}
    serving = {entry.serving for entry in wired.config.services.values()}
    for name, made in wired.connectors.items():
        if name not in used | serving and isinstance(made, signal.Signal):
            found.append(_source(wired, name, made))
    found += doctor_backups.visit(wired, environ, used)
    found += doctor_indexes.visit(wired)
    return tuple(found)


def _store(wired: build.Wired) -> visits.Visit:
    made = repository.make_store(wired.config)
    try:
        wired.log.witness.hold_place(wired.log.witness.anchor())
    except DdrError as problem:  # nothing is written where the journal is missing
        return visits.Visit(
            f"repository {made.name}", signals.State.BAD, f"{problem.message}\n      next: {problem.hint}"
        )
    verdict = probe.probe(made)
    if verdict.unanswered:
        return visits.Visit(f"repository {made.name}", signals.State.BAD, "; ".join(verdict.findings))
    if not verdict.honest:
        return visits.Visit(
            f"repository {made.name}",
            signals.State.BAD,
            "; ".join(verdict.findings),
            cannot=("be shared: two writers would overwrite each other without an error",),
        )
    if isinstance(made, store.Lockable) and made.rule is not None:
        try:
            made.check_lock()
        except DdrError as problem:
            text = f"{problem.message}\n      next: {problem.hint}"
            return visits.Visit(f"repository {made.name}", signals.State.BAD, text, cannot=("lock backups",))
    shared = "may be shared between machines" if made.is_shared else "serves this machine"
    return visits.Visit(f"repository {made.name}", signals.State.OK, "keeps its conditional writes", (shared,))


def _journal(wired: build.Wired) -> visits.Visit:
    try:
        report = verify.verify(wired.log)
    except DdrError as problem:
        return visits.Visit("journal", signals.State.BAD, problem.message)
    if report.findings:
        findings = "; ".join(str(finding) for finding in report.findings)
        return visits.Visit("journal", signals.State.BAD, "\n      next: ".join([findings, *report.advice]))
    trouble = probe.try_beginning(repository.make_store(wired.config), layout.TRIAL)
    if trouble:
        return visits.Visit(
            "journal", signals.State.BAD, trouble, cannot=("record anything there: events wait in the spool",)
        )
    if report.pending:
        count = "1 event waits" if report.pending == 1 else f"{report.pending} events wait"
        return visits.Visit(
            "journal", signals.State.BAD, f"{count} on this machine, not in the store\n      next: `ddr journal sync`"
        )
    return visits.Visit("journal", signals.State.OK, f"{report.events} events, one unbroken chain; can be written")


def _last_good(wired: build.Wired, service: str) -> releases.Release | None:
    """None also where the journal cannot be read, which has a visit of its own."""
    try:
        return wired.board().last_good(service)
    except DdrError:
        return None


def _plane(
    service: str,
    name: str,
    plane: planes.Plane,
    seen: connector.Observable,
    good: releases.Release | None,
    way: tuple[str, str],
) -> visits.Visit:
    found = seen.health()
    can = [*found.can, *([way[0]] if way[0] else []), *_ports(seen)]
    overwritten = _overwritten(seen, good)
    state = signals.State.BAD if overwritten or (way[1] and found.state is signals.State.OK) else found.state
    cannot = (*found.cannot, *([way[1]] if way[1] else []))
    return visits.Visit(f"{service} {plane} ({name})", state, overwritten or found.why, tuple(can), cannot)


def _way_back(wired: build.Wired, service: str, plane: planes.Plane, seen: connector.Observable) -> tuple[str, str]:
    """What a rollback can do now, and why it cannot; ('', '') where the plane is only looked at or cannot be read.

    At its known-good state a plane needs no way back; behind a bad one it does, and that must be there and intact.
    """
    if not isinstance(seen, connector.Switchable):
        return "", ""
    try:
        sight = planner.look(wired.platform, service, plane, planner.LAST_GOOD)
        if not sight.good or planner.is_there(sight, planner.LAST_GOOD):
            return "switch", ""
        plan = planner.decide(sight, planner.LAST_GOOD)
    except Missing as problem:
        return "", f"switch back: {problem.message}"
    except DdrError:
        return "", ""
    if plan.refusals:
        return "", "switch back: " + "; ".join(check.detail for check in plan.refusals)
    return f"switch back to {plan.moves[0].target.name}", ""


def _overwritten(seen: connector.Observable, good: releases.Release | None) -> str:
    """Bytes that are other ones than those recorded under the same name, '' where they are not or cannot be read."""
    try:
        now = seen.revision() if good else None
    except DdrError:
        return ""
    was = releases.overwritten(good, now) if good and now else None
    if good is None or now is None or was is None:
        return ""
    before, after = digest.short(was.digest), digest.short(now.digest)
    return f"bytes of {now.object} {now.name} changed in place: {before} in release {good.id}, {after} now"


def _ports(seen: connector.Observable) -> Sequence[str]:
    """What ddr can do with the plane, by the ports it has."""
    said = (
        (connector.Freezable, "freeze"),
        (connector.Markable, "mark revisions bad"),
        (connector.Refreshable, "materialize anew"),
        (connector.Materializable, "materialize anew"),
    )
    return [words for port, words in said if isinstance(seen, port)]


def _server(wired: build.Wired, service: str) -> visits.Visit:
    what = f"{service} server ({wired.platform.services[service].serving})"
    try:
        loaded = wired.platform.servers[service].loaded()
    except DdrError as problem:
        return visits.Visit(what, signals.State.BAD, problem.message)
    text = ", ".join(str(revision) for revision in loaded.values())
    can = ["roll", "answer with the fallback"]
    can += ["replay logged requests"] if service in wired.platform.replays else []
    return visits.Visit(what, signals.State.OK, f"serves {text}", tuple(can))


def _source(wired: build.Wired, name: str, made: signal.Signal) -> visits.Visit:
    now = wired.platform.clock.now()
    silent = []
    for series in made.series:
        try:
            reading = made.read(series, now - health.LOOK_BACK, now)
        except DdrError as problem:
            return visits.Visit(f"source {name}", signals.State.BAD, problem.message)
        if reading.sample is None:
            silent.append(f"{series}: {reading.why}")
    state = signals.State.UNKNOWN if silent else signals.State.OK
    return visits.Visit(
        f"source {name}", state, "; ".join(silent) or "answers", tuple(f"read {entry}" for entry in made.series)
    )
