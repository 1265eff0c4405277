"""`ddr release show | diff | verify`: reading the ledger."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from ddr.cli import options, release_text, working
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddr.domain import releases
    from ddr.journal import views


LIVE = "live"


@click.command()
@click.argument("release", required=False)
@click.option(
    "--at",
    "when",
    type=options.Moment(),
    metavar="TIME",
    help="What was live then: 2026-11-17T14:05, '2h ago', 'tuesday 14:05'; UTC.",
)
@sessions.service_option
@sessions.json_option
@sessions.pass_session
def show(session: sessions.Session, release: str | None, when: str | None, service: str | None) -> int:
    """Show one release with all that is known of it, or what was live at a time.

    RELEASE is an id, the beginning of one, `newest` (default), `last-good` or `live`. With --at each plane says how
    that is known: `seen` (looked at just then), `told` (a source says when it was moved), `inferred` (seen before, and
    nothing speaks against it), `open` (one of two, nobody recorded when it moved), `unknown`.

    Exit codes: 0 shown, 2 shown, and a plane is open or unknown or the journal cannot be read to its end, 64 no such
    release or time, 69 with `live`: shown, and a plane does not answer.
    """
    if release and when:
        raise click.UsageError("RELEASE and --at exclude each other")
    if when is not None:
        return _show_then(session, when, session.service(service).name)
    from ddr.release import ledger

    wired, name = session.looking(), session.service(service).name
    board = ledger.board(wired.platform)
    found = _named(session, board, name, release or "newest")
    session.show(found, lambda: release_text.whole(found, board))
    unread = found.id == LIVE and any(plane not in found.revisions for plane in wired.platform.service(name).planes)
    return session.code(69 if unread else 0)


def _show_then(session: sessions.Session, when: str, service: str) -> int:
    from ddr.domain import moments
    from ddr.release import ledger, past

    wired = session.looking()
    at = options.moment(when, wired.platform.clock.now(), "--at")
    board = ledger.board(wired.platform)
    found = past.at(wired.platform, service, at, board)
    then = found.planes
    release = next((one for one in reversed(board.releases.get(service, [])) if one.at <= at), None)
    document = {"service": service, "at": at, "planes": then, "release": release, "silent": found.silent}
    session.show(document, lambda: release_text.then(service, at, then, release, found.silent))
    is_open = any(one.certainty in (moments.Certainty.OPEN, moments.Certainty.UNKNOWN) for one in then)
    return session.code(2 if is_open or not then else 0)


def _named(session: sessions.Session, board: views.Board, service: str, name: str) -> releases.Release:
    from ddr.release import ledger

    on = session.wired().platform
    if name != LIVE:
        return ledger.find(on, service, name, board)
    seen = ledger.observe(on, service)
    return dataclasses.replace(seen, id=LIVE, lineage=ledger.filled(seen.lineage, seen.revisions))


@click.command()
@click.argument("before")
@click.argument("after", default=LIVE)
@sessions.service_option
@sessions.json_option
@sessions.pass_session
def diff(session: sessions.Session, before: str, after: str, service: str | None) -> int:
    """Compare two releases, plane by plane, with the facts that differ. AFTER is `live` by default.

    Each is an id, the beginning of one, `newest`, `last-good` or `live`.

    Exit codes: 0 shown, 2 shown, and the journal cannot be read to its end, 64 no such release.
    """
    from ddr.domain import differences
    from ddr.release import ledger

    wired, name = session.looking(), session.service(service).name
    board = ledger.board(wired.platform)
    one, other = (_named(session, board, name, which) for which in (before, after))
    found = differences.between(one, other, is_live=LIVE in (one.id, other.id))
    document = {"before": one.id, "after": other.id, "is_same": found.is_same, **vars(found)}
    session.show(document, lambda: release_text.compared(one, other, found))
    return session.code()


@click.command()
@click.argument("service", required=False)
@click.option("--all", "everything", is_flag=True, help="Every known-good release, however old.")
@sessions.also_as_option
@sessions.json_option
@sessions.pass_session
def verify(session: sessions.Session, service: str | None, everything: bool) -> int:
    """Prove that what is known good could be deployed today: every revision is there and has the bytes it had.

    An index whose bytes hold is loaded in a limited child process, and its probes are asked.

    Looked at are the known-good releases that served within `recoveryWindow` of ddr.yaml, and the newest one however
    old it is. Without SERVICE all services. Only looks; for a scheduler once a day.

    Exit codes: 0 all can be deployed, 2 something is missing or changed, or nothing is known good, 69 nothing is
    missing as far as can be seen, and a system does not answer.
    """
    from ddr.release import deployable, ledger
    from ddr.wiring import loads

    wired = session.wired()
    names = [session.service(service).name] if service else sorted(wired.platform.services)
    names = names or [session.service(None).name]
    board = ledger.board(wired.platform)
    window = wired.config.recovery_window
    since = None if everything else wired.platform.clock.now() - window
    with working.shown(session) as at_work:
        found = [
            deployable.verify(wired.platform, name, since, _holds(session), at_work.told, board, loads.of(wired))
            for name in names
        ]
    document = {"window": None if everything else window, "services": found}
    session.show(document, lambda: release_text.verified(found, None if everything else window))
    if not all(one.is_fine for one in found):
        return 2
    return 69 if any(one.is_unknown for one in found) else 0


def _holds(session: sessions.Session) -> Callable[[str], bool | None]:
    """Asks the backup repository, when it is first asked."""
    known: list[frozenset[str] | None] = []

    def holds(name: str) -> bool | None:
        from ddr.errors import DdrError

        if not known:
            try:
                known.append(frozenset(head.id for head in session.backups().open().heads()))
            except DdrError:
                known.append(None)
        return None if known[0] is None else name in known[0]

    return holds
