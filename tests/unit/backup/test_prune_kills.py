"""A prune that dies at any write, alone or beside a backup that is about to commit: everything kept is whole, and the
next prunes come to the same end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ddr.backup import graves, prune, verify
from ddr.backup import repository as repositories
from ddr.errors import Conflict
from ddr.ports import store
from ddr.stores import memory
from tests.unit.backup import house
from tests.unit.backup.test_kills import changed, copy_of, job, make_many_writes, prune_all

MODES = ("kill-before", "kill-after")


@pytest.fixture(autouse=True)
def many_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    make_many_writes(monkeypatch.setattr)


class Yard:
    """Three backups, of which one is to be forgotten, a fourth that was cut off, and sparse packs: a prune has to bury,
    to thin and to merge. `swept`: as that prune left it, a backup later and two days on."""

    def __init__(self, root: Path) -> None:
        self.now, self.shop = house.Clock(), house.small_shop(root)
        self.worlds: dict[str, house.World] = {}
        marked = memory.MemoryStore()
        for step in range(3):
            changed(self.shop, step)
            for number in range(step, 6):
                (root / f"new-{step}-{number}").unlink()
            self.worlds[job(marked, self.shop, self.now)] = self.shop.world()
        self.forget = next(iter(self.worlds))
        del self.worlds[self.forget]
        (root / "models/1/weights.bin").write_bytes(house._noise(77, 30_000))
        with pytest.raises(house.Killed):
            job(house.Faulty(marked, house.at_call(4, "kill-before")), self.shop, house.Clock(self.now.at))
        (root / "late").write_bytes(house._noise(78, 9_000))  # so that every later backup has something to store
        self.begin = {"mark": marked, "sweep": copy_of(marked)}
        self.mark(self.begin["sweep"])
        self.later = self.now.at + timedelta(days=2)

    def mark(self, place: store.Store) -> prune.Plan:
        repository, now = repositories.open_(place, house.OPEN), house.Clock(self.now.at)
        there = [head for head in repository.heads() if head.id == self.forget]
        return prune.apply(repository, prune.plan(repository, there, now()), now(), "marker")

    def sweep(self, place: store.Store) -> prune.Plan:
        repository, now = repositories.open_(place, house.OPEN), house.Clock(self.later)
        return prune.apply(repository, prune.plan(repository, (), now()), now(), "sweeper")

    def phase(self, name: str) -> Callable[[store.Store], object]:
        return self.mark if name == "mark" else self.sweep

    def check(self, place: store.Store, more: dict[str, house.World]) -> repositories.Repository:
        """All that is kept can be read; the one that was to be forgotten may still be there, whole."""
        repository = repositories.open_(place, house.OPEN)
        expected = self.worlds | more
        heads = {head.id for head in repository.heads()}
        assert heads - {self.forget} == set(expected)
        report = verify.verify(repository, "full")
        assert report.findings == ()
        assert set(report.whole) == heads
        for id_, world in expected.items():
            assert house.same(house.restored(repository, id_, "shop", None), world)
        return repository

    def end(self, place: store.Store, more: dict[str, house.World]) -> None:
        """Prunes to the end leave exactly what is needed, no tombstone, and the lease free."""
        repository, now = repositories.open_(place, house.OPEN), house.Clock(self.later + timedelta(days=1))
        left = [head for head in repository.heads() if head.id == self.forget]
        prune.apply(repository, prune.plan(repository, left, now()), now(), "again")
        prune_all(repository, now)
        repository = self.check(place, more)
        assert verify.verify(repository).notes == ()
        assert graves.read(repository) == ()
        assert {head.id for head in repository.heads()} == set(self.worlds | more)


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    with pytest.MonkeyPatch.context() as patch:
        make_many_writes(patch.setattr)
        return Yard(tmp_path_factory.mktemp("yard") / "shop")


def writes_of(yard: Yard, phase: str) -> list[tuple[str, str]]:
    counted = house.Faulty(copy_of(yard.begin[phase]), house.no_rule)
    yard.phase(phase)(counted)
    return counted.calls


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("phase", ["mark", "sweep"])
def test_a_prune_that_is_killed_harms_nothing_and_ends_the_same(phase: str, mode: str, yard: Yard) -> None:
    calls = writes_of(yard, phase)
    kinds = {(method, house.key_kind(key)) for method, key in calls}
    if phase == "mark":
        assert kinds >= {
            ("create", "tombstones"), ("create", "packs"), ("create", "index"), ("delete", "index"),
            ("delete", "snapshots"),
        }  # fmt: skip
    else:
        assert kinds >= {("delete", "packs"), ("delete", "tombstones")}
    for number in range(1, len(calls) + 1):
        place = copy_of(yard.begin[phase])
        with contextlib.suppress(house.Killed):
            yard.phase(phase)(house.Faulty(place, house.at_call(number, mode)))
        yard.check(place, {})
        clock = house.Clock(yard.later + timedelta(hours=2))
        new = job(place, yard.shop, clock)
        yard.end(place, {new: yard.shop.world()})
    print(f"{phase}, {mode}: {len(calls)} writes, {sorted(kinds)}")


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("phase", ["mark", "sweep"])
@pytest.mark.parametrize("at", ["index", "snapshots"])
def test_a_backup_that_slept_while_a_prune_was_killed(phase: str, at: str, every: int, yard: Yard) -> None:
    """It sleeps before its last look (`index`) or before its commit, and then commits whole or says that it is late."""
    calls, late = writes_of(yard, phase), 0
    for number in range(1, len(calls) + 2, every):
        for mode in MODES:
            place, clock = copy_of(yard.begin[phase]), house.Clock(yard.now.at)
            done: list[str] = []

            def asleep(
                _method: str, key: str, _count: int, *, number: int = number, mode: str = mode,
                place: memory.MemoryStore = place, done: list[str] = done, clock: house.Clock = clock,
            ) -> str:  # fmt: skip
                if house.key_kind(key) == at and not done:
                    done.append(key)
                    with contextlib.suppress(house.Killed):
                        yard.phase(phase)(house.Faulty(place, house.at_call(number, mode)))
                    if phase == "sweep":
                        clock.at = yard.later
                return ""

            more: dict[str, house.World] = {}
            try:
                more[job(house.Faulty(place, asleep), yard.shop, clock)] = yard.shop.world()
            except Conflict as problem:
                late += 1
                assert "run the backup again" in problem.hint or "stores what is missing" in problem.hint  # noqa: PT017
            assert done
            yard.check(place, more)
            yard.end(place, more)
    print(f"{phase}, asleep before {at}: {len(MODES) * len(range(1, len(calls) + 2, every))} nights, {late} too late")
