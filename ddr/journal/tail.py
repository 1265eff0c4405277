"""The end of the chain: where the next event goes, and how it gets there exactly once.

An event is created behind the newest one its writer knows; if that place is taken, the writer looks at what is there
and tries again behind it. So whoever creates event N has looked at every event before it, and has not found his own
among them: an event that two writers try to put in (its owner, and one who finds it in the spool) goes in once.

Single events are deleted once a segment holds them, and a writer that slept since then may create one of those again.
Nobody would read it. The segment was there before the deletion, so the writer looks for it after each create: then
it takes its event back and finds the true end.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from ddr.journal import codec, layout, reading, witness
from ddr.ports import journal, store


class Tail:
    """One writer's knowledge of the newest event."""

    def __init__(self, target: store.Store, watch: witness.Witness) -> None:
        self._store = target
        self._watch = watch
        self._head: layout.Head | None = None

    def learn(self, head: layout.Head) -> None:
        """Somebody has read up to here."""
        if self._head is None or self._head.seq < head.seq:
            self._head = head

    def base(self) -> int:
        """An event that is surely in the store; what is drafted now comes behind it."""
        if self._head is not None:
            return self._head.seq
        anchor = self._watch.anchor()
        return anchor.head.seq if anchor else 0

    def head(self) -> layout.Head:
        """The newest event, looked for now. Broken when it is not what this machine has seen."""
        anchor = self._watch.anchor()
        newest = reading.survey(self._store, anchor.head.seq if anchor else 1).newest
        newest = newest or reading.survey(self._store).newest
        self._watch.end(newest, anchor)
        if not newest:
            return self._settle(layout.NOTHING)
        if anchor and anchor.head.seq < newest:
            self._compare(anchor.head.seq)
        return self._settle(self._compare(newest).head)

    def look(self, base: int) -> dict[str, reading.Link]:
        """Every event behind number `base` by its id; the newest one is known then. Broken as for `head`."""
        anchor = self._watch.anchor()
        found: dict[str, reading.Link] = {}
        newest = layout.NOTHING
        for first, raws in reading.stored(self._store, max(base, 1)):
            for this in itertools.starmap(reading.link, enumerate(raws, first)):
                if anchor and anchor.head.seq == this.seq:
                    self._watch.compare(this, anchor.head, anchor)
                if this.event is not None:
                    found[this.event.id] = this
                newest = this.head
        if newest is layout.NOTHING and base > 0:
            return self.look(0)  # the journal is shorter than it was: on purpose, or `end` raises
        self._watch.end(newest.seq, anchor)
        self._settle(newest)
        return found

    def place(
        self,
        draft: codec.Draft,
        known: dict[str, reading.Link],
        base: int | None,
        unless: journal.Unless | None = None,
    ) -> reading.Link:
        """Put the event at the end, unless it is in already. `known` has all events behind `base` that were looked at.

        `base` None says that nobody but this writer can have put it in. Unavailable: it may be in or not. Overtaken
        when there is an event before it that `unless` speaks of: all of them have been looked at.
        """
        if base is None and self._head is not None:
            base = self._head.seq
        if unless is not None:
            base = unless.after if base is None else min(base, unless.after)
            self._head = None
        while True:
            if self._head is None and base is not None:
                known.update(self.look(base))
            if draft.id in known:
                return known[draft.id]
            if unless is not None:
                _check(known.values(), unless)
            head = self._kept_head() or self._looked_for()
            seq = head.seq + 1
            raw = codec.encode(seq, head.digest, draft)
            try:
                self._store.create(layout.event_key(seq), raw)
            except store.Exists:
                known.update(self._catch_up(head))
                continue
            if not self._is_stray(seq, raw):
                this = known[draft.id] = reading.link(seq, raw)
                self._head = this.head
                return this
            self._store.delete(layout.event_key(seq))
            self._head = None

    def _kept_head(self) -> layout.Head | None:
        """The known end, unless the folder has lost or changed it since: a create would make that anew, or be put
        behind another journal. Only asked of a folder; it costs 30 us there, and a way through the network else."""
        head = self._head
        if head is None or not head.seq or self._store.is_shared:
            return head
        raw = reading.single(self._store, head.seq)
        return head if raw is not None and layout.digest_of(raw) == head.digest else None

    def _looked_for(self) -> layout.Head:
        known, head = self._head, self.head()
        if known is not None and head.seq < known.seq and self._watch.anchor() is None:
            raise self._watch.shorter(head.seq, known)
        return head

    def _settle(self, head: layout.Head) -> layout.Head:
        self._head = head
        return head

    def _compare(self, seq: int) -> reading.Link:
        raw = reading.at(self._store, seq)
        if raw is None:
            raise reading.Broken(seq, "it is missing, and later ones are there")
        this = reading.link(seq, raw)
        anchor = self._watch.anchor()
        if anchor and anchor.head.seq == seq:
            self._watch.compare(this, anchor.head, anchor)
        return this

    def _catch_up(self, head: layout.Head) -> dict[str, reading.Link]:
        """Read on behind the known end, one by one: mostly it is a single event of someone who was quicker."""
        found = {}
        while (raw := reading.single(self._store, head.seq + 1)) is not None:
            this = reading.link(head.seq + 1, raw)
            if this.event is not None and this.event.previous != head.digest:
                self._head = None
                self._watch.hold_place(self._watch.anchor())
                raise reading.Broken(this.seq, f"it does not follow the event {head.seq} that was there before")
            head = self._settle(this.head)
            if this.event is not None:
                found[this.event.id] = this
        if not found:
            self._head = None  # it is gone again: folded into a segment
        return found

    def _is_stray(self, seq: int, raw: bytes) -> bool:
        """Whether a segment holds another event under the number that was just given out again."""
        span = layout.span_of(seq)
        if self._store.head(layout.segment_key(span)) is None:
            return False
        return reading.segment(self._store, span)[seq - span.first] != raw


def _check(looked_at: Iterable[reading.Link], unless: journal.Unless) -> None:
    """Overtaken."""
    for link in looked_at:
        if link.seq > unless.after and link.event is not None:
            unless.check(link.event)
