"""Packs: many chunks in one object of about 32 MiB, written once.

    magic 8 | salt 32 | blob ... | table (sealed) | length of the table 4 | end magic 8
    blob: `DDRB` | slot 4 | chunk id 32 | length 4 | ciphertext and tag

The table at the end says where each chunk is; with the headers of the blobs, either alone is enough to find every
chunk again when the other is damaged. All numbers are little-endian.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zstandard

from ddr.backup import chunks, keys, layout, sealing
from ddr.errors import Damaged

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"DDRPACK1"
END = b"DDRPEND1"
BLOB = b"DDRB"

DATA, LISTING = 0, 1
"""What a chunk is; a listing names further chunks."""

FULL = 32 << 20
_HEADER = struct.Struct("<4sI32sI")
_ENTRY = struct.Struct("<32sBIII")
_FOOT = struct.Struct("<I8s")
_TABLE_NONCE = b"\xff" * 12
_SLACK = 1 << 18
ROOM = FULL + chunks.MOST + 2 * _SLACK


@dataclass(frozen=True, slots=True)
class Place:
    """A chunk inside a pack: `at` is where its ciphertext begins, `stored` its length with the tag, `slot` its number.

    The slot is found in the blob's header, 44 bytes before.
    """

    chunk: bytes
    kind: int
    at: int
    stored: int
    size_bytes: int


@dataclass(frozen=True)
class Made:
    """A finished pack, not stored yet."""

    name: str
    content: memoryview
    places: tuple[Place, ...]


class Builder:
    """One pack at a time in one reused buffer. For one thread alone.

    Every blob is read back from the buffer (deciphered, unpacked, hashed) before it counts: what is stored was whole
    when it left, whatever the memory and the compressor did.
    """

    def __init__(self, ring: keys.Keyring, level: int = 1) -> None:
        self._ring = ring
        self._chunk_key = ring.chunk_key
        self._buffer = bytearray(ROOM)
        self._view = memoryview(self._buffer)
        self._scratch = bytearray(chunks.MOST + 64)
        self._squeezer = sealing.Squeezer(level)
        self._places: list[Place] = []
        self._end = 0
        self._cipher: AESGCM

    @property
    def is_full(self) -> bool:
        return self._end + len(self._places) * _ENTRY.size >= FULL  # ids do not compress: the table needs room, too

    @property
    def is_empty(self) -> bool:
        return not self._places

    def put(self, chunk: bytes, kind: int, content: bytes) -> Place:
        """Seal one chunk into the pack. Raises Damaged where it does not read back as it was."""
        if not self._places:
            self._begin()
        slot = len(self._places)
        how, packed = self._squeezer.squeeze(content)
        plain = bytes([how]) + packed
        stored = len(plain) + sealing.TAG
        at = self._end + _HEADER.size
        self._make_room(at + stored, len(plain))
        self._view[self._end : at] = _HEADER.pack(BLOB, slot, chunk, stored)
        bound = sealing.bound_blob(self._ring.repository, kind, chunk, slot)
        self._cipher.encrypt_into(sealing.nonce(slot), plain, bound, self._view[at : at + stored])
        place = Place(chunk, kind, at, stored, len(content))
        self._check(place, slot, bound)
        self._places.append(place)
        self._end = at + stored
        return place

    def _begin(self) -> None:
        salt = secrets.token_bytes(sealing.SALT)
        self._cipher = keys.cipher(self._ring.derive("pack", salt))
        self._view[:8] = MAGIC
        self._view[8 : 8 + sealing.SALT] = salt
        self._end = 8 + sealing.SALT

    def _make_room(self, end: int, length: int) -> None:
        """Only a row of a table that is larger than any chunk should be needs more than there is."""
        wanted = end + (len(self._places) + 1) * _ENTRY.size + _SLACK
        if wanted > len(self._buffer):
            self._buffer = self._buffer + bytes(wanted - len(self._buffer))
            self._view = memoryview(self._buffer)
        if length > len(self._scratch):
            self._scratch = bytearray(length)

    def _check(self, place: Place, slot: int, bound: bytes) -> None:
        length = place.stored - sealing.TAG
        plain = memoryview(self._scratch)[:length]
        try:
            self._cipher.decrypt_into(sealing.nonce(slot), self._view[place.at : place.at + place.stored], bound, plain)
            content = self._squeezer.restore(plain[0], plain[1:], place.size_bytes)
            if chunks.id_of(self._chunk_key, content) == place.chunk:
                return
            why = "other bytes came back"
        except Exception as problem:  # noqa: BLE001 - whatever it is, this blob must not be stored
            why = f"{type(problem).__name__}: {problem}"
        raise Damaged(
            f"chunk {place.chunk.hex()[:12]} did not read back before it was stored: {why}",
            hint="nothing was committed; this machine's memory or a library is faulty: back up from another machine",
        )

    def finish(self) -> Made:
        """The pack; the buffer is its own until `clear`."""
        table = b"".join(
            _ENTRY.pack(place.chunk, place.kind, place.at, place.stored, place.size_bytes) for place in self._places
        )
        packed = zstandard.ZstdCompressor(level=3).compress(table)
        sealed = self._cipher.encrypt(_TABLE_NONCE, packed, self._ring.repository + b"table")
        end = self._end + len(sealed)
        self._view[self._end : end] = sealed
        self._view[end : end + _FOOT.size] = _FOOT.pack(len(sealed), END)
        content = self._view[: end + _FOOT.size]
        return Made(layout.name_of(content), content, tuple(self._places))

    def clear(self) -> None:
        self._places, self._end = [], 0
        if len(self._buffer) > ROOM:
            self._buffer, self._scratch = bytearray(ROOM), bytearray(chunks.MOST + 64)
            self._view = memoryview(self._buffer)


class Opened:
    """A pack to read from. `head` are its first 40 bytes at least. For one thread alone."""

    def __init__(self, ring: keys.Keyring, name: str, head: bytes | memoryview) -> None:
        if bytes(head[:8]) != MAGIC:
            raise Damaged(f"pack {name[:12]} does not begin as one", hint="`ddr backup verify` says what is affected")
        self._ring = ring
        self._name = name
        self._chunk_key = ring.chunk_key
        self._cipher = keys.cipher(ring.derive("pack", bytes(head[8 : 8 + sealing.SALT])))
        self._squeezer = sealing.Squeezer()

    def chunk(self, place: Place, blob: bytes | memoryview) -> bytes | memoryview:
        """The content; `blob` is its header and ciphertext. Damaged when it is not that chunk."""
        from cryptography.exceptions import InvalidTag

        try:
            magic, slot, named, stored = _HEADER.unpack(blob[: _HEADER.size])
            if (magic, named, stored) != (BLOB, place.chunk, place.stored):
                raise ValueError("another chunk lies there")
            bound = sealing.bound_blob(self._ring.repository, place.kind, place.chunk, slot)
            plain = self._cipher.decrypt(sealing.nonce(slot), blob[_HEADER.size :], bound)
            content = self._squeezer.restore(plain[0], memoryview(plain)[1:], place.size_bytes)
            if chunks.id_of(self._chunk_key, content) != place.chunk:
                raise ValueError("its content does not have its id")
            return content
        except (InvalidTag, ValueError, struct.error, IndexError, zstandard.ZstdError) as problem:
            why = str(problem) or "its seal is broken"
            raise Damaged(
                f"chunk {place.chunk.hex()[:12]} in pack {self._name[:12]} is damaged: {why}",
                hint="`ddr backup verify` says what is affected",
            ) from problem

    def table(self, content: bytes | memoryview) -> tuple[Place, ...]:
        """The places by the table at the end. Damaged."""
        from cryptography.exceptions import InvalidTag

        try:
            length, end = _FOOT.unpack(content[-_FOOT.size :])
            if end != END:
                raise ValueError("it does not end as one: it was cut off")
            start = len(content) - _FOOT.size - length
            packed = self._cipher.decrypt(
                _TABLE_NONCE, content[start : len(content) - _FOOT.size], self._ring.repository + b"table"
            )
            table = zstandard.ZstdDecompressor().decompress(packed, max_output_size=sealing.MOST_OBJECT_BYTES)
            return tuple(Place(*entry) for entry in _ENTRY.iter_unpack(table))
        except (InvalidTag, ValueError, struct.error, zstandard.ZstdError) as problem:
            why = str(problem) or "its table's seal is broken"
            raise Damaged(
                f"pack {self._name[:12]}: {why}", hint="`ddr backup verify` says what is affected"
            ) from problem


def scan(content: memoryview) -> tuple[Place, ...]:
    """The places by the headers of the blobs, for a pack without its table. Kind and size are not in a header: each
    blob is offered as both kinds, and what it does not unpack to as one is told by its seal."""
    found, at = [], 8 + sealing.SALT
    while at + _HEADER.size <= len(content):
        magic, _, chunk, stored = _HEADER.unpack_from(content, at)
        if magic != BLOB or at + _HEADER.size + stored > len(content):
            break
        found += [Place(chunk, kind, at + _HEADER.size, stored, chunks.MOST) for kind in (DATA, LISTING)]
        at += _HEADER.size + stored
    return tuple(found)


def span_of(place: Place) -> tuple[int, int]:
    """(start, size) of a blob in its pack, header included."""
    return place.at - _HEADER.size, _HEADER.size + place.stored


def pack_entries(places: tuple[Place, ...]) -> bytes:
    return b"".join(_ENTRY.pack(one.chunk, one.kind, one.at, one.stored, one.size_bytes) for one in places)


def unpack_entries(raw: bytes) -> Iterator[Place]:
    """Raises struct.error."""
    return (Place(*entry) for entry in _ENTRY.iter_unpack(raw))
