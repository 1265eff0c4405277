"""The append-only record everything else is derived from, as the rooms above it see it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from ddr.domain import events, records
from ddr.errors import Conflict


class Overtaken(Conflict):
    """Somebody was quicker: nothing was written. Read the journal again and decide anew."""


@dataclass(frozen=True)
class Unless:
    """What must not have come meanwhile: an event behind number `after`, which the caller has read, of which `says` is
    true."""

    after: int
    says: Callable[[events.Event], bool]

    def check(self, event: events.Event) -> None:
        """Overtaken."""
        if event.seq > self.after and self.says(event):
            raise Overtaken(
                f"{event.actor} recorded event {event.seq} meanwhile",
                expected=f"nothing of the kind behind event {self.after}",
                found=f"{event.record.kind}, event {event.seq}",
                hint="run the command again: it then goes by what is recorded now",
            )


class Journal(Protocol):
    def append(self, record: records.Record, unless: Unless | None = None) -> events.Event:
        """Durable when it returns. With the store away the event is spooled here and `is_spooled`.

        With `unless` compare-and-set: of several writers that decided by the same events the first is written, and the
        others are Overtaken. Only with the store away is it not held: then the event is spooled and joined whatever
        comes meanwhile, so readers must bear two.

        Raises Unavailable only when the spool cannot be written either: then nothing may be done.
        """
        ...

    def events(self, after: int = 0, kinds: Collection[type[records.Record]] = ()) -> Iterator[events.Event]:
        """Events with seq > `after` in order, then the spooled ones; of these `kinds` alone where some are named.

        Damaged where the chain is broken, also at an event of another kind: all are held against it. What is not asked
        for is not decoded, which is some four times as fast.
        """
        ...
