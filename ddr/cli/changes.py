"""`ddr changes`: one timeline over all planes."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from ddr.cli import options, output
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.domain import changes, timelines


@dataclass(frozen=True)
class Row:
    """One change with the services that it happened to: two that share a registry have it both."""

    services: tuple[str, ...]
    change: changes.Change


@click.command()
@click.argument("service", required=False)
@click.option(
    "--since",
    type=options.Moment(),
    default="24h",
    show_default=True,
    metavar="TIME",
    help="24h, or a time: 'tuesday 14:05' (UTC).",
)
@click.option("--plane", "which", multiple=True, metavar="PLANE", help="Only these planes, dependencies or data; any.")
@click.option("--diff", is_flag=True, help="With what is different inside, and the link, where a source has them.")
@sessions.also_as_option
@sessions.json_option
@sessions.pass_session
def command(session: sessions.Session, service: str | None, since: str, which: tuple[str, ...], diff: bool) -> int:
    """Show what changed, over all planes, newest last.

    Without SERVICE over all services. Code, config, model, features, index, data, dependencies and infrastructure: who,
    from, to, a link or what differs inside; `not recorded by anyone` where ddr found it by comparing, and then within
    which interval it happened. `3 registered` is no move: the version came into being, and nothing serves it by that.

    Exit codes: 0 shown, 2 shown, and the journal cannot be read to its end.
    """
    from ddr.domain import planes, timelines
    from ddr.journal import views
    from ddr.release import timeline

    allowed = dict.fromkeys([*planes.Plane, *timelines.LAYERS])
    for name in which:
        if name not in allowed:
            raise click.UsageError(f"--plane {name}: one of {', '.join(allowed)}")
    wired = session.looking()
    begin = options.moment(since, wired.platform.clock.now(), "--since")
    names = [session.service(service).name] if service else sorted(wired.platform.services)
    board = views.fold(wired.platform.journal.events(0, (*views.LEDGER, *views.ENDS)))
    found = {
        name: timeline.changes(wired.platform, name, begin, board) for name in names or [session.service(None).name]
    }
    rows = [row for row in _rows(found) if not which or row.change.what in which]
    silent = tuple(dict.fromkeys(entry for one in found.values() for entry in one.silent))
    document = {"since": begin, "changes": [_document(row) for row in rows], "silent": silent}
    session.show(document, lambda: _text(rows, silent, begin, several=len(found) > 1, diff=diff))
    session.warn_interrupted(board)
    return session.code()


def _rows(found: dict[str, timelines.Timeline]) -> list[Row]:
    """All timelines as one, oldest first; what several services tell alike is one row."""
    together: dict[tuple[object, ...], Row] = {}
    for service, told in found.items():
        times: collections.Counter[tuple[object, ...]] = collections.Counter()
        for change in told.changes:
            one = (change.plane, change.layer, change.object, change.before, change.after, change.at, change.source)
            times[one] += 1
            key = (*one, times[one])  # to and fro at one time is told as often as it happened
            known = together.get(key)
            together[key] = Row((*(known.services if known else ()), service), change)
    return sorted(together.values(), key=lambda row: row.change.at)


def _document(row: Row) -> dict[str, object]:
    from ddr.lib import decode

    return {"services": list(row.services), "what": row.change.what, **decode.encode(row.change)}


def _text(rows: list[Row], silent: tuple[str, ...], begin: datetime, *, several: bool, diff: bool) -> str:
    from ddr.lib import timetext

    head = [f"since {timetext.format_clock(begin)}"]
    lines = _lines(rows, several=several, diff=diff) if rows else ["  nothing changed"]
    hidden = sum(bool(row.change.detail or row.change.link) for row in rows)
    if hidden and not diff:
        lines.append(f"  --diff shows more of {hidden} of them")
    return "\n".join([*head, *lines, *(f"  not asked: {entry}" for entry in silent)])


def _lines(rows: list[Row], *, several: bool, diff: bool) -> list[str]:
    table = output.table([_row(row, several=several) for row in rows]).split("\n")
    lines = []
    for line, row in zip(table, rows, strict=True):
        lines.append(line)
        change = row.change
        if not change.recorded:
            since = f"after {change.not_before:%m-%d %H:%M:%S} and " if change.not_before is not None else ""
            lines.append(f"{'':18}moved at some time {since}before {change.at:%m-%d %H:%M:%S}, when it was first seen")
        if diff:
            lines += [f"{'':18}inside: {change.detail}"] if change.detail else []
            lines += [f"{'':18}{change.link}"] if change.link else []
    return lines


def _row(row: Row, *, several: bool) -> tuple[str, ...]:
    change = row.change
    moved = f"{change.after} registered" if change.arrived else f"{change.before or '?'} → {change.after or '?'}"
    of = (", ".join(row.services),) if several else ()
    said = f"{change.summary}; that is no move" if change.arrived else change.summary
    return (f"{change.at:%m-%d %H:%M:%S}", *of, change.what, change.object, moved, _who(change), said)


def _who(change: changes.Change) -> str:
    if not change.recorded:
        return click.style("not recorded by anyone", fg="yellow")
    return change.actor if change.actor != "unknown" else click.style("nobody recorded who", fg="yellow")
