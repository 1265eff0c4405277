"""Where inverted lists lie in a file of faiss, so that parts are merged as they lie on the disk.

All three IVF kinds end their file with `ilar`: number of lists, bytes of a code, sizes, then for each list that has
rows its codes and its ids (faiss/impl/index_write.cpp, write_InvertedLists). What stands before does not depend on
the rows, apart from their number. So the merge of parts is one header, the sums of their sizes, and list by list the
pieces of each part in order: the same bytes as if one process had added all, in memory for one block of lists.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ddr.errors import Damaged

_MARK = b"ilar"
_HEAD = struct.Struct("<4sQQ4s")  # mark, lists, bytes of a code, how sizes are kept
_COUNT = struct.Struct("<Q")
_FULL, _SPARSE = b"full", b"sprs"
_EMPTY = _HEAD.size + _COUNT.size
_ID_BYTES = 8
_BLOCK_BYTES = 32 << 20
_MOST_OPEN = 32  # a process may have 256 files open on some systems, 1,024 on most

Sizes = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Layout:
    """`sizes`: rows of each list; their codes and ids begin at `data` of the file."""

    lists: int
    code_bytes: int
    sizes: Sizes
    data: int

    @property
    def offsets(self) -> Sizes:
        """Where each list begins in the file, and where the last one ends."""
        return self.data + np.concatenate(([0], np.cumsum(self.sizes * (self.code_bytes + _ID_BYTES))))


def header_bytes(trained: bytes) -> int:
    """How much of an index without rows stands before its lists. Damaged when it does not end with empty lists."""
    start = len(trained) - _EMPTY
    if start < 0 or trained[start : start + 4] != _MARK or trained[-12:] != _SPARSE + bytes(8):
        raise Damaged("the trained index does not end with empty lists")
    return start


def layout(path: Path, header: int) -> Layout:
    """The lists of a part whose header has this many bytes. Damaged when the file is not as long as its sizes say."""
    with path.open("rb") as file:
        file.seek(header)
        mark, lists, code_bytes, how = _HEAD.unpack(_exactly(file.read(_HEAD.size), _HEAD.size, path))
        (count,) = _COUNT.unpack(_exactly(file.read(_COUNT.size), _COUNT.size, path))
        if mark != _MARK or how not in (_FULL, _SPARSE) or count > 2 * lists:
            raise Damaged(f"{path} has no inverted lists where they belong", hint="build this part again")
        told = np.frombuffer(_exactly(file.read(count * 8), count * 8, path), np.uint64)
        data = file.tell()
    sizes = _full(told, how, lists, path)
    found = Layout(lists, code_bytes, sizes, data)
    if found.offsets[-1] != path.stat().st_size:
        raise Damaged(f"{path} has {path.stat().st_size} bytes, its lists say {found.offsets[-1]}")
    return found


def _full(told: npt.NDArray[np.uint64], how: bytes, lists: int, path: Path) -> Sizes:
    sizes = np.zeros(lists, np.int64)
    if how == _FULL and len(told) == lists:
        sizes[:] = told
    elif how == _SPARSE and len(told) % 2 == 0 and (not len(told) or told[0::2].max() < lists):
        sizes[told[0::2].astype(np.int64)] = told[1::2]
    else:
        raise Damaged(f"{path} has sizes of other lists than its own")
    if (sizes < 0).any() or (sizes > path.stat().st_size).any():
        raise Damaged(f"{path} has lists that are longer than the file")
    return sizes


def _exactly(content: bytes, size: int, path: Path) -> bytes:
    if len(content) != size:
        raise Damaged(f"{path} ends before its lists")
    return content


def heading(lists: int, code_bytes: int, sizes: Sizes) -> bytes:
    """What stands before the codes, as faiss writes it: pairs where half of the lists or more are empty."""
    filled = np.flatnonzero(sizes)
    if len(filled) > lists // 2:
        how, told = _FULL, sizes
    else:
        how, told = _SPARSE, np.stack([filled, sizes[filled]], axis=1).ravel()
    return _HEAD.pack(_MARK, lists, code_bytes, how) + _COUNT.pack(len(told)) + told.astype("<u8").tobytes()


def merged(
    parts: Sequence[Path],
    layouts: Sequence[Layout],
    write: Callable[[memoryview], None],
    tell: Callable[[int], None],
) -> None:
    """All lists of all parts, list by list, in the order of the parts. `tell`: called with the rows so far.

    The first parts stay open, others are opened for each block: thousands of parts are no thousands of open files.
    """
    first = layouts[0]
    total = np.sum([found.sizes for found in layouts], axis=0)
    write(memoryview(heading(first.lists, first.code_bytes, total)))
    if not total.any():
        return
    starts = [found.offsets for found in layouts]
    row = first.code_bytes + _ID_BYTES
    with contextlib.ExitStack() as stack:
        # Read, not mapped: a map's pages count as this process's memory, and a file that shrinks kills who looks.
        sources: list[BinaryIO | Path] = [
            stack.enter_context(path.open("rb", buffering=0)) for path in parts[:_MOST_OPEN]
        ]
        sources += parts[_MOST_OPEN:]
        for begin, end in _blocks(total * row):
            block = np.empty(int(total[begin:end].sum()) * row, np.uint8)
            _gather(block, begin, end, sources, starts, layouts)
            write(block.data)
            tell(int(total[:end].sum()))


def _blocks(sizes: Sizes) -> Iterator[tuple[int, int]]:
    """Ranges of lists of about one block each."""
    ends = np.cumsum(sizes)
    begin = 0
    while begin < len(sizes):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + _BLOCK_BYTES, side="right")))
        yield begin, end
        begin = end


def _gather(
    block: Bytes,
    begin: int,
    end: int,
    sources: Sequence[BinaryIO | Path],
    starts: Sequence[Sizes],
    layouts: Sequence[Layout],
) -> None:
    """Codes of a list from all parts, then its ids from all parts, list after list."""
    code = layouts[0].code_bytes
    pieces = []
    for source, start, found in zip(sources, starts, layouts, strict=True):
        first = int(start[begin])
        content = _read(source, first, int(start[end]) - first)
        pieces.append((content, (start[begin:end] - first).tolist(), found.sizes[begin:end].tolist()))
    at = 0
    for number in range(end - begin):
        for content, start, rows in pieces:
            size = rows[number] * code
            block[at : at + size] = content[start[number] : start[number] + size]
            at += size
        for content, start, rows in pieces:
            size, ids = rows[number] * _ID_BYTES, start[number] + rows[number] * code
            block[at : at + size] = content[ids : ids + size]
            at += size


def _read(source: BinaryIO | Path, start: int, size: int) -> Bytes:
    if not isinstance(source, Path):
        return read_at(source, start, size)
    with source.open("rb", buffering=0) as file:
        return read_at(file, start, size)


def read_at(file: BinaryIO, start: int, size: int) -> Bytes:
    """These bytes of the file, Damaged when it is shorter."""
    content = np.empty(size, np.uint8)
    view, done = content.data, 0
    file.seek(start)
    while done < size:
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise Damaged(f"{file.name} ends at byte {start + done}", hint="build this part again")
        done += count
    return content
