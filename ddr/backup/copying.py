"""A second repository with the same keys: the same objects under the same names, byte for byte.

Every object but the lease is written once and named by its hash, so a copy needs no key, can be checked without one,
and goes on where it was cut off. It is not thinned with the first one: each place keeps its own retention.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ddr.backup import layout
from ddr.errors import Conflict, Damaged, Missing
from ddr.ports import store

_ORDER = (layout.KEYS, layout.PACKS, layout.INDEX, layout.SNAPSHOTS)
"""What a later kind needs is there before it: a copy that is cut off never has a snapshot without its bytes."""


@dataclass(frozen=True)
class Copied:
    """What was copied now, and how many objects were there already."""

    objects: int
    size_bytes: int
    there: int
    skipped: tuple[str, ...] = ()
    """Objects that are damaged here and were therefore not copied."""


def copy(of: store.Store, to: store.Store, told: Callable[[str, int, int], None] | None = None) -> Copied:
    """Bring `to` up to `of`. Raises Missing where there is nothing to copy, Conflict where `to` is another repository.

    Damaged objects are not copied and are told. Repeatable.
    """
    config = _config(of)
    there = to.head(layout.CONFIG)
    if there is not None and to.get(layout.CONFIG) != config:
        raise Conflict(
            f"{to.name} holds another backup repository",
            expected=f"the repository of {of.name}, or nothing",
            found="another one",
            hint="name an empty place for the copy",
        )
    entries = [entry for kind in _ORDER for entry in of.list(kind)]
    known = {entry.key for kind in _ORDER for entry in to.list(kind)}
    objects = size_bytes = 0
    skipped = []
    for at, entry in enumerate(entries, 1):
        if there is None and not entry.key.startswith(layout.KEYS):
            there = to.create(layout.CONFIG, config)  # behind the slots: what has a configuration can be opened
        if entry.key not in known:
            try:
                content = of.get(entry.key)
            except Missing:
                continue  # pruned meanwhile
            if layout.name_of(content) != layout.hash_in(entry.key):
                skipped.append(entry.key)
                continue
            layout.create_named(to, entry.key, content)
            objects, size_bytes = objects + 1, size_bytes + len(content)
        if told:
            told("objects", at, len(entries))
    if there is None:
        to.create(layout.CONFIG, config)
    return Copied(objects, size_bytes, len(entries) - objects - len(skipped), tuple(skipped))


def keys(of: store.Store) -> list[str]:
    """Everything that a copy should have."""
    return [layout.CONFIG, *(entry.key for kind in _ORDER for entry in of.list(kind))]


def _config(of: store.Store) -> bytes:
    try:
        return of.get(layout.CONFIG)
    except Missing:
        raise Missing(f"{of.name} has no backup repository", hint="`ddr backup run` makes one") from None


def check_copy(of: store.Store, to: store.Store) -> tuple[str, ...]:
    """Keys of snapshots that the copy lacks. Damaged where the two are not the same repository."""
    if to.head(layout.CONFIG) is None or to.get(layout.CONFIG) != _config(of):
        raise Damaged(f"{to.name} is no copy of {of.name}", hint="`ddr backup copy` makes one in an empty place")
    have = {entry.key for entry in to.list(layout.SNAPSHOTS)}
    return tuple(entry.key for entry in of.list(layout.SNAPSHOTS) if entry.key not in have)
