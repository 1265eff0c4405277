"""Where content is cut, and what a piece of it is called.

Cut points are part of the format: FastCDC 2020 with the gear table of its authors, normalization 1, at three average
sizes. Golden vectors in the tests watch that another version of the library cuts alike; were it not to, old
snapshots stay readable (a snapshot names its chunks), only new ones would share less with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

import blake3

if TYPE_CHECKING:
    import pyfastcdc

ID_BYTES = 32

LARGE = 1 << 20
"""Average cut size of files above `CUT_FROM`: 512 KiB to 4 MiB."""

SMALL = 1 << 16
"""Average cut size of listings and streams: 32 KiB to 256 KiB; what changes in them is small."""

CUT_FROM = 4 << 20
"""Files up to this size are one chunk."""

MOST = 4 << 20
"""No chunk is larger, but one row of a table whose cells are."""

_BUFFER = 16 << 20


def id_of(key: bytes, content: bytes | memoryview) -> bytes:
    """32 bytes: BLAKE3 of the content, keyed."""
    return blake3.blake3(content, key=key).digest()


def are(key: bytes, sized: Sequence[tuple[bytes, int]], pieces: Iterable[bytes]) -> bool:
    """Whether the pieces, joined, are these chunks one after the other, each an id and a size in bytes."""
    wanted = iter(sized)
    chunk, left, seen = b"", 0, blake3.blake3(key=key)
    for piece in pieces:
        view = memoryview(piece)
        while view:
            if not left:
                chunk, left = next(wanted, (b"", 0))
                if not left:
                    return False
                seen = blake3.blake3(key=key)
            part, view = view[:left], view[left:]
            seen.update(part)
            left -= len(part)
            if not left and seen.digest() != chunk:
                return False
    return not left and next(wanted, None) is None


def cutter(average: int) -> pyfastcdc.FastCDC:
    import pyfastcdc

    return pyfastcdc.FastCDC(
        avg_size=average, min_size=average // 2, max_size=average * 4, normalized_chunking=1, seed=0
    )


def cut_file(file: BinaryIO, buffer: bytearray) -> Iterator[bytes]:
    """The pieces of a file opened without buffering, through `buffer`, which is used again for the next file."""
    cuts = cutter(LARGE)
    view = memoryview(buffer)
    held = 0
    while True:
        read = file.readinto(view[held:])  # type: ignore[attr-defined]
        if not read and not held:
            return
        have, is_end = held + (read or 0), not read
        used = 0
        for piece in cuts.cut_buf(view[:have]):
            if not is_end and piece.offset + piece.length == have:
                break  # where it ends depends on what comes next
            yield bytes(view[piece.offset : piece.offset + piece.length])
            used = piece.offset + piece.length
        held = have - used
        view[:held] = bytes(view[used:have])
        if is_end:
            return


def new_buffer() -> bytearray:
    return bytearray(_BUFFER)


def cut_stream(pieces: Iterable[bytes], average: int = SMALL) -> Iterator[bytes]:
    """The same content in any pieces is cut at the same places."""
    cuts = cutter(average)
    held = b""
    for piece in pieces:
        held += piece
        if len(held) < 8 * average:
            continue
        used = 0
        for cut in cuts.cut_buf(held):
            if cut.offset + cut.length == len(held):
                break
            yield held[cut.offset : cut.offset + cut.length]
            used = cut.offset + cut.length
        held = held[used:]
    for cut in cuts.cut_buf(held) if held else ():
        yield held[cut.offset : cut.offset + cut.length]
