"""What tells others that a backup ran: pings and a metrics file. Neither ever fails the work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.domain import records


@contextlib.contextmanager
def watched(session: sessions.Session) -> Iterator[None]:
    """Pings and metrics around work that a scheduler starts, where ddr.yaml names them. Neither ever fails it."""
    from ddr.backup import ping

    settings = session.backups().settings

    def tell(moment: ping.Moment, log: str = "") -> None:
        problem = ping.send(settings.ping, moment, session.mask(log)) if settings.ping else ""
        if problem:
            session.notice(f"warning: {problem}")

    tell("start")
    try:
        yield
    except BaseException as problem:
        tell("fail", str(problem))
        raise
    tell("success")
    write_metrics(session)


def record(session: sessions.Session, event: records.Record) -> bool:
    """Say in the journal what was done. Done it is, also where the journal is damaged, or has no room and its spool has
    none to say so: then that is told, and the caller ends with 2."""
    from ddr.errors import Damaged, Unavailable

    try:
        session.wired().log.append(event)
    except Unavailable as problem:
        session.notice(
            f"it was done{_what(event)}, and the journal does not know of it: {problem.message}\n"
            "  next: make room for the spool, then run it again: `ddr status` counts only what is in the journal"
        )
        return False
    except Damaged as problem:
        session.notice(
            f"it was done{_what(event)}, and the journal does not know of it: {problem.message}\n"
            "  next: `ddr journal repair` brings back what this machine has a copy of; what it has not: `ddr restore "
            "journal --apply`, and where it ends early on purpose `ddr journal adopt`"
        )
        return False
    return True


def _what(event: records.Record) -> str:
    """The snapshot it is about: whoever reads on may not come to the result."""
    snapshot = getattr(event, "snapshot", "")
    return f" (snapshot {snapshot})" if snapshot else ""


def write_metrics(session: sessions.Session) -> None:
    from ddr.backup import metrics
    from ddr.errors import DdrError
    from ddr.wiring import readiness

    made = session.backups()
    if not made.settings.metrics:
        return
    try:
        metrics.write(made.wired.config.base / made.settings.metrics, readiness.facts(made.wired, made.wired.board()))
    except OSError as problem:
        session.notice(f"warning: the metrics could not be written: {problem.strerror}")
    except DdrError as problem:
        session.notice(f"warning: the metrics could not be written: {problem.message}")


def tell_missing(session: sessions.Session, since: datetime) -> None:
    """To who restores: that there was a newer snapshot than the one he gets, and that it is gone."""
    from ddr.backup import missing
    from ddr.errors import DdrError

    try:
        found = [one for one in missing.surely(session.backups().missing()) if one.taken_at > since]
    except DdrError:
        return
    if found:
        session.notice(f"warning: {missing.said(found)}")
