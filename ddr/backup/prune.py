"""Giving room back, in two phases, without ever locking a writer out.

Phase 1 names packs that no snapshot needs in a tombstone and takes them out of the index. Phase 2, a grace period
later, looks again and deletes. A backup that is at work meanwhile either sees the tombstone and stores the chunks
anew, or has committed, and then phase 2 sees that they are needed and lets the pack live.

Never trusts one clock alone: when names in the repository lie in the future nothing is deleted.

What Object Lock still holds is left alone and told: a DELETE would only hide it. Index objects that were merged are
hidden all the same; they can be made anew from the packs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ddr.backup import chunk_index, graves, layout, leases, locks, packs, reading, references, writing
from ddr.backup import repository as repositories
from ddr.errors import Damaged, Missing
from ddr.ports import store

GRACE = timedelta(hours=24)
"""Longer than any backup runs: a backup that takes longer breaks off at its commit and is run again."""

SPARSE = 0.5
"""Of a pack less than this share is needed: what is needed moves to a new pack."""

_PACKS_PER_INDEX = 512

Renew = Callable[[], None]
"""Called now and then by whatever may take long: it keeps the lease."""


def _to_nobody(_: tuple[str, ...]) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Plan:
    """What a prune would do now: packs that get a tombstone, that are rewritten because little of them is needed, that
    have had their tombstone for long enough, and that have one and are needed again. What is `held` would be forgotten
    or deleted, too, and is locked until then: it stays, and so does what it needs."""

    forget: tuple[repositories.Head, ...]
    bury: tuple[str, ...]
    thin: tuple[str, ...]
    delete: tuple[str, ...]
    spare: tuple[str, ...]
    buried_bytes: int
    deleted_bytes: int
    kept_snapshots: int
    held: tuple[locks.Held, ...] = ()


def plan(
    repository: repositories.Repository,
    forget: Iterable[repositories.Head],
    now: datetime,
    renew: Renew = leases.nothing,
) -> Plan:
    """Only looks. `forget` are snapshots that retention gave up. Raises Damaged: what cannot be read is not pruned.

    Refused when the clock here and the names in the repository do not agree.
    """
    leases.check_names(repository, now)
    return _look(repository, forget, now, renew)


def _look(
    repository: repositories.Repository, forget: Iterable[repositories.Head], now: datetime, renew: Renew
) -> Plan:
    renew()
    asked = tuple(forget)
    held = locks.held(repository.store, [head.key for head in asked], now)
    staying = {one.key for one in held}
    given_up = tuple(head for head in asked if head.key not in staying)
    gone = {head.key for head in given_up}
    heads = [head for head in repository.all_heads() if head.key not in gone]
    index = repository.index()
    stored = {layout.hash_in(entry.key): entry.size_bytes for entry in repository.store.list(layout.PACKS)}
    renew()
    stones = graves.read(repository)
    doomed = {pack for stone in stones for pack in stone.packs}
    try:
        needed = _needed(repository, index, heads, renew)
    except Damaged:  # a listing may be in a pack that was buried while its backup was about to commit
        _take_buried(repository, index, doomed & set(stored))
        needed = _needed(repository, index, heads, renew)
    renew()
    live = _live_bytes(index, needed, doomed)
    spare = {pack for pack in doomed if live.get(pack)} | _last_copies(repository, index, needed, doomed & set(stored))
    due = {pack for stone in stones if stone.not_before <= now for pack in stone.packs}
    bury = {pack for pack in stored if pack not in doomed and not live.get(pack)}
    thin = {pack for pack, size in live.items() if pack not in doomed and size < SPARSE * stored.get(pack, 0)}
    delete = (due - spare) & set(stored)
    held += locks.held(repository.store, [layout.pack_key(pack) for pack in sorted(delete)], now)
    delete -= {layout.hash_in(one.key) for one in held}
    return Plan(
        given_up,
        tuple(sorted(bury)),
        tuple(sorted(thin)),
        tuple(sorted(delete)),
        tuple(sorted(spare)),
        sum(stored[pack] for pack in bury | thin),
        sum(stored[pack] for pack in delete),
        sum(head.key.startswith(layout.SNAPSHOTS) for head in heads),
        held,
    )


def apply(
    repository: repositories.Repository,
    made: Plan,
    now: datetime,
    owner: str,
    *,
    grace: timedelta = GRACE,
    forgotten: Callable[[tuple[str, ...]], None] = _to_nobody,
    mono: Callable[[], float] = time.monotonic,
) -> Plan:
    """Do what the plan says, looked at again under the lease; what was done. Repeatable. `forgotten` is told the ids of
    the snapshots as soon as they are gone.

    Raises Refused while somebody else prunes or a clock is wrong, Full where not even deleting made room enough for a
    tombstone: all that was due is deleted then. On a full disk it goes without a lease. The lease is renewed while it
    works; who finds that somebody else has taken it meanwhile stops (Refused).
    """
    began = mono()

    def moment() -> datetime:
        """A prune may take hours, and what others write meanwhile is not from the future."""
        return now + timedelta(seconds=mono() - began)

    tenure = leases.Tenure(repository.store, leases.take_if_room(repository.store, owner, now), moment)
    try:
        if tenure.lease is not None:
            leases.check_store_clock(repository.store, now)
        for head in made.forget:
            tenure.renew()
            repository.forget(head)
        forgotten(tuple(head.id for head in made.forget))
        fresh = plan(repository, (), moment(), tenure.renew)
        fresh = dataclasses.replace(fresh, forget=made.forget, held=(*_snapshots_held(made), *fresh.held))
        try:
            _unlist(repository, fresh.delete, tenure.renew)
            _delete(repository, fresh, tenure.renew)
            at = moment()
            _bury(repository, fresh, graves.Tombstone(at, at + grace, ()), tenure)
        except store.Full as problem:
            raise _still_full(repository, fresh, problem) from problem
        return fresh
    finally:
        tenure.end()


def _bury(
    repository: repositories.Repository,
    fresh: Plan,
    stone: graves.Tombstone,
    tenure: leases.Tenure,
) -> None:
    """Phase 1, and an index that says what is there. Tombstones whose time has come go last: what one of them names and
    is needed again must be listed before."""
    doomed = (*fresh.bury, *_thin(repository, fresh.thin, tenure.renew))
    if doomed:
        stone = dataclasses.replace(stone, packs=tuple(sorted(doomed)))
        try:
            graves.write(repository, stone)
        except store.Full:
            tenure.end(is_full=True)
            graves.write(repository, stone)  # where the lease was
    tenure.renew()
    index = repository.index()
    unlisted = [pack for pack in fresh.spare if not index.knows(pack)]
    if doomed or unlisted or len(index.objects) > 8:
        _rewrite_index(repository, {*doomed, *fresh.delete}, unlisted, tenure.renew)
    tenure.renew()
    _forget_tombstones(repository, fresh, stone.at)
    tenure.renew()
    if doomed:
        # Whoever commits from now on sees the tombstone; who has committed meanwhile has not, and needs the index.
        again, index = _look(repository, (), tenure.moment(), tenure.renew), repository.index()
        if unlisted := [pack for pack in again.spare if not index.knows(pack)]:
            _rewrite_index(repository, set(), unlisted, tenure.renew)


def _unlist(repository: repositories.Repository, packs_: Sequence[str], renew: Renew) -> None:
    """Out of the index before they go. A backup lists its own packs also when they were buried while it was at work."""
    renew()
    index = repository.index()
    if any(index.knows(pack) for pack in packs_):
        _rewrite_index(repository, set(packs_), (), renew)


def _still_full(repository: repositories.Repository, fresh: Plan, problem: store.Full) -> store.Full:
    waiting = [stone.not_before for stone in graves.read(repository)]
    when = f"; the next packs may go at {min(waiting):%Y-%m-%d %H:%M} UTC" if waiting else ""
    return store.Full(
        f"{problem.message}; {len(fresh.delete)} packs ({fresh.deleted_bytes >> 20} MiB) were deleted, and there is no "
        f"room to mark {len(fresh.bury) + len(fresh.thin)} more that nobody needs{when}",
        hint="make some room (a few MiB) where the repository lies, then run `ddr backup prune` again",
    )


def _snapshots_held(made: Plan) -> tuple[locks.Held, ...]:
    return tuple(one for one in made.held if one.key.startswith((layout.SNAPSHOTS, layout.KEPT)))


def _needed(
    repository: repositories.Repository,
    index: chunk_index.ChunkIndex,
    heads: Sequence[repositories.Head],
    renew: Renew,
) -> set[bytes]:
    follower = references.Follower(reading.Reader(repository, index))
    found: set[bytes] = set()
    for head in heads:
        renew()
        try:
            snapshot = repository.read(head)
        except Missing:
            continue  # forgotten by somebody else meanwhile
        try:
            found.update(follower.needed(snapshot))
        except Damaged as problem:
            raise Damaged(
                f"nobody can say what {head.what} needs, so nothing is deleted: {problem.message}",
                hint="`ddr backup repair`, then `ddr backup run` may store it again; `ddr backup repair --drop "
                f"{head.id[:8]}` gives this snapshot up: first restore from it what still can be",
            ) from problem
    return found


def _take_buried(repository: repositories.Repository, index: chunk_index.ChunkIndex, buried: set[str]) -> None:
    for pack in sorted(buried):
        if not index.knows(pack):
            content = memoryview(repository.store.get(layout.pack_key(pack)))
            index.take(pack, len(content), packs.Opened(repository.ring, pack, content[:64]).table(content))


def _live_bytes(index: chunk_index.ChunkIndex, needed: set[bytes], doomed: set[str]) -> dict[str, int]:
    """Stored bytes that are needed, for each pack that has any.

    Of a chunk in several packs every prune counts the same one: of two that ran at once, each would else bury the pack
    that the other one relies on.
    """
    live: dict[str, int] = {}
    for chunk in needed:
        found = min(
            ((pack in doomed, pack, packs.span_of(place)[1]) for pack, place in index.places(chunk)), default=None
        )
        if found is not None:
            live[found[1]] = live.get(found[1], 0) + found[2]
    return live


def _last_copies(
    repository: repositories.Repository, index: chunk_index.ChunkIndex, needed: set[bytes], buried: set[str]
) -> set[str]:
    """Buried packs that have a needed chunk which no other pack has: a backup that did not see the tombstone."""
    missing = {chunk for chunk in needed if chunk not in index}
    found = set()
    for pack in sorted(buried) if missing else ():
        content = memoryview(repository.store.get(layout.pack_key(pack)))
        with contextlib.suppress(Damaged):  # a repair has moved what was whole in it
            for place in packs.Opened(repository.ring, pack, content[:64]).table(content):
                if place.chunk in missing:
                    found.add(pack)
    return found


def _delete(repository: repositories.Repository, fresh: Plan, renew: Renew) -> None:
    for pack in fresh.delete:
        renew()
        repository.store.delete(layout.pack_key(pack))


def _forget_tombstones(repository: repositories.Repository, fresh: Plan, now: datetime) -> None:
    """Those that have nothing left to tell: their packs are gone, or needed and listed again."""
    done = {*fresh.delete, *fresh.spare}
    there = {layout.hash_in(entry.key) for entry in repository.store.list(layout.PACKS)}
    for stone in graves.read(repository):
        if stone.not_before <= now and all(pack in done or pack not in there for pack in stone.packs):
            repository.store.delete(stone.key)


def _thin(repository: repositories.Repository, sparse: Sequence[str], renew: Renew) -> tuple[str, ...]:
    """Copy what is needed of these packs into new ones; the packs that nobody needs now."""
    if not sparse:
        return ()
    heads = repository.all_heads()  # before the index: what a backup commits later is not in it
    index = repository.index()
    chosen = set(sparse)
    chunks = [
        chunk
        for chunk in _needed(repository, index, heads, renew)
        if (found := index.places(chunk)) and chosen.issuperset(pack for pack, _ in found)
    ]
    reader = reading.Reader(repository, index)
    try:
        with writing.Writer(repository, index) as writer:
            for chunk in sorted(chunks, key=lambda one: (index.require(one)[0], index.require(one)[1].at)):
                renew()
                writer.put_anew(chunk, next(reader.read([chunk])), index.require(chunk)[1].kind)
            writer.finish()
    except store.Full:
        return ()  # the sparse packs stay as they are until there is room
    return tuple(sparse)


def _rewrite_index(
    repository: repositories.Repository, without: set[str], add_from: Sequence[str], renew: Renew
) -> None:
    """New index objects, then the old ones go: at no moment is a chunk that is needed in none of them."""
    index = repository.index()
    listed = {}
    for key in [layout.index_key(name) for name in index.objects]:
        renew()
        try:
            content = chunk_index.read_object(repository.store, repository.ring, key)
        except Missing:
            continue  # another prune has merged it
        for name, size_bytes, places in content:
            if name not in without:
                listed[name] = (name, size_bytes, places)
    for pack in add_from:
        renew()
        stored = memoryview(repository.store.get(layout.pack_key(pack)))
        listed[pack] = (pack, len(stored), packs.Opened(repository.ring, pack, stored[:64]).table(stored))
    entries = list(listed.values())
    written: set[str] = set()
    try:
        for at in range(0, len(entries), _PACKS_PER_INDEX):
            renew()
            written.add(chunk_index.write(repository.store, repository.ring, entries[at : at + _PACKS_PER_INDEX])[0])
    except store.Full:
        for name in written - set(index.objects):
            repository.store.delete(layout.index_key(name))
        if add_from:
            raise
        return  # the old ones stay: they list what is buried, too, and a writer stores that anew
    for name in index.objects:
        if name not in written:
            renew()
            repository.store.delete(layout.index_key(name))
