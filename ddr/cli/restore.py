"""`ddr restore`: what would be done, and with --apply doing it, and with proof behind it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddr.cli import asking, backup_watch, options, output, working
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.backup import repository as repositories
    from ddr.domain import snapshots
    from ddr.ports import restorable
    from ddr.wiring import backups


@click.command()
@click.argument("component")
@click.option("--snapshot", default="latest", show_default=True, help="Which: `latest`, or the beginning of an id.")
@click.option("--from", "copy", default="", metavar="COPY", help="A name under `backup.copies`: restore from there.")
@click.option("--to", "target", default="", metavar="TARGET", help="Where to; else where it came from.")
@click.option(
    "--policy",
    type=click.Choice(["fail", "skip", "update", "recreate"]),
    default="fail",
    show_default=True,
    help="What to do with what is there already.",
)
@click.option(
    "--only", multiple=True, metavar="KIND:NAME", help="One part: model:NAME, experiment:NAME, view:NAME, version:NAME."
)
@click.option("--rewrite", "rewrites", multiple=True, metavar="OLD=NEW", help="Replace the beginning of locations.")
@click.option(
    "--with",
    "more",
    multiple=True,
    metavar="KEY=VALUE",
    help="A wish: artifacts=FOLDER or none, auth or registry=URL, pointer=recorded.",
)
@click.option("--upgrade", is_flag=True, help="Then bring its schema to the installed program's (`mlflow db upgrade`).")
@click.option("--apply", is_flag=True, help="Do it. Without this only the plan is shown.")
@click.option("--recovery", is_flag=True, help="Open the repository with the recovery key; it is asked for.")
@sessions.json_option
@sessions.pass_session
def command(
    session: sessions.Session,
    component: str,
    snapshot: str,
    copy: str,
    target: str,
    policy: str,
    only: tuple[str, ...],
    rewrites: tuple[str, ...],
    more: tuple[str, ...],
    upgrade: bool,
    apply: bool,
    recovery: bool,
) -> int:
    """Restore from a backup: plan by default, --apply to do it.

    COMPONENT is the name of a connector or an index, or `journal`. Without --apply nothing is touched: the plan says
    what would be created, updated, left, rewritten, and which secrets have to be entered again. Cut off and called
    again it comes to the same end. Afterwards every table and file is held against the snapshot, and only then, where
    all is equal, --upgrade does what it says.

    Exit codes: 0 planned, or restored and all is equal, 1 refused, 2 restored and something differs or, with --policy
    skip, was left different, or the journal does not know of it, 3 the world
    changed since the plan, 64 usage, 69 a system is away.
    """
    from ddr.backup import fallen, reading, source
    from ddr.domain import backup_records
    from ddr.errors import Refused, Unsupported
    from ddr.ports import restorable

    made = session.backups()
    repository = made.open(asking.secret("recovery key") if recovery else "", copy)
    found, wanted = _chosen(session, repository, snapshot, component)
    if not copy:
        backup_watch.tell_missing(session, found.at)
    if said := fallen.warning(wanted):
        session.notice(said)
    connector = _restorer(made, wanted)
    origin = source.ChunkSource(repository, reading.Reader(repository, repository.index()), wanted)
    if target and "://" not in target:
        target = str(Path(target).absolute())  # a folder or file, as the shell understands it
    wishes = restorable.RestoreOptions(target, policy, only, options.pairs(rewrites), options.pairs(more))  # type: ignore[arg-type]
    if upgrade and not isinstance(connector, restorable.Upgradable):
        raise Unsupported(f"--upgrade: {component} has no schema to upgrade", hint="leave it out")
    plan = connector.plan_restore(origin, wishes)
    if not apply or plan.refusals:
        session.show({"snapshot": found.id, "plan": plan, "applied": False}, lambda: _plan(found.id, plan, apply=apply))
        if plan.refusals and apply:
            counted = "1 thing stands" if len(plan.refusals) == 1 else f"{len(plan.refusals)} things stand"
            raise Refused(f"{counted} in the way, see above", hint=f"nothing was touched; {_way_on(plan)}")
        return 1 if plan.refusals else 0
    began = time.monotonic()
    with working.shown(session) as at_work:
        connector.restore(plan, origin, at_work.told)
        compared = connector.compare(plan, origin)
    took_s = round(time.monotonic() - began, 3)
    unequal = [one for one in compared if not one.is_equal]
    recorded = backup_watch.record(
        session,
        backup_records.BackupRestored(
            found.id, component, plan.target, len(compared), tuple(one.what for one in unequal[:50]), took_s
        ),
    )
    upgraded = _upgraded(connector, plan) if upgrade and not unequal else ""
    document = {
        "snapshot": found.id, "plan": plan, "applied": True, "compared": len(compared), "unequal": unequal,
        "left": _left(plan), "upgraded": upgraded,
    }  # fmt: skip
    session.show(document, lambda: _done(plan, compared, took_s) + (f"\n  {upgraded}" if upgraded else ""))
    return 2 if unequal or _left(plan) or not recorded else 0


def _chosen(
    session: sessions.Session, of: repositories.Repository, snapshot: str, component: str
) -> tuple[snapshots.Snapshot, snapshots.Component]:
    """The snapshot that is meant and its component; of `latest` the newest that has all of it. Raises UnknownName."""
    from ddr.errors import Damaged, Missing, UnknownName

    newest = of.read(of.head(snapshot))
    wanted = newest.component(component)
    if wanted is not None and not wanted.problem:
        return newest, wanted
    lacks = f"has no {component!r}" if wanted is None else f"has not all of {component}: {wanted.problem}"
    for head in reversed(of.heads()):
        try:
            older = of.read(head)
        except (Damaged, Missing):
            continue
        found = older.component(component)
        if found is None or found.problem:
            continue
        if snapshot == "latest":
            session.notice(f"snapshot {newest.id[:8]} {lacks}; this is {older.id[:8]}, the newest that has it whole")
            return older, found
        ready = f"`ddr restore {component} --snapshot {older.id[:8]}` has it whole, of {older.at:%Y-%m-%d %H:%M} UTC"
        if wanted is None:
            raise UnknownName(f"snapshot {newest.id[:8]} {lacks}", hint=ready)
        session.notice(f"snapshot {newest.id[:8]} {lacks}; {ready}")
        return newest, wanted
    if wanted is None:
        there = ", ".join(one.name for one in newest.components)
        raise UnknownName(f"snapshot {newest.id[:8]} {lacks}, and none has", hint=f"it has: {there}")
    session.notice(f"snapshot {newest.id[:8]} {lacks}; none has it whole")
    return newest, wanted


def _upgraded(connector: restorable.Restorable, plan: restorable.RestorePlan) -> str:
    """Behind the comparison: an upgrade changes what would be compared."""
    from ddr.ports import restorable

    assert isinstance(connector, restorable.Upgradable)
    return connector.upgrade(plan)


def _left(plan: restorable.RestorePlan) -> list[restorable.PlanLine]:
    """What was there with other content and stayed, as --policy skip asks for."""
    return [line for line in plan.lines if line.does == "leave"]


def _restorer(made: backups.Backups, wanted: snapshots.Component) -> restorable.Restorable:
    """Raises Missing with the lines that ddr.yaml lacks: on a new machine the snapshot alone knows them."""
    from ddr.errors import Missing

    try:
        return made.restorer(wanted.name)
    except Missing as problem:
        if wanted.kind == "vector-index":
            said = f"{wanted.name}: {{home: '{wanted.source}', vectors: [WHERE ITS VECTORS LIE]}}"
            raise Missing(problem.message, hint=f"under `indexes:` of ddr.yaml write `{said}`") from problem
        said = f"{wanted.name}: {{{', '.join([f'type: {wanted.kind}', *_settings(wanted)])}}}"
        beside = ", its place as it was then; passwords are in no snapshot: write ${env:NAME}"
        raise Missing(problem.message, hint=f"under `connectors:` of ddr.yaml write `{said}`{beside}") from problem


_PLACES = {"mlflow": "tracking", "files": "root", "feast": "repo"}


def _settings(wanted: snapshots.Component) -> list[str]:
    """Where it was read, as ddr.yaml says it; nothing for a connector that has no one place."""
    from ddr.lib import redact

    key, place = _PLACES.get(wanted.kind, ""), wanted.facts.get("root") or wanted.source
    if not key or not place:
        return []
    if wanted.kind == "mlflow" and "://" not in place:
        place = f"sqlite:///{place}"
    quoted = redact.foreign(place).replace("'", "''")
    return [f"{key}: '{quoted}'"]


def _way_on(plan: restorable.RestorePlan) -> str:
    """What to say differently next time."""
    if plan.options.policy == "fail":
        return (
            "say --policy skip (leave what is there), update (overwrite it) or recreate (make it anew), or another --to"
        )
    return "name another place with --to, or another --policy"


def _plan(snapshot: str, plan: restorable.RestorePlan, *, apply: bool) -> str:
    into = f" into {plan.target}" if plan.target else ""
    head = f"{output.heading('plan')} {plan.component} of snapshot {snapshot[:8]}{into}"
    rows = [(line.does, line.what, line.detail) for line in plan.lines]
    lines = [f"{head}; nothing was touched", output.table(rows) or "  nothing to do"]
    lines += [f"  {output.mark('bad')} {refusal}" for refusal in plan.refusals]
    if plan.refusals and not apply:
        lines.append(f"  next: {_way_on(plan)}")
    if not plan.refusals and not apply:
        lines.append("  next: the same command with --apply")
    return "\n".join(lines)


def _done(plan: restorable.RestorePlan, compared: Sequence[restorable.Comparison], took_s: float) -> str:
    unequal = [one for one in compared if not one.is_equal]
    state = output.mark("bad" if unequal or _left(plan) else "ok")
    held = f"{len(compared) - len(unequal)} of {len(compared)} compared equal"
    if not plan.target:  # references to secrets: no backup has the values
        lines = [f"{state} {plan.component}: nothing to write, these have to be entered again"]
    else:
        lines = [f"{state} restored into {plan.target} in {took_s:.1f} s; {held}"]
    left = _left(plan)
    gone = [line for line in plan.lines if line.does == "delete"]
    lines += [f"  deleted, as the snapshot lacks it: {line.what}: {line.detail}" for line in gone[:20]]
    lines += [f"  left as it is and different: {line.what}: {line.detail}" for line in left[:20]]
    lines += [f"  {one.what}: {one.expected} in the snapshot, {one.found} there" for one in unequal[:20]]
    lines += [f"  fidelity {line.detail}" for line in plan.lines if line.what == "fidelity"]
    again = [line for line in plan.lines if line.does == "enter-again"]
    lines += [f"  enter again: {line.what}  {line.detail}".rstrip() for line in again]
    return "\n".join(lines)
