"""Chunks out of packs: a few in order, or all of many files pack by pack. Every chunk is checked by its id."""

from __future__ import annotations

import contextlib
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

_MOST_READ, _MOST_WRITTEN = 1 << 25, 1 << 23
"""Bytes of one request: for one reading, and where several threads write files."""

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
            for place, found in self._pieces(pack, self._open, [place for _, place in group], _MOST_READ):
                if isinstance(found, Damaged):
                    raise found
                yield place.chunk, bytes(found)

    def _pieces(
        self, pack: str, open_: Callable[[str], packs.Opened], places: list[packs.Place], most: int
    ) -> Iterator[tuple[packs.Place, bytes | memoryview | Damaged]]:
        """The content of places, sorted, in one pack; what is damaged there is looked for in other packs."""
        try:
            opened = open_(pack)
        except Damaged as problem:
            yield from ((place, self._elsewhere(place.chunk, pack, problem)) for place in places)
            return
        for run in _runs(places, most):
            start, end = packs.span_of(run[0])[0], sum(packs.span_of(run[-1]))
            try:
                content = memoryview(self._get(pack, start, end - start))
            except Damaged as problem:
                yield from ((place, self._elsewhere(place.chunk, pack, problem)) for place in run)
                continue
            for place in run:
                begin, size = packs.span_of(place)
                found: bytes | memoryview | Damaged
                try:
                    found = opened.chunk(place, content[begin - start : begin - start + size])
                except Damaged as problem:
                    found = self._elsewhere(place.chunk, pack, problem)
                yield place, found

    def _elsewhere(self, chunk: bytes, but: str, problem: Damaged) -> bytes | memoryview | Damaged:
        """The chunk from another pack than this one; the problem where none has it whole."""
        for pack, place in self.index.places(chunk):
            if pack != but:
                start, size = packs.span_of(place)
                with contextlib.suppress(Damaged):
                    return self._opened_now(pack).chunk(place, self._get(pack, start, size))
        return problem

    def _opened_now(self, pack: str) -> packs.Opened:
        return packs.Opened(self._repository.ring, pack, self._get(pack, 0, _HEAD))

    def _open(self, pack: str) -> packs.Opened:
        found = self._opened.get(pack)
        if found is None:
            found = self._opened[pack] = self._opened_now(pack)
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
        uses: dict[packs.Place, list[Wanted]] = {}
        for place, one in sorted(wanted, key=lambda one: one[0].at):
            uses.setdefault(place, []).append(one)
        broken: list[Damaged] = []
        for place, found in self._pieces(pack, self._opened_now, list(uses), _MOST_WRITTEN):
            if isinstance(found, Damaged):
                broken.append(found)
                continue
            for one in uses[place]:
                one.use(found)
                if told:
                    told(len(found))
        return broken


def _runs(places: Sequence[packs.Place], most: int) -> Iterator[list[packs.Place]]:
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
