"""The append-only record everything else is derived from, as the rooms above it see it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

from ddr.domain import events, records


class Journal(Protocol):
    def append(self, record: records.Record) -> events.Event:
        """Durable when it returns. With the store away the event is spooled here and `is_spooled`.

        Raises Unavailable only when the spool cannot be written either: then nothing may be done.
        """
        ...

    def events(self, after: int = 0, kinds: Collection[type[records.Record]] = ()) -> Iterator[events.Event]:
        """Events with seq > `after` in order, then the spooled ones; of these `kinds` alone where some are named.

        Damaged where the chain is broken, also at an event of another kind: all are held against it. What is not asked
        for is not decoded, which is some four times as fast.
        """
        ...
