"""The chain from the store, or with a shared one from this machine's copy and only the tail from the store."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from ddr.errors import Unavailable
from ddr.journal import layout, mirror, outage, reading, witness
from ddr.ports import store

_HELD = 10_000  # events kept in memory (some 2 kB each); a longer journal is read anew every time

Links = list[reading.Link]


class Reader:
    """Checks every event against the one before and against what this machine has seen.

    Links come in lists, a segment at a time, because that is three times as fast as one by one.
    """

    def __init__(
        self, source: store.Store, watch: witness.Witness, away: outage.Outage, warn: Callable[[str], None]
    ) -> None:
        self._store = source
        self._watch = watch
        self._outage = away
        self._warn = warn
        self._is_told = False
        self._held: Links = []

    def links(self, start: int) -> Iterator[Links]:
        """Every event from `start` (1 or more) on. Broken; Unavailable only for a store that is not shared.

        What the first event follows is not checked, unless it is event 1. What this process has read and checked
        once is not read again, as long as the newest of it is still the store's.
        """
        held = self._held
        if not held or start > len(held):
            yield from self._holding([], self._chain(start)) if start == 1 else self._chain(start)
            return
        behind = self._chain(len(held))
        first = next(behind, [])
        if not first or first[0].digest != held[-1].digest:
            self._held = []
            yield from self._chain(start)
            return
        yield held[start - 1 :]
        yield from self._holding(held, itertools.chain([first[1:]], behind))

    def _holding(self, held: Links, batches: Iterable[Links]) -> Iterator[Links]:
        fresh: Links = []
        for batch in batches:
            if len(held) + len(fresh) <= _HELD:
                fresh += batch
            yield batch
        if fresh and len(held) + len(fresh) <= _HELD:
            self._held = [*held, *fresh]  # a new list: another thread may be reading the old one

    def _chain(self, start: int) -> Iterator[Links]:
        copy = self._watch.copy
        if not self._store.is_shared:
            yield from self._followed(reading.stored(self._store, start), start)
            return
        if self._outage.lasts():
            yield from self._copied(copy, start, f"{self._store.name} was away a moment ago")
            return
        seq, copy_ends = start, 0
        began_s = self._outage.now_s()
        try:
            copied, behind = self._parts(copy, start)
            copy_ends = start + len(copied) if copied else 0
            for batch in self._followed(itertools.chain([(start, copied)], behind), start):
                seq += len(batch)
                yield batch
            self._is_told = False
            return
        except reading.Broken as problem:
            if problem.seq <= copy_ends:
                self._watch.drop_copy(copy.head())
                problem.hint = "it may be no more than this machine's copy, which is set aside now: try again"
            raise
        except Unavailable as problem:
            reason = problem.message
            with contextlib.suppress(OSError):  # then the next command waits as well
                self._outage.begin(began_s)
        yield from self._copied(copy, seq, reason)

    def _followed(self, batches: Iterable[reading.Batch], start: int) -> Iterator[Links]:
        """Check, compare and remember."""
        anchor = self._watch.anchor()
        last: Links = []
        for batch in reading.checked(batches, layout.FIRST_PREVIOUS if start == 1 else None):
            if not batch:
                continue
            if anchor is not None and batch[0].seq <= anchor.head.seq <= batch[-1].seq:
                at = anchor.head.seq - batch[0].seq
                try:
                    self._watch.compare(batch[at], anchor.head, anchor)
                except reading.Broken:
                    yield batch[:at]
                    raise
            self._watch.note(last)  # not before an event behind it has confirmed the last of them
            last = batch
            yield batch
        if anchor is not None and start <= anchor.head.seq:
            self._watch.end(last[-1].seq if last else 0, anchor)
        self._watch.note(last)

    def _parts(self, copy: mirror.Mirror, start: int) -> tuple[Sequence[bytes], Iterator[reading.Batch]]:
        """The copy from `start` on, if its newest event is the store's, and what follows it, from the store."""
        head = copy.head()
        if head.seq < start:
            return (), reading.stored(self._store, start)
        behind = reading.stored(self._store, head.seq)
        first, raws = next(behind, (0, ()))
        if not raws:
            raise self._watch.shorter(reading.survey(self._store).newest, head)
        theirs = reading.link(first, raws[0])
        self._watch.compare(theirs, head, None)
        if theirs.digest != head.digest:  # torn there, and accepted
            return (), reading.stored(self._store, start)
        copied = copy.read(start)[: head.seq - start] if start < head.seq else ()
        if len(copied) == head.seq - start:
            return copied, itertools.chain([(first, raws)], behind)
        try:
            copy.cut(start + len(copied))
        except OSError as problem:
            self._watch.tell(problem)
        return (), reading.stored(self._store, start)

    def _copied(self, copy: mirror.Mirror, start: int, reason: str) -> Iterator[Links]:
        """What this machine has seen, with the store away."""
        if not self._is_told:
            self._is_told = True
            self._warn(
                f"{reason}. Reading what this machine has seen of the journal, up to event {copy.head().seq}: "
                "others may have done more"
            )
        yield from reading.checked([(start, copy.read(start))], layout.FIRST_PREVIOUS if start == 1 else None)
