"""Chunks out of packs: a few in order, or all of many files pack by pack. Every chunk is checked by its id."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass

from ddr.backup import chunk_index, layout, packs, sealing
from ddr.backup import repository as repositories
from ddr.errors import Damaged, Missing

_WINDOW = 16
"""Chunks of one reading that are fetched together."""

_GAP = 1 << 18
"""Blobs that lie this close together are fetched in one request: cheaper than another round trip."""

_OPENED = 32
_HEAD = 8 + sealing.SALT


@dataclass(frozen=True, slots=True)
class Wanted:
    """A chunk and what to do with its content, in whichever order packs come."""

    chunk: bytes
    use: Callable[[bytes | memoryview], None]


class Reader:
    """For one thread; `by_pack` uses several of its own."""

    def __init__(self, repository: repositories.Repository, index: chunk_index.ChunkIndex) -> None:
        self.index = index
        self._repository = repository
        self._opened: OrderedDict[str, packs.Opened] = OrderedDict()

    def read(self, ids: Sequence[bytes]) -> Iterator[bytes]:
        """The chunks in order. Damaged, Missing as Damaged."""
        for at in range(0, len(ids), _WINDOW):
            window = ids[at : at + _WINDOW]
            found = dict(self._fetch(window))
            for chunk in window:
                yield found[chunk]

    def content(self, ids: Sequence[bytes]) -> bytes:
        """All of them joined. For listings and other small things."""
        return b"".join(self.read(ids))

    def _fetch(self, ids: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
        placed = sorted((self.index.require(chunk) for chunk in dict.fromkeys(ids)), key=lambda at: (at[0], at[1].at))
        for pack, group in itertools.groupby(placed, key=lambda at: at[0]):
            opened = self._open(pack)
            for run in _runs([place for _, place in group]):
                start, end = packs.span_of(run[0])[0], sum(packs.span_of(run[-1]))
                content = memoryview(self._get(pack, start, end - start))
                for place in run:
                    begin, size = packs.span_of(place)
                    yield place.chunk, bytes(opened.chunk(place, content[begin - start : begin - start + size]))

    def _open(self, pack: str) -> packs.Opened:
        found = self._opened.get(pack)
        if found is None:
            found = packs.Opened(self._repository.ring, pack, self._get(pack, 0, _HEAD))
            self._opened[pack] = found
            if len(self._opened) > _OPENED:
                self._opened.popitem(last=False)
        return found

    def _get(self, pack: str, start: int, size: int) -> bytes:
        try:
            return self._repository.store.get(layout.pack_key(pack), start, size)
        except Missing as problem:
            raise Damaged(
                f"pack {pack[:12]} is gone from {self._repository.store.name}",
                hint="`ddr backup verify` says what is affected",
            ) from problem

    def by_pack(
        self, wanted: Iterable[Wanted], *, workers: int = 2, told: Callable[[int], None] | None = None
    ) -> tuple[Damaged, ...]:
        """Give each wanted chunk to its `use`, packs in any order, several at once; what could not be read is told.

        `use` is called from several threads, never twice at once for one chunk. `told` gets the bytes of each chunk.
        """
        per_pack: dict[str, list[tuple[packs.Place, Wanted]]] = {}
        broken: list[Damaged] = []
        for one in wanted:
            try:
                pack, place = self.index.require(one.chunk)
                per_pack.setdefault(pack, []).append((place, one))
            except Damaged as problem:
                broken.append(problem)
        lock = threading.Lock()
        with futures.ThreadPoolExecutor(workers, "ddr-read") as pool:
            for problems in pool.map(lambda pack: self._use_pack(pack, per_pack.pop(pack), told), list(per_pack)):
                with lock:
                    broken.extend(problems)
        return tuple(broken)

    def _use_pack(
        self, pack: str, wanted: list[tuple[packs.Place, Wanted]], told: Callable[[int], None] | None
    ) -> list[Damaged]:
        wanted.sort(key=lambda one: one[0].at)
        broken: list[Damaged] = []
        try:
            opened = packs.Opened(self._repository.ring, pack, self._get(pack, 0, _HEAD))
        except Damaged as problem:
            return [problem]
        for run in _runs([place for place, _ in wanted], most=1 << 23):
            start, end = packs.span_of(run[0])[0], sum(packs.span_of(run[-1]))
            content = memoryview(self._get(pack, start, end - start))
            uses: dict[bytes, list[Wanted]] = {}
            for place, one in wanted:
                if run[0].at <= place.at <= run[-1].at:
                    uses.setdefault(place.chunk, []).append(one)
            for place in dict.fromkeys(run):
                begin, size = packs.span_of(place)
                try:
                    plain = opened.chunk(place, content[begin - start : begin - start + size])
                except Damaged as problem:
                    broken.append(problem)
                    continue
                for one in uses[place.chunk]:
                    one.use(plain)
                    if told:
                        told(len(plain))
        return broken


def _runs(places: Sequence[packs.Place], most: int = 1 << 25) -> Iterator[list[packs.Place]]:
    """Places, sorted, in groups that are worth one request."""
    run: list[packs.Place] = []
    for place in places:
        start, size = packs.span_of(place)
        if run and (start - sum(packs.span_of(run[-1])) > _GAP or start + size - packs.span_of(run[0])[0] > most):
            yield run
            run = []
        run.append(place)
    if run:
        yield run
