"""The journal for those who only look: as far as it can be read, with a loud line where it ends early."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator

from ddr.domain import events as events_
from ddr.domain import records
from ddr.journal import reading
from ddr.ports import journal


class Salvaged:
    """Implements ports.journal.Journal. `trouble` is what was met, None as long as all could be read.

    Of a journal that is not the one this machine has seen nothing is shown: its releases and runs are another's.
    """

    def __init__(self, whole: journal.Journal, warn: Callable[[str], None]) -> None:
        self.trouble: reading.Broken | None = None
        self._whole = whole
        self._warn = warn

    def append(self, record: records.Record, unless: journal.Unless | None = None) -> events_.Event:
        """Broken when something was met before: nothing is put behind damage."""
        if self.trouble is not None:
            raise self.trouble
        return self._whole.append(record, unless)

    def events(self, after: int = 0, kinds: Collection[type[records.Record]] = ()) -> Iterator[events_.Event]:
        found: list[events_.Event] = []
        try:
            for event in self._whole.events(after, kinds):
                found.append(event)
        except reading.Displaced as problem:
            self._meet(problem, "NO HISTORY", "releases, incidents and runs that were recorded are not known now")
            return
        except reading.Broken as problem:
            last = self._last(after) if kinds else max((event.seq for event in found), default=after)
            self._meet(problem, "HISTORY ENDS EARLY", f"what was recorded behind event {last} is not known now")
        yield from found

    def _last(self, after: int) -> int:
        """The last event of any kind that can be read."""
        last = after
        with contextlib.suppress(reading.Broken):
            for event in self._whole.events(after):
                last = max(last, event.seq)
        return last

    def _meet(self, problem: reading.Broken, headline: str, meaning: str) -> None:
        if self.trouble is None:
            self.trouble = problem
            self._warn(f"{headline}: {problem.message}; {meaning}\n  next: {problem.hint}")
