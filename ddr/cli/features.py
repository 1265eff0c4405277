"""`ddr features`: states of feature views, kept so that their values can be taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ddr.cli import output, working
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ddr.ports import keeping


@click.group()
def command() -> None:
    """Keep states of feature views, so that they can be taken back.

    VIEW is the name of its connector in ddr.yaml. A kept state goes back with `ddr rollback features`. How long they
    stay: `recoveryWindow` in ddr.yaml, longer where a known-good release names one; `ddr backup prune` forgets.
    """


def _keepers(session: sessions.Session) -> Mapping[str, keeping.Keepable]:
    from ddr.ports import keeping

    made = session.wired().connectors
    return {name: one for name, one in made.items() if isinstance(one, keeping.Keepable)}


def _chosen(session: sessions.Session, view: str | None, *, is_all: bool) -> dict[str, keeping.Keepable]:
    """The named one, the only one, or all. InputError."""
    from ddr.errors import InputError, UnknownName

    able = _keepers(session)
    there = ", ".join(able) or "none"
    if view is None:
        if not able:
            raise InputError("no connector in ddr.yaml keeps states", hint="feast-online and feature-table do")
        if is_all or len(able) == 1:
            return dict(able)
        raise InputError("which view?", hint=f"--all, or one of {there}")
    found = {name: one for name, one in able.items() if view in (name, one.keeps)}
    if not found:
        raise UnknownName(f"there is no feature view {view!r}", hint=f"those that can be kept: {there}")
    return found


@command.command()
@click.argument("view", required=False)
@click.option("--all", "is_all", is_flag=True, help="Every view that can be kept.")
@click.option("--why", default="", help="Shown in the list.")
@sessions.json_option
@sessions.pass_session
def snapshot(session: sessions.Session, view: str | None, is_all: bool, why: str) -> int:
    """Keep the live state of VIEW now: its definition and its values. What is kept already takes no room twice.

    For a scheduler: after each materialization, or before one. Where the repository locks objects, what the state needs
    is locked as long as it is itself.

    Exit codes: 0 kept, 1 refused (a secret in it), 2 some of several could not be kept, or not be locked, 64 usage, 69
    a system is away.
    """
    from ddr.cli import backup_lock, backup_text
    from ddr.errors import DdrError

    chosen = _chosen(session, view, is_all=is_all)
    kept: list[keeping.Kept] = []
    failed: dict[str, DdrError] = {}
    for name, one in chosen.items():
        with working.shown(session) as at_work:
            at_work.told(name, 0, 0)
            try:
                kept.append(one.keep(why))
            except DdrError as problem:
                if len(chosen) == 1:
                    raise
                failed[name] = problem
    with working.shown(session) as at_work:
        lock = backup_lock.of_states(session, {one.name for one in kept}, at_work)
    document = {"kept": kept, "failed": {name: problem.message for name, problem in failed.items()}, "lock": lock}
    told = f"\n  {backup_text.locked(lock, session.backups().now())}" if lock else ""
    session.show(document, lambda: _snapshot_text(kept, failed) + told)
    return 2 if failed or (lock and not lock.holds) else 0


def _snapshot_text(kept: Sequence[keeping.Kept], failed: Mapping[str, Exception]) -> str:
    lines = [
        f"{output.mark('ok')} {one.object}  {_revision(one)}  {one.rows:,} rows, {output.size(one.size_bytes)}"
        for one in kept
    ]
    return "\n".join([*lines, *(f"{output.mark('bad')} {name}  {problem}" for name, problem in failed.items())])


def _revision(one: keeping.Kept) -> str:
    from ddr.ports import keeping

    return one.facts.get(keeping.REVISION, one.name)


@command.command(name="list")
@click.argument("view", required=False)
@sessions.json_option
@sessions.pass_session
def list_(session: sessions.Session, view: str | None) -> int:
    """List kept states, oldest first.

    Exit codes: 0 listed, 64 usage, 69 the store is away.
    """
    chosen = _chosen(session, view, is_all=True)
    shelf = session.backups().shelf()
    names = {one.keeps for one in chosen.values()}
    found = [one for one in shelf.kept() if one.object in names]
    session.show({"states": found}, lambda: _list_text(found))
    return 0


def _kept_at(one: keeping.Kept) -> str:
    """By the platform's clock where it said so, as all else that is told of the platform; else by this machine's."""
    from ddr.ports import keeping

    said = one.facts.get(keeping.PLATFORM_AT, "")
    return said.replace("T", " ")[:19] if said else f"{one.at:%Y-%m-%d %H:%M:%S}"


def _list_text(found: Sequence[keeping.Kept]) -> str:
    from ddr.ports import keeping

    if not found:
        return "no state is kept\n  next: ddr features snapshot"
    rows = [("kept (UTC)", "view", "revision", "rows", "newest event", "why")]
    rows += [
        (
            _kept_at(one), one.object, _revision(one), f"{one.rows:,}",
            one.facts.get(keeping.EVENT_NEWEST, "").replace("T", " ")[:16], one.why,
        )
        for one in found
    ]  # fmt: skip
    return output.table(rows)


@command.command()
@click.argument("revision")
@sessions.json_option
@sessions.pass_session
def show(session: sessions.Session, revision: str) -> int:
    """Show one kept state: REVISION is the beginning of its name.

    Exit codes: 0 shown, 64 there is no such state, 69 the store is away.
    """
    from ddr.errors import UnknownName

    states = session.backups().shelf().kept()
    found = [one for one in states if _revision(one).startswith(revision) or one.name.startswith(revision)]
    if not found:
        known = ", ".join(dict.fromkeys(_revision(one) for one in states[-5:])) or "none"
        raise UnknownName(f"no kept state {revision!r}", hint=f"the newest are: {known}")
    session.show({"states": found}, lambda: "\n\n".join(map(_show_text, found)))
    return 0


def _show_text(one: keeping.Kept) -> str:
    head = f"{output.heading(one.object)} {_revision(one)}, kept {_kept_at(one)} UTC as {one.name}"
    rows = [("why", one.why or "-"), ("rows", f"{one.rows:,}"), ("size", output.size(one.size_bytes))]
    rows += [(name, value.replace("\n", ", ")) for name, value in sorted(one.facts.items())]
    return f"{head}\n{output.table(rows)}"


@command.command()
@click.argument("view", required=False)
@sessions.json_option
@sessions.pass_session
def frozen(session: sessions.Session, view: str | None) -> int:
    """Whether VIEW is frozen: for a job that materializes. `ddr features frozen VIEW && feast materialize ...`

    Exit codes: 0 it is not, 1 it is: do not write, 69 the store is away.
    """
    from ddr.errors import Unsupported
    from ddr.ports import connector

    name, plane = _plane(session, view)
    if not isinstance(plane, connector.Freezable):
        raise Unsupported(f"{name} cannot be frozen", hint="stop the job itself")
    why = plane.frozen()
    session.show({"view": name, "frozen": why}, lambda: f"{name} is frozen: {why}" if why else f"{name} is not frozen")
    return 1 if why else 0


def _plane(session: sessions.Session, view: str | None) -> tuple[str, object]:
    from ddr.domain import planes
    from ddr.wiring import connector_types

    ((name, made),) = list(_chosen(session, view, is_all=False).items())[:1]
    kind = session.wired().config.connectors[name].type
    binding = connector_types.module(kind).Binding()
    return name, made.plane(binding, planes.Plane.FEATURES)  # type: ignore[attr-defined]
