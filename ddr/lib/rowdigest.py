"""A digest of a table that is the same in every order of rows and columns and in every SQL dialect.

The formula, version 1. All arithmetic is unsigned and modulo 2^64; a *word of lanes* are four u64 numbers k = 0..3.

    mix(x)      x ^= x >> 30; x *= 0xbf58476d1ce4e5b9; x ^= x >> 27; x *= 0x94d049bb133111eb; x ^= x >> 31
    lanes(b)    BLAKE3 of the bytes b, 32 bytes, read as four little-endian u64
    seed        lanes("ddr row digest 1 column " + column name in UTF-8), four u64 a column
    cell_k      int, bool   mix(x ^ seed_k)            x: the number in two's complement; false 0, true 1
                float       mix(mix(x ^ seed_k) + 1)   x: bits of the double; -0.0 as 0.0, NaN 0x7ff8000000000000
                other       mix(lanes(w)_k ^ seed_k)   w: b"n" NULL, b"t" + UTF-8 text, b"x" + bytes,
                                                          b"i" + decimal digits of an int beyond 64 bits
    row_k       mix(sum of cell_k over the columns)
    table_k     sum of row_k over the rows

The kind of a cell counts and not the family of its column, so an int in a text column is hashed as an int. Written as
`rows1:<number of rows>:<table_0 .. table_3, 16 hex digits each>`.

This tells tables apart that differ by accident, by a lost or doubled row, by a wrong cell. It does not keep out
somebody who builds a table on purpose: that is what the ids of the chunks are for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from ddr.lib import rowbatch, rowcells

VERSION = "rows1"
_SEED = b"ddr row digest 1 column "
_M1, _M2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_NAN = 0x7FF8000000000000
_BLOCK = 16384  # rows worked on at a time: their lanes stay in the cache


class Sum:
    """Adds up batches of one table, in any order and however they are cut."""

    def __init__(self) -> None:
        self.rows = 0
        self._lanes = [0, 0, 0, 0]

    def add(self, batch: rowbatch.Batch) -> None:
        sums = batch.hashes().sum(axis=1).tolist()
        self._lanes = [(old + new) % 2**64 for old, new in zip(self._lanes, sums, strict=True)]
        self.rows += batch.size

    @property
    def digest(self) -> str:
        return f"{VERSION}:{self.rows}:" + "".join(f"{lane:016x}" for lane in self._lanes)


def of_batches(batches: Iterable[rowbatch.Batch]) -> str:
    """The digest of all these rows together."""
    total = Sum()
    for batch in batches:
        total.add(batch)
    return total.digest


def of_words(words: Sequence[str | bytes]) -> NDArray[numpy.uint64]:
    """`lanes(w)` of texts and bytes values, an array of 4 times their number."""
    import blake3
    import numpy as np

    hashed = blake3.blake3
    tagged = [
        b"t" + word.encode("utf-8", "surrogateescape") if isinstance(word, str) else b"x" + word for word in words
    ]
    joined = b"".join([hashed(word).digest() for word in tagged])
    return np.ascontiguousarray(np.frombuffer(joined, dtype="<u8").reshape(-1, 4).T).astype(np.uint64, copy=False)


def of_rows(columns: Sequence[rowcells.Column], size: int) -> NDArray[numpy.uint64]:
    """`row_k` of every row, an array of 4 times `size`."""
    import numpy as np

    rows = np.zeros((4, size), dtype=np.uint64)
    for column in columns:
        _add(column, rows)
    _mix(rows)
    return rows


def _add(column: rowcells.Column, rows: NDArray[numpy.uint64]) -> None:
    import numpy as np

    seed = _lanes(_SEED + column.name.encode())
    if column.words is not None:
        _add_words(column, rows, seed)
    else:
        for start in range(0, rows.shape[1], _BLOCK):
            block = slice(start, start + _BLOCK)
            values = _bits(column, column.data[block])
            for lane in range(4):
                cell = values ^ np.uint64(seed[lane])
                _mix(cell)
                if column.family == "float":
                    cell += np.uint64(1)
                    _mix(cell)
                if column.absent is not None:
                    cell[column.absent[block]] = 0
                rows[lane, block] += cell
    if column.absent is None:
        return
    null = _hashed(None, seed)
    absent = column.absent.nonzero()[0]
    for lane in range(4):
        rows[lane, absent] += np.uint64(null[lane])
    if column.odd:
        at = np.fromiter(column.odd, dtype=np.int64)
        hashed = [_hashed(value, seed) for value in column.odd.values()]
        for lane in range(4):
            rows[lane, at] += np.array([(one[lane] - null[lane]) % 2**64 for one in hashed], dtype=np.uint64)


def _add_words(column: rowcells.Column, rows: NDArray[numpy.uint64], seed: Sequence[int]) -> None:
    """Each word is mixed once, the cells take it by its number."""
    import numpy as np

    assert column.words is not None
    codes = column.data
    lanes = column.words.lanes()
    if not lanes.shape[1] or not len(codes):
        return
    low, high = int(codes.min()), int(codes.max()) + 1
    is_rare = high - low > 4 * len(codes)  # a few cells out of a long list: mix the cells, not the list
    for lane in range(4):
        cell = (lanes[lane][codes] if is_rare else lanes[lane, low:high]) ^ np.uint64(seed[lane])
        _mix(cell)
        if not is_rare:
            cell = cell[codes - np.uint32(low)]
        if column.absent is not None:
            cell[column.absent] = 0
        rows[lane] += cell


def _bits(column: rowcells.Column, data: NDArray[Any]) -> NDArray[numpy.uint64]:
    import numpy as np

    if column.family != "float":
        return data.astype(np.int64, copy=False).view(np.uint64)
    values = data + 0.0  # -0.0 becomes 0.0
    bits = values.view(np.uint64)
    bits[np.isnan(values)] = _NAN
    return bits


def _mix(x: NDArray[numpy.uint64]) -> None:
    """In place."""
    import numpy as np

    x ^= x >> np.uint64(30)
    x *= np.uint64(_M1)
    x ^= x >> np.uint64(27)
    x *= np.uint64(_M2)
    x ^= x >> np.uint64(31)


def _mixed(x: int) -> int:
    x ^= x >> 30
    x = x * _M1 % 2**64
    x ^= x >> 27
    x = x * _M2 % 2**64
    return x ^ x >> 31


def _lanes(content: bytes) -> Sequence[int]:
    import blake3

    return struct.unpack("<4Q", blake3.blake3(content).digest())


def _hashed(value: rowcells.Cell, seed: Sequence[int]) -> Sequence[int]:
    """`cell_k` of one value, as the formula says it."""
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return [_mixed(value % 2**64 ^ lane) for lane in seed]
    if isinstance(value, float):
        bits = _NAN if value != value else int.from_bytes(struct.pack("<d", value + 0.0), "little")
        return [_mixed((_mixed(bits ^ lane) + 1) % 2**64) for lane in seed]
    if value is None:
        word = b"n"
    elif isinstance(value, int):
        word = b"i" + str(value).encode()
    elif isinstance(value, str):
        word = b"t" + value.encode("utf-8", "surrogateescape")
    else:
        word = b"x" + bytes(value)
    return [_mixed(hashed ^ lane) for hashed, lane in zip(_lanes(word), seed, strict=True)]
