"""The cells of one column: fixed-size values in an array, texts and bytes as numbers into a list of distinct ones."""

from __future__ import annotations

import itertools
import struct
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ddr.lib import rowdigest

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

Cell = int | float | bool | str | bytes | None
KINDS = {"int": int, "float": float, "bool": bool, "text": str, "bytes": bytes}
# Distinct words of a stream before it starts a new list, which bounds the memory: their number and their length.
_FULL, _FULL_SIZE = 200_000, 8 * 2**20
_NO_ODD: Mapping[int, Cell] = {}


class Words:
    """Distinct texts, or bytes values, numbered as they come. It only grows, so columns may share one."""

    def __init__(self) -> None:
        # A new word gets the next number without Python's help. Not by the dict's own length: that would be a circle,
        # and megabytes of words would wait for the garbage collector.
        self.numbers: defaultdict[Any, int] = defaultdict(itertools.count().__next__)
        self.values: list[Any] = []
        self.size = 0
        self._lanes: list[NDArray[numpy.uint64]] = []

    @classmethod
    def of(cls, raw: Sequence[bytes], *, is_text: bool) -> Words:
        words = cls()
        values = list(dict.fromkeys(cls.read(raw, is_text=is_text)))
        words.numbers.update(zip(values, range(len(values)), strict=True))
        words.numbers.default_factory = itertools.count(len(values)).__next__
        words.took(values)
        return words

    @staticmethod
    def read(raw: Sequence[bytes], *, is_text: bool) -> Sequence[Any]:
        return [value.decode("utf-8", "surrogateescape") for value in raw] if is_text else raw

    @property
    def is_full(self) -> bool:
        return len(self.values) > _FULL or self.size > _FULL_SIZE

    def number(self, value: Any) -> int:
        number = self.numbers[value]
        if number == len(self.values):
            self.took([value])
        return number

    def took(self, new: Sequence[Any]) -> None:
        """Words that `numbers` has numbered, in that order."""
        self.values += new
        self.size += sum(map(len, new))

    def since(self, known: int) -> list[Any]:
        """What `numbers` has numbered from `known` on, in that order: it keeps the order in which words came."""
        new = list(itertools.islice(reversed(self.numbers), len(self.numbers) - known))
        new.reverse()
        return new

    def lanes(self) -> NDArray[numpy.uint64]:
        """The hash of each word, four lanes; each word is hashed once."""
        import numpy as np

        known = sum(part.shape[1] for part in self._lanes)
        if known < len(self.values):
            self._lanes = [*self._lanes, rowdigest.of_words(self.values[known:])]
        if len(self._lanes) > 1:
            self._lanes = [np.concatenate(self._lanes, axis=1)]
        return self._lanes[0] if self._lanes else np.zeros((4, 0), dtype=np.uint64)


@dataclass(frozen=True, eq=False)
class Column:
    """`data` has one entry a row: int64, float64, uint8 (bool), or uint32 numbers into `words` (text, bytes).

    `absent` is true where `data` says nothing: the cell is NULL, or odd and stands in `odd`.
    """

    name: str
    family: str
    data: NDArray[Any]
    absent: NDArray[numpy.bool_] | None = None
    odd: Mapping[int, Cell] = field(default_factory=dict)
    words: Words | None = None

    @classmethod
    def spread(
        cls, name: str, family: str, size: int, values: NDArray[Any], absent: NDArray[numpy.bool_] | None,
        odd: Mapping[int, Cell], words: Words | None = None,
    ) -> Column:  # fmt: skip
        """Of the values that are there, in order."""
        import numpy as np

        if absent is None:
            return cls(name, family, values, None, odd, words)
        data = np.zeros(size, dtype=values.dtype)
        data[~absent] = values
        return cls(name, family, data, absent, odd, words)

    def present(self) -> NDArray[Any]:
        return self.data if self.absent is None else self.data[~self.absent]

    def bitmap(self) -> bytes:
        import numpy as np

        return b"" if self.absent is None else np.packbits(self.absent, bitorder="little").tobytes()

    def used(self) -> tuple[list[bytes], NDArray[numpy.uint32]]:
        """The words that are there, as bytes in the order of their first use, and the numbers of the cells."""
        import numpy as np

        assert self.words is not None
        codes = self.present()
        order = _first_use(codes)
        values = self.words.values
        chosen = [values[number] for number in order.tolist()]
        renumbered = np.zeros(int(order.max()) + 1 if len(order) else 0, dtype=np.uint32)
        renumbered[order] = np.arange(len(order), dtype=np.uint32)
        if self.family == "text":
            chosen = [value.encode("utf-8", "surrogateescape") for value in chosen]
        return chosen, renumbered[codes]

    def texts(self) -> Iterator[str | bytes]:
        if self.words is not None:
            values = self.words.values
            yield from map(values.__getitem__, _first_use(self.present()).tolist())
        for value in self.odd.values():
            if isinstance(value, str | bytes):
                yield value

    def readable(self) -> bytes:
        """As `texts`, one a line."""
        lines: list[bytes] = []
        if self.words is not None and self.words.values:
            used = map(self.words.values.__getitem__, _first_use(self.present()).tolist())
            lines.append(b"\n".join(used) if self.family == "bytes" else as_bytes("\n".join(used)))
        lines += [as_bytes(value) for value in self.odd.values() if isinstance(value, str | bytes)]
        return b"\n".join(lines)

    def lengths(self) -> NDArray[numpy.int64]:
        """Of the texts and bytes values, 0 for all else."""
        import numpy as np

        found = np.zeros(len(self.data), dtype=np.int64)
        if self.words is not None and self.words.values:
            low, high = int(self.data.min()), int(self.data.max()) + 1
            known = np.fromiter(map(len, self.words.values[low:high]), dtype=np.int64, count=high - low)
            found = known[self.data - np.uint32(low)]
            if self.absent is not None:
                found[self.absent] = 0
        for row, value in self.odd.items():
            found[row] = len(value) if isinstance(value, str | bytes) else 0
        return found

    def cells(self) -> list[Cell]:
        """Python values, one a row."""
        cells: list[Cell]
        if self.words is not None:
            cells = list(map(self.words.values.__getitem__, self.data.tolist())) if len(self.words.values) else []
            cells = cells or [None] * len(self.data)
        elif self.family == "bool":
            cells = self.data.astype("?").tolist()
        else:
            cells = self.data.tolist()
        if self.absent is not None:
            if self.absent.all() and not self.odd:
                return [None] * len(cells)
            for row in self.absent.nonzero()[0].tolist():
                cells[row] = self.odd.get(row)
        return cells

    def slice(self, start: int, stop: int) -> Column:
        absent = None if self.absent is None else _or_none(self.absent[start:stop])
        odd = {row - start: value for row, value in self.odd.items() if start <= row < stop} if self.odd else _NO_ODD
        return Column(self.name, self.family, self.data[start:stop], absent, odd, self.words)

    def where(self, keep: NDArray[numpy.bool_]) -> Column:
        absent = None if self.absent is None else _or_none(self.absent[keep])
        odd = {}
        if self.odd:
            moved = keep.cumsum() - 1
            odd = {int(moved[row]): value for row, value in self.odd.items() if keep[row]}
        return Column(self.name, self.family, self.data[keep], absent, odd, self.words)


def column(name: str, family: str, cells: Sequence[Cell], words: Words | None = None) -> Column:
    """A column of Python values. `words` of the same stream are numbered on."""
    if family not in KINDS:
        raise ValueError(f"column {name}: {family!r} is no family")
    if family in ("text", "bytes"):
        return _worded(name, family, cells, words or Words())
    data = _fixed(family, cells)
    return Column(name, family, data) if data is not None else _with_gaps(name, family, cells)


def joined(columns: Sequence[Column]) -> Column:
    """Columns of the same name and family, one below the other."""
    import numpy as np

    first = columns[0]
    datas = [column.data for column in columns]
    words = first.words
    if words is not None and any(column.words is not words for column in columns):
        words = Words()
        datas = []
        for one in columns:
            assert one.words is not None
            used = _first_use(one.data)
            numbers = np.zeros(int(used.max()) + 1 if len(used) else 0, dtype=np.uint32)
            values = one.words.values
            # An all-NULL column numbers nothing: its zeros name no word.
            known = used[used < len(values)]
            numbers[known] = [words.number(values[number]) for number in known.tolist()]
            datas.append(numbers[one.data])
    absent = None
    if any(column.absent is not None for column in columns):
        masks = [np.zeros(len(one.data), np.bool_) if one.absent is None else one.absent for one in columns]
        absent = np.concatenate(masks)
    odd: dict[int, Cell] = {}
    before = 0
    for one in columns:
        odd |= {row + before: value for row, value in one.odd.items()}
        before += len(one.data)
    return Column(first.name, first.family, np.concatenate(datas), absent, odd or _NO_ODD, words)


def as_bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def tagged(value: Cell) -> tuple[bytes, bytes]:
    """A cell with its kind: how odd cells are stored and hashed."""
    if isinstance(value, bool):
        return b"b", bytes([value])
    if isinstance(value, int):
        return b"i", str(value).encode()
    if isinstance(value, float):
        return b"f", struct.pack("<d", value)
    if isinstance(value, str):
        return b"t", as_bytes(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return b"x", bytes(value)
    raise ValueError(f"a cell cannot be a {type(value).__name__}")


def untagged(tag: bytes, payload: bytes) -> Cell:
    if tag == b"b":
        return bool(payload[0])
    if tag == b"i":
        return int(payload)
    if tag == b"f":
        return float(struct.unpack("<d", payload)[0])
    if tag == b"t":
        return payload.decode("utf-8", "surrogateescape")
    if tag == b"x":
        return payload
    raise ValueError(f"an odd cell has the tag {tag!r}")


def _first_use(codes: NDArray[Any]) -> NDArray[Any]:
    """The distinct codes in the order of their first use."""
    import numpy as np

    if not len(codes):
        return codes
    low = int(codes.min())
    first = np.full(int(codes.max()) - low + 1, len(codes), dtype=np.int64)
    first[codes[::-1].astype(np.int64) - low] = np.arange(len(codes) - 1, -1, -1)
    used = np.flatnonzero(first < len(codes))
    return used[np.argsort(first[used])] + low


def _or_none(absent: NDArray[numpy.bool_]) -> NDArray[numpy.bool_] | None:
    return absent if absent.any() else None


def _fixed(family: str, cells: Sequence[Cell]) -> NDArray[Any] | None:
    """None when a cell does not fit. `array` and `bytes` refuse what is no int; floats are checked one by one."""
    import numpy as np

    try:
        if family == "int":
            return np.frombuffer(array("q", cells), dtype=np.int64)  # type: ignore[type-var]
        if family == "bool":
            data = np.frombuffer(bytes(cells), dtype=np.uint8)  # type: ignore[arg-type]
            return data if not len(data) or data.max() <= 1 else None
        return np.array(cells, dtype=np.float64) if not cells or set(map(type, cells)) == {float} else None
    except (TypeError, ValueError, OverflowError):
        return None


def _fits(family: str, cell: Cell) -> bool:
    if family == "int":
        return isinstance(cell, int) and -(2**63) <= cell < 2**63
    if family == "bool":
        return isinstance(cell, int) and 0 <= cell <= 1
    return isinstance(cell, KINDS[family])


def _with_gaps(name: str, family: str, cells: Sequence[Cell]) -> Column:
    import numpy as np

    if cells.count(None) == len(cells):
        return _nothing(name, family, len(cells))
    absent = np.fromiter((not _fits(family, cell) for cell in cells), dtype=np.bool_, count=len(cells))
    data = _fixed(family, [cell for cell in cells if _fits(family, cell)])
    assert data is not None
    return Column.spread(name, family, len(cells), data, _or_none(absent), _odd(cells, absent))


def _nothing(name: str, family: str, size: int, words: Words | None = None) -> Column:
    """All of it NULL: what a column that nobody uses is made of."""
    import numpy as np

    kind = {"int": "i8", "float": "f8", "bool": "u1"}.get(family, "u4")
    absent = np.ones(size, dtype=np.bool_) if size else None
    return Column(name, family, np.zeros(size, dtype=kind), absent, _NO_ODD, words)


def _odd(cells: Sequence[Cell], absent: NDArray[numpy.bool_]) -> Mapping[int, Cell]:
    odd = {}
    for row in absent.nonzero()[0].tolist():
        cell = cells[row]
        if cell is not None:
            tag, payload = tagged(cell)
            odd[row] = untagged(tag, payload)
    return odd or _NO_ODD


def _worded(name: str, family: str, cells: Sequence[Cell], words: Words) -> Column:
    import numpy as np

    if cells.count(None) == len(cells):
        return _nothing(name, family, len(cells), words)
    kind = KINDS[family]
    known = len(words.values)
    data = np.fromiter(map(words.numbers.__getitem__, cells), dtype=np.uint32, count=len(cells))
    new = words.since(known)
    if set(map(type, new)) <= {kind}:
        words.took(new)
        return Column(name, family, data, None, _NO_ODD, words)
    # Something else than texts: take the numbers back, so that the words stay of one kind.
    for value in new:
        words.numbers.pop(value, None)
    words.numbers.default_factory = itertools.count(known).__next__
    absent = np.fromiter((type(cell) is not kind for cell in cells), dtype=np.bool_, count=len(cells))
    there = [cell for cell in cells if type(cell) is kind]
    data = np.fromiter(map(words.numbers.__getitem__, there), dtype=np.uint32, count=len(there))
    words.took(words.since(known))
    return Column.spread(name, family, len(cells), data, _or_none(absent), _odd(cells, absent), words)
