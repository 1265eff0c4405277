"""Plans, parts and manifests as JSON: canonical bytes out, strict types in."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from ddr.domain import indexes
from ddr.errors import Damaged, InputError
from ddr.lib import digest

T = TypeVar("T")


class Newer(Damaged, InputError):
    """A newer ddr wrote it. What cannot go on without it ends as with bad input; what can pass it over does, as with
    what is damaged."""

    exit_code = InputError.exit_code

    def __init__(self, what: str) -> None:
        super().__init__(what, hint="use the ddr that wrote it, or newer")


def encode(value: Any) -> bytes:
    """Canonical JSON of a noun of `domain/indexes`, with a line end: equal values give equal bytes."""
    return digest.line(told(value))


def told(value: Any) -> Any:
    """What `encode` writes, as JSON values."""
    import msgspec

    return _as_before(msgspec.to_builtins(value))


def decode(cls: type[T], content: bytes, where: str) -> T:
    """Damaged, with the place, when the bytes are no such thing; Newer when a newer ddr wrote it."""
    import msgspec

    try:
        found = msgspec.json.decode(content, type=cls)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as problem:
        raise Damaged(f"{where} is no {cls.__name__.lower()} of an index: {problem}") from problem
    wrote = getattr(found, "format", indexes.FORMAT)
    if wrote > indexes.FORMAT:
        raise Newer(f"{where} has format {wrote}, this ddr knows {indexes.FORMAT}")
    return found


def key(plan: indexes.Plan) -> str:
    """The digest of all that decides the bytes: not the prose of its reasons, not what it was estimated to take."""
    return digest.of_bytes(encode(dataclasses.replace(plan, reasons=(), estimates=())))


def _as_before(value: Any) -> Any:
    """Without the fields that came later, where they say nothing."""
    if isinstance(value, dict):
        return {name: _as_before(one) for name, one in value.items() if one is not None or name not in indexes.LATER}
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return [_as_before(one) for one in value]
    return value
