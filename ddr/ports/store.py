"""Keys and bytes. The one thing ddr needs to have: a folder, a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ddr.errors import Conflict, Unavailable


class Exists(Conflict):
    """`create` found the key taken."""


class Unusable(Unavailable):
    """Unavailable until a person acts: wrong credentials, no such bucket, a read-only folder. Waiting is no use."""


class Absent(Unusable):
    """The place of the store itself is not there: a disk that is not mounted, a folder that was moved away."""


@dataclass(frozen=True)
class Entry:
    """A key with the size of its bytes and the version token that `swap` wants back."""

    key: str
    size_bytes: int
    version: str


@runtime_checkable
class Store(Protocol):
    """Keys are `a/b/c` of [A-Za-z0-9._-], at most 512 characters; no part is empty, begins with a dot or is
    longer than 200 characters. No key is or was the folder of another (`a` and `a/b`). InputError otherwise.

    Every method may raise Unavailable (temporary; the effect of a write is then unknown) and may be repeated.
    Writes are durable when they return and atomic for every reader.
    """

    name: str
    """For people: `local:/path`, `s3://bucket/prefix`."""

    is_shared: bool
    """Whether other machines may write to it at the same time."""

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        """The bytes, or `size` of them from `start`; fewer at the end. Missing when the key is not there."""
        ...

    def head(self, key: str) -> Entry | None:
        """What is there, None when nothing."""
        ...

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Entries whose key begins with `prefix` and sorts behind `after`, in order of their UTF-8 bytes.

        Has every key that was there before and stays. Of two keys made while it runs it may have the later one
        alone: whoever sees a gap looks again before believing it.
        """
        ...

    def create(self, key: str, content: bytes) -> Entry:
        """Write if the key is not there. Exists when it is: of two at once exactly one wins."""
        ...

    def swap(self, key: str, content: bytes, expect: str) -> Entry:
        """Replace what has version `expect`. Conflict when another version or nothing is there.

        Different bytes have different versions. Whether A that became B and A again has a new one is up to the
        store (S3: no): bytes that must not repeat carry a counter.
        """
        ...

    def delete(self, key: str) -> None:
        """Absent afterwards; deleting what is not there is no error."""
        ...


@runtime_checkable
class Placed(Protocol):
    """A store that can lose the place it is in, as a folder can be moved away and a disk unmounted."""

    def is_there(self) -> bool:
        """Whether the place is there. False also before the first write, which makes it."""
        ...
