"""`ddr backup verify | drill | repair`: whether it can be had back."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ddr.cli import asking, backup_text, backup_watch, working
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.wiring import backups

_MOST_NAMED = 1000
"""So many damaged packs stand in the journal."""

_LEVELS = click.Choice(["structure", "stored", "full"])


@click.command()
@click.option(
    "--level",
    type=_LEVELS,
    default="full",
    show_default=True,
    help="structure: every reference; stored: hash packs; full: open and hash every chunk.",
)
@click.option(
    "--share", metavar="N/OF", default="1/1", help="Only every OF-th pack, from the N-th; today/7: all in seven days."
)
@click.option("--from", "copy", default="", metavar="COPY", help="A name under `backup.copies`, instead.")
@sessions.json_option
@sessions.pass_session
def verify(session: sessions.Session, level: Literal["structure", "stored", "full"], share: str, copy: str) -> int:
    """Read the repository, or with --from a copy of it, back: what is damaged, what that affects, what to do.

    Exit codes: 0 all is whole, 1 there is no repository, 2 findings or not recorded, 64 usage, 69 the store is away.
    """
    from ddr.backup import verify as verifying
    from ddr.domain import backup_records

    session.looking()  # the journal may be what is to be had back
    made = session.backups()
    repository = made.open(copy=copy)
    began = time.monotonic()
    with working.shown(session) as at_work:
        report = verifying.verify(
            repository,
            level,
            share=backup_text.share_of(share),
            told=at_work.told,
            now=made.now(),
            gone=() if copy else made.missing(),
            copies=tuple(made.copies()),
        )
    took_s = round(time.monotonic() - began, 3)
    recorded = backup_watch.record(
        session,
        backup_records.BackupVerified(
            repository.store.name,
            report.level,
            report.is_all,
            report.whole,
            len(report.findings),
            took_s,
            report.damaged[:_MOST_NAMED],
            bool(copy),
        ),
    )
    backup_watch.write_metrics(session)
    session.show(report, lambda: backup_text.verified(report, took_s, made.now()))
    return 0 if recorded and not report.findings else 2


@click.command()
@click.argument("snapshot", default="latest")
@click.option("--random", "is_random", is_flag=True, help="Any snapshot instead: old ones have to restore as well.")
@click.option("--place", type=click.Path(file_okay=False, path_type=Path), help="Where the throwaway place is made.")
@sessions.json_option
@sessions.pass_session
def drill(session: sessions.Session, snapshot: str, is_random: bool, place: Path | None) -> int:
    """Restore SNAPSHOT into a throwaway place, start what serves it, ask it, compare everything, sweep it away.

    The time it takes is the recovery time that was measured, not estimated.

    Exit codes: 0 it restores, 1 there is no such snapshot, 2 something differs or could not be rehearsed, 69 no place
    for it or the store is away.
    """
    import secrets

    from ddr.backup import drill as drilling
    from ddr.domain import backup_records

    made = session.backups()
    repository = made.open()
    heads = repository.heads()
    head = secrets.choice(heads) if is_random and heads else repository.head(snapshot)
    found = repository.read(head)
    with working.shown(session) as at_work:
        done = drilling.rehearse(repository, found, made.restorables(found), place, at_work.told)
    compared = sum(part.compared for part in done.parts)
    recorded = backup_watch.record(
        session,
        backup_records.BackupDrilled(found.id, done.passed, found.at, done.phases, done.took_s, compared, done.why),
    )
    backup_watch.write_metrics(session)
    session.show(backup_text.drill_document(done), lambda: backup_text.drilled(done))
    return 0 if done.passed and recorded else 2


@click.command()
@click.option("--recovery", is_flag=True, help="Open the repository with the recovery key; it is asked for.")
@click.option("--drop-damaged", is_flag=True, help="Set aside every snapshot that nobody can read.")
@click.option("--drop", multiple=True, metavar="SNAPSHOT", help="Set this one aside, too: parts of it are lost.")
@sessions.json_option
@sessions.pass_session
def repair(session: sessions.Session, recovery: bool, drop_damaged: bool, drop: tuple[str, ...]) -> int:
    """Write the index anew from the packs. What they have lost, the next backup stores again.

    A configuration that is gone or damaged is written anew first: it follows from any key.

    A snapshot that nobody can read stops `ddr backup prune`, because nobody knows what it needs. With --drop-damaged
    it is given up: its bytes stay, below `backup/aside/`, and what only it needed goes with a later prune.

    Exit codes: 0 done, 1 nothing opens it, 2 done, and chunks are lost or snapshots cannot be read, 64 there is no
    such snapshot, 69 the store is away.
    """
    from ddr.backup import repair as repairing
    from ddr.domain import backup_records

    paper = asking.secret("recovery key") if recovery else ""
    made = session.backups()
    repository, was_headless = made.open_for_repair(paper)
    if was_headless:
        session.notice("the configuration of the repository was written anew")
    given_up = repairing.named(repository, drop)
    with working.shown(session) as at_work:
        done = repairing.rebuild_index(repository, at_work.told)
    damaged = repairing.unreadable(repository)
    if drop_damaged:
        given_up = (*given_up, *(head for head in damaged if head not in given_up))
    aside = repairing.set_aside(repository, given_up)
    left = tuple(head.id for head in damaged if head not in given_up)
    done = dataclasses.replace(done, damaged=left, aside=aside)
    gone = tuple(head.id for head in given_up)
    recorded = not gone or backup_watch.record(session, backup_records.BackupsForgotten(gone))
    is_shut = bool(paper) and not _opens(made)
    session.show(done, lambda: backup_text.repaired(done, is_shut=is_shut))
    return 2 if done.lost or left or not recorded else 0


def _opens(made: backups.Backups) -> bool:
    """Whether what ddr.yaml names opens it."""
    from ddr.errors import DdrError

    try:
        made.open()
    except DdrError:
        return False
    return True
