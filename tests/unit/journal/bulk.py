"""A long journal, made quickly: the files a LocalStore would have, without an fsync for each event."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from ddr.domain import records
from ddr.journal import codec, layout, segments
from tests.unit.journal import samples

SECOND = timedelta(seconds=1)


def fill(
    folder: Path,
    count: int,
    at: datetime,
    every: timedelta = SECOND,
    of: Callable[[int, datetime], records.Record | None] = lambda _seq, _at: None,
) -> None:
    """`folder`/store gets `count` events, folded but for the newest, as `Log.compact` leaves them.

    `of` may give the record of an event by its number and time; incidents and runs are written where it gives none.
    """
    root = folder / "store"
    (root / layout.SEGMENTS).mkdir(parents=True)
    raws: list[bytes] = []
    previous = layout.FIRST_PREVIOUS
    others = samples.endless()
    for seq in range(1, count + 1):
        now = at + seq * every
        record = of(seq, now) or next(others)
        body = codec.body_of(record)
        draft = codec.Draft(f"{seq:016x}", now, now, seq / 10, "oncall-ml", "laptop", record.kind, body)
        raws.append(codec.encode(seq, previous, draft))
        previous = layout.digest_of(raws[-1])
    single_from = 1
    for first in range(1, count - segments.KEEP - layout.SEGMENT_SIZE + 2, layout.SEGMENT_SIZE):
        span = layout.span_of(first)
        (root / layout.segment_key(span)).write_bytes(layout.pack(raws[span.first - 1 : span.last]))
        single_from = span.last + 1
    for seq in range(single_from, count + 1):
        (root / layout.event_key(seq)).write_bytes(raws[seq - 1])


def load_naively(folder: Path) -> int:
    """The same events read with nothing but json.loads: no digests, no types."""
    lines = 0
    for path in sorted((folder / "store/journal").rglob("*")):
        if path.is_file():
            lines += len([json.loads(line) for line in path.read_bytes().splitlines()])
    return lines
