"""`ddr release`: what is live together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ddr.cli import output
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.domain import releases


@click.group()
def command() -> None:
    """Record what is live together, and what is known to be good."""


@command.command()
@click.argument("service", required=False)
@click.option("--known-good", is_flag=True, help="You vouch for it: rollbacks may go back here.")
@click.option("--note", default="", help="Why, for the record.")
@sessions.json_option
@sessions.pass_session
def record(session: sessions.Session, service: str | None, known_good: bool, note: str) -> None:
    """Record the live revision of every plane.

    Exit codes: 0 recorded, 69 a plane does not answer.
    """
    from ddr.release import ledger

    made = ledger.record(session.wired().platform, session.service(service).name, known_good=known_good, note=note)
    session.show(made, lambda: _text(made))


@command.command()
@click.argument("service", required=False)
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
