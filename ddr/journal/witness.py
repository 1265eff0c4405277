"""Holds what the store shows against what this machine has seen of it before."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ddr.errors import Unavailable
from ddr.journal import layout, mirror, reading, seen
from ddr.lib import digest
from ddr.ports import store


class Witness:
    """`copy` is None for a store on this machine: then only the newest event is remembered.

    A file of its own that cannot be written costs the memory, never the work: it is told once.
    """

    def __init__(
        self, source: store.Store, memory: seen.Seen, copy: mirror.Mirror | None, warn: Callable[[str], None]
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
        if this.digest == known.digest or self._is_anew(anchor):
            return
        if this.event is not None:
            raise self._changed(this.seq, known.digest, this.digest)
        if this.seq not in self._told_torn:
            self._told_torn.add(this.seq)
            self._warn(
                f"journal event {this.seq} is torn: this machine has seen it whole with digest "
                f"{digest.short(known.digest)}; going on without it (`ddr journal verify`)"
            )
        if self.copy is not None and any(layout.digest_of(raw) == known.digest for raw in self.copy.read(this.seq)[:1]):
            self.drop_copy(known)

    def drop_copy(self, known: layout.Head) -> None:
        """Keep the copy under another name: it is not what the store has. The next reader makes a new one."""
        if self.copy is not None:
            try:
                self.copy.set_aside(digest.short(known.digest))
            except OSError as problem:
                self.tell(problem)

    def end(self, newest: int, anchor: seen.Anchor | None) -> None:
        """Broken when the journal ends, with event `newest`, before the newest one that was seen."""
        if anchor is not None and newest < anchor.head.seq and not self._is_anew(anchor):
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
            if self.copy is not None:
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

    def is_another(self, anchor: seen.Anchor) -> bool:
        """Whether the store has another journal than the one seen, in a folder its owner has emptied.

        Never so for a shared store: nobody empties the bucket of a team by the way.
        """
        if self._store.is_shared:
            return False
        try:
            raw = reading.at(self._store, 1)
        except reading.Broken:
            return False
        if raw is None:
            return not reading.survey(self._store).newest
        return layout.digest_of(raw) != anchor.first

    def _is_anew(self, anchor: seen.Anchor | None) -> bool:
        """As `is_another`; what was seen of the old journal is then set aside."""
        if anchor is None or not self.is_another(anchor):
            return False
        known = self.seen.read()
        if known is None or known.first != anchor.first:
            return True
        try:
            aside = self.seen.set_aside()
        except OSError as problem:
            self.tell(problem)
            return True
        self._warn(
            f"the journal in {self._store.name} begins anew: this machine has seen another one there, with "
            f"{anchor.head.seq} events. What it knew of that one is kept in {aside}"
        )
        return True

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
        files = [self.seen.path] + ([self.copy.path] if self.copy else [])
        broken = reading.Broken(seq, what, expected=expected, found=found)
        broken.hint = (
            "`ddr journal verify` compares; if an older journal was brought back on purpose, move away "
            + " and ".join(map(str, files))
        )
        return broken
