"""`ddr journal`: the append-only record."""

from __future__ import annotations

import click

from ddr.cli import output
from ddr.cli import session as sessions


@click.group()
def command() -> None:
    """Show, verify and sync the append-only record."""


@command.command()
@click.option("--last", type=click.IntRange(min=1), default=40, show_default=True, help="How many events.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--kind", default="", help="Only kinds that begin so, for example run.")
@sessions.json_option
@sessions.pass_session
def show(session: sessions.Session, last: int, everything: bool, kind: str) -> None:
    """Show events, newest last.

    Exit codes: 0 shown, 2 the chain is broken, 69 the store is away and nothing is known here.
    """
    from ddr.journal import spoken

    found = [event for event in session.wired().log.events() if event.record.kind.startswith(kind)]
    shown = found if everything else found[-last:]
    rows = [
        (str(event.seq or "spool"), f"{event.at:%m-%d %H:%M:%S}", event.actor, event.record.kind, spoken.line(event))
        for event in shown
    ]
    session.show(
        {"events": [spoken.document(event) for event in shown]}, lambda: output.table(rows, indent=0) or "no events yet"
    )


@command.command()
@sessions.json_option
@sessions.pass_session
def verify(session: sessions.Session) -> int:
    """Walk the whole chain: digests, gaps, torn or stray events, and what this machine has seen before.

    Exit codes: 0 whole, 2 findings, 69 the store is away.
    """
    from ddr.journal import verify

    report = verify.verify(session.wired().log)
    lines = [str(finding) for finding in report.findings]
    head = f"{report.events} events, head {report.head[:19]}"
    whole = f"{output.mark('ok')} {head}: one unbroken chain"
    session.show(report, lambda: "\n".join([f"{output.mark('bad')} {head}", *lines]) if lines else whole)
    return 2 if report.is_broken else 0


@command.command()
@sessions.json_option
@sessions.pass_session
def sync(session: sessions.Session) -> int:
    """Join events that were spooled while the store was away, and fold old events into segments.

    Exit codes: 0 joined or nothing to do, 69 the store is still away.
    """
    journal = session.wired().log
    joined, folded = journal.sync(), len(journal.compact().segments)
    text = f"joined {joined} event{'' if joined == 1 else 's'}, folded {folded} segment{'' if folded == 1 else 's'}"
    session.show({"joined": joined, "folded": folded}, lambda: text)
    return 0
