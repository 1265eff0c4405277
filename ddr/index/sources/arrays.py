"""Vectors in `.npy` and `.fbin`: a short header, then rows of numbers. Nothing in them is ever unpickled."""

from __future__ import annotations

import io
import math
import tokenize
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ddr.errors import InputError
from ddr.index.sources import places

_LONGEST_HEADER_BYTES = 64 << 10
_NO_HEADER = (ValueError, SyntaxError, TypeError, tokenize.TokenError, RecursionError, MemoryError)
"""What numpy raises for a header that is none: it is parsed as a literal, and tried again as one of Python 2."""
_KINDS = ("f2", "f4", "f8", "i1", "u1", "i2", "u2")
"""What a float32 holds, or is made from in one rounding."""
_BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Header:
    """`offset_bytes` is where the first row begins."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    offset_bytes: int


def npy(readable: places.Readable) -> Header:
    """The header of an `.npy` of any shape. InputError when it is none, is pickled, or has not the size it states."""
    uri, size = readable.place.uri, readable.place.size_bytes
    content = places.read(readable, 0, min(size, _LONGEST_HEADER_BYTES))
    if not content.startswith(b"\x93NUMPY"):
        raise InputError(f"{uri} is no .npy file: it begins with {content[:6]!r}", hint="write it with numpy.save")
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = reader(file)
    except _NO_HEADER as problem:
        raise InputError(f"{uri}: the header is damaged or cut off", hint="write the file again") from problem
    if dtype.hasobject:
        raise InputError(
            f"{uri} has pickled objects, which are never read", hint="save numbers: array.astype('float32')"
        )
    if any(not isinstance(length, int) or length < 0 for length in shape):
        raise InputError(f"{uri}: {shape} is no shape", hint="write the file again")
    if is_fortran and len(shape) > 1:
        raise InputError(
            f"{uri} lies column by column (Fortran order), so that a row cannot be read alone",
            hint="save numpy.ascontiguousarray(array)",
        )
    _check_size(uri, size, file.tell() + math.prod(shape) * dtype.itemsize, f"{shape} of {dtype}")
    return Header(dtype, tuple(shape), file.tell())


def fbin(readable: places.Readable) -> Header:
    """Two 32-bit numbers, rows and dimension, then float32. InputError when the file has another size."""
    uri, size = readable.place.uri, readable.place.size_bytes
    if size < 8:
        raise InputError(f"{uri} has {size} bytes, the header alone has 8", hint="write the file again")
    rows, dimension = (int(x) for x in np.frombuffer(places.read(readable, 0, 8), "<u4"))
    _check_size(uri, size, 8 + 4 * rows * dimension, f"{rows} rows of {dimension} float32")
    return Header(np.dtype("<f4"), (rows, dimension), 8)


def _check_size(uri: str, found: int, stated: int, what: str) -> None:
    if found != stated:
        raise InputError(
            f"{uri} has {found} bytes, its header says {stated} ({what}): "
            f"it {'was cut off' if found < stated else 'has more than its header knows'}",
            hint="write or fetch it again",
        )


def check_vectors(uri: str, header: Header) -> None:
    """InputError unless these are rows of numbers that become float32."""
    if len(header.shape) != 2 or header.shape[1] < 1:
        raise InputError(f"{uri} has the shape {header.shape}", hint="vectors are an array of rows x dimension")
    if header.dtype.str[1:] not in _KINDS:
        raise InputError(
            f"{uri} has numbers of {header.dtype}", hint="float16, float32, float64, int8, uint8, int16 and uint16 go"
        )


class Rows:
    """Rows of an array in a file, of any number of columns, any dtype."""

    def __init__(self, readable: places.Readable, header: Header) -> None:
        self._readable = readable
        self._header = header
        self._columns = math.prod(header.shape[1:])
        self._row_bytes = self._columns * header.dtype.itemsize

    def raw(self, start: int, stop: int) -> NDArray[np.generic]:
        found = np.empty((stop - start, self._columns), self._header.dtype)
        if found.size:
            at = self._header.offset_bytes + start * self._row_bytes
            self._readable.read_into(at, found.reshape(-1).view(np.uint8).data)
        return found

    def float32(self, start: int, stop: int) -> NDArray[np.float32]:
        """Other numbers are converted block by block: no second copy of what was asked for."""
        if self._header.dtype == np.dtype("=f4"):
            return self.raw(start, stop).view(np.float32)
        found = np.empty((stop - start, self._columns), np.float32)
        step = max(1, _BLOCK_BYTES // self._row_bytes)
        for at in range(start, stop, step):
            end = min(at + step, stop)
            to_float32(self.raw(at, end), found[at - start : end - start])
        return found


def to_float32(rows: NDArray[np.generic], target: NDArray[np.float32]) -> None:
    """A float64 that is too large becomes infinite, and is found by the scan."""
    with np.errstate(over="ignore", invalid="ignore"):
        target[...] = rows
