"""Plans, parts and manifests as JSON: canonical bytes out, strict types in."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from ddr.domain import indexes
from ddr.errors import Damaged, InputError
from ddr.lib import digest

T = TypeVar("T")


def encode(value: Any) -> bytes:
    """Canonical JSON of a noun of `domain/indexes`, with a line end: equal values give equal bytes."""
    import msgspec

    return digest.canonical(msgspec.to_builtins(value)) + b"\n"


def decode(cls: type[T], content: bytes, where: str) -> T:
    """Damaged, with the place, when the bytes are no such thing; InputError when a newer ddr wrote it."""
    import msgspec

    try:
        found = msgspec.json.decode(content, type=cls)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Damaged(f"{where} is no {cls.__name__.lower()} of an index: {problem}") from problem
    wrote = getattr(found, "format", indexes.FORMAT)
    if wrote > indexes.FORMAT:
        raise InputError(
            f"{where} has format {wrote}, this ddr knows {indexes.FORMAT}", hint="use the ddr that wrote it, or newer"
        )
    return found


def key(plan: indexes.Plan) -> str:
    """The digest of all that decides the bytes: not the prose of its reasons, not what it was estimated to take."""
    return digest.of_bytes(encode(dataclasses.replace(plan, reasons=(), estimates=())))
