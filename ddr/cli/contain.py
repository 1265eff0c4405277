"""`ddr contain`: stop the harm where there is no way back, or not yet. It is no recovery, and says so.

A command of its own and not under `rollback`: whoever needs it has just been told that nothing can be rolled back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from ddr.cli import output, rollback
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.domain import plans, services
    from ddr.ports import platform


@dataclass
class _Containment:
    """What can be done, as steps; `cannot` is what was asked for and this platform cannot do."""

    doings: list[Mapping[str, Any]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    cannot: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pinned: list[plans.Move] = field(default_factory=list)


@click.command()
@click.argument("service", required=False)
@click.option("--freeze", is_flag=True, help="Nothing is promoted or materialized on any plane that can be frozen.")
@click.option("--fallback", is_flag=True, help="The fallback answers instead of the model.")
@click.option("--pin", metavar="[PLANE=]REVISION", default="", help="Serve this revision (of the model) and freeze it.")
@click.option("--isolate", metavar="VIEW", default="", help="Serve the agreed stand-in for this feature view.")
@click.option("--suspend", is_flag=True, help="Run `stop` of the promoters that have a `resume`, too.")
@click.option("--apply", is_flag=True, help="Do it.")
@click.option("--incident", metavar="INC", default="", help="The incident this belongs to.")
@click.option("--break-glass", metavar="REASON", default="", help="Go on without approval: loud, recorded.")
@sessions.also_as_option
@sessions.json_option
@sessions.pass_session
def command(
    session: sessions.Session,
    service: str | None,
    freeze: bool,
    fallback: bool,
    pin: str,
    isolate: str,
    suspend: bool,
    apply: bool,
    incident: str,
    break_glass: str,
) -> int:
    """Stop the harm while the cause is still there: freeze, fall back, pin, isolate.

    Without --apply a plan that touches nothing. With none of the options: --freeze --fallback. It ends as
    `contained`, never as recovered; `ddr rollback undo RUN` takes it off.

    Exit codes: 0 planned; 1 refused, failed, or asked for what this platform cannot do; 2 contained: the cause is
    still there; 4 waits for an approval; 5 an earlier run has no end yet; 64 bad usage; 69 a system does not answer.
    """
    from ddr.errors import Refused
    from ddr.rollback import book

    entry = session.service(service)
    on = session.wired().platform
    chosen = _options(freeze=freeze, fallback=fallback, pin=pin, isolate=isolate, suspend=suspend)
    found = _find(on, entry, chosen, has_backup=session.wired().config.backup is not None)
    again = " ".join(["ddr contain", entry.name, *chosen.words, "--apply"])
    if not apply or found.cannot or not found.doings:
        document = {
            "service": entry.name,
            "will": found.told,
            "cannot": found.cannot,
            "apply": again if found.doings and not found.cannot else "",
            "undo": "ddr rollback undo RUN",
        }
        if not (apply and session.json):  # there the refusal is the one document
            session.show(document, lambda: _text(entry, found, again))
        if apply:
            raise Refused(
                f"{entry.name} is not contained: {'; '.join(found.cannot) or 'there is nothing that could be done'}",
                hint="leave out what cannot be done; nothing was touched",
            )
        return 1 if found.cannot or not found.doings else 0
    from ddr.runbook import parse

    text = book.of_containment(entry, found.doings, found.pinned, on.clock.now())
    document_ = parse.read_text(text, book.SOURCE)
    return rollback.carry_out(session, document_, entry.name, incident=incident, break_glass=break_glass)


@dataclass(frozen=True)
class _Chosen:
    freeze: bool
    fallback: bool
    pin: str
    isolate: str
    suspend: bool
    words: tuple[str, ...]


def _options(*, freeze: bool, fallback: bool, pin: str, isolate: str, suspend: bool) -> _Chosen:
    import shlex

    if not (freeze or fallback or pin or isolate or suspend):
        freeze = fallback = True
    words = [
        *(["--freeze"] if freeze else []),
        *(["--fallback"] if fallback else []),
        *([f"--pin {shlex.quote(pin)}"] if pin else []),
        *([f"--isolate {shlex.quote(isolate)}"] if isolate else []),
        *(["--suspend"] if suspend else []),
    ]
    return _Chosen(freeze, fallback, pin, isolate, suspend, tuple(words))


def _find(on: platform.Platform, entry: services.Service, chosen: _Chosen, *, has_backup: bool) -> _Containment:
    found = _Containment()
    if chosen.freeze or chosen.pin:
        _freeze(on, entry, found, all_planes=chosen.freeze)
    if chosen.pin:
        _pin(on, entry, found, chosen.pin)
    if chosen.isolate:
        _isolate(on, entry, found, chosen.isolate, has_backup=has_backup)
    if chosen.fallback:
        _fallback(on, entry, found)
    if chosen.suspend:
        _suspend(entry, found)
    return found


def _freeze(on: platform.Platform, entry: services.Service, found: _Containment, *, all_planes: bool) -> None:
    from ddr.ports import connector
    from ddr.rollback import book

    made = on.planes[entry.name]
    able = [plane for plane, one in made.items() if isinstance(one, connector.Freezable)]
    for plane in able:
        inputs, why = {"plane": plane}, "Whoever obeys the mark promotes nothing meanwhile."
        found.doings.append(book.doing(f"freeze-{plane}", "promotions.freeze", inputs, why))
        found.told.append(f"freeze {plane} (a mark that promotions obey)")
    rest = [plane for plane in made if plane not in able]
    if rest and all_planes:
        found.notes.append(f"not frozen, their systems have no such mark: {', '.join(rest)}")
    if not able and all_planes:
        found.cannot.append("no plane of this service can be frozen")


def _pin(on: platform.Platform, entry: services.Service, found: _Containment, text: str) -> None:
    from ddr.domain import planes, plans
    from ddr.errors import InputError, Missing, Unavailable, UnknownName
    from ddr.rollback import apply, book

    name, equals, revision = text.rpartition("=")
    plane_name = name if equals else "model"
    if plane_name not in entry.planes:
        raise InputError(
            f"--pin {text}: {entry.name} has no {plane_name} plane", hint=f"it has: {', '.join(entry.planes)}"
        )
    plane = planes.Plane(plane_name)
    acting = apply.switchable(on, entry.name, plane)
    try:
        target = acting.find(revision)
    except Unavailable:
        raise  # nothing is known of the revision then
    except Missing as problem:
        raise UnknownName(f"--pin {text}: {problem.message}; nothing was touched", hint=problem.hint) from problem
    move = plans.Move(plane, apply.live(acting), target)
    if not move.is_needed:
        found.told.append(f"{plane} is at {revision} already: it is frozen there and nothing is switched")
        return
    found.pinned.append(move)
    why = "It answers better than what is live, says who asked; nobody calls it known good."
    found.doings.append(book.doing(f"pin-{plane}", "rollback.switch", book.pin(move), why))
    found.told.append(f"switch {plane} from {move.live.name} to {revision}, which you vouch for")
    if entry.name in on.servers:
        found.doings.append(book.doing("load", "serving.roll", {}, "The server loads it, and is compared with it."))
        found.told.append("roll the server and compare what it has loaded")


def _isolate(
    on: platform.Platform, entry: services.Service, found: _Containment, view: str, *, has_backup: bool
) -> None:
    from ddr.domain import planes
    from ddr.errors import InputError, UnknownName
    from ddr.ports import connector, keeping
    from ddr.rollback import apply, book

    made = on.planes[entry.name].get(planes.Plane.FEATURES)
    if made is None:
        raise InputError(f"--isolate {view}: {entry.name} has no features plane; nothing was touched")
    known = apply.live(made).object
    if view not in (known, planes.Plane.FEATURES):
        raise UnknownName(
            f"--isolate {view}: {entry.name} has no such view; nothing was touched", hint=f"it has: {known}"
        )
    if not isinstance(made, connector.Isolatable):
        found.cannot.append(f"isolate {view}: the connector {entry.planes[planes.Plane.FEATURES]} has no stand-in")
        return
    if isinstance(made, keeping.Keepable) and not has_backup:
        found.cannot.append(
            f"isolate {view}: its values would be kept first, and ddr.yaml has no `backup:` to keep them in"
        )
        return
    inputs = {"plane": planes.Plane.FEATURES}
    found.doings.append(book.doing("isolate", "view.isolate", inputs, "Wrong rows are answered no longer."))
    found.told.append(f"serve the agreed stand-in for {known}; other views are not touched")


def _fallback(on: platform.Platform, entry: services.Service, found: _Containment) -> None:
    from ddr.rollback import book

    if entry.name not in on.servers:
        found.cannot.append(f"fall back: {entry.name} names no server in ddr.yaml (serving: CONNECTOR)")
        return
    found.doings.append(book.doing("fallback", "serving.fallback", {}, "A plain answer is better than a wrong one."))
    found.told.append("answer with the fallback instead of the model")


def _suspend(entry: services.Service, found: _Containment) -> None:
    """Jobs for which ddr.yaml names both commands are suspended by them; of the others is said what to do by hand."""
    from ddr.rollback import book

    able = [one for one in entry.promoters if one.can_be_suspended]
    for number, one in enumerate(able, start=1):
        why = "It would promote or retrain meanwhile."
        found.doings.append(book.doing(f"suspend-{number}", "jobs.suspend", {"job": one.name}, why))
        found.told.append(f"suspend {one.name}: run `{one.stop}`; taken back by `{one.resume}`")
    by_hand = [
        f"{one.name}: {one.stop or 'nobody said how (promoters: stop in ddr.yaml)'}"
        for one in entry.promoters
        if one not in able
    ]
    how = f"by hand: {'; '.join(by_hand)}" if by_hand else "ddr.yaml names none (promoters:)"
    if not able:
        found.cannot.append(f"suspend jobs: no `stop` with `resume` in ddr.yaml for any of {entry.name}; {how}")
    elif by_hand:
        found.notes.append(f"not suspended, without `stop` and `resume` in ddr.yaml: {how}")


def _text(entry: services.Service, found: _Containment, again: str) -> str:
    lines = [f"{output.heading('plan')}  contain {entry.name}; nothing was touched"]
    lines += [f"  will     {at} {told}" for at, told in enumerate(found.told, start=1)]
    lines += [f"  mind     {text}" for text in found.notes]
    lines += [f"  {click.style('CANNOT', fg='red', bold=True)}   {text}" for text in found.cannot]
    lines.append("  end      contained, not recovered: the cause is still there")
    lines.append("  undo     ddr rollback undo RUN, or one step of it: ddr runbook undo RUN --only STEP")
    if found.cannot or not found.doings:
        lines.append(f"  {click.style('next:', bold=True)} leave out what cannot be done")
    else:
        asks = f"   # then waits for {' or '.join(entry.owners.approvers)} to approve" if entry.owners.approvers else ""
        lines.append(f"  {click.style('next:', bold=True)} {again}{asks}")
    return "\n".join(lines)
