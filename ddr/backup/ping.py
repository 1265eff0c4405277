"""Pings to a watcher in the style of healthchecks.io: `URL/start`, `URL` and `URL/fail` with the end of the log.

The watcher alarms when a ping stays away, so it also sees a machine that is gone. A ping that does not arrive never
fails a backup: it is told as a text.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from ddr.lib import redact

TIMEOUT_S = 5.0
"""healthchecks.io answers in a fraction of a second; a backup must not wait longer for a courtesy."""

LONGEST_LOG_BYTES = 10_000
"""The end of the log, where the error stands. Watchers of this kind keep 10 kB of a body or more."""

_NO_ADDRESS = "the ping address is none; write it like https://hc-ping.com/UUID"

Moment = Literal["start", "success", "fail"]


def send(url: str, moment: Moment, log: str = "", timeout_s: float = TIMEOUT_S) -> str:
    """POST one ping, with the last 10,000 bytes of the log, secrets masked. '' when it arrived, else what was wrong.

    Never raises for what happens on the network, follows no redirect, tries once.
    """
    import http.client

    try:
        parts = urlsplit(url)
    except ValueError:
        return _NO_ADDRESS
    try:
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return _NO_ADDRESS
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname, parts.port, timeout=timeout_s)
        path = parts.path.rstrip("/") + ("" if moment == "success" else f"/{moment}") or "/"
        body = redact.Redactor()(log).encode("utf-8", "replace")[-LONGEST_LOG_BYTES:]
        try:
            connection.request(
                "POST",
                path + (f"?{parts.query}" if parts.query else ""),
                body,
                {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "ddr"},
            )
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as problem:
        return (
            f"the {moment} ping to {parts.hostname} did not arrive: {redact.foreign(problem) or type(problem).__name__}"
        )
    return "" if 200 <= status < 300 else f"the {moment} ping to {parts.hostname} was answered with {status}"
