"""A rollback's plan as text: at most about 24 lines, the command to paste last."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from ddr.cli import output
from ddr.lib import digest, timetext

if TYPE_CHECKING:
    from ddr.domain import plans, revisions, services
    from ddr.journal import views
    from ddr.rollback import book, proposal

_WIDTH = 118
_LABEL = 9


def plan(
    found: proposal.Proposal, service: services.Service, options: book.Options, apply: str, way_out: str = ""
) -> str:
    """`apply` is the command that does it; `way_out` the one that would fit where this plan is refused."""
    made = found.plan
    moved = " and ".join(found.moved)
    head = f"{output.heading('plan ' + digest.short(made.digest))}  take back {moved} of {service.name}"
    lines = [f"{head}; nothing was touched"]
    for move in made.moves:
        lines += _row("now", _revision(move.live))
        lines += _row("target", f"{_revision(move.target)}{_good(made.checks, move)}")
    lines += _row("nothing", f"to do for {found.there}") if found.there else []
    stays = ", ".join(f"{plane} {revision.name}" for plane, revision in found.stays.items())
    lines += _row("stays", stays or "no other plane could be read")
    for check in _worth_saying(made.checks):
        lines += _row(output.mark(check.state), f"{check.name}: {check.detail}", most=2)
    lines += _reverters(found)
    if made.refusals:
        return "\n".join([*lines, *_refused(found, service, way_out)])
    lines += _steps(found, options)
    lines += _row("proof", _proof(found, service, options), most=2)
    back = " and ".join(move.live.name for move in made.moves)
    lines += _row("undo", f"ddr rollback undo   (sets {back} back, unless someone moved it since)")
    if found.blind:
        lines += _row("unknown", "; ".join(found.blind), most=3)
    asks = service.owners.approvers
    note = f"   # then waits for {' or '.join(asks)} to approve" if asks else ""
    return "\n".join([*lines, f"  {click.style('next:', bold=True)} {apply}{note}"])


def _good(checks: Sequence[plans.Check], move: plans.Move) -> str:
    """What is known of the target, without its name again."""
    names = (f"{move.target.object} {move.target.name}, ", f"{move.target.object} {move.target.name}: ")
    for check in checks:
        for name in names:
            if check.name == "target" and check.detail.startswith(name):
                return f"; {check.detail.removeprefix(name)}"
    return ""


def _revision(revision: revisions.Revision) -> str:
    bytes_ = f", bytes {digest.short(revision.digest)}" if revision.digest else ", bytes not known"
    return f"{revision.plane} {revision.object} {revision.name}{bytes_}"


def _worth_saying(checks: Sequence[plans.Check]) -> Iterator[plans.Check]:
    """All but a target that is fine: its row says so."""
    for check in checks:
        if check.name != "target" or check.state != "ok":
            yield check


def _reverters(found: proposal.Proposal) -> Iterator[str]:
    for reverter in found.reverters[:3]:
        stop = f"; stop: {reverter.stop}" if reverter.stop else ""
        state = " (stopped)" if reverter.is_stopped else ""
        yield from _row("reverts", f"{reverter.name}{state}: {reverter.how}{stop}", most=2)


def _steps(found: proposal.Proposal, options: book.Options) -> Iterator[str]:
    planes_ = ", ".join(found.freezable)
    rows = [f"freeze {planes_} (a mark that promotions obey)"] if found.freezable else []
    rows += found.writes
    rows += [f"run the {plane} materialization and read back its rows" for plane in found.refreshable]
    rows += ["roll the server, compare what it has loaded with the planes, byte for byte"] if found.has_server else []
    left = [move for move in found.plan.moves if move.live.name != move.target.name]
    if options.mark and left:
        bad = ", ".join(f"{move.plane} {move.live.name}" for move in left)
        where = "" if set(found.moved) <= set(found.markable) else " (in ddr's record)"
        rows.append(f"block {bad}{where}: nothing promotes it again")
    if found.freezable and not options.keep_frozen:
        rows.append(f"thaw {planes_} once it is proved")
    for at, row in enumerate(rows, start=1):
        yield from _row("will" if at == 1 else "", f"{at} {row}", most=2)


def _proof(found: proposal.Proposal, service: services.Service, options: book.Options) -> str:
    from ddr.rollback import proof

    if not options.prove:
        return "none is waited for (--no-wait): the server's memory and the other planes are looked at once"
    window = timetext.format_duration(options.window)
    first = f"watched {window} for who takes it back, other planes the same digests"
    awaited = [spec.name for spec in proof.awaited(service, found.moved)]
    if not service.signals:
        return f"{first}; the service has no signals, so nobody can say that it helped"
    most = timetext.format_duration(options.patience)
    return f"{first}; then, on what comes after the switch, {most} at most, all of: {', '.join(awaited)}"


def _refused(found: proposal.Proposal, service: services.Service, way_out: str) -> list[str]:
    lines = [f"  {click.style('REFUSED', fg='red', bold=True)}: see BAD above; nothing was touched"]
    if way_out:
        lines.append(f"  {click.style('next:', bold=True)} {way_out}   # the smallest combination that fits")
    elif found.possible:
        lines += [f"  {click.style('next:', bold=True)} --to {name} is still possible" for name in found.possible[:1]]
    else:
        lines.append(f"  {click.style('next:', bold=True)} ddr contain {service.name}   # no known-good way is open")
    return lines


def _row(label: str, text: str, most: int = 2) -> list[str]:
    """A label and its text on at most `most` lines; a command in it is never broken."""
    pad = " " * (_LABEL - len(click.unstyle(label)))
    lines = textwrap.wrap(
        " ".join(text.split()),
        _WIDTH - _LABEL - 2,
        max_lines=most,
        placeholder=" ...",
        break_long_words=False,
        break_on_hyphens=False,
    )
    rest = [" " * (_LABEL + 2) + line for line in lines[1:]]
    return [f"  {label}{pad}{lines[0] if lines else ''}", *rest]


def runs(found: Sequence[views.Run]) -> str:
    """One line a rollback or containment, newest last."""
    rows = [
        (
            run.id,
            timetext.format_clock(run.at),
            run.started.service,
            run.started.title,
            moves(run) or f"planned: {planned(run)}",
            "waits for approval" if run.is_awaiting_approval else run.status,
            run.requester,
        )
        for run in found
    ]
    return output.table(rows) if rows else "no rollbacks yet\n  next: ddr rollback model SERVICE   # plans one"


def moves(run: views.Run) -> str:
    """`model 3 -> 2` of every plane the run set out to switch."""
    settled = [step.intended.settled for step in run.steps.values() if step.intended is not None]
    return ", ".join(f"{one['plane']} {one['live']} -> {one['target']}" for one in settled if "target" in one)


def planned(run: views.Run) -> str:
    """What the run was written for, in its own words."""
    return str(json.loads(run.started.document).get("summary", ""))
