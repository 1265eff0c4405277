"""`ddr incident`: from the first bad signal to the resolved end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ddr.cli import output
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.domain import incidents, signals
    from ddr.ports import platform


@click.group()
def command() -> None:
    """Declare, note, resolve and list incidents."""


@command.command()
@click.argument("service", required=False)
@click.option("--severity", type=click.Choice(["SEV1", "SEV2", "SEV3", "SEV4"]), default="SEV2", show_default=True)
@click.option("--title", required=True, help="The symptom in one line.")
@sessions.also_as_option
@sessions.json_option
@sessions.pass_session
def declare(session: sessions.Session, service: str | None, severity: incidents.Severity, title: str) -> None:
    """Declare an incident; the bad signals of the moment go into its record.

    A service has one open incident at a time. Declared again, TITLE becomes a note of the one that is open.

    Exit codes: 0 declared, or noted in the one that is open, 64 no such service, 69 the journal cannot be written.
    """
    from ddr.diagnose import watch
    from ddr.incident import desk
    from ddr.lib import decode

    on = session.wired().platform
    name = session.service(service).name
    bad = _bad(on, name)
    first_bad = watch.first_bad(on, name, bad)
    open_before = {entry.id for entry in session.board().open_incidents(name)}
    made = desk.declare(on.journal, name, severity, title, judgements=bad, first_bad=first_bad, at=on.clock.now())
    lines = [_line(made), f"  next: ddr diagnose {name} --incident {made.id}"]
    is_old = made.id in open_before or made.title != title
    if is_old:
        made = desk.note(on.journal, made.id, f"declared again as {severity}: {title}")
        loud = click.style("open already:", fg="yellow", bold=True)
        lines.insert(0, f"{loud} {name} has an open incident; {title!r} was not taken as its title, it is a note of it")
    session.show({**decode.encode(made), "already_open": is_old}, lambda: "\n".join(lines))


@command.command()
@click.argument("incident")
@click.argument("text")
@sessions.json_option
@sessions.pass_session
def note(session: sessions.Session, incident: str, text: str) -> None:
    """Write one line into the timeline.

    Exit codes: 0 written, 1 there is nothing in it, 64 there is no such incident.
    """
    from ddr.incident import desk

    made = desk.note(session.wired().platform.journal, incident, text)
    session.show(made, lambda: _line(made))


@command.command()
@click.argument("incident")
@click.option("--why", default="", help="What proved the recovery.")
@click.option("--although-bad", is_flag=True, help="Close it while signals are bad; they go into the record.")
@sessions.json_option
@sessions.pass_session
def resolve(session: sessions.Session, incident: str, why: str, although_bad: bool) -> int:
    """Close an incident. What is still bad keeps it open, unless you say --although-bad.

    Signals that could not be measured and runs that have no end yet are said and written down.

    Exit codes: 0 resolved, 1 signals are still bad, 2 resolved, and something could not be measured or a run has no
    end yet, 64 there is no such incident.
    """
    from ddr.domain import incidents, signals
    from ddr.errors import Refused
    from ddr.incident import desk

    on = session.wired().platform
    found = desk.find(on.journal, incident)
    judged = _judged(on, found.service) if found.is_open else ()
    bad = ", ".join(entry.signal for entry in judged if entry.state is signals.State.BAD)
    unknown = ", ".join(entry.signal for entry in judged if entry.state is signals.State.UNKNOWN)
    waiting = _unfinished(session, found.service) if found.is_open else ""
    if bad and not although_bad:
        raise Refused(
            f"{incident} stays open: still bad: {bad}" + (f"; {waiting}" if waiting else ""),
            hint=f"`ddr diagnose {found.service} --incident {incident}`; or --although-bad closes it all the same",
        )
    for label, what in (("still bad:", bad), ("not measured:", unknown), ("no end yet:", waiting)):
        if what:
            session.notice(f"{click.style(label, fg='yellow', bold=True)} {what}")
            why = f"{why or 'no reason given'} ({label} {what})"
    made = desk.move(on.journal, incident, incidents.Status.RESOLVED, why)
    session.show(made, lambda: _line(made))
    return 2 if unknown or waiting else 0


def _unfinished(session: sessions.Session, service: str) -> str:
    """The runbooks of the service that have no end, with the two ways to end them."""
    runs = [
        run
        for run in session.board().runs.values()
        if run.started.service == service and run.started.purpose == "runbook" and run.end is None
    ]
    return "; ".join(
        f"run {run.id} ({'waits for approval' if run.is_awaiting_approval else run.status}): "
        f"ddr runbook resume {run.id} or ddr runbook undo {run.id}"
        for run in runs
    )


@command.command()
@click.argument("incident")
@sessions.json_option
@sessions.pass_session
def show(session: sessions.Session, incident: str) -> None:
    """Show one incident with its timeline.

    Exit codes: 0 shown, 64 there is no such incident.
    """
    from ddr.incident import desk

    found = desk.find(session.wired().platform.journal, incident)
    session.show(found, lambda: "\n".join([_line(found), _timeline(found)]))


@command.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Resolved ones too.")
@sessions.json_option
@sessions.pass_session
def list_(session: sessions.Session, everything: bool) -> None:
    """List open incidents, newest last.

    Exit codes: 0 listed.
    """
    found = [entry for entry in session.board().incidents.values() if everything or entry.is_open]
    session.show({"incidents": found}, lambda: "\n".join(map(_line, found)) or "no open incident")
    session.warn_interrupted()


def _judged(on: platform.Platform, service: str) -> tuple[signals.Judgement, ...]:
    """The signals right now; a service that is no longer in ddr.yaml has none."""
    from ddr.diagnose import watch

    return tuple(watch.judge(on, service)) if service in on.services else ()


def _bad(on: platform.Platform, service: str) -> tuple[signals.Judgement, ...]:
    from ddr.domain import signals

    return tuple(judgement for judgement in _judged(on, service) if judgement.state is signals.State.BAD)


def _line(entry: incidents.Incident) -> str:
    return f"{output.heading(entry.id)}  {entry.severity}  {entry.service}  {entry.status}: {entry.title}"


def _timeline(entry: incidents.Incident) -> str:
    return output.table([(f"{note.at:%m-%d %H:%M:%S}", note.actor, note.text) for note in entry.timeline])
