"""Giving room back, in two phases, without ever locking a writer out.

Phase 1 names packs that no snapshot needs in a tombstone and takes them out of the index. Phase 2, a grace period
later, looks again and deletes. A backup that is at work meanwhile either sees the tombstone and stores the chunks
anew, or has committed, and then phase 2 sees that they are needed and lets the pack live.

Never trusts one clock alone: when names in the repository lie in the future nothing is deleted.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from ddr.backup import chunk_index, graves, layout, packs, reading, references, writing
from ddr.backup import repository as repositories
from ddr.errors import Conflict, Damaged, Missing, Refused
from ddr.ports import store

GRACE = timedelta(hours=24)
"""Longer than any backup runs: a backup that takes longer breaks off at its commit and is run again."""

SKEW = timedelta(minutes=10)
LEASE = timedelta(minutes=30)
SPARSE = 0.5
"""Of a pack less than this share is needed: what is needed moves to a new pack."""

_PACKS_PER_INDEX = 512


@dataclass(frozen=True)
class Plan:
    """What a prune would do now: packs that get a tombstone, that are rewritten because little of them is needed, that
    have had their tombstone for long enough, and that have one and are needed again."""

    forget: tuple[repositories.Head, ...]
    bury: tuple[str, ...]
    thin: tuple[str, ...]
    delete: tuple[str, ...]
    spare: tuple[str, ...]
    buried_bytes: int
    deleted_bytes: int
    kept_snapshots: int


@dataclass(frozen=True)
class _Lease:
    owner: str
    until: datetime
    epoch: int


def plan(repository: repositories.Repository, forget: Iterable[repositories.Head], now: datetime) -> Plan:
    """Only looks. `forget` are snapshots that retention gave up. Raises Damaged: what cannot be read is not pruned.

    Refused when the clock here and the names in the repository do not agree.
    """
    _check_clock(repository, now)
    given_up = tuple(forget)
    gone = {head.key for head in given_up}
    heads = [head for head in repository.heads() if head.key not in gone]
    index = repository.index()
    stored = {layout.hash_in(entry.key): entry.size_bytes for entry in repository.store.list(layout.PACKS)}
    stones = graves.read(repository)
    doomed = {pack for stone in stones for pack in stone.packs}
    try:
        needed = _needed(repository, index, heads)
    except Damaged:  # a listing may be in a pack that was buried while its backup was about to commit
        _take_buried(repository, index, doomed & set(stored))
        needed = _needed(repository, index, heads)
    live = _live_bytes(index, needed)
    spare = {pack for pack in doomed if live.get(pack)} | _last_copies(repository, index, needed, doomed & set(stored))
    due = {pack for stone in stones if stone.not_before <= now for pack in stone.packs}
    bury = {pack for pack in stored if pack not in doomed and not live.get(pack)}
    thin = {pack for pack, size in live.items() if pack not in doomed and size < SPARSE * stored.get(pack, 0)}
    delete = (due - spare) & set(stored)
    return Plan(
        given_up,
        tuple(sorted(bury)),
        tuple(sorted(thin)),
        tuple(sorted(delete)),
        tuple(sorted(spare)),
        sum(stored[pack] for pack in bury | thin),
        sum(stored[pack] for pack in delete),
        len(heads),
    )


def apply(
    repository: repositories.Repository, made: Plan, now: datetime, owner: str, *, grace: timedelta = GRACE
) -> Plan:
    """Do what the plan says, looked at again under the lease; what was done. Repeatable.

    Raises Refused while somebody else prunes. Deletes before it writes where a disk is full.
    """
    lease = _take_lease(repository.store, owner, now)
    try:
        for head in made.forget:
            repository.forget(head)
        fresh = plan(repository, (), now)
        _delete(repository, fresh, now)
        moved = _thin(repository, fresh.thin)
        doomed = (*fresh.bury, *moved)
        if doomed:
            graves.write(repository, graves.Tombstone(now, now + grace, tuple(sorted(doomed))))
        index = repository.index()
        # A backup lists its own packs also when they were buried while it was at work.
        is_stale = any(index.knows(pack) for pack in fresh.delete)
        if doomed or fresh.spare or is_stale or len(index.objects) > 8:
            _rewrite_index(repository, without={*doomed, *fresh.delete}, add_from=fresh.spare)
        if doomed:
            # Whoever commits from now on sees the tombstone; who has committed meanwhile has not, and needs the index.
            again = plan(repository, (), now)
            if again.spare:
                _rewrite_index(repository, without=set(), add_from=again.spare)
        return fresh
    finally:
        _give_lease_back(repository.store, lease)


def _check_clock(repository: repositories.Repository, now: datetime) -> None:
    newest = [head.at for head in repository.heads()[-1:]] + [stone.at for stone in graves.read(repository)[-1:]]
    ahead = max((at - now for at in newest), default=timedelta(0))
    if ahead > SKEW:
        raise Refused(
            f"{repository.store.name} has something from {ahead} in the future: a clock is wrong; nothing is deleted",
            hint="correct the clock of this machine, or look with `ddr backup list` who writes with a wrong one",
        )


def _needed(
    repository: repositories.Repository, index: chunk_index.ChunkIndex, heads: Sequence[repositories.Head]
) -> set[bytes]:
    follower = references.Follower(reading.Reader(repository, index))
    found: set[bytes] = set()
    for head in heads:
        try:
            snapshot = repository.read(head)
        except Missing:
            continue  # forgotten by somebody else meanwhile
        found.update(follower.needed(snapshot))
    return found


def _take_buried(repository: repositories.Repository, index: chunk_index.ChunkIndex, buried: set[str]) -> None:
    for pack in sorted(buried):
        if not index.knows(pack):
            content = memoryview(repository.store.get(layout.pack_key(pack)))
            index.take(pack, len(content), packs.Opened(repository.ring, pack, content[:64]).table(content))


def _live_bytes(index: chunk_index.ChunkIndex, needed: set[bytes]) -> dict[str, int]:
    """Stored bytes that are needed, for each pack that has any."""
    live: dict[str, int] = {}
    for chunk in needed:
        found = index.find(chunk)
        if found is not None:
            live[found[0]] = live.get(found[0], 0) + packs.span_of(found[1])[1]
    return live


def _last_copies(
    repository: repositories.Repository, index: chunk_index.ChunkIndex, needed: set[bytes], buried: set[str]
) -> set[str]:
    """Buried packs that have a needed chunk which no other pack has: a backup that did not see the tombstone."""
    missing = {chunk for chunk in needed if chunk not in index}
    found = set()
    for pack in sorted(buried) if missing else ():
        content = memoryview(repository.store.get(layout.pack_key(pack)))
        for place in packs.Opened(repository.ring, pack, content[:64]).table(content):
            if place.chunk in missing:
                found.add(pack)
    return found


def _delete(repository: repositories.Repository, fresh: Plan, now: datetime) -> None:
    """First the packs, then the tombstones that have nothing left to tell."""
    for pack in fresh.delete:
        repository.store.delete(layout.pack_key(pack))
    for stone in graves.read(repository):
        if stone.not_before <= now:
            repository.store.delete(stone.key)


def _thin(repository: repositories.Repository, sparse: Sequence[str]) -> tuple[str, ...]:
    """Copy what is needed of these packs into new ones; the packs that nobody needs now."""
    if not sparse:
        return ()
    index = repository.index()
    needed = _needed(repository, index, repository.heads())
    chosen = set(sparse)
    chunks = [chunk for chunk in needed if (found := index.find(chunk)) and found[0] in chosen]
    reader = reading.Reader(repository, index)
    with writing.Writer(repository, index) as writer:
        for chunk in sorted(chunks, key=lambda one: (index.require(one)[0], index.require(one)[1].at)):
            writer.put_anew(chunk, next(reader.read([chunk])), index.require(chunk)[1].kind)
        writer.finish()
    return tuple(sparse)


def _rewrite_index(repository: repositories.Repository, without: set[str], add_from: Sequence[str]) -> None:
    """New index objects, then the old ones go: at no moment is a chunk that is needed in none of them."""
    index = repository.index()
    listed = {}
    for key in [layout.index_key(name) for name in index.objects]:
        for name, size_bytes, places in chunk_index.read_object(repository.store, repository.ring, key):
            if name not in without:
                listed[name] = (name, size_bytes, places)
    for pack in add_from:
        content = memoryview(repository.store.get(layout.pack_key(pack)))
        listed[pack] = (pack, len(content), packs.Opened(repository.ring, pack, content[:64]).table(content))
    entries = list(listed.values())
    written = {
        chunk_index.write(repository.store, repository.ring, entries[at : at + _PACKS_PER_INDEX])[0]
        for at in range(0, len(entries), _PACKS_PER_INDEX)
    }
    for name in index.objects:
        if name not in written:
            repository.store.delete(layout.index_key(name))


def _take_lease(at: store.Store, owner: str, now: datetime) -> _Lease:
    found = at.head(layout.LEASE)
    epoch = 1
    if found is not None:
        held = msgspec.json.decode(at.get(layout.LEASE), type=_Lease)
        if held.owner and held.until > now:
            raise Refused(
                f"{held.owner} prunes {at.name} until {held.until:%H:%M:%S} UTC at the latest",
                hint="wait for it; a prune that was killed gives its lease up at that time",
            )
        epoch = held.epoch + 1
    lease = _Lease(f"{owner} ({secrets.token_hex(4)})", now + LEASE, epoch)
    content = msgspec.json.encode(lease)
    try:
        if found is None:
            at.create(layout.LEASE, content)
        else:
            at.swap(layout.LEASE, content, found.version)
    except Conflict:
        raise Refused(f"somebody else began to prune {at.name} just now", hint="wait for it") from None
    return lease


def _give_lease_back(at: store.Store, lease: _Lease) -> None:
    found = at.head(layout.LEASE)
    if found is not None and msgspec.json.decode(at.get(layout.LEASE), type=_Lease) == lease:
        at.swap(layout.LEASE, msgspec.json.encode(_Lease("", lease.until, lease.epoch)), found.version)
