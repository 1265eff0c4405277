"""`ddr release`: what is live together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ddr.cli import output
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.domain import releases
    from ddr.ports import platform


@click.group()
def command() -> None:
    """Record what is live together, and what is known to be good."""


@command.command()
@click.argument("service", required=False)
@click.option("--known-good", is_flag=True, help="You vouch for it: rollbacks may go back here.")
@click.option("--although-bad", is_flag=True, help="Vouch for it while signals are bad; they go into the note.")
@click.option("--note", default="", help="Why, for the record.")
@sessions.also_as_option
@sessions.json_option
@sessions.pass_session
def record(session: sessions.Session, service: str | None, known_good: bool, although_bad: bool, note: str) -> None:
    """Record the live revision of every plane.

    With --known-good the signals are looked at first: what is bad now is nothing to go back to.

    Exit codes: 0 recorded, 1 not recorded as known good: signals are bad, 64 no such service, 69 a plane does not
    answer.
    """
    from ddr.release import ledger

    on, name = session.wired().platform, session.service(service).name
    if known_good:
        note = _vouching(session, on, name, note, although_bad=although_bad)
    made = ledger.record(on, name, known_good=known_good, note=note)
    session.show(made, lambda: _text(made))


def _vouching(session: sessions.Session, on: platform.Platform, service: str, note: str, *, although_bad: bool) -> str:
    """The note, with what was bad. Raises Refused."""
    from ddr.diagnose import watch
    from ddr.domain import signals
    from ddr.errors import Refused

    judged = watch.judge(on, service)
    bad = ", ".join(entry.signal for entry in judged if entry.state is signals.State.BAD)
    unknown = ", ".join(entry.signal for entry in judged if entry.state is signals.State.UNKNOWN)
    if bad and not although_bad:
        raise Refused(
            f"{service} is not recorded as known good: bad now: {bad}",
            hint=f"`ddr diagnose {service}` says why; without --known-good it is recorded as seen, "
            "with --although-bad you vouch for it all the same",
        )
    for label, what in (("bad now:", bad), ("not measured:", unknown)):
        if what:
            session.notice(f"{click.style(label, fg='yellow', bold=True)} {what}")
    return "; ".join(part for part in (note, f"recorded although bad: {bad}" if bad else "") if part)


@command.command()
@click.argument("release")
@click.option("--why", default="", help="For the record.")
@sessions.service_option
@sessions.json_option
@sessions.pass_session
def withdraw(session: sessions.Session, release: str, why: str, service: str | None) -> None:
    """Vouch for RELEASE no longer: nothing goes back there. What was live then stays in the record.

    Exit codes: 0 withdrawn, 64 there is no such release.
    """
    from ddr.release import ledger

    name = session.service(service).name
    made = ledger.withdraw(session.wired().platform, name, release, why)
    if session.board().last_good(name) is None:
        what = f"nothing of {name} is known good now"
        session.notice(f"{click.style('mind:', fg='yellow', bold=True)} {what}; `ddr release record --known-good`")
    session.show(made, lambda: _text(made))


@command.command()
@click.argument("service", required=False)
@sessions.also_as_option
@sessions.json_option
@sessions.pass_session
def observe(session: sessions.Session, service: str | None) -> None:
    """Show what is live now; records nothing.

    Exit codes: 0 shown, 69 a plane does not answer.
    """
    from ddr.release import ledger

    seen = ledger.observe(session.wired().platform, session.service(service).name)
    session.show(seen, lambda: _text(seen))


@command.command(name="list")
@click.argument("service", required=False)
@sessions.also_as_option
@sessions.json_option
@sessions.pass_session
def list_(session: sessions.Session, service: str | None) -> None:
    """List recorded releases, newest last.

    Exit codes: 0 listed.
    """
    found = session.board().releases.get(session.service(service).name, [])
    session.show({"releases": found}, lambda: "\n".join(_text(entry) for entry in found) or "none recorded")


def _text(entry: releases.Release) -> str:
    good = click.style("known good", fg="green") if entry.known_good else "not vouched for"
    rows = [(plane, str(revision)) for plane, revision in entry.revisions.items()]
    head = f"{output.heading(entry.id)}  {entry.service}  {entry.at:%Y-%m-%d %H:%M:%SZ}  {good}  {entry.note}"
    return head.rstrip() + "\n" + output.table(rows)
