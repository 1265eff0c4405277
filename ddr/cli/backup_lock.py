"""`ddr backup lock | undelete`: what nobody can delete, and how to have back what somebody hid."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING

import click

from ddr.cli import backup_text, backup_watch, working
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.backup import keeping, locks, repository, retention


def decided(session: sessions.Session, of: repository.Repository) -> list[retention.Decision]:
    """What retention says of every snapshot now. Damaged where one cannot be read."""
    from ddr.backup import retention

    made, board = session.backups(), session.board()
    known, wired = board.backups, session.wired()
    return list(
        retention.decide(
            [of.read(head) for head in of.heads()],
            made.settings.keep,
            made.now(),
            known.verified,
            [drill.snapshot for _, drill in known.drills if drill.passed],
            accepted_at=made.settings.shrunk_accepted,
            needed=board.needed(wired.platform.clock.now() - wired.config.recovery_window),
        )
    )


def aged(session: sessions.Session, of: repository.Repository) -> tuple[keeping.Aged, ...]:
    """What becomes of the kept states of planes now."""
    from ddr.backup import keeping

    wired, now = session.wired(), session.backups().now()
    window = wired.config.recovery_window
    needed = session.board().needed(wired.platform.clock.now() - window)
    return keeping.decide(keeping.states(of), now, window, frozenset(needed))


def of_states(session: sessions.Session, names: Collection[str], at_work: working.AtWork) -> locks.Standing | None:
    """Lock what these kept states need as long as themselves: the packs that they reuse are older. None where nothing
    is to be locked. The other ones are locked longer by the next backup."""
    from ddr.backup import layout, locks

    made = session.backups()
    if locks.of(made.store) is None or not names:
        return None
    repository = made.open()
    heads = [head for head in repository.heads(layout.KEPT) if head.id in names]
    return locks.keep(repository, heads, made.now(), at_work.told)


def extended(
    session: sessions.Session, of: repository.Repository, at_work: working.AtWork, *, only_look: bool = False
) -> locks.Standing | None:
    """Lock what the kept snapshots and states of planes need for longer, and write down how it stands; None where
    nothing is to be locked.

    Where one snapshot cannot be read every one counts as kept: a lock too much does no harm.
    """
    from ddr.backup import layout, locks, retention
    from ddr.domain import backup_records
    from ddr.errors import Damaged

    if locks.of(of.store) is None:
        return None
    heads = {head.id: head for head in of.heads()}
    try:
        decisions = decided(session, of)
        kept = [heads[one.snapshot.id] for one in decisions if isinstance(one, retention.Kept)]
    except Damaged:
        kept = list(heads.values())
    given_up = {one.head.id for one in aged(session, of) if one.is_forgotten}
    states = [head for head in of.heads(layout.KEPT) if head.id not in given_up]
    found = locks.keep(of, [*kept, *states], session.backups().now(), at_work.told, only_look=only_look)
    if kept and not only_look:
        newest = max(kept, key=lambda head: (head.at, head.key))
        backup_watch.record(
            session,
            backup_records.BackupLocked(
                of.store.name, newest.id, found.mode, found.until, found.objects, found.extended
            ),
        )
    return found


@click.command()
@click.option("--dry-run", is_flag=True, help="Only look.")
@sessions.json_option
@sessions.pass_session
def lock(session: sessions.Session, dry_run: bool) -> int:
    """Lock everything that the kept snapshots and states of planes need, for as long as the newest of them is locked.

    `ddr backup run` does it at its end, `ddr features snapshot` for what it has kept. By hand: after a run that could
    not, and when `lock` was added to ddr.yaml.
    Asks one question an object (a pack is about 32 MiB), and one more for those that end too soon.

    Exit codes: 0 all of it is locked, 1 no lock is asked for or the bucket cannot, 2 something is not locked, 69 the
    store is away.
    """
    made = session.backups()
    repository = made.open()
    made.check_lock()
    with working.shown(session) as at_work:
        found = extended(session, repository, at_work, only_look=dry_run)
    if found is None:
        from ddr.errors import Missing

        raise Missing(
            f"{made.store.name} is not asked to lock anything",
            hint="`lock: {mode: compliance, days: 30}` under `repository:` in ddr.yaml, for a bucket with Object Lock",
        )
    session.show(found, lambda: backup_text.locked(found, made.now()))
    return 0 if found.holds else 2


@click.command()
@click.option("--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]), help="In UTC.")
@click.option("--of", "name", default="", help="A name under `backup.copies`, instead of the repository itself.")
@click.option("--apply", "is_applied", is_flag=True, help="Bring it back; without it only what would be is said.")
@sessions.json_option
@sessions.pass_session
def undelete(session: sessions.Session, since: datetime | None, name: str, is_applied: bool) -> int:
    """Find what was deleted or overwritten in a bucket that keeps versions, and bring it back.

    Needs no key of the repository. Nothing is deleted: the right bytes, which prove themselves by their name, are put
    on top. Needs the rights s3:ListBucketVersions, s3:GetObjectVersion and s3:PutObject. What a prune has deleted comes
    back, too, where it is not older than --since; the next prune takes it away again.

    Exit codes: 0 nothing was hidden or all of it came back, 2 it would come back (without --apply), or something is
    lost, 64 no such copy or no versions are kept there, 69 the store is away.
    """
    from datetime import UTC

    from ddr.backup import undeleting
    from ddr.errors import Unsupported
    from ddr.ports import store

    made = session.backups()
    at = made.place(name) if name else made.store
    if not isinstance(at, store.Versioned):
        raise Unsupported(f"{at.name} keeps no versions", hint="what was deleted there is gone; is there a copy?")
    with working.shown(session) as at_work:
        lost = undeleting.look(at, since.replace(tzinfo=UTC) if since else None, at_work.told)
        problems = undeleting.bring_back(at, lost, at_work.told) if is_applied else ()
    document = {"lost": lost, "problems": problems, "applied": is_applied}
    session.show(document, lambda: backup_text.undeleted(lost, problems, is_applied=is_applied))
    is_whole = not problems and all(one.found for one in lost)
    return 0 if not lost or (is_applied and is_whole) else 2
