"""`ddr backup prune | copy | schedule`: room, second places, unattended running."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from ddr.cli import backup_lock, backup_text, backup_watch, working
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.wiring import backups


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be forgotten and deleted; change nothing.")
@click.option("--forget-missing", is_flag=True, help="Snapshots that are gone without a word are meant to be: say so.")
@sessions.json_option
@sessions.pass_session
def prune(session: sessions.Session, dry_run: bool, forget_missing: bool) -> int:
    """Forget snapshots by `backup.keep` and kept states by `recoveryWindow`; delete what nobody needs, in two phases.

    Never forgotten: the newest complete, the newest verified, the newest drilled, fewer than the minimum.

    What Object Lock still holds stays, is told, and goes with a later prune; that is no failure.

    Where a snapshot that the journal tells of is gone without a word nothing is deleted: it may come back from a copy,
    and then needs its packs. --forget-missing writes down that it is meant, and goes on.

    Exit codes: 0 done, 1 somebody else prunes or a clock is wrong, 2 something is damaged or missing and nothing was
    deleted, or what was done could not be recorded, 69 the store is away, or so full that after deleting what is due no
    tombstone can be written.
    """
    from ddr.backup import prune as pruning
    from ddr.backup import retention
    from ddr.domain import backup_records

    made = session.backups()
    repository = made.open()
    recorded = _refuse_missing(session, made, forget_missing=forget_missing, dry_run=dry_run)
    heads = {head.id: head for head in repository.heads()}
    decisions = [one for one in backup_lock.decided(session, repository) if one.snapshot.id in heads]
    aged = backup_lock.aged(session, repository)
    forget = [heads[one.snapshot.id] for one in decisions if isinstance(one, retention.Forgotten)]
    forget += [one.head for one in aged if one.is_forgotten]
    plan = pruning.plan(repository, forget, made.now())
    if not dry_run:
        told: list[bool] = []

        def write_down(gone: tuple[str, ...]) -> None:
            """At once: cut off later, what is gone is not taken for missing."""
            told.append(not gone or backup_watch.record(session, backup_records.BackupsForgotten(gone)))

        actor = made.wired.platform.actor
        plan = pruning.apply(repository, plan, made.now(), actor, grace=made.settings.grace, forgotten=write_down)
        recorded = all(told) and recorded
        done = backup_records.BackupsForgotten((), plan.deleted_bytes, plan.buried_bytes)
        recorded = backup_watch.record(session, done) and recorded
    document = {
        "decisions": backup_text.decisions(decisions),
        "states": [{"state": one.kept.name, "of": one.kept.object, "reason": one.reason} for one in aged],
        "plan": plan,
        "dry_run": dry_run,
    }
    session.show(document, lambda: backup_text.pruned(decisions, plan, made.settings.grace, aged, is_dry=dry_run))
    return 0 if recorded else 2


def _refuse_missing(session: sessions.Session, made: backups.Backups, *, forget_missing: bool, dry_run: bool) -> bool:
    """Raises Damaged where a snapshot is gone that nobody forgot; with `forget_missing` that is written down instead.
    Gives whether it could be."""
    from ddr.backup import missing
    from ddr.domain import backup_records
    from ddr.errors import Damaged

    found = made.missing()
    if not forget_missing:
        if sure := missing.surely(found):
            raise Damaged(f"{missing.said(sure)}, so nothing is deleted", hint=missing.ways(tuple(made.copies())))
        return True
    if not found or dry_run:
        return True
    session.notice(f"forgotten: {', '.join(str(one) for one in found)}")
    return backup_watch.record(session, backup_records.BackupsForgotten(tuple(one.id for one in found)))


@click.command()
@click.argument("to")
@click.option("--server-side", is_flag=True, help="Packs are copied by the S3 server that keeps both places.")
@sessions.json_option
@sessions.pass_session
def copy(session: sessions.Session, to: str, server_side: bool) -> int:
    """Bring the second repository TO (a name under `backup.copies`) up to date. Needs no key.

    With --server-side the bytes of packs do not come through this machine, and are not checked on their way: the server
    says that they are the same. `ddr backup verify` with TO as repository reads them.

    Where TO has `lock`, what the first repository has now is locked there, as long as the newest snapshot is.

    Exit codes: 0 copied, 1 there is nothing to copy or TO cannot lock, 2 damaged objects were left out or not locked,
    3 TO holds something else, 64 no such copy, 69 a store is away.
    """
    from ddr.backup import copying, locks
    from ddr.domain import backup_records

    made = session.backups()
    place = made.place(to)
    made.check_lock(place)
    with working.shown(session) as at_work:
        done = copying.copy(made.store, place, at_work.told, by_server=server_side)
        there = copying.keys(made.store)
        lock = locks.keep_copied(place, there, made.now(), at_work.told) if locks.of(place) else None
    newest = max((entry.key for entry in place.list(backup_text.SNAPSHOTS)), default="")
    session.wired().log.append(
        backup_records.BackupCopied(place.name, backup_text.id_in(newest), done.objects, done.size_bytes)
    )
    if lock is not None:
        session.wired().log.append(
            backup_records.BackupLocked(
                place.name, backup_text.id_in(newest), lock.mode, lock.until, lock.objects, lock.extended
            )
        )
    document = {**dataclasses.asdict(done), "lock": lock}
    session.show(document, lambda: backup_text.copied(done, place.name, lock, made.now()))
    return 2 if done.skipped or (lock and not lock.holds) else 0


@click.command()
@click.option("--cron", "form", flag_value="cron", help="A file for /etc/cron.d.")
@click.option("--systemd", "form", flag_value="systemd", help="Services and timers for /etc/systemd/system.")
@click.option("--cronjob", "form", flag_value="cronjob", help="Kubernetes CronJobs with all they need.")
@click.option("--alerts", "form", flag_value="alerts", help="Prometheus rules that alarm when backups stay away.")
@click.option("--image", default="ddr:cpu", show_default=True, help="Container image (--cronjob).")
@click.option("--namespace", default="ddr", show_default=True, help="Namespace (--cronjob).")
@click.option("--user", default="ddr", show_default=True, help="Who runs it (--cron, --systemd).")
@click.option("--mail-to", default="", help="Who gets the mail of cron.")
@sessions.json_option
@sessions.pass_session
def schedule(session: sessions.Session, form: str | None, image: str, namespace: str, user: str, mail_to: str) -> None:
    """Print complete, hardened units for backup, verification, drill and prune. Nothing is installed.

    They fit ddr.yaml: how the repository is opened, what it refers to, and how often by the strictest `rpo` (daily
    without one). What cannot hold, or is not there yet, is said on stderr (`warnings` with --json).

    Exit codes: 0 printed, 64 usage.
    """
    from ddr.backup import metrics, pace
    from ddr.backup import schedule as scheduling
    from ddr.wiring import unattended

    if form is None:
        raise click.UsageError("give one of --cron, --systemd, --cronjob, --alerts")
    made = session.backups()
    wanted = unattended.Wanted(image, namespace, user, mail_to, is_pod=form == "cronjob", is_systemd=form == "systemd")
    found = unattended.of(made, wanted)
    wish = found.wish
    warnings = found.pace.warnings if form == "alerts" else found.warnings
    if form == "alerts" and not made.settings.metrics:
        warnings += ("ddr.yaml has no `metrics: FILE.prom` under `backup:`, so Prometheus hears nothing of backups",)
    files = {
        "cron": lambda: {"ddr-backup": scheduling.cron(wish)},
        "systemd": lambda: scheduling.systemd(wish),
        "cronjob": lambda: {"ddr-backup.yaml": scheduling.cronjob(wish)},
        "alerts": lambda: {
            "ddr-alerts.yaml": metrics.alert_rules(found.pace.run_every_s, pace.WEEK_S, found.pace.verify_every_s)
        },
    }[form]()
    for text in () if session.json else warnings:
        session.notice(f"warning: {text}")
    session.show({"files": files, "warnings": warnings}, lambda: backup_text.files(files))
