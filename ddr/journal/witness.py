"""Holds what the store shows against what this machine has seen of it before."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ddr.errors import Unavailable
from ddr.journal import layout, mirror, reading, seen
from ddr.lib import digest
from ddr.ports import store


class Witness:
    """The newest event is remembered, and in `copy` all of them: of a shared store to read from, of one on this machine
    to bring back what gets lost.

    A file of its own that cannot be written costs the memory, never the work: it is told once.
    """

    def __init__(
        self, source: store.Store, memory: seen.Seen, copy: mirror.Mirror, warn: Callable[[str], None]
    ) -> None:
        self.seen = memory
        self.copy = copy
        self._store = source
        self._warn = warn
        self._is_told = False
        self._told_torn: set[int] = set()

    def anchor(self) -> seen.Anchor | None:
        return self.seen.read()

    def compare(self, this: reading.Link, known: layout.Head, anchor: seen.Anchor | None) -> None:
        """Broken when the event is another than the one seen there. A torn one is told of, and accepted."""
        if this.digest == known.digest:
            return
        self.hold_place(anchor)
        if this.event is not None:
            raise self._changed(this.seq, known.digest, this.digest)
        if this.seq not in self._told_torn:
            self._told_torn.add(this.seq)
            self._warn(
                f"journal event {this.seq} is torn: this machine has seen it whole with digest "
                f"{digest.short(known.digest)}; going on without it (`ddr journal verify`)"
            )
        if any(layout.digest_of(raw) == known.digest for raw in self.copy.read(this.seq)[:1]):
            self.drop_copy(known)

    def drop_copy(self, known: layout.Head) -> None:
        """Keep the copy under another name: it is not what the store has. The next reader makes a new one."""
        try:
            self.copy.set_aside(digest.short(known.digest))
        except OSError as problem:
            self.tell(problem)

    def end(self, newest: int, anchor: seen.Anchor | None) -> None:
        """Broken when the journal ends, with event `newest`, before the newest one that was seen."""
        if anchor is not None and newest < anchor.head.seq:
            self.hold_place(anchor)
            raise self.shorter(newest, anchor.head)

    def note(self, links: Sequence[reading.Link]) -> None:
        """Remember these: they are the store's, in order."""
        if not links:
            return
        try:
            known = self.seen.read()
            first = known.first if known else self._first(links[0])
            if first and (known is None or known.head.seq < links[-1].seq):
                self.seen.note(seen.Anchor(first, links[-1].head))
            if known is None and not self._store.is_shared and self.copy.head().seq:
                self.copy.set_aside("of-unknown")  # nobody can say which journal it is of
            self.copy.extend(links)
        except OSError as problem:
            self.tell(problem)

    def tell(self, problem: OSError) -> None:
        """Say once that the memory cannot be kept."""
        if not self._is_told:
            self._is_told = True
            self._warn(
                f"{self.seen.path.parent} cannot be written ({problem.strerror}): this machine does not remember "
                "the journal, and would not notice when its newest events are taken away"
            )

    def _first(self, this: reading.Link) -> str:
        """The digest of event 1; '' when it cannot be had now: then nothing is remembered yet."""
        if this.seq == 1:
            return this.digest
        try:
            raw = reading.at(self._store, 1)
        except (Unavailable, reading.Broken):
            return ""
        return layout.digest_of(raw) if raw is not None else ""

    def hold_place(self, anchor: seen.Anchor | None) -> None:
        """Displaced when the store has not the journal that was seen there but none, or another.

        Never so for a shared store: what is wrong there is told of the event it is wrong with.
        """
        what = self.displaced(anchor) if anchor is not None else ""
        if anchor is not None and what:
            raise reading.Displaced(anchor.head.seq, self._store.name, what)

    def displaced(self, anchor: seen.Anchor) -> str:
        """What is in the place of the journal that was seen, '' where it is that one, be it damaged."""
        if self._store.is_shared:
            return ""
        try:
            raw = reading.at(self._store, 1)
            if raw is None:
                return "" if reading.survey(self._store).newest else self._emptiness()
            if layout.digest_of(raw) == anchor.first:
                return ""
            head = reading.at(self._store, anchor.head.seq)
            if head is not None and layout.digest_of(head) == anchor.head.digest:
                return ""  # event 1 was changed
            after = reading.at(self._store, 2)
            second = reading.link(2, after).event if after is not None else None
        except reading.Broken:
            return ""
        except store.Absent as problem:
            return problem.message.removeprefix(f"{self._store.name}: ")
        if second is not None and second.previous == anchor.first:
            return ""
        return "another journal is there, which begins with another event"

    def _emptiness(self) -> str:
        if isinstance(self._store, store.Placed) and not self._store.is_there():
            return "its folder is gone"
        return "the folder is there, and there is no journal in it"

    def set_aside(self, mark: str) -> None:
        """Keep what was known under other names: from here on what is there now is watched. OSError."""
        if self.seen.path.exists():
            self.seen.set_aside()
        self.copy.set_aside(mark)

    def _changed(self, seq: int, known: str, found: str) -> reading.Broken:
        return self._broken(
            seq,
            f"{self._store.name} has another one than this machine has seen: digest {digest.short(found)}, seen "
            f"{digest.short(known)}; someone changed or replaced the journal",
            known,
            found,
        )

    def shorter(self, newest: int, known: layout.Head) -> reading.Broken:
        """What to raise when the store ends with event `newest` and `known` was seen."""
        return self._broken(
            known.seq,
            f"{self._store.name} ends at event {newest}, and this machine has seen {known.seq} with digest "
            f"{digest.short(known.digest)}; someone cut the journal or brought an old one back",
            known.digest,
            "",
        )

    def _broken(self, seq: int, what: str, expected: str, found: str) -> reading.Broken:
        broken = reading.Broken(seq, what, expected=expected, found=found)
        files = f"move away {self.seen.path} and {self.copy.path}"
        way = files if self._store.is_shared else f"`ddr journal adopt`, or {files}"
        broken.hint = f"`ddr journal verify` compares; if an older journal was brought back on purpose: {way}"
        return broken
