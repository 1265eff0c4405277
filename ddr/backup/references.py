"""Which chunks snapshots need. Listings that several snapshots share are read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ddr.backup import listings, reading
from ddr.domain import snapshots
from ddr.errors import Damaged

Blame = Callable[[bytes], str | None]
"""Who is to blame that a chunk cannot be read; None where it can. Must stay the same."""


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
    _lost_below: dict[tuple[bytes, ...], tuple[tuple[str, str], ...]] = field(default_factory=dict)

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

    def lost(self, part: Part, blame: Blame) -> tuple[tuple[str, str], ...]:
        """(who is to blame, what cannot be restored): paths for a tree, the part itself else."""
        if not part.is_tree:
            return tuple((culprit, part.what) for culprit in _culprits(part.ids, blame))
        return tuple(
            (culprit, f"{part.what}: {path or 'all of it'}") for culprit, path in self._lost_in(part.ids, blame)
        )

    def _lost_in(self, ids: tuple[bytes, ...], blame: Blame) -> tuple[tuple[str, str], ...]:
        """Paths below the folder; '' is the folder itself, when its listing cannot be read."""
        known = self._lost_below.get(ids)
        if known is not None:
            return known
        found: list[tuple[str, str]] = [(culprit, "") for culprit in _culprits(ids, blame)]
        entries: list[listings.Entry] = []
        if not found:
            try:
                entries = listings.read(self.reader, ids)
            except Damaged:  # nobody has seen it before
                found = [(self.reader.index.require(ids[0])[0], "")]
        for entry in entries:
            own = tuple(entry.chunk_ids())
            if entry.k == "d":
                found += [(culprit, f"{entry.name}/{path}".rstrip("/")) for culprit, path in self._lost_in(own, blame)]
            else:
                found += [(culprit, entry.name) for culprit in _culprits(own, blame)]
        self._lost_below[ids] = tuple(found)
        return tuple(found)


def _culprits(ids: Iterable[bytes], blame: Blame) -> tuple[str, ...]:
    return tuple(dict.fromkeys(culprit for chunk in ids if (culprit := blame(chunk)) is not None))
