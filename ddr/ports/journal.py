"""The append-only record everything else is derived from, as the rooms above it see it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ddr.domain import events, records


class Journal(Protocol):
    def append(self, record: records.Record) -> events.Event:
        """Durable when it returns. With the store away the event is spooled here and `is_spooled`.

        Raises Unavailable only when the spool cannot be written either: then nothing may be done.
        """
        ...

    def events(self, after: int = 0) -> Iterator[events.Event]:
        """Events with seq > `after` in order, then the spooled ones. Damaged where the chain is broken."""
        ...
