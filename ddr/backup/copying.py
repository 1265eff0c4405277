"""A second repository with the same keys: the same objects under the same names, byte for byte.

Every object but the lease is written once and named by its hash, so a copy needs no key, can be checked without one,
and goes on where it was cut off. It is not thinned with the first one: each place keeps its own retention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent import futures
from dataclasses import dataclass, field

from ddr.backup import layout
from ddr.errors import Conflict, Damaged, Missing, Unsupported
from ddr.ports import store

_HEADS = (layout.KEPT, layout.SNAPSHOTS)
_ORDER = (layout.KEYS, layout.PACKS, layout.INDEX, *_HEADS)
"""What a later kind needs is there before it: a copy that is cut off never has a snapshot without its bytes."""

_AT_ONCE = 16


@dataclass(frozen=True)
class Copied:
    """What was copied now, and how many objects were there already."""

    objects: int
    size_bytes: int
    there: int
    skipped: tuple[str, ...] = ()
    """Objects that are damaged here and were therefore not copied."""
    by_server: int = 0
    """How many of the objects the server copied by itself: their bytes were not looked at."""


def copy(
    of: store.Store,
    to: store.Store,
    told: Callable[[str, int, int], None] | None = None,
    *,
    by_server: bool = False,
) -> Copied:
    """Bring `to` up to `of`. Raises Missing where there is nothing to copy, Conflict where `to` is another repository.

    Damaged objects are not copied and are told. Repeatable. With `by_server` packs are copied by the server that keeps
    both, without their bytes coming here: it is its word that they are the same, and a damaged pack is copied damaged.
    Raises Unsupported where there are two servers or two logins.
    """
    if by_server and not (isinstance(to, store.Copying) and to.copies_from(of)):
        raise Unsupported(
            f"{of.name} and {to.name} are not on one server behind one login, so it cannot copy by itself",
            hint="leave --server-side away: the bytes then go through this machine, and are checked on their way",
        )
    config = _config(of)
    there = to.head(layout.CONFIG)
    if there is not None and to.get(layout.CONFIG) != config:
        raise Conflict(
            f"{to.name} holds another backup repository",
            expected=f"the repository of {of.name}, or nothing",
            found="another one",
            hint="name an empty place for the copy",
        )
    there_before = {entry.key for kind in _ORDER for entry in to.list(kind)}
    work = _Work(of, to, there_before, told, to if by_server and isinstance(to, store.Copying) else None)
    snapshots_ = [entry for kind in _HEADS for entry in of.list(kind)]  # first of all: what they need is there already
    work.bring(of.list(layout.KEYS))
    if there is None:
        to.create(layout.CONFIG, config)  # behind the slots: what has a configuration can be opened
    while True:
        merged = work.missing
        index = list(of.list(layout.INDEX))
        work.bring(work.without_copied(of.list(layout.PACKS)))
        work.bring(index)
        if work.missing == merged:
            break  # else a prune has written the index anew meanwhile
    work.bring(snapshots_)
    return Copied(work.objects, work.size_bytes, work.there, tuple(work.skipped), work.by_server)


@dataclass
class _Work:
    """Objects on their way. `missing` counts those that were gone when their turn came."""

    of: store.Store
    to: store.Store
    known: set[str]
    told: Callable[[str, int, int], None] | None
    server: store.Copying | None = None
    by_server: int = 0
    objects: int = 0
    size_bytes: int = 0
    there: int = 0
    missing: int = 0
    skipped: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def without_copied(self, entries: Iterable[store.Entry]) -> list[store.Entry]:
        """Those that are left when the server has copied what it can."""
        todo = list(entries)
        if self.server is None:
            return todo
        lacking = [one for one in todo if one.key not in self.known and one.key not in self._seen]
        with futures.ThreadPoolExecutor(_AT_ONCE, "ddr-copy") as pool:
            for at, (one, is_copied) in enumerate(zip(lacking, pool.map(self._by_server, lacking), strict=True), 1):
                if is_copied:
                    self._seen.add(one.key)
                    self.objects, self.size_bytes = self.objects + 1, self.size_bytes + one.size_bytes
                    self.by_server += 1
                if self.told:
                    self.told("packs, by the server", at, len(lacking))
        return [one for one in todo if one.key not in self._seen]

    def _by_server(self, entry: store.Entry) -> bool:
        """False also where it is gone or somebody else has brought it: the ordinary way settles that."""
        assert self.server is not None
        try:
            return self.server.copy_from(self.of, entry)
        except (Missing, store.Exists):
            return False

    def bring(self, entries: Iterable[store.Entry]) -> None:
        wanted = [entry.key for entry in entries if entry.key not in self._seen]
        for at, key in enumerate(wanted, 1):
            self._bring(key)
            if self.told:
                self.told(key.split("/")[1], at, len(wanted))

    def _bring(self, key: str) -> None:
        if key in self.known:
            self._seen.add(key)
            self.there += 1
            return
        try:
            content = self.of.get(key)
        except Missing:
            self.missing += key.startswith(layout.INDEX)
            return  # pruned meanwhile
        self._seen.add(key)
        if layout.name_of(content) != layout.hash_in(key):
            self.skipped.append(key)
            return
        layout.create_named(self.to, key, content)
        self.objects, self.size_bytes = self.objects + 1, self.size_bytes + len(content)


def keys(of: store.Store) -> list[str]:
    """Everything that a copy should have."""
    return [layout.CONFIG, *(entry.key for kind in _ORDER for entry in of.list(kind))]


def _config(of: store.Store) -> bytes:
    try:
        return of.get(layout.CONFIG)
    except Missing:
        raise Missing(f"{of.name} has no backup repository", hint="`ddr backup run` makes one") from None


def check_copy(of: store.Store, to: store.Store) -> tuple[str, ...]:
    """Keys of snapshots and kept states that the copy lacks. Damaged where the two are not the same repository."""
    if to.head(layout.CONFIG) is None or to.get(layout.CONFIG) != _config(of):
        raise Damaged(f"{to.name} is no copy of {of.name}", hint="`ddr backup copy` makes one in an empty place")
    have = {entry.key for kind in _HEADS for entry in to.list(kind)}
    return tuple(entry.key for kind in _HEADS for entry in of.list(kind) if entry.key not in have)
