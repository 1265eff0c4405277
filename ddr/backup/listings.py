"""Folders as chunks: a listing names what is in one folder, a folder in it by the chunks of its own listing.

A listing is JSON, one object for each entry in the order of their names' bytes. Unchanged folders give the same
bytes, so the same chunks: they are stored once.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from ddr.backup import chunks, packs, reading, writing
from ddr.errors import Damaged
from ddr.ports import restorable


class Entry(msgspec.Struct, omit_defaults=True):
    """`n` name (`b` its base64 where it is no UTF-8), `k` kind, `s` size, `t` mtime in ns, `m` mode, `c` chunks,
    `to` where a link points (`tb` as `b`), `x` the mark by which a file is known to be unchanged."""

    n: str
    k: Literal["f", "d", "l"] = "f"
    s: int = 0
    t: int = 0
    m: int = 0
    c: tuple[str, ...] = ()
    to: str = ""
    x: str = ""
    b: str = ""
    tb: str = ""

    @property
    def name(self) -> str:
        """As the operating system's functions take it."""
        return _unspelled(self.n, self.b)

    @property
    def target(self) -> str:
        """As `name`."""
        return _unspelled(self.to, self.tb)

    def chunk_ids(self) -> list[bytes]:
        return [bytes.fromhex(one) for one in self.c]


KINDS: dict[str, restorable.Kind] = {"f": "file", "d": "folder", "l": "link"}
_LETTERS: dict[str, Literal["f", "d", "l"]] = {"file": "f", "folder": "d", "link": "l"}
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(list[Entry])


def entry_of(seen: restorable.FileSeen, ids: Sequence[bytes] = ()) -> Entry:
    """The listing's entry for what was seen."""
    name = seen.path.rpartition("/")[2]
    plain, coded = _spelled(name)
    target, coded_target = _spelled(seen.target if seen.kind == "link" else "")
    return Entry(
        plain,
        _LETTERS[seen.kind],
        seen.size_bytes,
        seen.mtime_ns,
        seen.mode,
        tuple(one.hex() for one in ids),
        target,
        seen.mark,
        coded,
        coded_target,
    )


def _spelled(name: str) -> tuple[str, str]:
    try:
        name.encode()
        return name, ""
    except UnicodeEncodeError:
        raw = name.encode("utf-8", "surrogateescape")
        return raw.decode("utf-8", "replace"), base64.b64encode(raw).decode()


def _unspelled(plain: str, coded: str) -> str:
    return base64.b64decode(coded).decode("utf-8", "surrogateescape") if coded else plain


def write(to: writing.Writer, entries: list[Entry]) -> tuple[bytes, ...]:
    """Store one folder's listing; its chunks."""
    return tuple(to.add(piece, packs.LISTING) for piece in chunks.cut_stream([_ENCODER.encode(entries)]))


def read(of: reading.Reader, ids: Sequence[bytes]) -> list[Entry]:
    """Raises Damaged."""
    if not ids:
        return []
    try:
        return _DECODER.decode(of.content(ids))
    except msgspec.MsgspecError as problem:
        raise Damaged(f"a folder's listing is damaged: {problem}", hint="`ddr backup verify` says which") from problem


def walk(of: reading.Reader, root: Sequence[bytes], below: str = "") -> Iterator[tuple[str, Entry]]:
    """Every entry with its path; a folder comes before what is in it."""
    for entry in read(of, root):
        path = f"{below}{entry.name}"
        yield path, entry
        if entry.k == "d":
            yield from walk(of, entry.chunk_ids(), f"{path}/")


def stored_of(path: str, entry: Entry) -> restorable.FileStored:
    return restorable.FileStored(path, KINDS[entry.k], entry.s, entry.t, entry.m, entry.target)
