"""`ddr affected`: what hangs on it, and what it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ddr.cli import output
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.domain import lineages


@click.command()
@click.argument("subject")
@sessions.json_option
@sessions.pass_session
def command(session: sessions.Session, subject: str) -> int:
    """Walk lineage: what hangs on a model, a view, a run, and what it was made from.

    Up to data, training run and commit, down to services and who depends on them.

    \b
    SUBJECT:  model:fraud@12   features:user_stats   index:items@v3   code:1.4.1
              data:train       run:1a2b3c            commit:9f8e7d    lock:0a1b2c

    From recorded releases, observations and what is live now, over all services of ddr.yaml. Where a plane does not say
    what it was made from, that is told: beyond it nobody can walk.

    Exit codes: 0 shown, 2 shown, and something could not be asked, 64 nothing is known by that name.
    """
    from ddr.domain import lineages
    from ddr.release import ledger, lineage

    try:
        wanted = lineages.parse(subject)
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None
    wired = session.looking()
    found = lineage.walk(wired.platform, wanted, ledger.board(wired.platform))
    session.show(found, lambda: _text(found))
    return session.code(2 if found.silent else 0)


def _text(found: lineages.Lineage) -> str:
    lines = [output.heading(str(found.subject))]
    if found.subject.kind not in ("commit", "lock"):  # they are where everything begins
        lines += ["  made from", *(_tree(found.up, "  ") or ["  └─ nobody recorded what"])]
    lines.append("  affects")
    lines += _tree(found.down, "  ") or ["  └─ no service was ever seen with it"]
    if found.missing:
        lines.append(f"  {click.style('lineage is missing', fg='yellow', bold=True)}")
        lines += [f"     {one}" for one in found.missing]
    return "\n".join([*lines, *(f"  not asked: {one}" for one in found.silent)])


def _tree(nodes: tuple[lineages.Node, ...], indent: str) -> list[str]:
    lines = []
    for at, node in enumerate(nodes):
        is_last = at == len(nodes) - 1
        lines.append(f"{indent}{'└─' if is_last else '├─'} {_cut(node.what)}" + (f"  ({node.how})" if node.how else ""))
        lines += _tree(node.below, indent + ("   " if is_last else "│  "))
    return lines


def _cut(text: str) -> str:
    return text if len(text) <= 90 else f"{text[:87]}…"
