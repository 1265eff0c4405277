"""Tombstones: packs that a prune found unreferenced and will delete when their grace has passed.

Writers take no lock. Instead a writer looks, just before its commit, whether what it reuses is about to go: chunks in
a pack with a tombstone are stored again, and a pack that is gone already ends the backup.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from ddr.backup import chunk_index, layout, reading, sealing, writing
from ddr.backup import repository as repositories
from ddr.errors import Conflict, Damaged, Missing


@dataclass(frozen=True)
class Tombstone:
    """`packs` are to be deleted after `not_before`, by the store's own clock and ours alike."""

    at: datetime
    not_before: datetime
    packs: tuple[str, ...]
    key: str = ""


def write(repository: repositories.Repository, stone: Tombstone) -> str:
    """Store it; its key."""
    stored = sealing.seal(repository.ring, "tombstone", msgspec.json.encode(stone))
    key = layout.tombstone_key(stone.at, layout.name_of(stored))
    layout.create_named(repository.store, key, stored)
    return key


def read(repository: repositories.Repository) -> tuple[Tombstone, ...]:
    """All of them, oldest first. Damaged: then nothing may be deleted."""
    found = []
    for entry in repository.store.list(layout.TOMBSTONES):
        what = f"tombstone {layout.hash_in(entry.key)[:12]}"
        try:
            stored = repository.store.get(entry.key)
            layout.check_name(entry.key, stored, what)
            content = sealing.unseal(repository.ring, "tombstone", stored, what)
            stone = msgspec.json.decode(content, type=Tombstone)
        except Missing:
            continue
        except msgspec.MsgspecError as problem:
            raise Damaged(f"{what} is damaged: {problem}", hint="delete it; the next prune writes another") from problem
        found.append(Tombstone(stone.at, stone.not_before, stone.packs, entry.key))
    return tuple(found)


def revive(
    repository: repositories.Repository, index: chunk_index.ChunkIndex, used: Iterable[bytes], within: writing.Writer
) -> int:
    """Store again what a snapshot uses from packs that are about to be deleted; how many chunks that were. They count
    as `within` has stored them.

    Raises Conflict when a pack is gone already: this backup slept longer than the grace period of a prune.
    """
    by_pack: dict[str, list[bytes]] = {}
    for chunk in used:
        by_pack.setdefault(index.require(chunk)[0], []).append(chunk)
    doomed = _doomed(repository, by_pack)
    at_risk = [chunk for pack in doomed for chunk in by_pack[pack]]
    if at_risk:
        reader = reading.Reader(repository, index)
        with writing.Writer(repository, index) as writer:
            for chunk in at_risk:
                place = index.require(chunk)[1]
                writer.put_anew(chunk, next(reader.read([chunk])), place.kind)
            writer.finish()
        within.adopt(writer)
    return len(at_risk)


def recheck(
    repository: repositories.Repository, index: chunk_index.ChunkIndex, used: Iterable[bytes], since: timedelta
) -> None:
    """Behind a commit, `since` our last look: whether every pack is still there and stays. Raises Conflict.

    A prune that came between our last look and the commit has taken packs out of the index that are needed now: they
    are listed again, and its second phase lets them live. Unless we slept so long that it may be about to delete them.
    """
    there = {layout.hash_in(entry.key) for entry in repository.store.list(layout.PACKS)}
    stones = read(repository)
    doomed = {pack for stone in stones for pack in stone.packs}
    due = {pack for stone in stones if stone.not_before - stone.at <= 2 * since for pack in stone.packs}
    again: set[str] = set()
    for chunk in used:
        left = [pack for pack, _ in index.places(chunk) if pack in there]
        if not left:
            raise _gone(index.require(chunk)[0])
        if due.issuperset(left):
            raise _gone(left[0])
        if doomed.issuperset(left):
            again.add(left[0])
    if again:
        listed = [(pack, index.size_of(pack), tuple(index.places_in(pack))) for pack in sorted(again)]
        chunk_index.write(repository.store, repository.ring, listed)


def _gone(pack: str) -> Conflict:
    return Conflict(
        f"packs that this backup builds on were deleted meanwhile, or are about to be: {pack[:12]}",
        expected="packs as they were when the backup began",
        found=f"no pack {pack[:12]}",
        hint="run the backup again; it stores what is missing",
    )


def _doomed(repository: repositories.Repository, packs: Collection[str]) -> list[str]:
    """Those of the packs that have a tombstone. Raises Conflict where one is gone."""
    if not packs:
        return []
    there = {layout.hash_in(entry.key) for entry in repository.store.list(layout.PACKS)}
    gone = [pack for pack in packs if pack not in there]
    if gone:
        raise _gone(gone[0])
    doomed = {pack for stone in read(repository) for pack in stone.packs}
    return [pack for pack in packs if pack in doomed]
