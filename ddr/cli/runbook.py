"""`ddr runbook`: the procedure, step by step, with a way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ddr.cli import live, options, output, runbook_text
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from datetime import datetime

    from ddr.domain import services
    from ddr.journal import views
    from ddr.ports import verb


@click.group()
def command() -> None:
    """Check, plan, run, approve, resume and undo runbooks."""


_PARAMS = click.option("--param", "-p", "params", metavar="NAME=VALUE", multiple=True, help="A runbook parameter.")
_INCIDENT = click.option("--incident", metavar="INC", default="", help="The incident this belongs to.")
_TAKE_OVER = click.option("--take-over", is_flag=True, help="Take the run from a process that hangs.")
_GLASS = click.option("--break-glass", metavar="REASON", default="", help="Go on without approval: loud, recorded.")


@command.command(name="list")
@sessions.json_option
@sessions.pass_session
def list_(session: sessions.Session) -> None:
    """List the shipped runbooks.

    Exit codes: 0 listed.
    """
    from ddr.runbook import parse, shelf

    books = [parse.read(shelf.find(name)).book for name in shelf.names()]
    rows = [(output.heading(book.name), book.target.plane, book.metadata.severity, book.summary) for book in books]
    session.show({"runbooks": books}, lambda: output.table(rows))


@command.command()
@click.argument("name")
@sessions.json_option
@sessions.pass_session
def show(session: sessions.Session, name: str) -> None:
    """Show one runbook on a page: NAME of a shipped one, or a path.

    Exit codes: 0 shown, 64 there is none, or it does not parse.
    """
    from ddr.runbook import parse, shelf

    book = parse.read(shelf.find(name)).book
    session.show(book, lambda: runbook_text.spoken(runbook_text.page(book)))


@command.command()
@click.argument("names", nargs=-1)
@sessions.service_option
@sessions.json_option
@sessions.pass_session
def check(session: sessions.Session, names: tuple[str, ...], service: str | None) -> int:
    """Check runbooks whole, against this ddr.yaml: every problem with its line. All shipped ones without NAMES.

    Where there is no ddr.yaml, all that does not depend on a service.

    Exit codes: 0 fine, 2 warnings only, 64 problems, or no such runbook or service.
    """
    from ddr.errors import BadDocument
    from ddr.runbook import check, parse, shelf

    catalog, entry, now = _against(session, service)
    found = {}
    for name in names or shelf.names():
        document = parse.read(shelf.find(name))
        found[document.path] = check.check(document, catalog, entry, at=now)
    problems = [problem for entry in found.values() for problem in entry.problems]
    if problems:
        raise BadDocument(problems)
    warnings = [warning for entry in found.values() for warning in entry.warnings]
    session.show(
        {"checked": list(found), "warnings": [str(warning) for warning in warnings]},
        lambda: "\n".join(
            [f"{output.mark('ok')} {path}" for path in found] + [f"warning: {entry}" for entry in warnings]
        ),
    )
    return 2 if warnings else 0


def _against(session: sessions.Session, service: str | None) -> tuple[verb.Catalog, services.Service | None, datetime]:
    """What runbooks are held against: this platform and its service, or the verbs alone where there is none."""
    from ddr.actions import catalog
    from ddr.lib import clock

    if service is None and not session.has_config():
        session.notice("no ddr.yaml here: what the service can do is not checked")
        return catalog.shapes(), None, clock.SystemClock().now()
    wired = session.wired()
    return wired.catalog(), session.service(service), wired.platform.clock.now()


@command.command()
@click.argument("name")
@sessions.service_option
@_INCIDENT
@_PARAMS
@sessions.json_option
@sessions.pass_session
def plan(session: sessions.Session, name: str, service: str | None, incident: str, params: tuple[str, ...]) -> int:
    """Show what a run would do, step by step. Looks; writes nothing anywhere.

    Exit codes: 0 it can run, 2 a step could not be planned, 64 no such runbook or incident, or it is not right.
    """
    from ddr.runbook import engine, parse, shelf

    wired = session.wired()
    document = parse.read(shelf.find(name))
    seen = engine.Engine(wired.platform, wired.catalog()).preview(
        document, session.service(service).name, options.pairs(params), incident=incident
    )
    session.show(seen, lambda: runbook_text.plan(seen))
    return 2 if seen.problems else 0


@command.command()
@click.argument("name")
@sessions.service_option
@_INCIDENT
@_PARAMS
@_GLASS
@click.option("--beside", is_flag=True, help="Although another run of the service has no end yet.")
@sessions.json_option
@sessions.pass_session
def run(
    session: sessions.Session,
    name: str,
    service: str | None,
    incident: str,
    params: tuple[str, ...],
    break_glass: str,
    beside: bool,
) -> int:
    """Run a runbook: NAME of a shipped one, or a path.

    It pauses at the approval; the screen says what to paste. Ctrl-C once pauses behind the step at work, twice at
    once; both can be resumed.

    Exit codes: 0 recovered, 1 failed, 2 contained (the fallback answers, the cause is still there), 3 conflict,
    4 waits for approval, 5 paused, or an earlier run has no end yet, 64 not right, or no such name.
    """
    from ddr.runbook import parse, shelf

    document = parse.read(shelf.find(name))
    entry = session.service(service).name
    values = options.pairs(params)
    with live.engine(session) as engine:
        return engine.finish(
            lambda made: made.start(
                document,
                entry,
                values,
                incident=incident,
                beside=beside,
                or_else="--beside runs this one as well",
                break_glass=break_glass,
                run=engine.run,
            )
        )


@command.command()
@click.argument("run_id", metavar="RUN")
@_TAKE_OVER
@_GLASS
@sessions.json_option
@sessions.pass_session
def resume(session: sessions.Session, run_id: str, take_over: bool, break_glass: str) -> int:
    """Go on with a paused or interrupted run.

    A step whose effect was begun and not recorded is looked for in the world first: done is adopted, not done is
    tried again, anything else stops and asks.

    Exit codes: as `run`; 64 there is no such run.
    """
    with live.engine(session, run_id) as engine:
        return engine.finish(lambda made: made.resume(run_id, take_over=take_over, break_glass=break_glass))


@command.command()
@click.argument("run_id", metavar="RUN")
@_TAKE_OVER
@click.option("--only", metavar="STEP", multiple=True, help="Just this step of a run that has ended; more than once.")
@click.option("--yes", is_flag=True, help="Do not ask, although the run recovered or contained the service.")
@_GLASS
@sessions.json_option
@sessions.pass_session
def undo(
    session: sessions.Session, run_id: str, take_over: bool, only: tuple[str, ...], yes: bool, break_glass: str
) -> int:
    """Take back what a run changed, newest first. Also after it ended, and for faults that were injected.

    Of a run that recovered or contained the service this brings the bad state back: what it would do is told first,
    and on a terminal asked for. `--only contain-only` takes nothing but the fallback off, `--only freeze-promotions`
    nothing but the freeze. What was marked bad comes back when one of the service's approvers has agreed.

    Exit codes: 0 undone, 1 something could not be taken back, 4 waits for approval, 64 no such run or step.
    """
    seen = session.board().runs.get(run_id)
    if seen is not None and seen.status in ("recovered", "contained") and not only:
        told = [f"{step.name}: {step.intended.undo}" for step in seen.to_undo if step.intended is not None]
        session.notice(f"run {run_id} {seen.status} {seen.started.service}; undoing it brings back what was bad:")
        session.notice("\n".join(f"  - {line}" for line in told if ": nothing" not in line))
        if sessions.is_terminal() and not yes:
            click.confirm("do all of this?", abort=True, err=True)
    with live.engine(session, run_id) as engine:
        return engine.finish(lambda made: made.undo(run_id, take_over=take_over, only=only, break_glass=break_glass))


def _decide(
    session: sessions.Session, run_id: str, plan: str, *, granted: bool, why: str, break_glass: str = ""
) -> None:
    from ddr.domain import runbooks
    from ddr.errors import InputError
    from ddr.runbook import approval, history

    on = session.wired().platform
    if not plan:
        seen = history.Follower(on.journal, run_id).read()
        request = seen.approvals[-1].request if seen.approvals else None
        if request is not None:
            plan = request.plan_digest
            if not sessions.is_terminal():
                raise InputError(
                    f"run {run_id}: say which plan you decide on",
                    hint=f"--plan {plan.removeprefix('sha256:')[:12]}",
                )
            click.echo("\n".join(f"  - {line}" for line in request.summary), err=True)
            click.confirm(f"{'approve' if granted else 'deny'} this plan as {on.actor}?", abort=True, err=True)
    glass, why = bool(break_glass), break_glass or why
    again = approval.is_decided(on, run_id, granted=granted, why=why, break_glass=glass)
    made = approval.decide(on, run_id, plan=plan, granted=granted, why=why, break_glass=glass)
    text = f"{'approved' if granted else 'denied'} by {on.actor}"
    if glass:
        text = (
            f"{click.style('GLASS BROKEN', fg='red', bold=True)} by {on.actor}: {why}; recorded, and the team is told"
        )
    text += " already; nothing was written" if again else ""
    seen = history.Follower(on.journal, run_id).read()
    asks_to_undo = bool(seen.approvals) and seen.approvals[-1].request.step == runbooks.UNDO
    then = seen.undo_command if asks_to_undo else f"ddr runbook resume {run_id}"
    session.show(made, lambda: f"{text}\n  next: {then}")


_PLAN = click.option("--plan", default="", metavar="DIGEST", help="The plan you decide on, as the screen shows it.")


@command.command()
@click.argument("run_id", metavar="RUN")
@_PLAN
@click.option("--why", default="", help="For the record.")
@_GLASS
@sessions.json_option
@sessions.pass_session
def approve(session: sessions.Session, run_id: str, plan: str, why: str, break_glass: str) -> None:
    """Approve the plan a run waits with. Who asked may not approve; a changed plan needs a new approval.

    Exit codes: 0 approved, 1 it would not count (the reason is given), 64 no such run, or another plan waits.
    """
    _decide(session, run_id, plan, granted=True, why=why, break_glass=break_glass)


@command.command()
@click.argument("run_id", metavar="RUN")
@_PLAN
@click.option("--why", default="", help="For the record.")
@sessions.json_option
@sessions.pass_session
def deny(session: sessions.Session, run_id: str, plan: str, why: str) -> None:
    """Deny the plan a run waits with.

    Exit codes: 0 denied, 1 it would not count, 64 no such run, or another plan waits.
    """
    _decide(session, run_id, plan, granted=False, why=why)


@command.command()
@sessions.json_option
@sessions.pass_session
def runs(session: sessions.Session) -> int:
    """List runs, newest last.

    Exit codes: 0 listed, 2 listed, and the journal cannot be read to its end.
    """
    session.looking()
    found = list(session.board().runs.values())
    cut_off = {run.id for run in session.wired().interrupted()}
    rows = [
        (run.id, run.started.purpose, run.started.service, run.started.title, _standing(run, cut_off)) for run in found
    ]
    session.show(
        {"runs": found}, lambda: output.table(rows) if rows else "no runs known" if session.code() else "no runs yet"
    )
    session.warn_interrupted()
    return session.code()


def _standing(run: views.Run, cut_off: set[str]) -> str:
    """As `status` says it."""
    if run.is_awaiting_approval:
        return "waits for approval"
    return f"interrupted ({run.status})" if run.id in cut_off else run.status
