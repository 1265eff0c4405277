"""`ddr backup`: everything the ML platform needs to exist, in one sealed snapshot, proved to restore."""

from __future__ import annotations

import click

from ddr.cli import backup_key, backup_lock, backup_proof, backup_text, backup_upkeep, backup_watch, output, working
from ddr.cli import session as sessions

_BENEATH = (
    "what had been stored is hidden and not gone: it is locked, sealed, in an older version until its lock ends; "
    "change the secret"
)


@click.group()
def command() -> None:
    """Back up the control plane, look into backups, prove them.

    What is backed up: every connector of ddr.yaml that can be (or those named under `backup.connectors`), vector
    indexes (or those under `backup.indexes`), and the journal. The repository lies in the store of ddr.yaml.
    """


@command.command()
@click.option("--dry-run", is_flag=True, help="Say what would be captured; store nothing.")
@click.option("--new-repository", is_flag=True, help="Begin anew where one was that the journal tells of and is gone.")
@sessions.json_option
@sessions.pass_session
def run(session: sessions.Session, dry_run: bool, new_repository: bool) -> int:
    """Capture everything into one snapshot and commit it. The first call makes the repository.

    Exit codes: 0 complete, 1 nothing was captured, a secret was found, the repository that was here is gone or the
    bucket has no Object Lock where ddr.yaml asks for it, 2 partial, a source shrank suddenly, earlier snapshots are
    missing, something could not be locked or recorded, or the repository's configuration is damaged, 64
    ddr.yaml does not say how to seal it, 69 the store is away or full (then nothing of this backup stays).
    """
    from ddr.backup import capture, fallen, locks, missing
    from ddr.domain import backup_records

    made = session.backups()
    origins = made.origins()
    if dry_run:
        rows = [
            (origin.name, origin.kind, origin.source, getattr(origin.made, "fidelity", ""))
            for origin in origins.values()
        ]
        session.show({"would_capture": list(origins)}, lambda: output.table(rows))
        return 0
    with backup_watch.watched(session):
        made.check_lock()
        repository, is_new = made.open_or_create(is_meant=new_repository)
        if is_new:
            session.notice(f"a new backup repository in {repository.store.name}\n  {backup_text.KEEP_THE_KEY}")
        if is_new and new_repository and (gone := made.recorded()):
            backup_watch.record(session, backup_records.BackupsForgotten(tuple(one.snapshot for one in gone)))
        full = fallen.full(repository, repository.newest(), made.settings.shrunk_accepted)
        try:
            with working.shown(session) as at_work:
                snapshot = capture.run(
                    repository,
                    origins,
                    made.maker(),
                    report=at_work.captured,
                    scan=made.scanner(repository),
                    full=full,
                    damaged=made.damaged(),
                )
        except capture.SecretFound:
            if locks.of(repository.store) is not None:
                session.notice(_BENEATH)
            raise
        recorded = backup_watch.record(
            session,
            backup_records.BackupMade(
                snapshot.id,
                snapshot.at,
                snapshot.status,
                repository.store.name,
                tuple(component.name for component in snapshot.components),
                snapshot.size_bytes,
                snapshot.added_bytes,
                snapshot.took_s,
            ),
        )
        try:
            with working.shown(session) as at_work:
                lock = backup_lock.extended(session, repository, at_work)
        except BaseException:
            session.notice(f"snapshot {snapshot.id} is stored; it could not be locked")
            raise
    shrunk = fallen.lost(snapshot, full)
    lacking = missing.surely(made.missing())
    document = {"snapshot": capture.without_chunks(snapshot), "shrunk": shrunk, "lock": lock, "missing": lacking}
    ways = missing.ways(tuple(made.copies()))
    session.show(
        document,
        lambda: "\n".join([backup_text.made(snapshot, shrunk, lock, made.now()), *backup_text.gone(lacking, ways)]),
    )
    is_well = recorded and not shrunk and not lacking and snapshot.status == "complete" and (not lock or lock.holds)
    return 0 if is_well else 2


@command.command(name="list")
@click.option("--kept", "is_only_kept", is_flag=True, help="Only the kept states of planes (`ddr features snapshot`).")
@sessions.json_option
@sessions.pass_session
def list_(session: sessions.Session, is_only_kept: bool) -> int:
    """List snapshots, newest last, and below them the kept states of planes.

    Exit codes: 0 listed, 1 there is no repository, 2 listed, and some are missing or cannot be read, or the journal
    cannot, 69 the store is away.
    """
    from ddr.backup import capture, keeping, layout, missing
    from ddr.errors import DdrError

    session.looking()
    made = session.backups()
    repository = made.open()
    verified = session.board().backups.verified
    lacking = missing.surely(made.missing())
    found, unread = [], []
    states = keeping.states(repository)
    known = {one.head.id for one in states}
    for head in repository.heads(layout.KEPT) if is_only_kept else repository.all_heads():
        if head.id in known:
            continue
        try:
            found.append(repository.read(head))
        except DdrError as problem:
            unread.append((head, problem.message))
    session.show(
        {
            "snapshots": [capture.without_chunks(snapshot) for snapshot in found],
            "damaged": [head.id for head, _ in unread],
            "verified": sorted(verified),
            "kept": [one.kept for one in states],
            "missing": lacking,
        },
        lambda: backup_text.listed(
            found,
            unread,
            verified,
            states,
            lacking=backup_text.gone(lacking, missing.ways(tuple(made.copies()))),
            is_only_kept=is_only_kept,
        ),
    )
    return session.code(2 if unread or lacking else 0)


@command.command()
@click.argument("snapshot", default="latest")
@click.option("--files", is_flag=True, help="Every file too.")
@sessions.json_option
@sessions.pass_session
def show(session: sessions.Session, snapshot: str, files: bool) -> None:
    """Show what SNAPSHOT holds: `latest`, or the beginning of an id.

    Exit codes: 0 shown, 1 there is no snapshot, 2 it is damaged, 64 there is no such snapshot.
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

    Exit codes: 0 shown, 1 there is no snapshot, 2 one is damaged, 64 there is no such snapshot.
    """
    from ddr.backup import comparing, reading

    repository = session.backups().open()
    one, other = (repository.read(repository.head(name)) for name in (before, after))
    found = list(comparing.differences(reading.Reader(repository, repository.index()), one, other))
    session.show({"before": one.id, "after": other.id, "differences": found}, lambda: backup_text.differences(found))


for _made in (
    backup_proof.verify,
    backup_proof.drill,
    backup_proof.repair,
    backup_upkeep.prune,
    backup_upkeep.copy,
    backup_upkeep.schedule,
    backup_lock.lock,
    backup_lock.undelete,
    backup_key.key,
):
    command.add_command(_made)
