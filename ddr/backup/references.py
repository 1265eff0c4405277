"""Which chunks snapshots need. Listings that several snapshots share are read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ddr.backup import listings, reading
from ddr.domain import snapshots
from ddr.errors import Damaged


@dataclass(frozen=True)
class Part:
    """A table, stream or tree of a component, with the chunks that it names itself."""

    component: str
    what: str
    ids: tuple[bytes, ...]
    is_tree: bool = False

    def __str__(self) -> str:
        return f"{self.component} {self.what}"


def parts_of(snapshot: snapshots.Snapshot) -> Iterator[Part]:
    """In the order of the manifest."""
    for one in snapshot.components:
        for table in one.tables:
            yield Part(one.name, f"table {table.name}", _ids(table.chunks))
        for stream in one.streams:
            yield Part(one.name, f"stream {stream.name}", _ids(stream.chunks))
        for tree in one.trees:
            yield Part(one.name, f"tree {tree.name}", _ids(tree.root), is_tree=True)


def _ids(hexed: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(one) for one in hexed)


@dataclass
class Follower:
    """Follows listings. `reader` reads them."""

    reader: reading.Reader
    _seen: set[tuple[bytes, ...]] = field(default_factory=set)
    _lost_below: dict[tuple[bytes, ...], tuple[str, ...]] = field(default_factory=dict)

    def needed(self, snapshot: snapshots.Snapshot) -> Iterator[bytes]:
        """Every chunk of the snapshot; of listings that were followed before nothing again. Damaged."""
        for part in parts_of(snapshot):
            yield from part.ids
            if part.is_tree:
                yield from self.below(part.ids)

    def below(self, ids: tuple[bytes, ...]) -> Iterator[bytes]:
        """The chunks that a listing names, and those of the folders in it."""
        if ids in self._seen:
            return
        for entry in listings.read(self.reader, ids):
            own = tuple(entry.chunk_ids())
            yield from own
            if entry.k == "d":
                yield from self.below(own)
        self._seen.add(ids)

    def lost(self, part: Part, is_lost: Callable[[bytes], bool]) -> tuple[str, ...]:
        """What of the part cannot be restored: paths for a tree, the part itself else. `is_lost` must stay the same."""
        if not part.is_tree:
            return (part.what,) if any(is_lost(chunk) for chunk in part.ids) else ()
        return tuple(f"{part.what}: {path or 'all of it'}" for path in self._lost_in(part.ids, is_lost))

    def _lost_in(self, ids: tuple[bytes, ...], is_lost: Callable[[bytes], bool]) -> tuple[str, ...]:
        """Paths below the folder; '' is the folder itself, when its listing cannot be read."""
        known = self._lost_below.get(ids)
        if known is not None:
            return known
        found: list[str] = []
        try:
            if any(is_lost(chunk) for chunk in ids):
                raise Damaged("a listing is lost")
            for entry in listings.read(self.reader, ids):
                own = tuple(entry.chunk_ids())
                if entry.k == "d":
                    found += [f"{entry.name}/{path}".rstrip("/") for path in self._lost_in(own, is_lost)]
                elif any(is_lost(chunk) for chunk in own):
                    found.append(entry.name)
        except Damaged:
            found = [""]
        self._lost_below[ids] = tuple(found)
        return tuple(found)
