"""A time limit on a block of code that runs in this thread.

In the main thread a timer signal raises `Passed` inside the block, wherever it stands, also inside a read that
hangs. That is as sudden as a kill, and safe for the same reason: the intent is durable, and the engine then looks at
the world to learn whether the effect is there. In another thread nothing can interrupt the block; there the limit is
not enforced, and connectors have limits of their own on every call. Running the block in a second thread and walking
away from it was rejected: its effect could land later, behind the back of whoever took over.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType


class Passed(BaseException):
    """The time is up. No Exception, so that nobody's `except Exception` swallows it on the way."""


@contextlib.contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raises Passed inside the block after so many seconds on the wall. A timer that runs already goes on after."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    began = time.monotonic()
    armed = True

    def ring(_signal: int, _frame: FrameType | None) -> None:
        if armed:
            raise Passed

    handler = signal.signal(signal.SIGALRM, ring)
    outer_s, interval_s = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler if handler is not None else signal.SIG_DFL)
        if outer_s:
            left_s = max(outer_s - (time.monotonic() - began), 0.001)
            signal.setitimer(signal.ITIMER_REAL, left_s, interval_s)
