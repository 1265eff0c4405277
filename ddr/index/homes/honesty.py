"""Whether a store keeps its word on conditional writes: one that says yes to all of them loses a version silently."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from ddr.errors import Conflict
from ddr.ports import store


def lies(of: store.Store, key: str, contents: Sequence[bytes]) -> list[str]:
    """Which writes it took that it must refuse. `contents`: four different ones, for a key that nobody has."""
    found = []
    first = of.create(key, contents[0])
    try:
        with contextlib.suppress(store.Exists):
            of.create(key, contents[1])
            found.append("a create of a key that is there")
        entry = of.head(key) or first
        of.swap(key, contents[2], entry.version)
        with contextlib.suppress(Conflict):
            of.swap(key, contents[3], entry.version)
            found.append("a swap of a version that is no more")
    finally:
        of.delete(key)
    return found
