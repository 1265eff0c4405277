"""`ddr rollback undo | list`: the newest one back, or once more; and which there were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ddr.cli import live, rollback_text
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.journal import views


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--take-over", is_flag=True, help="Take the run from a process that hangs.")
@click.option("--break-glass", metavar="REASON", default="", help="Go on without approval: loud, recorded.")
@sessions.service_option
@sessions.json_option
@sessions.pass_session
def undo(
    session: sessions.Session,
    run_id: str | None,
    yes: bool,
    take_over: bool,
    break_glass: str,
    service: str | None,
) -> int:
    """Take the newest rollback (or RUN) back, by compare-and-set. Of one that is undone: do it again.

    It brings back what was thought bad, so it asks; on a pipe it needs --yes. Where that is marked bad and the service
    names approvers, one of them has to agree, as on the way there. What somebody else moved since is left alone.

    Exit codes: 0 undone, or done again; 1 something could not be taken back; 4 waits for an approval; 64 there is no
    such run, or --yes is missing.
    """
    seen = _newest(session, run_id, service)
    again = seen.status == "undone"
    did = rollback_text.moves(seen) or seen.started.title
    if again:
        session.notice(f"run {seen.id} ({did}, {seen.started.service}) is taken back already; this does it once more")
    else:
        session.notice(f"run {seen.id} did {did} on {seen.started.service}; undoing it brings back what was bad:")
        told = [f"  - {step.name}: {step.intended.undo}" for step in seen.to_undo if step.intended is not None]
        session.notice("\n".join(line for line in told if ": nothing" not in line))
    _agree(seen.id, yes=yes)
    if again:
        from ddr.cli import rollback
        from ddr.rollback import book
        from ddr.runbook import parse

        document = parse.read_text(seen.started.document, book.SOURCE)
        return rollback.carry_out(session, document, seen.started.service, incident="", break_glass=break_glass)
    with live.engine(session, seen.id) as made:
        return made.finish(lambda engine: engine.undo(seen.id, take_over=take_over, break_glass=break_glass))


def _agree(run_id: str, *, yes: bool) -> None:
    from ddr.errors import InputError

    if yes:
        return
    if not sessions.is_terminal():
        raise InputError(
            "undoing a rollback brings back what was bad, so somebody has to say yes; nothing was done",
            hint=f"ddr rollback undo {run_id} --yes",
        )
    click.confirm("do all of this?", abort=True, err=True)


def _newest(session: sessions.Session, run_id: str | None, service: str | None) -> views.Run:
    from ddr.errors import UnknownName

    found = _runs(session, service)
    if run_id is None:
        done = [run for run in found if run.to_undo or run.status == "undone"]
        if not done:
            raise UnknownName("there is no rollback to undo", hint="`ddr rollback list` shows those that were done")
        return done[-1]
    for run in found:
        if run.id == run_id:
            return run
    other = run_id in session.board().runs
    raise UnknownName(
        f"run {run_id} is no rollback" if other else f"there is no run {run_id!r}",
        hint=f"`ddr runbook undo {run_id}`" if other else "`ddr rollback list` shows them",
    )


def _runs(session: sessions.Session, service: str | None) -> list[views.Run]:
    from ddr.rollback import book

    name = session.service(service).name if service else ""
    return [
        run
        for run in session.board().runs.values()
        if run.started.source == book.SOURCE and name in ("", run.started.service)
    ]


@click.command(name="list")
@sessions.service_option
@sessions.json_option
@sessions.pass_session
def list_(session: sessions.Session, service: str | None) -> int:
    """List rollbacks and containments: what each switched, and how it ended. Newest last.

    Exit codes: 0 listed, 2 listed, and the journal cannot be read to its end.
    """
    session.looking()
    found = _runs(session, service)
    cut_off = {run.id for run in session.wired().interrupted()}
    gone = [run.id for run in found if run.id in cut_off]
    session.show({"rollbacks": found, "interrupted": gone}, lambda: rollback_text.runs(found, cut_off))
    session.warn_interrupted()
    return session.code()
