"""`ddr restore`: what would be done, and with --apply doing it, and with proof behind it."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ddr.cli import asking, options, output, working
from ddr.cli import session as sessions


@click.command()
@click.argument("component")
@click.option("--snapshot", default="latest", show_default=True, help="Which: `latest`, or the beginning of an id.")
@click.option("--to", "target", default="", metavar="TARGET", help="Where to; else where it came from.")
@click.option(
    "--policy",
    type=click.Choice(["fail", "skip", "update", "recreate"]),
    default="fail",
    show_default=True,
    help="What to do with what is there already.",
)
@click.option("--only", multiple=True, metavar="KIND:NAME", help="One part: model:NAME, experiment:NAME, view:NAME.")
@click.option("--rewrite", "rewrites", multiple=True, metavar="OLD=NEW", help="Replace the beginning of locations.")
@click.option(
    "--with", "more", multiple=True, metavar="KEY=VALUE", help="A wish: artifacts=FOLDER or none, auth or registry=URL."
)
@click.option("--apply", is_flag=True, help="Do it. Without this only the plan is shown.")
@click.option("--recovery", is_flag=True, help="Open the repository with the recovery key; it is asked for.")
@sessions.json_option
@sessions.pass_session
def command(
    session: sessions.Session,
    component: str,
    snapshot: str,
    target: str,
    policy: str,
    only: tuple[str, ...],
    rewrites: tuple[str, ...],
    more: tuple[str, ...],
    apply: bool,
    recovery: bool,
) -> int:
    """Restore from a backup: plan by default, --apply to do it.

    COMPONENT is a connector's name, or `journal`. Without --apply nothing is touched: the plan says what would be
    created, updated, left, rewritten, and which secrets have to be entered again. Cut off and called again it comes
    to the same end. Afterwards every table and file is held against the snapshot.

    Exit codes: 0 planned, or restored and all is equal, 1 refused, 2 restored and something differs, 3 the world
    changed since the plan, 64 usage, 69 a system is away.
    """
    from ddr.backup import reading, source
    from ddr.domain import backup_records
    from ddr.errors import Refused, UnknownName
    from ddr.ports import restorable

    made = session.backups()
    repository = made.open(asking.secret("recovery key") if recovery else "")
    found = repository.read(repository.head(snapshot))
    wanted = found.component(component)
    if wanted is None:
        there = ", ".join(one.name for one in found.components)
        raise UnknownName(f"snapshot {found.id[:8]} has no component {component!r}", hint=f"it has: {there}")
    connector = made.restorer(component)
    origin = source.ChunkSource(repository, reading.Reader(repository, repository.index()), wanted)
    if target and "://" not in target:
        target = str(Path(target).absolute())  # a folder or file, as the shell understands it
    wishes = restorable.RestoreOptions(target, policy, only, options.pairs(rewrites), options.pairs(more))  # type: ignore[arg-type]
    plan = connector.plan_restore(origin, wishes)
    if not apply or plan.refusals:
        session.show({"snapshot": found.id, "plan": plan, "applied": False}, lambda: _plan(found.id, plan, apply=apply))
        if plan.refusals and apply:
            raise Refused("; ".join(plan.refusals), hint="nothing was touched")
        return 1 if plan.refusals else 0
    began = time.monotonic()
    with working.shown(session) as at_work:
        connector.restore(plan, origin, at_work.told)
        compared = connector.compare(plan, origin)
    took_s = round(time.monotonic() - began, 3)
    unequal = [one for one in compared if not one.is_equal]
    session.wired().log.append(
        backup_records.BackupRestored(
            found.id, component, plan.target, len(compared), tuple(one.what for one in unequal[:50]), took_s
        )
    )
    document = {"snapshot": found.id, "plan": plan, "applied": True, "compared": len(compared), "unequal": unequal}
    session.show(document, lambda: _done(plan, compared, took_s))
    return 2 if unequal else 0


def _plan(snapshot: str, plan: object, *, apply: bool) -> str:
    from ddr.ports import restorable

    assert isinstance(plan, restorable.RestorePlan)
    head = f"{output.heading('plan')} {plan.component} of snapshot {snapshot[:8]} into {plan.target}"
    rows = [(line.does, line.what, line.detail) for line in plan.lines]
    lines = [f"{head}; nothing was touched", output.table(rows) or "  nothing to do"]
    lines += [f"  {output.mark('bad')} {refusal}" for refusal in plan.refusals]
    if not plan.refusals and not apply:
        lines.append("  next: the same command with --apply")
    return "\n".join(lines)


def _done(plan: object, compared: object, took_s: float) -> str:
    from ddr.ports import restorable

    assert isinstance(plan, restorable.RestorePlan)
    assert isinstance(compared, list | tuple)
    unequal = [one for one in compared if not one.is_equal]
    state = output.mark("bad" if unequal else "ok")
    held = f"{len(compared) - len(unequal)} of {len(compared)} compared equal"
    lines = [f"{state} restored into {plan.target} in {took_s:.1f} s; {held}"]
    lines += [f"  {one.what}: {one.expected} in the snapshot, {one.found} there" for one in unequal[:20]]
    lines += [f"  fidelity {line.detail}" for line in plan.lines if line.what == "fidelity"]
    again = [line for line in plan.lines if line.does == "enter-again"]
    lines += [f"  enter again: {line.what}  {line.detail}".rstrip() for line in again]
    return "\n".join(lines)
