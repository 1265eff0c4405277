"""Where each object of a backup repository lies, and what it is called.

Everything but leases is written once and never changed. A name is the BLAKE3 of the stored bytes, so that any object
checks itself without a key.
"""

from __future__ import annotations

from datetime import UTC, datetime

from ddr.errors import Damaged
from ddr.ports import store

ROOT = "backup/"
"""The repository shares its store with the journal; this is its part of it."""

CONFIG = f"{ROOT}config"
KEYS = f"{ROOT}keys/"
PACKS = f"{ROOT}packs/"
INDEX = f"{ROOT}index/"
SNAPSHOTS = f"{ROOT}snapshots/"
KEPT = f"{ROOT}kept/"
"""Kept states of single planes: snapshots that no backup, restore or drill takes for its own (`keeping`)."""

ASIDE = f"{ROOT}aside/"
"""Snapshots that somebody gave up because nobody can read them (`repair`): their bytes, for whoever may yet."""

TOMBSTONES = f"{ROOT}tombstones/"
LEASE = f"{ROOT}leases/gc"

_STAMP = "%Y%m%dT%H%M%SZ"
ID_DIGITS = 16


def name_of(stored: bytes | bytearray | memoryview) -> str:
    """64 hex digits."""
    import blake3  # here, as `ddr status` only reads names

    return blake3.blake3(stored).hexdigest()


def pack_key(name: str) -> str:
    return f"{PACKS}{name[:2]}/{name}"


def index_key(name: str) -> str:
    return f"{INDEX}{name}"


def snapshot_key(at: datetime, name: str, among: str = SNAPSHOTS) -> str:
    """`among` is SNAPSHOTS or KEPT."""
    return f"{among}{at.astimezone(UTC).strftime(_STAMP)}-{name}"


def tombstone_key(at: datetime, name: str) -> str:
    return f"{TOMBSTONES}{at.astimezone(UTC).strftime(_STAMP)}-{name}"


def hash_in(key: str) -> str:
    """The hash that the bytes under a write-once key must have."""
    return key.rpartition("/")[2].rpartition("-")[2]


def check_name(key: str, stored: bytes | memoryview, what: str) -> None:
    """Raises Damaged, naming `what`, where other bytes lie under the key of a write-once object."""
    if name_of(stored) != hash_in(key):
        raise Damaged(f"{what} has other bytes than its name says", hint="`ddr backup verify` says what is affected")


def create_named(to: store.Store, key: str, stored: bytes | memoryview) -> None:
    """Create an object whose name is the hash of its bytes; one that is there already is the same one.

    Raises Damaged where other bytes lie under the name.
    """
    content = bytes(stored)
    try:
        to.create(key, content)
    except store.Exists:
        check_name(key, to.get(key), f"{to.name}: {key}")


def time_in(key: str) -> datetime:
    """The time in the name of a snapshot or tombstone. ValueError where there is none."""
    stamp = key.rpartition("/")[2].partition("-")[0]
    return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
