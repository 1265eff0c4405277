"""A batch of rows, column by column, and the bytes it is stored as.

A cell is an int, float, bool, text, bytes or NULL (None). A column has one family of them; a cell of another kind, or
an int beyond 64 bits, survives as an *odd* cell. Floats keep every bit, '' is not NULL.

The format, version 1 (`encode`). Everything is little-endian, nothing is aligned, equal rows give equal bytes:

    magic      8 bytes   b"ddrrows1"
    rows       u32
    columns    u16
    per column:
      name     u16 length, UTF-8
      family   1 byte    i int, f float, b bool, t text, x bytes
      flags    u8        1: has `absent`, 2: has `odd`
      absent   (rows + 7) // 8 bytes; bit r % 8 of byte r // 8 is set when cell r is NULL or odd
      odd      u32 count, then each: u32 row, 1 byte tag, u32 length, payload:
               i decimal digits, f 8 bytes (a double), b 1 byte (0, 1), t UTF-8, x bytes; by ascending row
      values   of the cells that are not absent, n of them, in order:
        i, b   u8 width (0, 1, 2, 4, 8), u8 delta (0, 1), i64 base, [i64 step when delta], then
               delta 0: n unsigned offsets of that width; cell = base + offset
               delta 1: n - 1 of them; first cell = base, each next = cell before + step + offset
        f      n doubles
        t, x   u8 coding, u32 entries, entries times u32 length in bytes, the entries joined, then
               coding 0: nothing, entry k is cell k (entries == n)
               coding 1, 2, 4: n unsigned numbers of that many bytes, cell = entry of that number

Text is UTF-8; bytes that were no UTF-8 in the source were read, and are written, with Python's `surrogateescape`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ddr.errors import Damaged
from ddr.lib import rowcells, rowdigest

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

MAGIC = b"ddrrows1"
MEAN_ROWS, MIN_ROWS, MAX_ROWS = 8192, 2048, 32768
MAX_BYTES = 8 * 2**20  # of texts and bytes values: what ends a batch of long rows before it has enough of them
_CUT_BELOW = 2**64 // (MEAN_ROWS - MIN_ROWS)  # of the row hash: one row in so many ends a batch
_GATHERED, _GATHERED_BYTES = 16384, 2 * 2**20
_HAS_ABSENT, _HAS_ODD = 1, 2
_LETTERS = {"int": "i", "float": "f", "bool": "b", "text": "t", "bytes": "x"}
_FAMILIES = {letter: family for family, letter in _LETTERS.items()}
_WIDTHS = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<u8"}

Cell = rowcells.Cell


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of one table, column by column. `size` is how many."""

    columns: tuple[rowcells.Column, ...]
    size: int
    _hashes: list[NDArray[numpy.uint64]] = field(default_factory=list, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def families(self) -> tuple[str, ...]:
        return tuple(column.family for column in self.columns)

    def hashes(self) -> NDArray[numpy.uint64]:
        """Four lanes of a hash per row, as `rowdigest` says; computed once."""
        if not self._hashes:
            self._hashes.append(rowdigest.of_rows(self.columns, self.size))
        return self._hashes[0]

    def rows(self) -> Iterator[tuple[Cell, ...]]:
        if not self.columns:
            return iter([()] * self.size)
        return zip(*(column.cells() for column in self.columns), strict=True)

    def column(self, name: str) -> rowcells.Column:
        """KeyError when there is none."""
        return next_named(self.columns, name)

    def texts(self) -> Iterator[str | bytes]:
        """Each distinct text and each distinct bytes value once per column: what a scanner has to look at."""
        for column in self.columns:
            yield from column.texts()

    def row_bytes(self) -> NDArray[numpy.int64]:
        """How long the texts and bytes values of each row are, in characters and bytes."""
        import numpy as np

        total = np.zeros(self.size, dtype=np.int64)
        for column in self.columns:
            total += column.lengths()
        return total

    def slice(self, start: int, stop: int) -> Batch:
        cut = Batch(tuple(column.slice(start, stop) for column in self.columns), max(0, min(stop, self.size) - start))
        if self._hashes:
            cut._hashes.append(self._hashes[0][:, start:stop])
        return cut

    def where(self, keep: NDArray[numpy.bool_]) -> Batch:
        """The rows for which `keep` is true."""
        return Batch(tuple(column.where(keep) for column in self.columns), int(keep.sum()))

    def select(self, names: Sequence[str]) -> Batch:
        """These columns, in this order."""
        return Batch(tuple(self.column(name) for name in names), self.size)

    def with_cells(self, name: str, cells: Sequence[Cell]) -> Batch:
        """The same rows with other cells in one column."""
        old = self.column(name)
        new = rowcells.column(name, old.family, cells)
        return Batch(tuple(new if column is old else column for column in self.columns), self.size)


def next_named(columns: Iterable[rowcells.Column], name: str) -> rowcells.Column:
    for column in columns:
        if column.name == name:
            return column
    raise KeyError(name)


class Builder:
    """Makes batches of one stream of rows; texts that come again are numbered once for the whole stream."""

    def __init__(self, columns: Sequence[tuple[str, str]]) -> None:
        """(name, family) of each."""
        self._columns = tuple(columns)
        self._words = [rowcells.Words() for _ in columns]

    def batch(self, rows: Sequence[Sequence[Cell]]) -> Batch:
        """Rows as a driver gives them."""
        return self.of_cells(list(zip(*rows, strict=True)) if rows else [()] * len(self._columns), len(rows))

    def batches(self, pieces: Iterable[Sequence[Sequence[Cell]]]) -> Iterator[Batch]:
        """Of rows in small pieces: some hundred at a time stay in the processor's cache while they are turned."""
        held: list[Batch] = []
        size = new_bytes = 0
        for rows in pieces:
            known = {id(words): words.size for words in self._words}
            held.append(self.batch(rows))
            size += len(rows)
            new_bytes += sum(words.size - known.get(id(words), 0) for words in self._words)
            if size >= _GATHERED or new_bytes >= _GATHERED_BYTES:
                yield joined(held)
                held, size, new_bytes = [], 0, 0
        if held:
            yield joined(held)

    def of_cells(self, cells: Sequence[Sequence[Cell]], size: int) -> Batch:
        """The cells of each column."""
        made = []
        for at, ((name, family), given) in enumerate(zip(self._columns, cells, strict=True)):
            if self._words[at].is_full:
                self._words[at] = rowcells.Words()
            made.append(rowcells.column(name, family, given, self._words[at]))
        return Batch(tuple(made), size)


def of_rows(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Cell]]) -> Batch:
    """One batch: `columns` are (name, family)."""
    return Builder(columns).batch(rows)


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches of the same columns as one; at least one."""
    import numpy as np

    first = batches[0]
    if len(batches) == 1:
        return first
    size = sum(batch.size for batch in batches)
    parts = zip(*(batch.columns for batch in batches), strict=True)
    whole = Batch(tuple(rowcells.joined(columns) for columns in parts), size)
    if all(batch._hashes for batch in batches):
        whole._hashes.append(np.concatenate([batch._hashes[0] for batch in batches], axis=1))
    return whole


def recut(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The same rows in the same order, cut after rows that their own content chooses.

    Rows that are added or gone change the batch they are in and perhaps the next, wherever the batches that come in
    are cut. 2,048 to 32,768 rows each, 8,192 on average; fewer when they are long, and only the last may be shorter.
    """
    import numpy as np

    pending: list[Batch] = []
    held = held_bytes = 0
    for batch in batches:
        ends = np.flatnonzero(batch.hashes()[0] < _CUT_BELOW) + 1
        lengths = np.cumsum(batch.row_bytes())
        start = 0
        while True:
            low, high = start + MIN_ROWS - held, start + MAX_ROWS - held
            at = int(np.searchsorted(ends, low))
            end = min(int(ends[at]) if at < len(ends) else high, high)
            before = int(lengths[start - 1]) if start else 0
            long = int(np.searchsorted(lengths, before + MAX_BYTES - held_bytes)) + 1
            end = min(end, max(long, start + 1))
            if end > batch.size:
                break
            yield joined([*pending, batch.slice(start, end)])
            pending, held, held_bytes, start = [], 0, 0, end
        if start < batch.size:
            pending.append(batch.slice(start, batch.size))
            held += batch.size - start
            held_bytes += int(lengths[-1]) - (int(lengths[start - 1]) if start else 0)
    if pending:
        yield joined(pending)


def encode(batch: Batch) -> bytes:
    """The bytes of a batch, the same for the same rows however they were put together."""
    parts = [MAGIC, struct.pack("<IH", batch.size, len(batch.columns))]
    for column in batch.columns:
        name = column.name.encode()
        flags = (_HAS_ABSENT if column.absent is not None else 0) | (_HAS_ODD if column.odd else 0)
        parts.append(struct.pack("<H", len(name)) + name + _LETTERS[column.family].encode() + bytes([flags]))
        if column.absent is not None:
            parts.append(column.bitmap())
        if column.odd:
            parts.append(_odd_bytes(column.odd))
        parts += _values_bytes(column)
    return b"".join(parts)


def decode(content: bytes) -> Batch:
    """Raises Damaged when these are not the bytes of a batch."""
    reader = _Reader(content)
    try:
        if reader.take(8) != MAGIC:
            raise Damaged("not a batch of rows, or of a newer ddr", hint="read it with the ddr that wrote it")
        size, count = reader.unpack("<IH")
        columns = tuple(_column(reader, size) for _ in range(count))
        if reader.at != len(content):
            raise ValueError("bytes are left over")
    except (ValueError, KeyError, IndexError, struct.error) as problem:
        raise Damaged(f"a batch of rows is broken: {problem}", hint="`ddr backup verify` says what it touches") from (
            problem
        )
    return Batch(columns, size)


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.content):
            raise ValueError("it ends too early")
        self.at += count
        return self.content[self.at - count : self.at]

    def unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def array(self, kind: str, count: int) -> NDArray[Any]:
        import numpy as np

        return np.frombuffer(self.take(np.dtype(kind).itemsize * count), dtype=kind)


def _odd_bytes(odd: Mapping[int, Cell]) -> bytes:
    parts = [struct.pack("<I", len(odd))]
    for row in sorted(odd):
        tag, payload = rowcells.tagged(odd[row])
        parts.append(struct.pack("<IcI", row, tag, len(payload)) + payload)
    return b"".join(parts)


def _values_bytes(column: rowcells.Column) -> list[bytes]:
    if column.family == "float":
        return [column.present().astype("<f8", copy=False).tobytes()]
    if column.words is None:
        return _ints_bytes(column.present())
    entries, codes = column.used()
    lengths = [len(entry) for entry in entries]
    width = next(width for width in (1, 2, 4) if len(entries) <= 256**width)
    saved = (sum(lengths) + 4 * len(entries)) + width * len(codes)
    head = struct.pack(f"<BI{len(entries)}I", width, len(entries), *lengths)
    if len(entries) < len(codes):
        plain = [entries[code] for code in codes.tolist()] if len(entries) * 2 > len(codes) else None
        if plain is None or saved < sum(map(len, plain)) + 4 * len(plain):
            return [head, *entries, codes.astype(_WIDTHS[width]).tobytes()]
        entries, lengths = plain, [len(entry) for entry in plain]
    return [struct.pack(f"<BI{len(entries)}I", 0, len(entries), *lengths), *entries]


def _width(span: int) -> int:
    return 0 if span == 0 else next(width for width in (1, 2, 4, 8) if span < 256**width)


def _ints_bytes(values: NDArray[Any]) -> list[bytes]:
    import numpy as np

    if not len(values):
        return [struct.pack("<BBq", 0, 0, 0)]
    values = values.astype(np.int64, copy=False)
    low, high = int(values.min()), int(values.max())
    width = _width(high - low)
    if width > 1 and high - low < 2**62:
        steps = np.diff(values)
        step, top = (int(steps.min()), int(steps.max())) if len(steps) else (0, 0)
        if _width(top - step) < width:
            return [
                struct.pack("<BBqq", _width(top - step), 1, int(values[0]), step),
                _offsets(steps, step, _width(top - step)),
            ]
    return [struct.pack("<BBq", width, 0, low), _offsets(values, low, width)]


def _offsets(values: NDArray[Any], base: int, width: int) -> bytes:
    import numpy as np

    if not width:
        return b""
    # Unsigned arithmetic wraps around, which is right also where the span is more than 63 bits.
    return (values.view(np.uint64) - np.uint64(base % 2**64)).astype(_WIDTHS[width]).tobytes()


def _ints(reader: _Reader, count: int) -> NDArray[Any]:
    import numpy as np

    width, delta, base = reader.unpack("<BBq")
    step = reader.unpack("<q")[0] if delta else 0
    read = max(0, count - 1) if delta else count
    offsets = reader.array(_WIDTHS[width], read).astype(np.uint64) if width else np.zeros(read, np.uint64)
    if not delta:
        return (offsets + np.uint64(base % 2**64)).view(np.int64)
    steps = offsets + np.uint64(step % 2**64)
    first = np.array([base % 2**64], dtype=np.uint64)
    return np.cumsum(np.concatenate([first, steps]), dtype=np.uint64).view(np.int64)


def _column(reader: _Reader, size: int) -> rowcells.Column:
    import numpy as np

    name = reader.take(reader.unpack("<H")[0]).decode()
    family = _FAMILIES[reader.take(1).decode()]
    flags = reader.take(1)[0]
    absent = None
    if flags & _HAS_ABSENT:
        bits = np.unpackbits(reader.array("u1", (size + 7) // 8), count=size, bitorder="little")
        absent = bits.astype(np.bool_)
    odd: dict[int, Cell] = {}
    if flags & _HAS_ODD:
        for _ in range(reader.unpack("<I")[0]):
            row, tag, length = reader.unpack("<IcI")
            odd[row] = rowcells.untagged(tag, reader.take(length))
            if row >= size or absent is None or not absent[row]:
                raise ValueError(f"column {name}: the odd cell {row} is not absent")
    count = size if absent is None else size - int(absent.sum())
    if family == "float":
        return rowcells.Column.spread(name, family, size, reader.array("<f8", count), absent, odd)
    if family in ("int", "bool"):
        values = _ints(reader, count)
        if len(values) != count:
            raise ValueError(f"column {name} has {len(values)} values for {count} cells")
        if family == "bool":
            values = values.astype(np.uint8)
        return rowcells.Column.spread(name, family, size, values, absent, odd)
    coding, entries = reader.unpack("<BI")
    ends = np.cumsum(reader.array("<u4", entries), dtype=np.int64).tolist()
    joined_ = reader.take(ends[-1] if ends else 0)
    raw = [joined_[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)] if ends else []
    codes = reader.array(_WIDTHS[coding], count) if coding else np.arange(entries)
    if len(codes) != count or (count and int(codes.max()) >= entries):
        raise ValueError(f"column {name} names values that are not there")
    words = rowcells.Words.of(raw, is_text=family == "text")
    if len(words.values) != entries:  # a plain column says the same text twice: number them again
        codes = np.fromiter(map(words.numbers.__getitem__, rowcells.Words.read(raw, is_text=family == "text")), "u4")
    return rowcells.Column.spread(name, family, size, codes.astype(np.uint32), absent, odd, words)
