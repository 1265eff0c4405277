"""A new index from the packs themselves: for when the index is damaged or lists what is no longer whole.

Nothing is deleted but index objects. What a pack has lost is then known to be lost, so that the next backup stores
it again. A damaged pack is listed no more: what is whole in it moves to a new one, and the next prune takes it away.
A snapshot that is given up keeps its bytes under another name.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ddr.backup import chunk_index, layout, packs, writing
from ddr.backup import repository as repositories
from ddr.errors import Damaged, Missing
from ddr.ports import store

_PACKS_PER_INDEX = 512


@dataclass(frozen=True)
class Repaired:
    """How many packs and whole chunks were found, and packs with the number of chunks lost in them (-1: all).

    `damaged` are ids of snapshots that cannot be read and are still in their place, `aside` where those went that were
    given up.
    """

    packs: int
    chunks: int
    lost: tuple[tuple[str, int], ...]
    damaged: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()


def rebuild_index(repository: repositories.Repository, told: Callable[[str, int, int], None] | None = None) -> Repaired:
    """Read every pack whole, move what is whole in damaged ones, list the others, then replace the index."""
    old = [entry.key for entry in repository.store.list(layout.INDEX)]
    entries: list[tuple[str, int, tuple[packs.Place, ...]]] = []
    lost: list[tuple[str, int]] = []
    stored = list(repository.store.list(layout.PACKS))
    known, _ = repository.index_with_problems()
    damaged: dict[str, tuple[packs.Place, ...]] = {}
    for at, entry in enumerate(stored, 1):
        name = layout.hash_in(entry.key)
        content = memoryview(repository.store.get(entry.key))
        whole, gone = _whole(repository, known, name, content)
        if gone or layout.name_of(content) != name:
            damaged[name] = whole
        elif whole:
            entries.append((name, len(content), whole))
        if gone:
            lost.append((name, gone))
        if told:
            told("packs", at, len(stored))
    if not _moved(repository, entries, damaged):
        entries += [
            (name, known.size_of(name), whole) for name, whole in damaged.items() if known.knows(name) and whole
        ]
    written = {
        chunk_index.write(repository.store, repository.ring, entries[at : at + _PACKS_PER_INDEX])[0]
        for at in range(0, len(entries), _PACKS_PER_INDEX)
    }
    for key in old:
        if layout.hash_in(key) not in written:
            repository.store.delete(key)
    listed, _ = repository.index_with_problems()
    return Repaired(len(listed.pack_names), len(listed), tuple(lost))


def _moved(
    repository: repositories.Repository,
    entries: list[tuple[str, int, tuple[packs.Place, ...]]],
    damaged: Mapping[str, tuple[packs.Place, ...]],
) -> bool:
    """What only damaged packs have, in new ones; False where there is no room for that."""
    there = {place.chunk for _, _, places in entries for place in places}
    lacking = {name: [place for place in whole if place.chunk not in there] for name, whole in damaged.items()}
    if not any(lacking.values()):
        return True
    try:
        with writing.Writer(repository, chunk_index.ChunkIndex()) as writer:
            for name, places in lacking.items():
                content = memoryview(repository.store.get(layout.pack_key(name)))
                opened = packs.Opened(repository.ring, name, content[:64])
                for place in places:
                    start, size = packs.span_of(place)
                    writer.put_anew(place.chunk, bytes(opened.chunk(place, content[start : start + size])), place.kind)
            writer.finish()
    except store.Full:
        return False
    return True


def unreadable(repository: repositories.Repository) -> tuple[repositories.Head, ...]:
    """Snapshots and kept states whose bytes are not what was written. Not those that another version wrote."""
    found = []
    for head in repository.all_heads():
        try:
            repository.read(head)
        except (repositories.OtherVersion, Missing):
            continue
        except Damaged:
            found.append(head)
    return tuple(found)


def named(repository: repositories.Repository, names: Sequence[str]) -> tuple[repositories.Head, ...]:
    """Snapshots and kept states by the beginnings of their ids. Raises UnknownName."""
    found = []
    for name in names:
        fitting = [head for head in repository.all_heads() if name and head.id.startswith(name.lower())]
        found.append(fitting[0] if len(fitting) == 1 else repository.head(name))
    return tuple(found)


def set_aside(repository: repositories.Repository, heads: Sequence[repositories.Head]) -> tuple[str, ...]:
    """Give these up: their bytes move below `layout.ASIDE`, where nobody counts what they need. The new keys.

    Repeatable: the copy is there before the snapshot goes.
    """
    moved = []
    for head in heads:
        try:
            stored = repository.store.get(head.key)
        except Missing:
            continue  # somebody else did
        key = f"{layout.ASIDE}{head.key.removeprefix(layout.ROOT)}-{layout.name_of(stored)}"
        with contextlib.suppress(store.Exists):  # the name says which bytes
            repository.store.create(key, stored)
        repository.forget(head)
        moved.append(key)
    return tuple(moved)


def _whole(
    repository: repositories.Repository, known: chunk_index.ChunkIndex, name: str, content: memoryview
) -> tuple[tuple[packs.Place, ...], int]:
    """The chunks of a pack that can be read, and how many cannot (-1: nothing of it can)."""
    try:
        opened = packs.Opened(repository.ring, name, content[:64])
    except Damaged:
        return (), -1
    try:
        places = opened.table(content)
    except Damaged:
        places = tuple(known.places_in(name)) if known.knows(name) else packs.scan(content)
    whole: dict[bytes, packs.Place] = {}
    for place in places:
        start, size = packs.span_of(place)
        try:
            found = opened.chunk(place, content[start : start + size])
            whole[place.chunk] = dataclasses.replace(place, size_bytes=len(found))
        except Damaged:
            continue
    return tuple(whole.values()), len({place.chunk for place in places}) - len(whole)
