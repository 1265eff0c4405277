"""Finds where in a megabyte of text a closer look pays, at memory speed, without compiled code of our own.

Python's `re` walks an alternation at about 170 MB/s and a single literal at 1 to 3 GB/s; a hundred literals need
something else. Where Hyperscan is installed (`pip install 'ddr[scan]'`) it does it at 3 GB/s. Else there are two ways,
both in whole-array steps, at a tenth of that:

- `Grams`, for short anchors: three table look-ups (`bytes.translate`) give for every byte a mask of the groups in which
  it may be the first, second, third letter; where the three masks, shifted, have a bit in common, a candidate begins
  (the idea is Teddy's, of Hyperscan; Langdale, Geoffrey 2015). A map of all 3-byte words throws most candidates out.
- `Windows`, for long literals (known values): a literal of at least 2 w - 1 bytes contains an aligned word of w bytes
  whatever its position, so only every w-th position is looked up, in a table that has all w words of each literal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

_BLOCK_BYTES = 1 << 18  # its masks stay in the second-level cache
_GROUPS = 8
_WORD = 3


class Finder(Protocol):
    def find(self, text: bytes, start: int, stop: int) -> Iterable[int]:
        """Each position from `start` up to `stop` where a word begins, ascending."""
        ...


def finder(words: Iterable[bytes]) -> Finder:
    """The fastest one there is. Both find the same."""
    try:
        return Hyperscan(words)
    except ImportError:
        return Grams(words)


class Hyperscan:
    """As `Grams`, by Intel's Hyperscan (or Vectorscan, where there is no Intel)."""

    def __init__(self, words: Iterable[bytes]) -> None:
        import hyperscan

        expressions = [b"".join(b"\\x%02x" % byte for byte in word) for word in sorted(set(words))]
        self._database = hyperscan.Database()
        self._database.compile(
            expressions=expressions, ids=list(range(len(expressions))), elements=len(expressions), flags=0
        )

    def find(self, text: bytes, start: int, stop: int) -> Iterable[int]:
        found: list[int] = []

        def take(_id: int, _from: int, to: int, _flags: int, _context: object) -> None:
            found.append(start + to - _WORD)

        view = memoryview(text)[start : stop + _WORD - 1]
        self._database.scan(view, match_event_handler=take)  # type: ignore[type-var]
        return sorted(found)


def count(text: bytes, byte: int, stop: int) -> int:
    """How often the byte stands before `stop`: ten times as fast as `bytes.count` where there are many."""
    if stop < _BLOCK_BYTES:
        return text.count(byte, 0, stop)
    import numpy

    letters = numpy.frombuffer(text, numpy.uint8, count=stop)
    blocks = (letters[at : at + _BLOCK_BYTES] == byte for at in range(0, stop, _BLOCK_BYTES))
    return sum(int(numpy.count_nonzero(block)) for block in blocks)


class Grams:
    """Positions of 3-byte words. `words` come as they are, in every spelling that is meant."""

    def __init__(self, words: Iterable[bytes]) -> None:
        import numpy

        self._numpy = numpy
        wanted = sorted(set(words))
        assert all(len(word) == _WORD for word in wanted)
        groups = _grouped(wanted)
        self._tables = tuple(
            bytes(sum(1 << bit for bit, letters in enumerate(groups) if byte in letters[at]) for byte in range(256))
            for at in range(_WORD)
        )
        self._is_wanted = numpy.zeros(1 << 24, dtype=bool)  # pages without a word are never touched
        for word in wanted:
            self._is_wanted[int.from_bytes(word, "big")] = True

    def find(self, text: bytes, start: int, stop: int) -> Iterator[int]:
        """Each position from `start` up to `stop` where a word begins, ascending."""
        numpy = self._numpy
        first, second, third = self._tables
        for at in range(start, stop, _BLOCK_BYTES):
            block = text[at : min(at + _BLOCK_BYTES, stop) + _WORD - 1]
            if len(block) < _WORD:
                return
            masks = (
                numpy.frombuffer(block.translate(first), numpy.uint8)[:-2]
                & (numpy.frombuffer(block.translate(second), numpy.uint8)[1:-1])
            )
            masks &= numpy.frombuffer(block.translate(third), numpy.uint8)[2:]
            found = numpy.flatnonzero(masks.view(bool))  # any non-zero byte is true to it
            if not found.size:
                continue
            letters = numpy.frombuffer(block, numpy.uint8)
            words = letters[found].astype(numpy.uint32) << 16
            words |= letters[found + 1].astype(numpy.uint32) << 8
            words |= letters[found + 2]
            yield from (found[self._is_wanted[words]] + at).tolist()


def _grouped(words: Sequence[bytes]) -> list[list[set[int]]]:
    """The words in at most eight groups, so that few other words can be made of a group's letters."""
    groups: list[list[set[int]]] = []
    for word in words:
        costs = []
        for group in groups:
            wider = [letters | {byte} for letters, byte in zip(group, word, strict=True)]
            costs.append(_spread(wider) - _spread(group))
        if len(groups) < _GROUPS and (not costs or min(costs) > 0):
            groups.append([{byte} for byte in word])
        else:
            for letters, byte in zip(groups[costs.index(min(costs))], word, strict=True):
                letters.add(byte)
    return groups


def _spread(group: Sequence[set[int]]) -> int:
    return len(group[0]) * len(group[1]) * len(group[2])


class Windows:
    """Positions of literals of at least `2 * width - 1` bytes; `width` is 4 or 8."""

    def __init__(self, literals: Sequence[bytes], width: int) -> None:
        import numpy

        self._numpy, self._width = numpy, width
        self._kind = numpy.dtype("<u8" if width == 8 else "<u4")
        self._places: dict[bytes, list[tuple[int, bytes]]] = {}
        for literal in dict.fromkeys(literals):
            assert len(literal) >= 2 * width - 1
            for offset in range(width):
                self._places.setdefault(literal[offset : offset + width], []).append((offset, literal))
        self._is_wanted = numpy.zeros(1 << 16, dtype=bool)
        if self._places:
            self._is_wanted[self._hashes(numpy.frombuffer(b"".join(self._places), self._kind))] = True

    def _hashes(self, words: NDArray[Any]) -> NDArray[numpy.intp]:
        if self._width == 8:
            hashes: NDArray[Any] = words * self._numpy.uint64(0x9E3779B97F4A7C15)
            hashes >>= self._numpy.uint64(48)
            return hashes.view(self._numpy.int64)
        hashes = words * self._numpy.uint32(0x9E3779B1)
        hashes >>= self._numpy.uint32(16)
        return hashes.astype(self._numpy.intp)

    def find(self, text: bytes) -> Iterator[tuple[int, bytes]]:
        """Each position at which one of the literals stands, with the literal."""
        whole = len(text) - len(text) % self._width
        if not self._places or not whole:
            return
        for at in range(0, whole, _BLOCK_BYTES):
            size = min(_BLOCK_BYTES, whole - at) // self._width
            words = self._numpy.frombuffer(text, self._kind, count=size, offset=at)
            for number in self._numpy.flatnonzero(self._is_wanted.take(self._hashes(words))).tolist():
                middle = at + number * self._width
                for offset, literal in self._places.get(text[middle : middle + self._width], ()):
                    if middle >= offset and text.startswith(literal, middle - offset):
                        yield middle - offset, literal


def by_width(literals: Mapping[bytes, object]) -> tuple[Windows, ...]:
    """Sieves for the literals, long ones (15 bytes and more) apart from short ones (7 and more)."""
    long = [literal for literal in literals if len(literal) >= 15]
    short = [literal for literal in literals if len(literal) < 15]
    return tuple(Windows(some, width) for some, width in ((long, 8), (short, 4)) if some)
