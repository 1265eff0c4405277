"""What is shown while something long is at work: one line that moves on a terminal, a line for each end elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ddr.cli import output
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.backup import capture

_EVERY_S = 0.1
_WIDTH = 78
_BAR = 20


class AtWork:
    """Told by whoever works; draws at most ten times a second, on stderr."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session
        self._moves = sys.stderr.isatty() and not session.json
        self._drawn_at = 0.0
        self._lock = threading.Lock()

    def told(self, what: str, done: int, of: int) -> None:
        """`of` is 0 where the end is not known."""
        now = time.monotonic()
        if not self._moves or now - self._drawn_at < _EVERY_S:
            return
        with self._lock:
            self._drawn_at = now
            self._draw(f"{what}  {_progress(done, of)}" if done or of else what)

    def captured(self, event: capture.Progress) -> None:
        """A backup moves on; each component that ends stays as a line."""
        if event.ended is None:
            self.told(f"{event.component}: {event.what}" if event.what else event.component, event.done, event.of)
            return
        self.clear()
        one = event.ended
        size = output.size(one.size_bytes)
        held = f"{one.rows:,} rows, {one.files:,} files, {size}"
        mark = output.mark("bad") if one.problem else output.mark("unknown") if one.warnings else output.mark("ok")
        self._session.notice(
            f"{mark} {one.name}  {held}  {one.took_s:.1f} s" + (f"  {one.problem}" if one.problem else "")
        )

    def clear(self) -> None:
        if self._moves:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _draw(self, text: str) -> None:
        line = self._session.screen(text)
        sys.stderr.write("\r\x1b[K" + (line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"))
        sys.stderr.flush()


def _progress(done: int, of: int) -> str:
    if of <= 0 or done > of:
        return f"{done:,}"
    filled = _BAR * done // of
    return f"[{'#' * filled}{'.' * (_BAR - filled)}] {100 * done // of:3d} %"


@contextlib.contextmanager
def shown(session: sessions.Session) -> Iterator[AtWork]:
    """Use around the work; the moving line is gone afterwards."""
    at_work = AtWork(session)
    try:
        yield at_work
    finally:
        at_work.clear()
