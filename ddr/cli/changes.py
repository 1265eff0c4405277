"""`ddr changes`: one timeline over all planes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from ddr.cli import options, output
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.domain import changes


@click.command()
@click.argument("service", required=False)
@click.option("--since", type=options.Duration(), default="24h", show_default=True, help="How far back.")
@sessions.also_as_option
@sessions.json_option
@sessions.pass_session
def command(session: sessions.Session, service: str | None, since: timedelta) -> int:
    """Show what changed, over all planes, newest last.

    Who, from, to; `not recorded by anyone` where ddr found it by comparing.

    Exit codes: 0 shown, 2 shown, and the journal cannot be read to its end.
    """
    from ddr.release import timeline

    wired = session.looking()
    now = wired.platform.clock.now()
    found = timeline.changes(wired.platform, session.service(service).name, now - since)
    session.show(found, lambda: _text(found.changes, found.silent))
    session.warn_interrupted()
    return session.code()


def _text(found: tuple[changes.Change, ...], silent: tuple[str, ...]) -> str:
    rows = [
        (f"{change.at:%m-%d %H:%M:%S}", change.plane, change.object, f"{change.before or '?'} → {change.after or '?'}",
         _who(change), change.summary)
        for change in found
    ]  # fmt: skip
    lines = [output.table(rows) if rows else "  nothing changed"]
    return "\n".join(lines + [f"  not asked: {entry}" for entry in silent])


def _who(change: changes.Change) -> str:
    if not change.recorded:
        return click.style("not recorded by anyone", fg="yellow")
    return change.actor if change.actor != "unknown" else click.style("nobody recorded who", fg="yellow")
