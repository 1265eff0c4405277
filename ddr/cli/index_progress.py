"""What `ddr index` tells while it builds: a moving line with rate and time left, a line a stage, or JSON lines."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ddr.cli import output, working
from ddr.cli import session as sessions
from ddr.report import words

if TYPE_CHECKING:
    from ddr.index import stages

_EVERY_S = 1.0


events_option = click.option("--events", is_flag=True, help="Progress as JSON lines on stderr.")


class Telling:
    """Called by whoever builds. `is_json`: each event is one JSON document on a line of stderr."""

    def __init__(self, session: sessions.Session, at_work: working.AtWork, *, is_json: bool) -> None:
        self._session, self._at_work, self._is_json = session, at_work, is_json
        self._stage, self._began, self._first, self._told = "", time.monotonic(), 0, 0.0

    def said(self, what: str) -> None:
        """What it is at, where there is nothing to count; what is counted next begins behind it."""
        self._began = time.monotonic()
        if not self._is_json:
            self._at_work.told(what, 0, 0)

    def warned(self, text: str) -> None:
        """What stays to be known when it has ended."""
        self._at_work.clear()
        self._session.notice(f"{output.mark('unknown')} {text}")

    def checked(self, level: str, done: int, of: int) -> None:
        """As a check tells it."""
        from ddr.index import stages

        if not of:
            self._began = time.monotonic()  # its bytes are counted from here
        self(stages.Progress(level, done, of, unit="bytes"))

    def __call__(self, progress: stages.Progress) -> None:
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._first, self._told = progress.stage, 0, 0.0
        is_end = progress.is_kept or 0 < progress.of <= progress.done
        spent = now - self._began
        rate = (progress.done - self._first) / spent if spent > 0 and not progress.is_kept else 0.0
        left = (progress.of - progress.done) / rate if rate and progress.of else 0.0
        if self._is_json:
            if is_end or now - self._told >= _EVERY_S:
                self._told = now
                self._event(progress, rate, left)
        elif is_end:
            self._ended(progress, spent)
        else:
            pace = f"  {_rate(progress, rate)}, {_span(left)} left" if rate else ""
            self._at_work.told(f"{progress.stage}{pace}", progress.done, progress.of)
        if is_end:
            self._began = now  # of the next one

    def _event(self, progress: stages.Progress, rate: float, left: float) -> None:
        said = {
            "event": "progress",
            "stage": progress.stage,
            "done": progress.done,
            "of": progress.of,
            "kept": progress.is_kept,
            f"{progress.unit}_per_s": round(rate, 1),
            "eta_s": round(left, 1),
        }
        sys.stderr.write(json.dumps(said) + "\n")
        sys.stderr.flush()

    def _ended(self, progress: stages.Progress, spent: float) -> None:
        self._at_work.clear()
        if progress.unit == "bytes":
            return  # of what was only read the result says how much
        how = "there already" if progress.is_kept else f"{spent:.1f} s"
        rows = words.plural(progress.done, "row") if progress.done else ""
        self._session.notice(f"{output.mark('ok')} {progress.stage:<12} {rows:>17}  {how}")


def _rate(progress: stages.Progress, rate: float) -> str:
    return f"{output.size(int(rate))}/s" if progress.unit == "bytes" else f"{rate:,.0f} rows/s"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def telling(session: sessions.Session, *, is_json: bool) -> Iterator[Telling]:
    with working.shown(session) as at_work:
        yield Telling(session, at_work, is_json=is_json)
