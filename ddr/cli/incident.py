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
@sessions.json_option
@sessions.pass_session
def declare(session: sessions.Session, service: str | None, severity: incidents.Severity, title: str) -> None:
    """Declare an incident; the bad signals of the moment go into its record.

    Exit codes: 0 declared, 69 the journal cannot be written.
    """
    from ddr.diagnose import watch
    from ddr.incident import desk

    on = session.wired().platform
    name = session.service(service).name
    bad = _bad(on, name)
    first_bad = watch.first_bad(on, name, bad)
    made = desk.declare(on.journal, name, severity, title, judgements=bad, first_bad=first_bad, at=on.clock.now())
    session.show(made, lambda: f"{_line(made)}\n  next: ddr diagnose {name} --incident {made.id}")


@command.command()
@click.argument("incident")
@click.argument("text")
@sessions.json_option
@sessions.pass_session
def note(session: sessions.Session, incident: str, text: str) -> None:
    """Write one line into the timeline.

    Exit codes: 0 written, 1 there is no such incident.
    """
    from ddr.incident import desk

    made = desk.note(session.wired().platform.journal, incident, text)
    session.show(made, lambda: _line(made))


@command.command()
@click.argument("incident")
@click.option("--why", default="", help="What proved the recovery.")
@sessions.json_option
@sessions.pass_session
def resolve(session: sessions.Session, incident: str, why: str) -> None:
    """Close an incident. Signals that are still bad are said and written down; closing is yours to decide.

    Exit codes: 0 resolved, 1 there is no such incident or it is closed already.
    """
    from ddr.domain import incidents
    from ddr.incident import desk

    on = session.wired().platform
    found = desk.find(on.journal, incident)
    still = ", ".join(judgement.signal for judgement in _bad(on, found.service)) if found.is_open else ""
    if still:
        session.notice(f"{click.style('still bad:', fg='yellow', bold=True)} {still}")
        why = f"{why or 'no reason given'} (resolved while bad: {still})"
    made = desk.move(on.journal, incident, incidents.Status.RESOLVED, why)
    session.show(made, lambda: _line(made))


@command.command()
@click.argument("incident")
@sessions.json_option
@sessions.pass_session
def show(session: sessions.Session, incident: str) -> None:
    """Show one incident with its timeline.

    Exit codes: 0 shown, 1 there is no such incident.
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


def _bad(on: platform.Platform, service: str) -> tuple[signals.Judgement, ...]:
    """The signals that are bad right now; a service that is no longer in ddr.yaml has none."""
    from ddr.diagnose import watch
    from ddr.domain import signals

    judged = watch.judge(on, service) if service in on.services else ()
    return tuple(judgement for judgement in judged if judgement.state is signals.State.BAD)


def _line(entry: incidents.Incident) -> str:
    return f"{output.heading(entry.id)}  {entry.severity}  {entry.service}  {entry.status}: {entry.title}"


def _timeline(entry: incidents.Incident) -> str:
    return output.table([(f"{note.at:%m-%d %H:%M:%S}", note.actor, note.text) for note in entry.timeline])
