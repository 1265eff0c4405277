"""Folding old events into segments: fewer objects, the same bytes, the same chain.

A segment is aligned and its content is nothing but the events, so two compactors write equal bytes and it does not
matter who is first, or whether one is killed on the way. Single events are deleted when their segment is durable, was
read back, and ends at least KEEP events before the newest one. What else can go wrong is caught elsewhere: a reader
who misses a single event looks for its segment, a writer who creates a deleted one again finds that out (`tail`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ddr.journal import layout, reading
from ddr.ports import store

KEEP = 1000
"""So many of the newest events stay single: the newest one is found by its own key, and who reads on from a recent
event reads only what is new."""

Links = Callable[[int], Iterator[Sequence[reading.Link]]]
"""The chain from an event on, checked, in parts."""


@dataclass(frozen=True)
class Compacted:
    """`segments` were made now, `deleted` counts single events removed, `strays` are those that differ and stay."""

    segments: tuple[layout.Span, ...] = ()
    deleted: int = 0
    strays: tuple[int, ...] = ()


def compact(target: store.Store, links: Links, *, keep: int) -> Compacted:
    """Fold every full segment that ends `keep` or more events before the newest. Repeatable. Broken, Unavailable."""
    keep = max(keep, 1)  # what follows a segment confirms its last event
    seen = reading.survey(target)
    ripe = [layout.span_of(seq) for seq in range(1, seen.newest - keep - layout.SEGMENT_SIZE + 2, layout.SEGMENT_SIZE)]
    made = _fold(target, links, [span for span in ripe if span not in seen.segments])
    deleted, strays = 0, []
    for span in ripe:
        left = [seq for seq in range(span.first, span.last + 1) if seq in seen.singles]
        for seq, is_same in _compared(target, span, left):
            if is_same:
                target.delete(layout.event_key(seq))
                deleted += 1
            else:
                strays.append(seq)
    return Compacted(tuple(made), deleted, tuple(strays))


def _fold(target: store.Store, links: Links, missing: Sequence[layout.Span]) -> list[layout.Span]:
    made: list[layout.Span] = []
    if not missing:
        return made
    raws: dict[int, bytes] = {}
    for this in itertools.chain.from_iterable(links(max(missing[0].first - 1, 1))):
        span = missing[len(made)]
        if this.seq > span.last:  # what follows the segment has confirmed its last event
            _create(target, span, [raws[seq] for seq in range(span.first, span.last + 1)])
            made.append(span)
            raws.clear()
            if len(made) == len(missing):
                break
        if missing[len(made)].first <= this.seq:
            raws[this.seq] = this.raw
    return made


def _create(target: store.Store, span: layout.Span, raws: Sequence[bytes]) -> None:
    key, content = layout.segment_key(span), layout.pack(raws)
    try:
        target.create(key, content)
    except store.Exists:
        what = "holds other events than the chain"
    else:
        what = "was written, and other bytes were read back"
    if target.get(key) != content:
        raise reading.Broken(span.first, f"the segment {key} {what}; nothing was deleted")


def _compared(target: store.Store, span: layout.Span, seqs: Sequence[int]) -> Iterator[tuple[int, bool]]:
    """Each single event that is there, and whether its segment holds the same bytes."""
    if not seqs:
        return
    raws = reading.segment(target, span)
    for seq, raw in list(reading.singles(target, seqs)):
        if raw is not None:
            yield seq, raw == raws[seq - span.first]
