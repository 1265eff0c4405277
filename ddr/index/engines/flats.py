"""Where vectors and ids lie in a flat part, so that they are read piece by piece.

The file of an IndexIDMap over an IndexFlat is a head that depends on the dimension alone, the count of numbers,
the numbers, the count of ids, the ids (faiss/impl/index_write.cpp).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from ddr.errors import Conflict
from ddr.index.engines import engine, lists

COUNTS = 16
"""Bytes of the two counts, with which the file of an empty one ends."""
PIECE_ROWS = 1 << 16
"""Rows that go into a graph at once: fixed, so that the graph does not depend on how the corpus was cut."""

Piece: TypeAlias = tuple[engine.Labels, engine.Vectors]


def rows(path: Path, head: int, dimension: int) -> int:
    """How many a part has. Conflict when it is none of this shape."""
    with path.open("rb", buffering=0) as file:
        return _counted(file, head, dimension)


def pieces(parts: Sequence[Path], head: int, dimension: int) -> Iterator[Piece]:
    """The rows of flat parts in pieces of one size, however the corpus was cut."""
    kept: list[Piece] = []
    held = 0
    for path in parts:
        with path.open("rb", buffering=0) as file:
            rows = _counted(file, head, dimension)
            start = 0
            while start < rows:
                stop = min(rows, start + PIECE_ROWS - held)
                kept.append(_slice(file, head, dimension, (rows, start, stop)))
                held, start = held + stop - start, stop
                if held == PIECE_ROWS:
                    yield _joined(kept)
                    kept, held = [], 0
    if held:
        yield _joined(kept)


def _counted(file: BinaryIO, head: int, dimension: int) -> int:
    """Rows of a flat part: behind its head stand the count of numbers, these, the count of ids, these."""
    (numbers,) = lists.read_at(file, head, 8).view("<u8").tolist()
    rows = int(numbers) // dimension
    if head + COUNTS + 4 * int(numbers) + 8 * rows != os.fstat(file.fileno()).st_size or int(numbers) % dimension:
        raise Conflict(f"{file.name} is no part of a flat index of this shape", hint="build this part again")
    return rows


def _slice(file: BinaryIO, head: int, dimension: int, where: tuple[int, int, int]) -> Piece:
    rows, start, stop = where
    vectors = lists.read_at(file, head + 8 + 4 * dimension * start, 4 * dimension * (stop - start))
    ids = lists.read_at(file, head + COUNTS + 4 * dimension * rows + 8 * start, 8 * (stop - start))
    return ids.view(np.int64), vectors.view(np.float32).reshape(-1, dimension)


def _joined(pieces: Sequence[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate([ids for ids, _ in pieces]), np.concatenate([rows for _, rows in pieces])
