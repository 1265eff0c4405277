"""Where events and segments are kept, and how events stand as lines in one file.

    journal/000000000012                            one event, as it was created
    journal/segments/000000001001-000000002000      the same bytes of a thousand events, one after the other

An event is one line. What is not (a torn one) stands in a file of many as `#torn <base64>`, so that its digest, and
with it the chain, can still be computed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ddr.lib import digest

ROOT = "journal/"
SEGMENTS = "journal/segments/"
TRIAL = "journal/trial-"  # what `ddr doctor` writes and deletes, to see whether it may
SEGMENT_SIZE = 1000
FIRST_PREVIOUS = ""  # what the first event names as the digest of the event before it

_EVENT = re.compile(r"journal/(\d{12})")
_SEGMENT = re.compile(r"journal/segments/(\d{12})-(\d{12})")
_TORN = b"#torn "


@dataclass(frozen=True)
class Head:
    """The newest event: everything before it is chained to this digest. (0, '') where there is none."""

    seq: int
    digest: str


NOTHING = Head(0, FIRST_PREVIOUS)


@dataclass(frozen=True, order=True)
class Span:
    """The events of one segment, both ends included."""

    first: int
    last: int


def digest_of(raw: bytes) -> str:
    """The digest of an event: of its stored bytes, whatever they are."""
    return digest.PREFIX + hashlib.sha256(raw).hexdigest()


def event_key(seq: int) -> str:
    return f"{ROOT}{seq:012d}"


def segment_key(span: Span) -> str:
    return f"{SEGMENTS}{span.first:012d}-{span.last:012d}"


def span_of(seq: int) -> Span:
    """The segment that holds or will hold this event: they are aligned, so everyone computes the same one."""
    first = (seq - 1) // SEGMENT_SIZE * SEGMENT_SIZE + 1
    return Span(first, first + SEGMENT_SIZE - 1)


def seq_of(key: str) -> int | None:
    """The number of the event under `key`, None when it is no event's key."""
    found = _EVENT.fullmatch(key)
    return int(found[1]) or None if found else None


def segment_of(key: str) -> Span | None:
    """The events of the segment under `key`, None when it is no segment's key or stands in the wrong place."""
    found = _SEGMENT.fullmatch(key)
    if not found or found[1] == "0" * 12:
        return None
    span = Span(int(found[1]), int(found[2]))
    return span if span == span_of(span.first) else None


def to_line(raw: bytes) -> bytes:
    """The event as a line of a file, with its newline."""
    if raw[:1] == b"{" and raw.find(b"\n") == len(raw) - 1:
        return raw
    return _TORN + base64.b64encode(raw) + b"\n"


def of_line(line: bytes) -> bytes:
    """The event a line (with its newline) stands for. What is neither an event nor a torn one stands for itself:
    it has another digest than what was written there, so the chain finds it."""
    if line[:1] == b"{" or not line.startswith(_TORN):
        return line
    try:
        return base64.b64decode(line[len(_TORN) : -1], validate=True)
    except binascii.Error:
        return line


def pack(raws: Iterable[bytes]) -> bytes:
    """The content of a segment. The same events give the same bytes, whoever packs them."""
    return b"".join(map(to_line, raws))


def unpack(content: bytes) -> list[bytes]:
    """The events of a segment."""
    lines = content.splitlines(keepends=True) if b"\r" not in content else _split(content)
    return [line if line[:1] == b"{" else of_line(line) for line in lines]


def _split(content: bytes) -> list[bytes]:
    """At newlines only; `splitlines` also splits at carriage returns, which a torn event may have."""
    lines = [line + b"\n" for line in content.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]
