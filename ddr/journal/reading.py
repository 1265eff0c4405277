"""Reading events out of a store in order, and holding the chain against them while they pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from ddr.domain import events
from ddr.errors import Damaged, Missing
from ddr.journal import codec, layout
from ddr.lib import digest
from ddr.ports import store

_AT_ONCE = 16  # reads in flight on a store behind a network, where each takes some 20 ms
_LOOK = "`ddr journal verify` lists everything that is wrong, and says how to go on"


class Broken(Damaged):
    """The chain does not hold at event `seq`."""

    def __init__(self, seq: int, what: str, *, expected: str = "", found: str = "") -> None:
        super().__init__(f"journal event {seq}: {what}", hint=_LOOK)
        self.seq = seq
        self.expected = expected
        self.found = found


class Displaced(Broken):
    """The place of the journal that this machine has seen up to event `seq` is gone, empty, or has another one."""

    def __init__(self, seq: int, where: str, what: str) -> None:
        super().__init__(seq, what)
        count = "1 event" if seq == 1 else f"{seq} events"
        self.message = f"{where} does not have the journal that this machine has seen there, with {count}: {what}"
        self.args = (self.message,)
        self.hint = (
            "mount it or bring it back (`mv`, or `ddr restore journal --apply`); if a new beginning is meant: "
            "`ddr journal adopt`, which keeps aside what was known. Nothing is written until then"
        )


class Link:
    """One event in the chain. Its bytes are decoded when `event` is first asked for: a reader that wants few kinds out
    of a hundred thousand holds the chain against all of them and decodes those few."""

    __slots__ = ("_event", "digest", "raw", "seq")
    _event: events.Event | None

    def __init__(self, seq: int, raw: bytes, digest_: str) -> None:
        self.seq = seq
        self.raw = raw
        self.digest = digest_

    @property
    def event(self) -> events.Event | None:
        """None where the bytes are torn; the chain goes on over them."""
        try:
            return self._event
        except AttributeError:
            self._event = _decoded(self.raw, self.digest)
            return self._event

    @property
    def head(self) -> layout.Head:
        return layout.Head(self.seq, self.digest)


def _decoded(raw: bytes, of: str) -> events.Event | None:
    try:
        return codec.decode(raw, of)
    except codec.Torn:
        return None


Batch = tuple[int, Sequence[bytes]]
"""Events that follow each other, as bytes, and the number of the first."""


@dataclass(frozen=True)
class Inventory:
    """What lies under the journal's keys, from some event on. `others` are keys that have no business there."""

    singles: frozenset[int]
    segments: frozenset[layout.Span]
    others: tuple[str, ...] = ()

    @property
    def newest(self) -> int:
        """The highest number there is anything for, 0 when there is nothing."""
        return max(max(self.singles, default=0), max((span.last for span in self.segments), default=0))


def survey(source: store.Store, start: int = 1) -> Inventory:
    """What is there from event `start` on.

    Single events are listed before segments. A segment is there before the events it holds are removed, so an event
    that is missing from the one part of the listing is in the other, however much happens in between.
    """
    singles: set[int] = set()
    segments: set[layout.Span] = set()
    others: list[str] = []
    for entry in source.list(layout.ROOT, after=layout.event_key(start - 1) if start > 1 else ""):
        seq, span = layout.seq_of(entry.key), layout.segment_of(entry.key)
        if seq is not None:
            singles.add(seq)
        elif span is None and not entry.key.startswith(layout.TRIAL):
            others.append(entry.key)
        elif span is not None and span.last >= start:
            segments.add(span)
    return Inventory(frozenset(singles), frozenset(segments), tuple(others))


def segment(source: store.Store, span: layout.Span) -> list[bytes]:
    """The events of a segment. Missing; Broken when it does not hold as many as it should."""
    raws = layout.unpack(source.get(layout.segment_key(span)))
    if len(raws) != layout.SEGMENT_SIZE:
        raise Broken(
            span.first,
            f"its segment {layout.segment_key(span)} has {len(raws)} events instead of {layout.SEGMENT_SIZE}",
        )
    return raws


def singles(source: store.Store, seqs: Sequence[int]) -> Iterator[tuple[int, bytes | None]]:
    """The events kept one by one, in the order asked for; None for one that is not there (any more)."""
    if not source.is_shared or len(seqs) < 3:
        yield from ((seq, single(source, seq)) for seq in seqs)
        return
    from concurrent import futures  # 10 ms that a local store does not need

    waiting = iter(seqs)
    with futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        while batch := list(itertools.islice(waiting, 4 * _AT_ONCE)):
            yield from zip(batch, pool.map(lambda seq: single(source, seq), batch), strict=True)


def single(source: store.Store, seq: int) -> bytes | None:
    """One event that is kept by itself, None when it is not there (any more)."""
    try:
        return source.get(layout.event_key(seq))
    except Missing:
        return None


def at(source: store.Store, seq: int) -> bytes | None:
    """One event, from wherever it is kept; None when it is not there. Broken when its segment cannot be read."""
    raw = single(source, seq)
    if raw is not None:
        return raw
    span = layout.span_of(seq)
    try:
        return segment(source, span)[seq - span.first]
    except Missing:
        return None


def stored(source: store.Store, start: int = 1) -> Iterator[Batch]:
    """Every event from `start` on, from its segment where there is one. Broken at a gap."""
    seq = start
    stuck_at = 0
    while True:
        seen = survey(source, seq)
        for first, raws in _stored(source, seen, seq):
            yield first, raws
            seq = first + len(raws)
        if seq > seen.newest:
            return
        if seq == stuck_at:
            raise Broken(seq, f"it is missing, and {seen.newest} is there")
        stuck_at = seq  # a gap, or a compactor has folded the event since the survey: look again, once


def _stored(source: store.Store, seen: Inventory, seq: int) -> Iterator[Batch]:
    while True:
        span = layout.span_of(seq)
        if span in seen.segments:
            yield seq, segment(source, span)[seq - span.first :]
            seq = span.last + 1
            continue
        run = list(itertools.takewhile(seen.singles.__contains__, range(seq, span.last + 1)))
        raws = [raw for _, raw in itertools.takewhile(_is_there, singles(source, run)) if raw is not None]
        if raws:
            yield seq, raws
        seq += len(raws)
        if seq <= span.last:
            return


def _is_there(single: tuple[int, bytes | None]) -> bool:
    return single[1] is not None


def link(seq: int, raw: bytes) -> Link:
    """The event with its digest; not held against anything."""
    return Link(seq, raw, layout.digest_of(raw))


def checked(batches: Iterable[Batch], previous: str | None) -> Iterator[list[Link]]:
    """The same as links. Broken where the chain does not hold, behind all that is good.

    `previous` None accepts whatever the first event follows.
    """
    for first, raws in batches:
        links: list[Link] = []
        for seq, raw in enumerate(raws, first):
            this = Link(seq, raw, digest.PREFIX + sha256(raw).hexdigest())  # as `layout.digest_of`, which costs a call
            if previous is None or not raw.startswith(codec.beginning(seq, previous)):
                event = this.event
                if event is not None and (event.seq != seq or (event.previous != previous and previous is not None)):
                    yield links
                    raise _broken(seq, event, previous or "")
            previous = this.digest
            links.append(this)
        yield links


def _broken(seq: int, event: events.Event, previous: str) -> Broken:
    if event.seq != seq:
        return Broken(seq, f"what stands there says that it is event {event.seq}")
    before = seq - 1
    return Broken(
        seq,
        f"the chain is broken here: it follows an event {before} with digest {_short(event.previous)}, "
        f"and event {before} has {_short(previous)}; one of the two was changed",
        expected=event.previous,
        found=previous,
    )


def _short(text: str) -> str:
    return digest.short(text) or "none"
