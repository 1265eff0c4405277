"""Events as bytes: one line of JSON, written once and never made again from what was read.

msgspec takes 25 ms to import and is only asked for by those who read or write events.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ddr.domain import events, records


@dataclass(frozen=True)
class Draft:
    """An event before it has a place: everything but its number and the digest of the one before. `body` is JSON."""

    id: str
    at: datetime
    wall: datetime
    mono_s: float
    actor: str
    host: str
    kind: str
    body: bytes


_KIND = b'"kind":"'


class Torn(Exception):
    """The bytes are no event: cut off, or changed so that they cannot be read."""


class _Wire:
    """Encoders and decoders, made once."""

    def __init__(self) -> None:
        import msgspec

        fields = [("id", str), ("at", datetime), ("wall", datetime), ("mono_s", float), ("actor", str), ("host", str)]
        fields += [("kind", str), ("body", msgspec.Raw)]
        self.raw = msgspec.Raw
        self.unfit: type[Exception] = msgspec.ValidationError
        self.unreadable = (msgspec.DecodeError, UnicodeDecodeError)
        self.envelope: Any = msgspec.defstruct("Envelope", [("seq", int), ("prev", str), *fields])
        self.waiting: Any = msgspec.defstruct("Waiting", [("base", int), *fields])
        self.encode = msgspec.json.Encoder(enc_hook=_plain).encode
        self.decode_envelope: Callable[[bytes], Any] = msgspec.json.Decoder(self.envelope).decode
        self.decode_waiting: Callable[[bytes], Any] = msgspec.json.Decoder(self.waiting).decode
        self._decoder = msgspec.json.Decoder
        self._decoders: dict[str, Callable[[bytes], records.Record] | None] = {}

    def decoder(self, kind: str) -> Callable[[bytes], records.Record] | None:
        """The decoder for the body of a kind, made when it is first needed; None for a kind that is not known."""
        try:
            return self._decoders[kind]
        except KeyError:
            record = records.KINDS.get(kind)
            made = self._decoder(record).decode if record else None
            self._decoders[kind] = made
            return made


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(f"no JSON for a {type(value).__name__}")


@functools.cache
def _wire() -> _Wire:
    return _Wire()


def body_of(record: records.Record) -> bytes:
    """The record as JSON. ValueError when it would not come back: not a number, text that is no UTF-8."""
    wire = _wire()
    decode_ = wire.decoder(record.kind)
    if decode_ is None:
        raise ValueError(f"an event of kind {record.kind!r} is kept, not written")
    try:
        body = wire.encode(record)
        decode_(body)
    except (*wire.unreadable, wire.unfit, UnicodeEncodeError, TypeError, NotImplementedError) as problem:
        raise ValueError(f"{type(record).__name__} cannot be recorded: {problem}") from problem
    return body


def encode(seq: int, previous: str, draft: Draft) -> bytes:
    """The line to be stored, with its newline."""
    wire = _wire()
    return wire.encode(wire.envelope(seq, previous, *_fields(wire, draft))) + b"\n"


def beginning(seq: int, previous: str) -> bytes:
    """What the bytes of event `seq` begin with when they follow the event with digest `previous`.

    Other bytes may say the same in another way (spaces, another order) and have to be decoded to be judged.
    """
    return b'{"seq":%d,"prev":"%b",' % (seq, previous.encode())


def kind_of(raw: bytes) -> bytes:
    """The kind, without decoding; empty where it has to be decoded to be known.

    The envelope names it before the body, and no text in between can hold a quote that is not escaped.
    """
    start = raw.find(_KIND)
    return raw[start + len(_KIND) : raw.find(b'"', start + len(_KIND))] if start >= 0 else b""


def encode_waiting(base: int, draft: Draft) -> bytes:
    """The draft as it stands in the spool. `base` is the newest event known when it was put there."""
    wire = _wire()
    return wire.encode(wire.waiting(base, *_fields(wire, draft))) + b"\n"


def _fields(wire: _Wire, draft: Draft) -> tuple[object, ...]:
    d = draft
    return (d.id, d.at, d.wall, d.mono_s, d.actor, d.host, d.kind, wire.raw(d.body))


def decode_waiting(content: bytes) -> tuple[int, Draft]:
    """The base and the draft. Torn when it is none."""
    wire = _wire()
    try:
        w = wire.decode_waiting(content)
    except wire.unreadable as problem:
        raise Torn(str(problem)) from problem
    return w.base, Draft(w.id, w.at, w.wall, w.mono_s, w.actor, w.host, w.kind, bytes(w.body))


def draft_of(raw: bytes) -> Draft:
    """A stored event as it was before it had a place. Torn when it is none."""
    wire = _wire()
    try:
        e = wire.decode_envelope(raw)
    except wire.unreadable as problem:
        raise Torn(str(problem)) from problem
    return Draft(e.id, e.at, e.wall, e.mono_s, e.actor, e.host, e.kind, bytes(e.body))


def decode(raw: bytes, digest: str) -> events.Event:
    """The event of these bytes. Torn when they are none.

    A kind, or a value in a known kind, that this version does not know comes from a newer one: it is kept whole.
    """
    wire = _wire()
    if raw[-1:] != b"\n":
        raise Torn("its end is missing")
    try:
        e = wire.decode_envelope(raw)
        record = _record(wire, e.kind, e.body, raw)
    except wire.unreadable as problem:
        raise Torn(str(problem)) from problem
    return events.Event(e.seq, e.id, e.at, e.wall, e.mono_s, e.actor, e.host, record, e.prev, digest)


def of_draft(draft: Draft) -> events.Event:
    """The event as it is while it waits in the spool: without a number and a digest."""
    record = _record(_wire(), draft.kind, draft.body, draft.body)
    return events.Event(
        0, draft.id, draft.at, draft.wall, draft.mono_s, draft.actor, draft.host, record, previous="", digest=""
    )


def _record(wire: _Wire, kind: str, body: bytes, whole: bytes) -> records.Record:
    decode_ = wire.decoder(kind)
    if decode_ is not None:
        try:
            return decode_(body)
        except wire.unfit:
            pass
    return records.Foreign(whole.decode())
