"""Object Lock: that nobody can delete what the kept snapshots need, for a while from the newest snapshot on.

A new snapshot builds on old packs. Locked as they were written they would come free one after the other while snapshots
still need them, and the lock would protect nothing: so whatever kept snapshots need is locked longer, again and again.
Kept states of planes are held like snapshots: what they need is locked longer with the rest.
Objects get some days more than snapshots do, so that each is asked for a longer lock every few days and not every hour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from dataclasses import dataclass
from datetime import datetime, timedelta

from ddr.backup import graves, layout, reading, references
from ddr.backup import repository as repositories
from ddr.errors import Damaged, DdrError, Missing
from ddr.ports import store

_AT_ONCE = 16
_SAID_ONE_BY_ONE = 5

Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Held:
    """An object that cannot be deleted before that time."""

    key: str
    until: datetime


@dataclass(frozen=True)
class Standing:
    """The locks on what some snapshots need. `until` is when the first of them ends, None where something is not locked
    at all; `wanted` is how long they should hold. `mode` is the weakest one. `problems` name what was not reached."""

    mode: store.Mode
    until: datetime | None
    wanted: datetime
    objects: int
    extended: int = 0
    unlocked: int = 0
    problems: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return self.until is not None and self.until >= self.wanted


def rule(mode: store.Mode, days: int) -> store.LockRule:
    """What is locked as it is written: everything that is written once, and the configuration. Leases and tombstones
    change or go as a prune works, and protect nothing."""
    span = timedelta(days=days)
    longer = span + timedelta(days=slack_days(days))
    beginnings = (layout.PACKS, layout.INDEX, layout.KEYS, layout.CONFIG)
    return store.LockRule(mode, {**dict.fromkeys(beginnings, longer), layout.SNAPSHOTS: span, layout.KEPT: span})


def slack_days(days: int) -> int:
    """A tenth: so long each pack is left alone before it is asked to be locked longer."""
    return max(1, math.ceil(days / 10))


def of(at: store.Store) -> store.Lockable | None:
    """The store as one that locks; None where it is not asked to."""
    return at if isinstance(at, store.Lockable) and at.rule is not None else None


def needed(
    repository: repositories.Repository, heads: Sequence[repositories.Head]
) -> tuple[frozenset[str], tuple[str, ...]]:
    """The keys of everything that somebody must have to read these snapshots, and what of it was damaged.

    Of a chunk in several packs the one counts that a prune counts, too: what that buries must not be locked anew.
    """
    index, broken = repository.index_with_problems()
    problems = [problem.message for problem in broken]
    try:
        doomed = {pack for stone in graves.read(repository) for pack in stone.packs}
    except Damaged as problem:
        doomed = set()
        problems.append(problem.message)
    follower = references.Follower(reading.Reader(repository, index))
    packs: set[str] = set()
    found = {layout.CONFIG, *(entry.key for entry in repository.store.list(layout.KEYS))}
    for head in heads:
        found.add(head.key)
        try:
            for chunk in follower.needed(repository.read(head)):
                index.require(chunk)
                packs.add(min((pack in doomed, pack) for pack, _ in index.places(chunk))[1])
        except Missing:
            found.discard(head.key)  # forgotten meanwhile
        except Damaged as problem:
            problems.append(f"{head.what}: {problem.message}")
    found.update(layout.pack_key(pack) for pack in packs)
    found.update(layout.index_key(name) for name, listed in index.objects.items() if not packs.isdisjoint(listed))
    return frozenset(found), tuple(problems)


def extend(
    of_store: store.Store,
    keys: Iterable[str],
    wanted: datetime,
    to: datetime,
    told: Told | None = None,
    *,
    only_look: bool = False,
    known: Sequence[str] = (),
) -> Standing:
    """Whatever is not locked until `wanted` is locked until `to`, many at once; what was reached.

    One request looks at an object, one more locks it longer. What fails is told, with the problems that are
    `known` already, and the rest goes on.
    """
    at = _lockable(of_store)
    todo = sorted(keys)
    locks: list[store.Lock | None] = []
    extended = 0
    problems = list(known)

    def hold(key: str) -> tuple[store.Lock | None, bool]:
        found = at.locked(key)
        if only_look or (found is not None and found.until >= wanted):
            return found, False
        return at.lock(key, to), True

    with futures.ThreadPoolExecutor(_AT_ONCE, "ddr-lock") as pool:
        for count, (key, job) in enumerate([(key, pool.submit(hold, key)) for key in todo], 1):
            try:
                lock, is_longer = job.result()
                locks.append(lock)
                extended += is_longer
            except Missing:
                pass  # merged or pruned meanwhile
            except DdrError as problem:
                problems.append(f"{key}: {problem.message}" + (f" ({problem.hint})" if problem.hint else ""))
            if told:
                told("locks", count, len(todo))
    held = [lock for lock in locks if lock is not None]
    unlocked = len(locks) - len(held)
    whole = bool(held) and not unlocked and not problems
    more = len(problems) - _SAID_ONE_BY_ONE
    shown = tuple(problems) if more <= 0 else (*problems[:_SAID_ONE_BY_ONE], f"and {more} more")
    assert at.rule is not None
    mode: store.Mode = "governance" if any(lock.mode == "governance" for lock in held) else "compliance"
    return Standing(
        mode if held else at.rule.mode,
        min(lock.until for lock in held) if whole else None,
        wanted,
        len(todo),
        extended,
        unlocked,
        shown,
    )


def keep(
    repository: repositories.Repository,
    kept: Sequence[repositories.Head],
    now: datetime,
    told: Told | None = None,
    *,
    only_look: bool = False,
) -> Standing:
    """Lock what the kept snapshots, and kept states of planes, need at least as long as the newest of them; where that
    has no lock, from now on.

    Raises Unavailable.
    """
    at = _lockable(repository.store)
    assert at.rule is not None
    newest = max(kept, key=lambda head: (head.at, head.key), default=None)
    lock = at.locked(newest.key) if newest else None
    wanted = lock.until if lock else now + at.rule.spans[layout.SNAPSHOTS]
    to = max(now + at.rule.spans[layout.PACKS], wanted)
    keys, problems = needed(repository, kept)
    return extend(repository.store, keys, wanted, to, told, only_look=only_look, known=problems)


def keep_copied(at: store.Store, keys: Sequence[str], now: datetime, told: Told | None = None) -> Standing:
    """As `keep` for a copy, where no key says what is needed: what the first repository still has counts as needed."""
    lockable = _lockable(at)
    assert lockable.rule is not None
    heads = [key for key in keys if key.startswith((layout.SNAPSHOTS, layout.KEPT))]
    newest = max(heads, key=lambda key: key.rpartition("/")[2], default="")  # by the time in the name
    lock = lockable.locked(newest) if newest else None
    wanted = lock.until if lock else now + lockable.rule.spans[layout.SNAPSHOTS]
    return extend(at, keys, wanted, max(now + lockable.rule.spans[layout.PACKS], wanted), told)


def look(repository: repositories.Repository, head: repositories.Head, now: datetime) -> Standing:
    """How the locks of one snapshot or kept state stand; nothing is changed."""
    return keep(repository, [head], now, only_look=True)


def held(at: store.Store, keys: Sequence[str], now: datetime) -> tuple[Held, ...]:
    """Those that cannot be deleted yet."""
    lockable = of(at)
    if lockable is None:
        return ()
    with futures.ThreadPoolExecutor(_AT_ONCE, "ddr-lock") as pool:
        locks = list(pool.map(lockable.locked, keys))
    return tuple(Held(key, lock.until) for key, lock in zip(keys, locks, strict=True) if lock and lock.until > now)


def _lockable(at: store.Store) -> store.Lockable:
    found = of(at)
    if found is None:
        raise Missing(
            f"{at.name} is not asked to lock anything",
            hint="`lock: {mode: compliance, days: 30}` under `repository:` in ddr.yaml, for a bucket with Object Lock",
        )
    return found
