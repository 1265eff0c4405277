"""Keys and bytes. The one thing ddr needs to have: a folder, a bucket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol, runtime_checkable

from ddr.errors import Conflict, Unavailable


class Exists(Conflict):
    """`create` found the key taken."""


class Unusable(Unavailable):
    """Unavailable until a person acts: wrong credentials, no such bucket, a read-only folder. Waiting is no use."""


class Absent(Unusable):
    """The place of the store itself is not there: a disk that is not mounted, a folder that was moved away."""


class Unreached(Unavailable):
    """Nobody took the connection: refused, no such host, no way there. Nothing was asked."""


class Full(Unavailable):
    """There is no room left where the store lies: waiting is no use, deleting is. What was there before is intact."""


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


Mode = Literal["governance", "compliance"]


@dataclass(frozen=True)
class Lock:
    """Until then the bytes cannot be deleted or replaced: `compliance` by nobody at all, `governance` by nobody without
    a right of its own."""

    mode: Mode
    until: datetime


@dataclass(frozen=True)
class LockRule:
    """What is locked as it is written: keys that begin with one of `spans`, for so long."""

    mode: Mode
    spans: Mapping[str, timedelta]


@runtime_checkable
class Lockable(Protocol):
    """A store that can lock what it keeps. `rule` is None where it is not asked to."""

    rule: LockRule | None

    def check_lock(self) -> None:
        """Raises Refused where the place cannot lock, so that every write by the rule would fail."""
        ...

    def locked(self, key: str) -> Lock | None:
        """None when it is not locked, not there, or its lock may not be seen with these rights."""
        ...

    def lock(self, key: str, until: datetime) -> Lock:
        """Locked at least until then, in the mode it has or else that of the rule; never for less than before.

        Raises Missing when it is not there.
        """
        ...


@runtime_checkable
class Copying(Protocol):
    """A store that can have another one's bytes without their going through this machine."""

    def copies_from(self, other: Store) -> bool:
        """Whether the two are on one server, behind one login."""
        ...

    def copy_from(self, other: Store, entry: Entry) -> bool:
        """Create the key with the bytes that it has there; False where the server's word is not enough that they are
        the same: then nothing is there. Exists as `create`, Missing when `other` has it no more, or other bytes.
        """
        ...


@dataclass(frozen=True)
class Version:
    """Bytes that lie or lay under a key. `is_marker`: a deletion that only hides what is older."""

    key: str
    id: str
    at: datetime
    size_bytes: int = 0
    is_newest: bool = False
    is_marker: bool = False


@runtime_checkable
class Versioned(Protocol):
    """A store that may keep what was deleted and overwritten."""

    def versions(self, prefix: str) -> Iterator[Version]:
        """All below the prefix, those of a key together, newest first. Unsupported where nothing is kept."""
        ...

    def get_version(self, version: Version) -> bytes: ...

    def bring_back(self, version: Version) -> None:
        """What this version has is what `get` gives again. Deletes nothing."""
        ...


@runtime_checkable
class Dated(Protocol):
    """A store that keeps, by a clock that is not ours, when an object was written: what tells a wrong clock of ours."""

    def written_at(self, key: str) -> datetime | None:
        """None when nothing is there, or when this store keeps no time."""
        ...
