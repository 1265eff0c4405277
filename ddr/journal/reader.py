"""The chain from the store, or with a shared one from this machine's copy and only the tail from the store."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator

from ddr.errors import Unavailable
from ddr.journal import layout, mirror, outage, reading, witness
from ddr.lib import digest
from ddr.ports import store

_BATCH = 1000  # events between two writes to the copy
_HELD = 10_000  # events kept in memory (some 2 kB each); a longer journal is read anew every time


class Reader:
    """Checks every event against the one before and against what this machine has seen."""

    def __init__(
        self, source: store.Store, watch: witness.Witness, away: outage.Outage, warn: Callable[[str], None]
    ) -> None:
        self._store = source
        self._watch = watch
        self._outage = away
        self._warn = warn
        self._is_told = False
        self._held: tuple[reading.Link, ...] = ()

    def links(self, start: int) -> Iterator[reading.Link]:
        """Every event from `start` (1 or more) on. Broken; Unavailable only for a store that is not shared.

        What the first event follows is not checked, unless it is event 1. What this process has read and checked
        once is not read again, as long as the newest of it is still the store's.
        """
        held = self._held
        newest = held[-1] if held else None
        if newest is None or start > newest.seq:
            yield from self._holding((), self._chain(start)) if start == 1 else self._chain(start)
            return
        behind = self._chain(newest.seq)
        first = next(behind, None)
        if first is None or first.digest != newest.digest:
            self._held = ()
            yield from self._chain(start)
            return
        yield from held[start - 1 :]
        yield from self._holding(held, behind)

    def _holding(self, held: tuple[reading.Link, ...], links: Iterable[reading.Link]) -> Iterator[reading.Link]:
        fresh: list[reading.Link] = []
        for this in links:
            if len(held) + len(fresh) <= _HELD:
                fresh.append(this)
            yield this
        if fresh and len(held) + len(fresh) <= _HELD:
            self._held = (*held, *fresh)

    def _chain(self, start: int) -> Iterator[reading.Link]:
        copy = self._watch.copy
        if copy is None:
            yield from self._followed(reading.stored(self._store, start), start)
            return
        seq = start
        began_s = self._outage.now_s()
        try:
            if not self._outage.lasts():
                for this in self._followed(self._joined(copy, start), start):
                    seq = this.seq + 1
                    yield this
                self._is_told = False
                return
            reason = f"{self._store.name} was away a moment ago"
        except Unavailable as problem:
            reason = problem.message
            with contextlib.suppress(OSError):  # then the next command waits as well
                self._outage.begin(began_s)
        yield from self._copied(copy, seq, reason)

    def _followed(self, raws: Iterable[tuple[int, bytes]], start: int) -> Iterator[reading.Link]:
        """Check, compare and remember; what was read is remembered when the reader comes to the end."""
        anchor = self._watch.anchor()
        newest = layout.NOTHING
        fresh: list[reading.Link] = []
        for this in reading.checked(raws, layout.FIRST_PREVIOUS if start == 1 else None):
            if anchor is not None and this.seq == anchor.head.seq:
                self._watch.compare(this, anchor.head, anchor)
            newest = this.head
            fresh.append(this)
            if len(fresh) >= _BATCH:
                self._remember(fresh)
            yield this
        if anchor is not None and start <= anchor.head.seq:
            self._watch.end(newest.seq, anchor)
        self._watch.note(fresh)

    def _remember(self, fresh: list[reading.Link]) -> None:
        if self._watch.copy is not None:
            self._watch.note(fresh)
        del fresh[:-1]

    def _joined(self, copy: mirror.Mirror, start: int) -> Iterator[tuple[int, bytes]]:
        """The copy as far as it goes, if its newest event is the store's; the rest from the store."""
        head = copy.head()
        if head.seq < start:
            yield from reading.stored(self._store, start)
            return
        tail = reading.stored(self._store, head.seq)
        first = next(tail, None)
        if first is None:
            raise self._watch.shorter(reading.survey(self._store).newest, head)
        theirs = reading.link(*first)
        self._watch.compare(theirs, head, None)
        copied = copy.read(start)[: head.seq - start] if start < head.seq else []
        if theirs.digest != head.digest:
            copy.set_aside(digest.short(head.digest))  # torn on the store: the chain goes on over the torn bytes
        elif len(copied) == head.seq - start:
            yield from itertools.chain(copied, [first], tail)
            return
        else:
            copy.cut(start + len(copied))
        yield from reading.stored(self._store, start)

    def _copied(self, copy: mirror.Mirror, start: int, reason: str) -> Iterator[reading.Link]:
        """What this machine has seen, with the store away."""
        if not self._is_told:
            self._is_told = True
            self._warn(
                f"{reason}. Reading what this machine has seen of the journal, up to event {copy.head().seq}: "
                "others may have done more"
            )
        yield from reading.checked(copy.read(start), layout.FIRST_PREVIOUS if start == 1 else None)
