"""`ddr backup key`: ways to open the repository."""

from __future__ import annotations

from pathlib import Path

import click

from ddr.cli import asking, output
from ddr.cli import session as sessions


@click.group()
def key() -> None:
    """List, add and remove ways to open the repository; print the recovery key."""


@key.command(name="list")
@sessions.json_option
@sessions.pass_session
def key_list(session: sessions.Session) -> None:
    """List the key slots.

    Exit codes: 0 listed, 1 there is no repository, or all its slots are gone, 2 one is damaged.
    """
    from ddr.backup import keys

    made = session.backups()
    found = [
        {"id": name[:12], "kind": slot.kind, "label": slot.label, "created_at": slot.created_at}
        for name, slot in keys.slots(made.store)
    ]
    if not found:
        made.open()  # says why there is none
    rows = [(str(one["id"]), str(one["kind"]), f"{one['created_at']:%Y-%m-%d}", str(one["label"])) for one in found]
    session.show({"slots": found}, lambda: output.table(rows))


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

    A new passphrase has at least twelve letters.

    Exit codes: 0 added, 1 the repository does not open, 64 usage, or the passphrase is too short.
    """
    from ddr.backup import keys

    if bool(key_file) == passphrase:
        raise click.UsageError("give either --key-file or --passphrase")
    made = session.backups()
    repository = made.open(asking.secret("recovery key") if recovery else "")
    text = asking.secret("new passphrase", twice=True) if passphrase else ""
    keys.check_new(text)
    name = keys.add(made.store, repository.ring, keys.Opening(text, key_file), made.now(), label)
    session.show({"id": name[:12]}, lambda: f"added key slot {name[:12]}")


@key.command(name="remove")
@click.argument("slot")
@sessions.json_option
@sessions.pass_session
def key_remove(session: sessions.Session, slot: str) -> None:
    """Remove the key slot whose id begins with SLOT. The last one stays.

    In a bucket that keeps versions the slot is hidden, not gone: who may read versions and knows the old key still
    opens the repository.

    Exit codes: 0 removed, 1 it is the last one, 64 there is no such slot.
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
