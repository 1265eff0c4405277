"""Which chunk lies in which pack: index objects in the store, one dictionary in memory.

An index object lists whole packs. It is a convenience: `packs.Opened.table` of each pack tells the same.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from ddr.backup import keys, layout, packs, sealing
from ddr.errors import Damaged
from ddr.ports import store

_HEAD = struct.Struct("<32sII")


class DamagedIndex(Damaged):
    """An index object that says nothing any more. `key` is its key."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message, hint="`ddr backup repair` writes the index anew")
        self.key = key


class ChunkIndex:
    """What is known to be stored. Grows while a backup writes; never shrinks."""

    def __init__(self) -> None:
        self._packs: list[str] = []
        self._numbers: dict[str, int] = {}
        self._sizes: list[int] = []
        self._places: dict[bytes, tuple[int, packs.Place]] = {}
        self._more: dict[bytes, list[tuple[int, packs.Place]]] = {}
        """Of the few chunks that lie in several packs, the further places."""
        self.objects: dict[str, tuple[str, ...]] = {}
        """Each index object by name, with the packs it lists."""

    def __contains__(self, chunk: bytes) -> bool:
        return chunk in self._places

    def __len__(self) -> int:
        return len(self._places)

    @property
    def pack_names(self) -> tuple[str, ...]:
        return tuple(self._packs)

    def knows(self, pack: str) -> bool:
        return pack in self._numbers

    def size_of(self, pack: str) -> int:
        """Stored bytes of a pack."""
        return self._sizes[self._numbers[pack]]

    def take(self, pack: str, size_bytes: int, places: Iterable[packs.Place]) -> None:
        """A pack that is stored. Of a chunk in two packs the first one known counts."""
        if pack in self._numbers:
            return
        number = self._numbers[pack] = len(self._packs)
        self._packs.append(pack)
        self._sizes.append(size_bytes)
        for place in places:
            if self._places.setdefault(place.chunk, (number, place))[0] != number:
                self._more.setdefault(place.chunk, []).append((number, place))

    def find(self, chunk: bytes) -> tuple[str, packs.Place] | None:
        """(pack, place), None when it is not known."""
        found = self._places.get(chunk)
        return None if found is None else (self._packs[found[0]], found[1])

    def places(self, chunk: bytes) -> tuple[tuple[str, packs.Place], ...]:
        """Every (pack, place) of the chunk: where one is damaged the next may be whole."""
        found = self._places.get(chunk)
        known = [] if found is None else [found, *self._more.get(chunk, ())]
        return tuple((self._packs[number], place) for number, place in known)

    def require(self, chunk: bytes) -> tuple[str, packs.Place]:
        """Raises Damaged."""
        found = self.find(chunk)
        if found is None:
            raise Damaged(
                f"chunk {chunk.hex()[:12]} is in no pack that the index knows",
                hint="`ddr backup verify` says what is affected; `ddr backup repair` rebuilds the index from the packs",
            )
        return found

    def size(self, chunk: bytes) -> int:
        place = self.require(chunk)[1]
        return place.size_bytes

    def drop(self, broken: Iterable[str]) -> None:
        """Forget packs that are damaged or gone, so that the next backup stores their chunks anew."""
        numbers = {self._numbers[pack] for pack in broken if pack in self._numbers}
        if not numbers:
            return
        self._more = {
            chunk: left for chunk, all_ in self._more.items() if (left := [at for at in all_ if at[0] not in numbers])
        }
        for chunk in [chunk for chunk, at in self._places.items() if at[0] in numbers]:
            del self._places[chunk]
            if chunk in self._more:
                self._places[chunk], *self._more[chunk] = self._more[chunk]

    def places_in(self, pack: str) -> Iterator[packs.Place]:
        number = self._numbers[pack]
        yield from (place for at, place in self._places.values() if at == number)
        yield from (place for more in self._more.values() for at, place in more if at == number)


def encode(listed: Iterable[tuple[str, int, tuple[packs.Place, ...]]]) -> bytes:
    """The plain bytes of an index object: for each pack name, size, number of chunks, and their places."""
    parts = []
    for name, size_bytes, places in listed:
        parts.append(_HEAD.pack(bytes.fromhex(name), size_bytes, len(places)))
        parts.append(packs.pack_entries(places))
    return b"".join(parts)


def decode(raw: bytes) -> Iterator[tuple[str, int, tuple[packs.Place, ...]]]:
    """Raises struct.error."""
    width = len(packs.pack_entries((packs.Place(bytes(32), 0, 0, 0, 0),)))
    at = 0
    while at < len(raw):
        name, size_bytes, count = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        entries = raw[at : at + count * width]
        if len(entries) < count * width:
            raise struct.error("the list of a pack is cut off")
        yield name.hex(), size_bytes, tuple(packs.unpack_entries(entries))
        at += count * width


def write(
    to: store.Store, ring: keys.Keyring, listed: Iterable[tuple[str, int, tuple[packs.Place, ...]]]
) -> tuple[str, int]:
    """Store one index object; its name and size."""
    stored = sealing.seal(ring, "index", encode(listed))
    name = layout.name_of(stored)
    layout.create_named(to, layout.index_key(name), stored)
    return name, len(stored)


def read_object(of: store.Store, ring: keys.Keyring, key: str) -> tuple[tuple[str, int, tuple[packs.Place, ...]], ...]:
    """Raises Damaged naming the object, Missing when it was merged into another one meanwhile."""
    what = f"index object {layout.hash_in(key)[:12]}"
    stored = of.get(key)
    try:
        content = sealing.unseal(ring, "index", stored, what)
        layout.check_name(key, stored, what)
        return tuple(decode(content))
    except Damaged as problem:
        raise DamagedIndex(problem.message, key) from problem
    except struct.error as problem:
        raise DamagedIndex(f"{what} is damaged: {problem}", key) from problem
