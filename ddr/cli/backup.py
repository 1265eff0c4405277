"""`ddr backup`: everything the ML platform needs to exist, in one sealed snapshot, proved to restore."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import click

from ddr.cli import backup_text, output, working
from ddr.cli import session as sessions


@click.group()
def command() -> None:
    """Back up the control plane, look into backups, prove them.

    What is backed up: every connector of ddr.yaml that can be (or those named under `backup.connectors`), and the
    journal. The repository lies in the store of ddr.yaml.
    """


@command.command()
@click.option("--dry-run", is_flag=True, help="Say what would be captured; store nothing.")
@sessions.json_option
@sessions.pass_session
def run(session: sessions.Session, dry_run: bool) -> int:
    """Capture everything into one snapshot and commit it. The first call makes the repository.

    Exit codes: 0 complete, 1 nothing was captured or a secret was found, 2 partial or a source shrank suddenly,
    64 ddr.yaml does not say how to seal it, 69 the store is away.
    """
    from ddr.backup import capture, shrink
    from ddr.domain import backup_records

    made = session.backups()
    origins = made.origins()
    if dry_run:
        rows = [(origin.name, origin.kind, origin.source) for origin in origins.values()]
        session.show({"would_capture": list(origins)}, lambda: output.table(rows))
        return 0
    repository, is_new = made.open_or_create()
    if is_new:
        session.notice(f"a new backup repository in {repository.store.name}\n  {backup_text.KEEP_THE_KEY}")
    before = repository.newest()
    with working.shown(session) as at_work:
        snapshot = capture.run(
            repository, origins, made.maker(), report=at_work.captured, scan=made.scanner(repository)
        )
    session.wired().log.append(
        backup_records.BackupMade(
            snapshot.id,
            snapshot.at,
            snapshot.status,
            repository.store.name,
            tuple(component.name for component in snapshot.components),
            snapshot.size_bytes,
            snapshot.added_bytes,
            snapshot.took_s,
        )
    )
    shrunk = shrink.of_snapshot(snapshot, before) if before else ()
    document = {"snapshot": capture.without_chunks(snapshot), "shrunk": shrunk}
    session.show(document, lambda: backup_text.made(snapshot, shrunk))
    return 2 if shrunk or snapshot.status != "complete" else 0


@command.command(name="list")
@sessions.json_option
@sessions.pass_session
def list_(session: sessions.Session) -> None:
    """List snapshots, newest last.

    Exit codes: 0 listed, 1 there is no repository, 69 the store is away.
    """
    from ddr.backup import capture
    from ddr.errors import DdrError

    repository = session.backups().open()
    verified = session.board().backups.verified
    found, unread = [], []
    for head in repository.heads():
        try:
            found.append(repository.read(head))
        except DdrError as problem:
            unread.append((head, problem.message))
    session.show(
        {
            "snapshots": [capture.without_chunks(snapshot) for snapshot in found],
            "damaged": [head.id for head, _ in unread],
            "verified": sorted(verified),
        },
        lambda: backup_text.listed(found, unread, verified),
    )


@command.command()
@click.argument("snapshot", default="latest")
@click.option("--files", is_flag=True, help="Every file too.")
@sessions.json_option
@sessions.pass_session
def show(session: sessions.Session, snapshot: str, files: bool) -> None:
    """Show what SNAPSHOT holds: `latest`, or the beginning of an id.

    Exit codes: 0 shown, 1 there is no such snapshot, 2 it is damaged.
    """
    from ddr.backup import capture, reading, source

    repository = session.backups().open()
    found = repository.read(repository.head(snapshot))
    listed: dict[str, list[str]] = {}
    if files:
        reader = reading.Reader(repository, repository.index())
        for component in found.components:
            origin = source.ChunkSource(repository, reader, component)
            listed[component.name] = [
                f"{tree.name}/{file.path}" for tree in component.trees for file in origin.files(tree.name)
            ]
    session.show({"snapshot": capture.without_chunks(found), "files": listed}, lambda: backup_text.shown(found, listed))


@command.command()
@click.argument("before")
@click.argument("after", default="latest")
@sessions.json_option
@sessions.pass_session
def diff(session: sessions.Session, before: str, after: str) -> None:
    """Show what differs between two snapshots: facts, tables, files.

    Exit codes: 0 shown, 1 there is no such snapshot, 2 one is damaged.
    """
    from ddr.backup import comparing, reading

    repository = session.backups().open()
    one, other = (repository.read(repository.head(name)) for name in (before, after))
    found = list(comparing.differences(reading.Reader(repository, repository.index()), one, other))
    session.show({"before": one.id, "after": other.id, "differences": found}, lambda: backup_text.differences(found))


_LEVELS = click.Choice(["structure", "stored", "full"])


@command.command()
@click.option(
    "--level",
    type=_LEVELS,
    default="full",
    show_default=True,
    help="structure: every reference; stored: hash packs; full: open and hash every chunk.",
)
@click.option(
    "--share", metavar="N/OF", default="1/1", help="Only every OF-th pack, from the N-th: 3/7 on a Wednesday."
)
@sessions.json_option
@sessions.pass_session
def verify(session: sessions.Session, level: Literal["structure", "stored", "full"], share: str) -> int:
    """Read the repository back: what is damaged, what that affects, what to do.

    Exit codes: 0 all is whole, 1 there is no repository, 2 findings, 64 usage, 69 the store is away.
    """
    from ddr.backup import verify as verifying
    from ddr.domain import backup_records

    repository = session.backups().open()
    began = time.monotonic()
    with working.shown(session) as at_work:
        report = verifying.verify(
            repository,
            level,
            share=backup_text.share_of(share),
            told=at_work.told,
        )
    took_s = round(time.monotonic() - began, 3)
    session.wired().log.append(
        backup_records.BackupVerified(
            repository.store.name, report.level, report.is_all, report.whole, len(report.findings), took_s
        )
    )
    session.show(report, lambda: backup_text.verified(report, took_s))
    return 2 if report.findings else 0


@command.command()
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
    session.wired().log.append(
        backup_records.BackupDrilled(found.id, done.passed, found.at, done.phases, done.took_s, compared, done.why)
    )
    session.show(backup_text.drill_document(done), lambda: backup_text.drilled(done))
    return 0 if done.passed else 2


@command.command()
@sessions.json_option
@sessions.pass_session
def repair(session: sessions.Session) -> int:
    """Write the index anew from the packs. What they have lost, the next backup stores again.

    Exit codes: 0 done, 2 done, and chunks are lost, 69 the store is away.
    """
    from ddr.backup import repair as repairing

    repository = session.backups().open()
    with working.shown(session) as at_work:
        done = repairing.rebuild_index(repository, at_work.told)
    session.show(done, lambda: backup_text.repaired(done))
    return 2 if done.lost else 0


@command.command()
@click.option("--dry-run", is_flag=True, help="Say what would be forgotten and deleted; change nothing.")
@sessions.json_option
@sessions.pass_session
def prune(session: sessions.Session, dry_run: bool) -> int:
    """Forget snapshots by `backup.keep`, and delete what nobody needs, in two phases a grace period apart.

    Never forgotten: the newest complete, the newest verified, the newest drilled, fewer than the minimum.

    Exit codes: 0 done, 1 somebody else prunes or a clock is wrong, 2 something is damaged and nothing was deleted.
    """
    from ddr.backup import prune as pruning
    from ddr.backup import retention
    from ddr.domain import backup_records

    made = session.backups()
    repository = made.open()
    known = session.board().backups
    heads = {head.id: head for head in repository.heads()}
    listed = [repository.read(head) for head in heads.values()]
    drilled = [drill.snapshot for _, drill in known.drills if drill.passed]
    decisions = retention.decide(listed, made.settings.keep, made.now(), known.verified, drilled)
    forget = [heads[one.snapshot.id] for one in decisions if isinstance(one, retention.Forgotten)]
    plan = pruning.plan(repository, forget, made.now())
    if not dry_run:
        plan = pruning.apply(repository, plan, made.now(), made.wired.platform.actor, grace=made.settings.grace)
        session.wired().log.append(
            backup_records.BackupsForgotten(tuple(head.id for head in forget), plan.deleted_bytes, plan.buried_bytes)
        )
    document = {"decisions": backup_text.decisions(decisions), "plan": plan, "dry_run": dry_run}
    session.show(document, lambda: backup_text.pruned(decisions, plan, made.settings.grace, is_dry=dry_run))
    return 0


@command.command()
@click.argument("to")
@sessions.json_option
@sessions.pass_session
def copy(session: sessions.Session, to: str) -> int:
    """Bring the second repository TO (a name under `backup.copies`) up to date. Needs no key.

    Exit codes: 0 copied, 1 there is nothing to copy, 2 damaged objects were left out, 3 TO holds something else,
    64 no such copy, 69 a store is away.
    """
    from ddr.backup import copying
    from ddr.domain import backup_records
    from ddr.errors import InputError

    made = session.backups()
    places = made.copies()
    if to not in places:
        raise InputError(
            f"{to!r} is no copy in {made.wired.config.path}",
            hint=f"under `backup.copies` there is: {', '.join(places) or 'none'}",
        )
    with working.shown(session) as at_work:
        done = copying.copy(made.store, places[to], at_work.told)
    newest = max((entry.key for entry in places[to].list(backup_text.SNAPSHOTS)), default="")
    session.wired().log.append(
        backup_records.BackupCopied(places[to].name, backup_text.id_in(newest), done.objects, done.size_bytes)
    )
    session.show(done, lambda: backup_text.copied(done, places[to].name))
    return 2 if done.skipped else 0


@command.group()
def key() -> None:
    """List, add and remove ways to open the repository; print the recovery key."""


@key.command(name="list")
@sessions.json_option
@sessions.pass_session
def key_list(session: sessions.Session) -> None:
    """List the key slots.

    Exit codes: 0 listed, 1 there is no repository.
    """
    from ddr.backup import keys

    found = [
        {"id": name[:12], "kind": slot.kind, "label": slot.label, "created_at": slot.created_at}
        for name, slot in keys.slots(session.backups().store)
    ]
    rows = [(str(one["id"]), str(one["kind"]), f"{one['created_at']:%Y-%m-%d}", str(one["label"])) for one in found]
    session.show({"slots": found}, lambda: output.table(rows) or "there is no repository yet")


@key.command(name="new-file")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@sessions.json_option
@sessions.pass_session
def key_new_file(session: sessions.Session, path: Path) -> None:
    """Write a new random key file to PATH, readable by you alone.

    Exit codes: 0 written, 1 PATH is there.
    """
    from ddr.backup import keys

    keys.new_key_file(path)
    session.show(
        {"path": str(path)},
        lambda: f"wrote {path}\n  next: `keyFile: {path}` under `backup:` in ddr.yaml; keep a copy of it elsewhere",
    )


@key.command(name="add")
@click.option("--key-file", type=click.Path(dir_okay=False, path_type=Path), help="Open with this file as well.")
@click.option("--passphrase", is_flag=True, help="Open with a passphrase as well; it is asked for.")
@click.option("--recovery", is_flag=True, help="Open with the recovery key now; it is asked for.")
@click.option("--label", default="", help="Whose it is.")
@sessions.json_option
@sessions.pass_session
def key_add(session: sessions.Session, key_file: Path | None, passphrase: bool, recovery: bool, label: str) -> None:
    """Add a way to open the repository. Nothing is encrypted anew.

    Exit codes: 0 added, 1 the repository does not open, 64 usage.
    """
    from ddr.backup import keys

    if bool(key_file) == passphrase:
        raise click.UsageError("give either --key-file or --passphrase")
    made = session.backups()
    repository = made.open(click.prompt("recovery key", hide_input=True, err=True) if recovery else "")
    text = click.prompt("new passphrase", hide_input=True, confirmation_prompt=True, err=True) if passphrase else ""
    name = keys.add(made.store, repository.ring, keys.Opening(text, key_file), made.now(), label)
    session.show({"id": name[:12]}, lambda: f"added key slot {name[:12]}")


@key.command(name="remove")
@click.argument("slot")
@sessions.json_option
@sessions.pass_session
def key_remove(session: sessions.Session, slot: str) -> None:
    """Remove the key slot whose id begins with SLOT. The last one stays.

    Exit codes: 0 removed, 1 there is no such slot or it is the last one.
    """
    from ddr.backup import keys

    keys.remove(session.backups().store, slot)
    session.show({"removed": slot}, lambda: f"removed key slot {slot}")


@key.command(name="export")
@sessions.json_option
@sessions.pass_session
def key_export(session: sessions.Session) -> None:
    """Print the recovery key: it opens the repository when everything else is lost. Print it, lock it away.

    Exit codes: 0 printed, 1 the repository does not open.
    """
    paper = session.backups().open().ring.paper()
    click.echo(f'{{"recovery": "{paper}"}}' if session.json else paper)
