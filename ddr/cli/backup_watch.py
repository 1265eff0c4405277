"""What tells others that a backup ran: pings and a metrics file. Neither ever fails the work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ddr.cli import session as sessions


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


def write_metrics(session: sessions.Session) -> None:
    from ddr.backup import metrics
    from ddr.wiring import readiness

    made = session.backups()
    if not made.settings.metrics:
        return
    try:
        metrics.write(made.wired.config.base / made.settings.metrics, readiness.facts(made.wired, made.wired.board()))
    except OSError as problem:
        session.notice(f"warning: the metrics could not be written: {problem.strerror}")
