"""`ddr journal`: the append-only record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddr.cli import output
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.journal import verify as verify_


@click.group()
def command() -> None:
    """Show, verify, sync and mend the append-only record."""


@command.command()
@click.option("--last", type=click.IntRange(min=1), default=40, show_default=True, help="How many events.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--kind", default="", help="Only kinds that begin so, for example run.")
@sessions.json_option
@sessions.pass_session
def show(session: sessions.Session, last: int, everything: bool, kind: str) -> int:
    """Show events, newest last.

    Exit codes: 0 shown, 2 the chain is broken and what comes before was shown, 69 the store is away
    and nothing is known here.
    """
    from ddr.journal import spoken

    found = [event for event in session.looking().platform.journal.events() if event.record.kind.startswith(kind)]
    shown = found if everything else found[-last:]
    rows = [
        (str(event.seq or "spool"), f"{event.at:%m-%d %H:%M:%S}", event.actor, event.record.kind, spoken.line(event))
        for event in shown
    ]
    session.show(
        {"events": [spoken.document(event) for event in shown]}, lambda: output.table(rows, indent=0) or "no events yet"
    )
    return session.code()


@command.command()
@sessions.json_option
@sessions.pass_session
def verify(session: sessions.Session) -> int:
    """Walk the whole chain: digests, gaps, torn or stray events, and what this machine has seen before.

    Says of every damaged event who has a copy of it, and how to go on.

    Exit codes: 0 whole, 2 findings, 69 the store is away.
    """
    from ddr.journal import verify

    report = verify.verify(session.wired().log)
    session.show(report, lambda: _report(report))
    return 2 if report.is_broken else 0


def _report(report: verify_.Report) -> str:
    head = f"{report.events} events, head {report.head[:19] or 'none'}"
    lines = [f"{output.mark('bad')} {head}", *map(str, report.findings)]
    if not report.is_broken:
        lines = [f"{output.mark('ok')} {head}: one unbroken chain"]
    lines += [f"  note: {note}" for note in report.notes]
    return "\n".join(lines + [f"  next: {each}" for each in report.advice])


@command.command()
@sessions.json_option
@sessions.pass_session
def sync(session: sessions.Session) -> int:
    """Join events that were spooled while the store was away, and fold old events into segments.

    Exit codes: 0 joined or nothing to do, 2 the chain is broken (nothing was joined), 69 the store is still away.
    """
    journal = session.wired().log
    joined, folded = journal.sync(), len(journal.compact().segments)
    text = f"joined {joined} event{'' if joined == 1 else 's'}, folded {folded} segment{'' if folded == 1 else 's'}"
    session.show({"joined": joined, "folded": folded}, lambda: text)
    return 0


@command.command()
@click.option(
    "--from",
    "places",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with an older copy of the repository; may be given again.",
)
@sessions.json_option
@sessions.pass_session
def repair(session: sessions.Session, places: tuple[Path, ...]) -> int:
    """Bring back events that are missing or were changed, from the copy that this machine keeps or from FOLDER.

    Only the very bytes come back: each event names the digest of the one before. What stood there is kept aside, and
    the repair is recorded as an event.

    Exit codes: 0 whole again, or nothing was damaged, 2 events have no copy, 69 the store is away.
    """
    from ddr.wiring import records_care

    found = records_care.repair(session.wired(), places)
    if not found.mended and not found.advice:
        session.show(found, lambda: f"{output.mark('ok')} nothing is damaged")
        return 0
    told = [f"brought back: {', '.join(map(str, found.mended))}"] if found.mended else []
    told += [f"  kept aside: {', '.join(found.aside)}"] if found.aside else []
    state = "bad" if found.advice else "ok"
    session.show(
        found, lambda: "\n".join([f"{output.mark(state)} " + "\n".join(told), *(f"  next: {a}" for a in found.advice)])
    )
    return 2 if found.advice else 0


@command.command()
@click.option("--from", "lost", type=click.IntRange(min=1), metavar="N", help="Go on without event N, which is lost.")
@click.option("--why", default="", help="For the record.")
@sessions.json_option
@sessions.pass_session
def adopt(session: sessions.Session, lost: int | None, why: str) -> None:
    """Take the journal as it is found, on purpose: begun anew, another one, or an older one that was brought back.

    Until then every command that needs the journal refuses, because a disk that is not mounted looks the same. With
    --from N: go on without a lost event; the whole events behind it are written anew, with their times and actors.
    It is recorded as an event, and what was known is kept aside. Not for a bucket: that is a team's.

    Exit codes: 0 taken, 1 there is nothing to take or the store is shared, 2 it is damaged itself, 64 N is wrong.
    """
    from ddr.wiring import records_care

    made = records_care.adopt(session.wired(), lost, why)
    session.show(made, lambda: f"{output.mark('ok')} {made.told}\n  next: ddr journal verify")
