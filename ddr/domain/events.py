"""One entry of the journal: a record in its envelope."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ddr.domain import records


@dataclass(frozen=True)
class Event:
    """`seq` starts at 1 and has no gaps; 0 means: only in the local spool yet, the store was away.

    `at` is the time of the platform, `wall` and `mono_s` the clocks of the writing machine. `digest` is the
    SHA-256 of the stored bytes and `previous` the digest of the event before, which chains them.
    """

    seq: int
    id: str
    at: datetime
    wall: datetime
    mono_s: float
    actor: str
    host: str
    record: records.Record
    previous: str
    digest: str

    @property
    def is_spooled(self) -> bool:
        return self.seq == 0
