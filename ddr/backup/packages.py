"""Opens what is packed, piece by piece, so that the search for secrets can look inside.

gzip, bzip2, xz and zstandard as whole files, zip archives member by member, UTF-16 text. Nothing is held but a step of
at most some MiB: whoever reads decides when it was enough.
"""

from __future__ import annotations

import bz2
import codecs
import lzma
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

SNIFF_BYTES = 16
"""So many bytes of a beginning tell what it is."""

Part = tuple[str, bytes]
"""(the member's name for telling parts apart, its next piece)."""

_STEP_BYTES = 1 << 20
_ZSTD_STEP_BYTES = 512  # a block of 4 bytes can stand for 128 KiB
_MOST_MEMORY_BYTES = 256 << 20
_LARGEST_STORED_BYTES = 1 << 20
"""A larger member that is not compressed was searched where it lies; smaller ones vanish among binary neighbours."""


class Broken(Exception):
    """What was packed cannot be read on. Caught here and by the scanner: no user sees it."""


class Unpacking(Protocol):
    done: bool

    def feed(self, packed: bytes) -> Iterator[Part]: ...


class Decoder(Protocol):
    """One compressed stream."""

    eof: bool
    unused: bytes

    def feed(self, packed: bytes) -> Iterator[bytes]: ...


class _Zlib:
    def __init__(self, window: int) -> None:
        self._at_work = zlib.decompressobj(window)
        self.eof, self.unused = False, b""

    def feed(self, packed: bytes) -> Iterator[bytes]:
        while packed and not self.eof:
            try:
                plain = self._at_work.decompress(packed, _STEP_BYTES)
            except zlib.error as problem:
                raise Broken from problem
            packed = self._at_work.unconsumed_tail
            self.eof, self.unused = self._at_work.eof, self._at_work.unused_data
            yield plain


class _Bounded:
    """bzip2 and xz: the two have the same ways."""

    def __init__(self, at_work: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> None:
        self._at_work = at_work
        self.eof, self.unused = False, b""

    def feed(self, packed: bytes) -> Iterator[bytes]:
        while not self.eof:
            try:
                plain = self._at_work.decompress(packed, _STEP_BYTES)
            except (OSError, EOFError, ValueError, lzma.LZMAError) as problem:
                raise Broken from problem
            packed = b""
            self.eof, self.unused = self._at_work.eof, self._at_work.unused_data
            yield plain
            if self._at_work.needs_input:
                return


class _Zstd:
    def __init__(self) -> None:
        import zstandard

        self._problem = zstandard.ZstdError
        self._at_work = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        self.eof, self.unused = False, b""

    def feed(self, packed: bytes) -> Iterator[bytes]:
        for at in range(0, len(packed), _ZSTD_STEP_BYTES):
            try:
                plain = self._at_work.decompress(packed[at : at + _ZSTD_STEP_BYTES])
            except self._problem as problem:
                raise Broken from problem
            if self._at_work.eof:
                self.eof, self.unused = True, self._at_work.unused_data + packed[at + _ZSTD_STEP_BYTES :]
            yield plain
            if self.eof:
                return


class _File:
    """A compressed file: one stream, or several behind each other."""

    def __init__(self, magic: bytes, decoder: Callable[[], Decoder]) -> None:
        self._magic, self._make = magic, decoder
        self._decoder = decoder()
        self._between = b""
        self.done = False

    def feed(self, packed: bytes) -> Iterator[Part]:
        while packed and not self.done:
            if self._decoder.eof:
                packed, self._between = (self._between + packed).lstrip(b"\0"), b""
                if len(packed) < len(self._magic):
                    self._between = packed
                    return
                if not packed.startswith(self._magic):
                    self.done = True
                    return
                self._decoder = self._make()
            for plain in self._decoder.feed(packed):
                yield "", plain
            packed = self._decoder.unused


class _Zip:
    """Members in the order in which they lie, without the directory at the end: nothing has to be held for it."""

    _HEADER = struct.Struct("<4sHHHHHIIIHH")
    _SIGNATURE = re.compile(rb"PK(?:\x03\x04|\x01\x02)")

    def __init__(self) -> None:
        self.done = False
        self._buffer = b""
        self._number = 0
        self._decoder: Decoder | None = None
        self._left_bytes = 0
        self._stored = False

    def feed(self, packed: bytes) -> Iterator[Part]:
        self._buffer += packed
        while self._buffer and not self.done:
            if self._decoder is not None:
                yield from self._decoded(self._decoder)
            elif self._left_bytes:
                piece, self._buffer = self._buffer[: self._left_bytes], self._buffer[self._left_bytes :]
                self._left_bytes -= len(piece)
                if self._stored:
                    yield str(self._number), piece
            elif not self._begin():
                return

    def _decoded(self, decoder: Decoder) -> Iterator[Part]:
        packed, self._buffer = self._buffer, b""
        try:
            for plain in decoder.feed(packed):
                yield str(self._number), plain
        except Broken:
            self._decoder = None  # on with the next member
            return
        if decoder.eof:
            self._buffer, self._decoder = decoder.unused, None

    def _begin(self) -> bool:
        """The next member's header. False where it has not come whole."""
        found = self._SIGNATURE.search(self._buffer)
        if found is None:
            self._buffer = self._buffer[-3:]
            return False
        self._buffer = self._buffer[found.start() :]
        if self._buffer.startswith(b"PK\x01\x02"):
            self.done = True
            return False
        if len(self._buffer) < self._HEADER.size:
            return False
        _, _, flags, method, _, _, _, packed_bytes, _, name_bytes, more_bytes = self._HEADER.unpack_from(self._buffer)
        whole = self._HEADER.size + name_bytes + more_bytes
        if len(self._buffer) < whole:
            return False
        self._buffer = self._buffer[whole:]
        self._number += 1
        is_open = not flags & 1
        if is_open and method in _METHODS:
            self._decoder = _METHODS[method]()
        elif packed_bytes != 0xFFFFFFFF:
            self._left_bytes = packed_bytes
            self._stored = is_open and method == 0 and packed_bytes <= _LARGEST_STORED_BYTES
        return True


_METHODS: dict[int, Callable[[], Decoder]] = {
    8: lambda: _Zlib(-15),
    12: lambda: _Bounded(bz2.BZ2Decompressor()),
    93: _Zstd,
}


class _Wide:
    """UTF-16, narrowed to UTF-8."""

    def __init__(self, codec: str) -> None:
        self.done = False
        self._decoder = codecs.getincrementaldecoder(codec)("replace")

    def feed(self, packed: bytes) -> Iterator[Part]:
        for at in range(0, len(packed), _STEP_BYTES):
            yield "", self._decoder.decode(packed[at : at + _STEP_BYTES]).encode("utf-8", "replace")


def gzip() -> Unpacking:
    return _File(b"\x1f\x8b\x08", lambda: _Zlib(31))


def begun(head: bytes) -> tuple[str, Unpacking] | None:
    """(its form, what opens it) for a text that begins so, None for one that is not packed."""
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip", gzip()
    if head.startswith(b"PK\x03\x04"):
        return "zip", _Zip()
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":
        return "bzip2", _File(b"BZh", lambda: _Bounded(bz2.BZ2Decompressor()))
    if head.startswith(b"\xfd7zXZ\0"):
        return "xz", _File(b"\xfd7zXZ\0", _xz)
    if head.startswith(b"\x5d\0\0") and head[5:13] == b"\xff" * 8:
        return "lzma", _File(b"\x5d\0\0", _xz)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd", _File(b"\x28\xb5\x2f\xfd", _Zstd)
    codec = _wide(head[:512])
    return ("UTF-16", _Wide(codec)) if codec else None


def _xz() -> Decoder:
    return _Bounded(lzma.LZMADecompressor(memlimit=_MOST_MEMORY_BYTES))


_PRINTED = bytes(range(32, 127)) + b"\t\n\r"


def _wide(head: bytes) -> str:
    """The codec of UTF-16 text, '' for what is none: known by its mark, or by ASCII letters between zeros."""
    if head.startswith(codecs.BOM_UTF16_LE) and not head.startswith(codecs.BOM_UTF32_LE):
        return "utf-16-le"
    if head.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    if len(head) < 8 or b"\0" not in head[:4]:
        return ""
    for codec, letters, zeros in (("utf-16-le", head[::2], head[1::2]), ("utf-16-be", head[1::2], head[::2])):
        if zeros.count(0) >= 0.9 * len(zeros) and len(letters.translate(None, _PRINTED)) <= 0.1 * len(letters):
            return codec
    return ""
