"""Listings in byte order from servers that list in another one.

S3 promises keys in the order of their UTF-8 bytes. A server that keeps keys as folders (SeaweedFS) sorts folder by
folder instead: `a/x` comes before `a-b`, though `-` is less than `/`. There, `StartAfter=a-b` skips all of `a/`, and
`StartAfter=a` does too. A listing that leaves keys out would make a journal look shorter than it is, so `ddr` asks
from a place where both orders agree and sorts what arrives.

The orders differ only where one key has `/` and the other a sign below the slash: `-` or `.` by the key rule, a space,
`+` or `(` and more in keys of others.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator

from ddr.errors import Damaged
from ddr.ports import store

_HIDING = re.compile(r"[^/-~]")
_ABOVE_ALL = "~"


def start(prefix: str, after: str) -> str | None:
    """What to send as StartAfter, '' to send none: nothing behind `after` is skipped, a little before it may come.

    None when no key with the prefix sorts behind `after`, so that nothing need be asked. A marker is sent only when
    it begins with the prefix; SeaweedFS up to 4.47 answers any other with an empty listing.
    """
    if not after.startswith(prefix):
        return None if after > prefix else ""
    rest = after[len(prefix) :]
    # From the first sign below the slash on, a folder may hide behind the marker: `a-b` hides `a/`. Beyond ASCII there
    # is not always a sign before a sign.
    rest = _HIDING.split(rest, maxsplit=1)[0].rstrip("/")
    if not rest:
        return ""
    # The place just before the text itself, so that a folder of that very name is not skipped either.
    before = "." if rest[-1] == "0" else chr(ord(rest[-1]) - 1)
    return prefix + rest[:-1] + before + _ABOVE_ALL


def by_bytes(entries: Iterable[store.Entry], prefix: str) -> Iterator[store.Entry]:
    """The entries, from either order into byte order; holds no more than what is below one folder of the prefix.

    Raises Damaged when they come in neither order.
    """
    held: list[store.Entry] = []
    root = last = ""
    for entry in entries:
        name = entry.key[len(prefix) :].partition("/")[0]
        if held and name != root and not (name.startswith(root) and name[len(root)] < "/"):
            last = yield from _released(held, last)
            held = []
        if not held:
            root = name
        held.append(entry)
    yield from _released(held, last)


def _released(held: list[store.Entry], last: str) -> Generator[store.Entry, None, str]:
    for entry in sorted(held, key=lambda entry: entry.key):
        if entry.key <= last:
            raise Damaged(
                f"the listing has {entry.key!r} behind {last!r}: the server does not list in order",
                hint="an S3 directory bucket does not; use a general purpose bucket",
            )
        last = entry.key
        yield entry
    return last
