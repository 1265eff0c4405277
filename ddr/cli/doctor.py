"""`ddr doctor`: try everything once, in peace time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ddr.cli import output
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.wiring import visits


@click.command()
@sessions.json_option
@sessions.pass_session
def command(session: sessions.Session) -> int:
    """Try every connector and say what it can and may do.

    Probes the repository's conditional writes (the probe's own keys are removed again), verifies the journal,
    asks every plane, server and source, opens the backups, looks into everything that goes into them, and writes one
    key to every copy (and removes it). Changes nothing else.

    Exit codes: 0 all well, 2 findings, 64 ddr.yaml is not right.
    """
    from ddr.domain import signals
    from ddr.wiring import doctor

    found = doctor.visit(session.wired(), os.environ)
    session.show({"visits": found}, lambda: _text(found))
    session.warn_interrupted()
    return 0 if all(visit.state is signals.State.OK for visit in found) else 2


def _text(found: Sequence[visits.Visit]) -> str:
    lines = []
    for visit in found:
        lines.append(f"{output.mark(visit.state):<3} {output.heading(visit.what)}: {visit.why}")
        lines += [f"      can: {', '.join(visit.can)}"] if visit.can else []
        lines += [f"      cannot: {entry}" for entry in visit.cannot]
    return "\n".join(lines)
