"""A store that can be read and not written: whoever only plans gets this one, and that proves it."""

from __future__ import annotations

from collections.abc import Iterator

from ddr.errors import Refused
from ddr.ports import store


class DryRun:
    """Reads what the store beneath has; refuses every write before it reaches it, good or bad."""

    def __init__(self, inner: store.Store) -> None:
        self._inner = inner
        self.name = f"{inner.name} (dry run)"
        self.is_shared = inner.is_shared

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        return self._inner.get(key, start, size)

    def head(self, key: str) -> store.Entry | None:
        return self._inner.head(key)

    def list(self, prefix: str, after: str = "") -> Iterator[store.Entry]:
        return self._inner.list(prefix, after)

    def create(self, key: str, content: bytes) -> store.Entry:
        raise self._refusal(f"create {key!r} ({len(content)} bytes)")

    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        raise self._refusal(f"replace {key!r} at version {expect} ({len(content)} bytes)")

    def delete(self, key: str) -> None:
        raise self._refusal(f"delete {key!r}")

    def _refusal(self, what: str) -> Refused:
        return Refused(f"{self.name}: would {what}", hint="this was a dry run; run it without to do it")
