"""`ddr rollback`: one plane back, alone. A plan by default; with --apply a run of the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from ddr.cli import live, options, rollback_text, rollback_undo
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.domain import planes, services
    from ddr.ports import platform
    from ddr.rollback import book, proposal, when
    from ddr.runbook import engine, parse


@click.group()
def command() -> None:
    """Take back only the plane that is wrong: a plan by default, --apply to do it.

    \b
      ddr rollback model SERVICE                   what would be done, and what speaks against it
      ddr rollback model SERVICE --apply           do it: to the last known-good revision
      ddr rollback model SERVICE --to '2h ago'     to what was live then; or --to REVISION
      ddr rollback undo                            and back again
    """


_ROLLED_BACK = ("code", "model", "features", "index", "data")
"""`data` is restored beside the live files once every hash is proved to be there; nothing that serves reads it, so the
server is not rolled and no signal is waited for."""

_OPTIONS: tuple[Callable[..., object], ...] = (
    click.argument("service", required=False),
    click.option("--to", default="last-good", show_default=True, metavar="REVISION|TIME", help="Where to."),
    click.option(
        "--with", "along", metavar="PLANE[=REVISION]", multiple=True, help="Take this plane back as well, as one plan."
    ),
    click.option("--apply", is_flag=True, help="Do it."),
    click.option("--plan", "planned", metavar="DIGEST", default="", help="Only if the plan still is this one."),
    click.option("--no-mark", is_flag=True, help="Do not block the revision that is left."),
    click.option("--no-wait", is_flag=True, help="Switch, load, look once, and wait for no proof."),
    click.option("--keep-frozen", is_flag=True, help="Leave promotions frozen at the end."),
    click.option("--watch", type=options.Duration(), default="10s", show_default=True, help="For who takes it back."),
    click.option("--patience", type=options.Duration(), default="5m", show_default=True, help="For fresh traffic."),
    click.option("--incident", metavar="INC", default="", help="The incident this belongs to."),
    click.option("--break-glass", metavar="REASON", default="", help="Go on without approval: loud, recorded."),
    sessions.also_as_option,
    sessions.json_option,
    sessions.pass_session,
)


def _rolled_back(plane: str) -> click.Command:
    def run(
        session: sessions.Session,
        service: str | None,
        to: str,
        along: tuple[str, ...],
        apply: bool,
        planned: str,
        no_mark: bool,
        no_wait: bool,
        keep_frozen: bool,
        watch: timedelta,
        patience: timedelta,
        incident: str,
        break_glass: str,
    ) -> int:
        from ddr.rollback import book

        chosen = book.Options(
            mark=not no_mark, prove=not no_wait, window=watch, patience=patience, keep_frozen=keep_frozen
        )
        return _roll_back(
            session, service, plane, to, along, chosen, apply, planned, incident=incident, break_glass=break_glass
        )

    for decorate in reversed(_OPTIONS):
        run = decorate(run)
    beside = (
        "\n\n    The files of that commit are restored beside the live ones, once every hash is proved to be there."
        if plane == "data"
        else ""
    )
    run.__doc__ = f"""Take the {plane} plane back, and nothing else. Without --apply nothing is touched.{beside}

    TIME is written like 2026-11-21T14:05Z, '2h ago' or 'yesterday 14:05' (UTC): to what was live then.

    Exit codes: 0 planned, or done and proved, or nothing had to be done; 1 refused, or failed: what was switched is
    taken back, unless the screen says that it stays; 3 conflict: the plan is another one by now; 4 waits for an
    approval; 5 paused, switched and not proved yet (`ddr runbook resume RUN` judges again), or an earlier run has no
    end yet; 64 bad usage, no such name; 69 a system does not answer.
    """
    made: click.Command = click.command(name=plane)(run)
    return made


for _plane in _ROLLED_BACK:
    command.add_command(_rolled_back(_plane))
command.add_command(rollback_undo.undo)
command.add_command(rollback_undo.list_)


def _roll_back(
    session: sessions.Session,
    named: str | None,
    plane: str,
    to: str,
    along: tuple[str, ...],
    chosen: book.Options,
    apply: bool,
    planned: str,
    *,
    incident: str,
    break_glass: str,
) -> int:
    from ddr.errors import Conflict, Refused
    from ddr.lib import digest
    from ddr.rollback import book, proposal

    service = session.service(named)
    wanted = _wanted(service, plane, to, along)
    on = session.wired().platform
    found = proposal.propose(on, service.name, wanted, past=_past(on))
    if not found.plan.moves:
        return _nothing(session, service, found, plane, to)
    whole = book.digest_of(found, chosen)
    short = digest.short(whole)
    if planned and not whole.removeprefix("sha256:").startswith(planned.removeprefix("sha256:")):
        raise Conflict(
            f"the plan is {short} by now, not {planned}: the world or what was asked for changed; nothing was touched",
            expected=planned,
            found=short,
            hint=f"look at the new one: {_words(plane, service.name, to, along)}{_flags(chosen)}",
        )
    way_out = _with_companions(found, plane, service.name, to, along)
    target = {str(move.plane): move.target.name for move in found.plan.moves}
    where = to if to == "last-good" else target.get(plane, to)  # `2h ago` is another time when it is pasted
    again = f"{_words(plane, service.name, where, along)} --apply --plan {short}{_flags(chosen)}"
    if not apply or found.plan.refusals:
        if apply and not session.json:
            session.notice(rollback_text.plan(found, service, chosen, again, way_out))
            what = "; ".join(check.detail for check in found.plan.refusals)
            raise Refused(f"{service.name}: {plane} is not taken back: {what}", hint=way_out)
        session.show(
            _document(found, service, chosen, again, way_out),
            lambda: rollback_text.plan(found, service, chosen, again, way_out),
        )
        return 1 if found.plan.refusals else 0
    from ddr.runbook import parse

    text = book.of_rollback(service, found, chosen, on.clock.now())
    document = parse.read_text(text, book.SOURCE)
    return carry_out(session, document, service.name, incident=incident, break_glass=break_glass)


def _past(on: platform.Platform) -> when.Past:
    """What `ddr release show --at` says: a rollback to a time goes by the same."""
    from ddr.release import past
    from ddr.rollback import when

    def recalled(service: str, at: datetime) -> when.Recalled:
        found = past.at(on, service, at)
        return when.Recalled(found.planes, found.silent)

    return recalled


def _wanted(service: services.Service, plane: str, to: str, along: tuple[str, ...]) -> Mapping[planes.Plane, str]:
    from ddr.domain import planes
    from ddr.errors import InputError

    wanted = {planes.Plane(plane): to}
    for text in along:
        name, _, revision = text.partition("=")
        if name not in _ROLLED_BACK:
            raise InputError(
                f"--with {text}: {name!r} is no plane that goes back", hint=f"one of {', '.join(_ROLLED_BACK)}"
            )
        if name == plane:
            raise InputError(f"--with {text}: {name} goes back anyway", hint=f"say where to with --to {revision or to}")
        wanted[planes.Plane(name)] = revision
    for each in wanted:
        if each not in service.planes:
            raise InputError(
                f"service {service.name} has no {each} plane", hint=f"it has: {', '.join(service.planes) or 'none'}"
            )
    return wanted


def _nothing(
    session: sessions.Session, service: services.Service, found: proposal.Proposal, plane: str, to: str
) -> int:
    """The plane is where it was to go. Somebody may have taken it there a minute ago, and not be done: that is said.

    Where the server holds another one, it is no end: nothing was done, and something is wrong.
    """
    from ddr.actions import serving
    from ddr.cli import openruns
    from ddr.domain import planes
    from ddr.errors import Refused

    named = to != "last-good"
    stale = "" if named else serving.held_otherwise(session.wired().platform, service.name, planes.Plane(plane))
    if stale:
        raise Refused(
            f"nothing to take back: {found.there}; {stale}",
            hint=f"`ddr diagnose {service.name}` names the layer at fault; --to REVISION goes elsewhere all the same",
        )
    open_ = openruns.of(session, service.name)
    by = {run.id: run.requester for run in session.board().runs.values()}
    told = [f"run {run.id} of {by[run.id]} ({run.title}) has no end yet: {run.status}" for run in open_]
    if named:
        then = f"ddr status {service.name}"
    else:
        then = f"ddr diagnose {service.name}   # names the layer at fault; --to REVISION goes elsewhere all the same"
    then = open_[0].next_command if open_ else then

    def text() -> str:
        what = "nothing to do" if named else "nothing to take back"
        return "\n".join([f"{what}: {found.there}", *(f"  {line}" for line in told), f"  next: {then}"])

    document = {"service": service.name, "plan": None, "why": found.there, "open_runs": open_, "next": then}
    session.show(document, text)
    return 0


def _words(plane: str, service: str, to: str, along: tuple[str, ...]) -> str:
    import shlex

    where = "" if to == "last-good" else f" --to {shlex.quote(to)}"
    return f"ddr rollback {plane} {service}{where}" + "".join(f" --with {shlex.quote(one)}" for one in along)


def _flags(chosen: book.Options) -> str:
    from ddr.rollback import book

    plain = book.Options()
    flags = "" if chosen.mark else " --no-mark"
    flags += "" if chosen.prove else " --no-wait"
    flags += " --keep-frozen" if chosen.keep_frozen else ""
    for name, value, usual in (
        ("--watch", chosen.window, plain.window),
        ("--patience", chosen.patience, plain.patience),
    ):
        flags += f" {name} {value.total_seconds():g}s" if value != usual else ""
    return flags


def _with_companions(found: proposal.Proposal, plane: str, service: str, to: str, along: tuple[str, ...]) -> str:
    """The command of the smallest combination that fits, '' where the plan fits or nothing does."""
    if not found.plan.refusals or not found.companions:
        return ""
    where = to if to != "last-good" else next(move.target.name for move in found.plan.moves if move.plane == plane)
    extra = tuple(f"{other}={revision.name}" for other, revision in found.companions.items() if other != plane)
    kept = tuple(text for text in along if text.partition("=")[0] not in found.companions)
    return _words(plane, service, where, (*kept, *extra))


def _document(
    found: proposal.Proposal, service: services.Service, chosen: book.Options, apply: str, way_out: str
) -> Mapping[str, object]:
    from ddr.rollback import book, proof

    return {
        "service": service.name,
        "plan_digest": book.digest_of(found, chosen),
        "refused": [check.detail for check in found.plan.refusals],
        "plan": found,
        "options": chosen,
        "proved_by": [spec.name for spec in proof.awaited(service, found.moved)] if chosen.prove else [],
        "approvers": service.owners.approvers,
        "apply": "" if found.plan.refusals else apply,
        "smallest_fit": way_out,
        "undo": "ddr rollback undo",
    }


def carry_out(
    session: sessions.Session, document: parse.Document, service: str, *, incident: str, break_glass: str
) -> int:
    """Run it. What fails before the server has loaded the target is taken back at once."""
    with live.engine(session) as made:
        return made.finish(
            lambda engine: _start(session, engine, document, service, incident=incident, break_glass=break_glass)
        )


def _start(
    session: sessions.Session,
    made: engine.Engine,
    document: parse.Document,
    service: str,
    *,
    incident: str,
    break_glass: str,
) -> engine.Finish:
    from ddr.runbook import engine

    ended = made.start(document, service, incident=incident, break_glass=break_glass)
    seen = session.board().runs[ended.run]
    if ended.status != "failed" or "hold" in seen.steps or "holds" in seen.steps or not seen.to_undo:
        return ended
    session.notice(f"run {ended.run} failed before it was in force; what it changed is taken back")
    back = made.undo(ended.run, asks=False)
    told = "taken back" if back.status == "undone" else f"NOT all taken back: {back.why}"
    return engine.Finish(ended.run, "failed", f"{ended.why}; {told}")
