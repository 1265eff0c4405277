"""A rollback's plan as text: at most about 24 lines, the command to paste last."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from ddr.cli import output
from ddr.lib import digest, timetext

if TYPE_CHECKING:
    from ddr.domain import services
    from ddr.journal import views
    from ddr.rollback import book, proposal

_WIDTH = 118
_LABEL = 9


def plan(
    found: proposal.Proposal, service: services.Service, options: book.Options, apply: str, way_out: str = ""
) -> str:
    """`apply` is the command that does it; `way_out` the one that would fit where this plan is refused."""
    from ddr.rollback import book, fits, spoken

    made = found.plan
    moved = " and ".join(found.moved)
    head = (
        f"{output.heading('plan ' + digest.short(book.digest_of(found, options)))}  take back {moved} of {service.name}"
    )
    lines = [f"{head}; nothing was touched"]
    for move in made.moves:
        lines += _row("now", spoken.revision(move.live))
        lines += _row("target", f"{spoken.revision(move.target)}{spoken.good(made.checks, move)}")
    lines += _row("nothing", f"to do for {found.there}") if found.there else []
    stays = ", ".join(f"{plane} {revision.name}" for plane, revision in found.stays.items())
    lines += _row("stays", stays or "no other plane could be read")
    for check in spoken.worth_saying(made.checks):
        most = None if check in made.refusals or check.name == fits.EMBEDDER else 2  # a way out stands at their end
        lines += _row(output.mark(check.state), f"{check.name}: {check.detail}", most)
    lines += _reverters(found)
    if made.refusals:
        return "\n".join([*lines, *_refused(found, service, way_out)])
    lines += _steps(found, options)
    lines += _row("proof", book.proof_of(found, service, options), most=2)
    back = " and ".join(move.live.name for move in made.moves)
    lines += _row("undo", f"ddr rollback undo   (sets {back} back, unless someone moved it since)")
    if found.blind:
        lines += _row("unknown", "; ".join(found.blind), most=3)
    asks = service.owners.approvers
    note = f"   # then waits for {' or '.join(asks)} to approve" if asks else ""
    return "\n".join([*lines, f"  {click.style('next:', bold=True)} {apply}{note}"])


def _reverters(found: proposal.Proposal) -> Iterator[str]:
    from ddr.rollback import spoken

    for reverter in found.reverters[:3]:
        yield from _row("reverts", spoken.reverter(reverter), most=2)


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
        yield from _row("will" if at == 1 else "", f"{at} {row}", most=None)  # what is approved is not cut


def _refused(found: proposal.Proposal, service: services.Service, way_out: str) -> list[str]:
    lines = [f"  {click.style('REFUSED', fg='red', bold=True)}: see BAD above; nothing was touched"]
    if way_out:
        lines.append(f"  {click.style('next:', bold=True)} {way_out}   # the smallest combination that fits")
    elif found.possible:
        lines += [f"  {click.style('next:', bold=True)} --to {name} is still possible" for name in found.possible[:1]]
    else:
        lines.append(f"  {click.style('next:', bold=True)} ddr contain {service.name}   # no known-good way is open")
    return lines


def _row(label: str, text: str, most: int | None = 2) -> list[str]:
    """A label and its text on at most `most` lines, None for all of them; a command in it is never broken."""
    pad = " " * (_LABEL - len(click.unstyle(label)))
    wide = min(_WIDTH, output.width() or _WIDTH)
    lines = textwrap.wrap(
        " ".join(text.split()),
        wide - _LABEL - 2,
        max_lines=None if most is None else most * -(-_WIDTH // wide),
        placeholder=" ...",
        break_long_words=False,
        break_on_hyphens=False,
    )
    rest = [" " * (_LABEL + 2) + line for line in lines[1:]]
    return [f"  {label}{pad}{lines[0] if lines else ''}", *rest]


def runs(found: Sequence[views.Run], cut_off: Collection[str] = ()) -> str:
    """One line a rollback or containment, newest last. `cut_off` are those that nobody works on any more."""
    rows = [
        (
            run.id,
            timetext.format_clock(run.at),
            run.started.service,
            run.started.title,
            moves(run) or _doings(run),
            standing(run, cut_off),
            run.requester,
        )
        for run in found
    ]
    return output.table(rows) if rows else "no rollbacks yet\n  next: ddr rollback model SERVICE   # plans one"


def _doings(run: views.Run) -> str:
    """A containment in its own words; of one that did nothing yet that it was only planned."""
    begun = any(step.intended is not None and step.intended.undo for step in run.steps.values())
    return planned(run) if begun else f"planned: {planned(run)}"


def standing(run: views.Run, cut_off: Collection[str]) -> str:
    """As `ddr status` and `ddr runbook runs` say it."""
    if run.asks_to_undo:
        return "undo waits for approval"
    if run.is_awaiting_approval:
        return "waits for approval"
    return f"interrupted ({run.status})" if run.id in cut_off else run.status


def moves(run: views.Run) -> str:
    """`model 3 -> 2` of every plane the run set out to switch."""
    settled = [step.intended.settled for step in run.steps.values() if step.intended is not None]
    return ", ".join(f"{one['plane']} {one['live']} -> {one['target']}" for one in settled if "target" in one)


def planned(run: views.Run) -> str:
    """What the run was written for, in its own words."""
    return str(json.loads(run.started.document).get("summary", ""))
