"""A long journal, made quickly: the files a LocalStore would have, without an fsync for each event."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta
from pathlib import Path

from ddr.journal import codec, layout, segments
from tests.unit.journal import samples


def fill(folder: Path, count: int, at: datetime) -> None:
    """`folder`/store gets `count` events, folded but for the newest, as `Log.compact` leaves them."""
    root = folder / "store"
    (root / layout.SEGMENTS).mkdir(parents=True)
    raws: list[bytes] = []
    previous = layout.FIRST_PREVIOUS
    for seq, record in enumerate(itertools.islice(samples.endless(), count), 1):
        now = at + timedelta(seconds=seq)
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
