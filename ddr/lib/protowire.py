"""Protocol buffers without their schema: the fields of a message by number, and their bytes as they are.

What is not understood is kept byte for byte, so a message can be changed in one field and stay the same in all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Malformed(ValueError):
    """These bytes are no message, or not a whole one."""


@dataclass(frozen=True)
class Field:
    """`raw` is the field with its tag; `number_value` is of a varint, `content` of text, bytes and messages."""

    number: int
    raw: bytes
    number_value: int = 0
    content: bytes = b""
    is_content: bool = False


def fields(message: bytes) -> Iterator[Field]:
    """Raises Malformed."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise Malformed(f"no field at byte {start}")
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield Field(number, message[start:at], value)
        elif wire == _BYTES:
            size, at = _varint(message, at)
            end = at + size
            if end > len(message):
                raise Malformed(f"the field at byte {start} is cut off")
            yield Field(number, message[start:end], 0, message[at:end], is_content=True)
            at = end
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
            if at > len(message):
                raise Malformed(f"the field at byte {start} is cut off")
            yield Field(number, message[start:at])
        else:
            raise Malformed(f"the field at byte {start} is of an unknown kind")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise Malformed(f"a number at byte {at} is cut off")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def contents(message: bytes, number: int) -> list[bytes]:
    """Every text, bytes or message field of that number."""
    return [field.content for field in fields(message) if field.number == number and field.is_content]


def content(message: bytes, *path: int) -> bytes:
    """The last field of a number, then the last of a number inside it; b'' when there is none."""
    for number in path:
        message = next(iter(contents(message, number)[::-1]), b"")
    return message


def text(message: bytes, *path: int) -> str:
    try:
        return content(message, *path).decode()
    except UnicodeDecodeError as problem:
        raise Malformed(f"the text of field {path} is no UTF-8") from problem


def integer(message: bytes, number: int) -> int:
    """The last one, 0 when there is none."""
    found = 0
    for field in fields(message):
        if field.number == number and not field.is_content:
            found = field.number_value
    return found - (1 << 64) if found >= 1 << 63 else found


def time(message: bytes, *path: int) -> datetime | None:
    """A google.protobuf.Timestamp, None when there is none."""
    stamp = content(message, *path)
    if not stamp:
        return None
    return datetime.fromtimestamp(integer(stamp, 1), UTC) + timedelta(microseconds=integer(stamp, 2) // 1000)


def duration_s(message: bytes, *path: int) -> float:
    """A google.protobuf.Duration."""
    span = content(message, *path)
    return integer(span, 1) + integer(span, 2) / 1e9


def encoded(number: int, value: bytes | str | int) -> bytes:
    """One field."""
    if isinstance(value, int):
        return _encoded_varint(number << 3 | _VARINT) + _encoded_varint(value)
    inner = value.encode() if isinstance(value, str) else value
    return _encoded_varint(number << 3 | _BYTES) + _encoded_varint(len(inner)) + inner


def timestamp(at: datetime) -> bytes:
    """A google.protobuf.Timestamp."""
    return encoded(1, int(at.timestamp())) + (encoded(2, at.microsecond * 1000) if at.microsecond else b"")


def joined(parts: Iterable[bytes]) -> bytes:
    return b"".join(parts)


def _encoded_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
