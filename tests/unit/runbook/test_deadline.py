"""Time limits: kept in the main thread, polite to other timers, harmless elsewhere."""

from __future__ import annotations

import contextlib
import signal
import threading
import time

import pytest

from ddr.runbook import deadline


def careless() -> None:
    """Swallows every Exception, as code of others may do."""
    for _ in range(2):
        with contextlib.suppress(Exception):
            time.sleep(30)


def test_what_takes_too_long_is_cut_off_even_inside_a_broad_except() -> None:
    began = time.monotonic()
    with pytest.raises(deadline.Passed), deadline.limit(0.2):
        careless()
    assert time.monotonic() - began < 5


def test_what_is_quick_is_left_alone_and_nothing_rings_later() -> None:
    for _ in range(50):
        with deadline.limit(0.01):
            pass
    time.sleep(0.05)


def test_a_timer_that_ran_before_goes_on() -> None:
    rang: list[float] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rang.append(time.monotonic()))
    outer_s, interval_s = signal.setitimer(signal.ITIMER_REAL, 0.3)
    began = time.monotonic()
    try:
        with deadline.limit(5):
            time.sleep(0.1)
        while not rang and time.monotonic() - began < 5:
            time.sleep(0.02)
    finally:
        signal.setitimer(signal.ITIMER_REAL, outer_s, interval_s)
        signal.signal(signal.SIGALRM, before)
    assert rang
    assert rang[0] - began >= 0.25


def test_in_another_thread_the_limit_is_not_kept_and_nothing_breaks() -> None:
    done: list[str] = []

    def work() -> None:
        with deadline.limit(0.05):
            time.sleep(0.2)
            done.append("to its end")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["to its end"]
