"""`ddr doctor`: try everything once, in peace time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ddr.cli import output
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.wiring import doctor


@click.command()
@sessions.json_option
@sessions.pass_session
def command(session: sessions.Session) -> int:
    """Try every connector and say what it can and may do.

    Probes the repository's conditional writes (the probe's own keys are removed again), verifies the journal,
    asks every plane, server and source. Changes nothing else.

    Exit codes: 0 all well, 2 findings, 64 ddr.yaml is not right.
    """
    from ddr.domain import signals
    from ddr.wiring import doctor

    visits = doctor.visit(session.wired(), os.environ)
    session.show({"visits": visits}, lambda: _text(visits))
    session.warn_interrupted()
    return 0 if all(visit.state is signals.State.OK for visit in visits) else 2


def _text(visits: Sequence[doctor.Visit]) -> str:
    lines = []
    for visit in visits:
        lines.append(f"{output.mark(visit.state):<3} {output.heading(visit.what)}: {visit.why}")
        lines += [f"      can: {', '.join(visit.can)}"] if visit.can else []
        lines += [f"      cannot: {entry}" for entry in visit.cannot]
    return "\n".join(lines)
