"""A backup that dies at any write: what was there stays whole, the next run ends well, a prune leaves no trace (T1)."""

from __future__ import annotations

import multiprocessing
import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from ddr.backup import chunks, packs, prune, verify, writing
from ddr.backup import repository as repositories
from ddr.ports import store
from ddr.stores import local, memory
from tests.unit.backup import house

MODES = ("kill-before", "kill-after")


@pytest.fixture(autouse=True)
def many_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    make_many_writes(monkeypatch.setattr)


def make_many_writes(set_: object) -> None:
    """Small packs and an index object for every second one: some twenty writes for a small backup."""
    assert callable(set_)
    set_(packs, "FULL", 6_000)
    set_(packs, "ROOM", 1 << 17)
    set_(chunks, "_BUFFER", 1 << 16)  # only files above 4 MiB go through it
    set_(writing, "_INDEXED_EVERY", 2)


def job(place: store.Store, shop: house.Shop, now: house.Clock) -> str:
    """What `ddr backup run` does."""
    is_new = not repositories.exists(place)
    repository = repositories.create(place, house.OPEN, now()) if is_new else repositories.open_(place, house.OPEN)
    return house.backup(repository, {"shop": shop}, now).id


def shop_at(root: Path, seed: int = 1) -> house.Shop:
    shop = house.small_shop(root, seed)
    for number in range(8):
        (root / f"checkpoint-{number}").write_bytes(house._noise(1000 + number, 7_000))
    return shop


def changed(shop: house.Shop, step: int) -> None:
    """A file new, one changed, one gone; rows and bytes added."""
    for number in range(6):
        (shop.root / f"new-{step}-{number}").write_bytes(house._noise(step + 300 + number, 9_000))
    (shop.root / "models/2/weights.bin").write_bytes(house._noise(step + 100, 12_000))
    (shop.root / "models/1/deep/MLmodel").unlink(missing_ok=True)
    shop.tables["runs"] = [*shop.tables["runs"], (step, "new", 1.0)]
    shop.streams["registry.db"] += house._noise(step + 200, 7_000)


def copy_of(place: memory.MemoryStore) -> memory.MemoryStore:
    made = memory.MemoryStore()
    for entry in place.list(""):
        made.create(entry.key, place.get(entry.key))
    return made


def check(place: store.Store, worlds: dict[str, house.World], out: Path | None = None) -> repositories.Repository:
    """Everything that was committed is whole, and nothing else is there."""
    repository = repositories.open_(place, house.OPEN)
    assert {head.id for head in repository.heads()} == set(worlds)
    report = verify.verify(repository, "full")
    assert report.findings == ()
    assert set(report.whole) == set(worlds)
    for id_, world in worlds.items():
        assert house.same(house.restored(repository, id_, "shop", out), world)
    return repository


def prune_all(repository: repositories.Repository, now: house.Clock) -> None:
    """Both phases, a day apart."""
    for _ in range(3):
        now.at += timedelta(days=2)
        prune.apply(repository, prune.plan(repository, (), now()), now(), "test")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("earlier", [0, 1])
def test_a_kill_at_any_write_harms_nothing(mode: str, earlier: int, tmp_path: Path) -> None:
    """`earlier` backups are there when the one begins that dies."""
    shop, base, now = shop_at(tmp_path / "shop"), memory.MemoryStore(), house.Clock()
    worlds: dict[str, house.World] = {}
    for step in range(earlier):
        worlds[job(base, shop, now)] = shop.world()
        changed(shop, step)
    count = house.Faulty(copy_of(base), house.no_rule)
    job(count, shop, house.Clock(now.at))
    total = len(count.calls)
    assert total >= 12
    assert [house.key_kind(key) for _, key in count.calls][-1] == "snapshots", "the commit is the last write"
    for number in range(1, total + 1):
        place, clock = copy_of(base), house.Clock(now.at)
        with pytest.raises(house.Killed):
            job(house.Faulty(place, house.at_call(number, mode)), shop, clock)
        survived = dict(worlds)
        committed = number == total and mode == "kill-after"
        if committed:
            (new,) = {head.id for head in repositories.open_(place, house.OPEN).heads()} - set(worlds)
            survived[new] = shop.world()
        if repositories.exists(place):
            check(place, survived)
        survived[job(place, shop, clock)] = shop.world()
        prune_all(check(place, survived), clock)
        report = verify.verify(check(place, survived, tmp_path / f"out-{number}" if number % 5 == 0 else None))
        assert report.notes == ()
    print(f"{total} writes, {mode}, {earlier} earlier backups: {total} kills survived")


def test_work_before_a_kill_is_not_done_again(tmp_path: Path) -> None:
    """What an index object lists already is not stored a second time."""
    shop, place, now = shop_at(tmp_path / "shop"), memory.MemoryStore(), house.Clock()
    whole = house.Faulty(memory.MemoryStore(), house.no_rule)
    job(whole, shop, house.Clock())
    last = len(whole.calls)
    with pytest.raises(house.Killed):
        job(house.Faulty(place, house.at_call(last, "kill-before")), shop, now)
    again = house.Faulty(place, house.no_rule)
    job(again, shop, now)
    assert [house.key_kind(key) for _, key in again.calls] == ["snapshots"]


def _child(path: str, root: str, number: int) -> None:
    make_many_writes(setattr)
    shop = shop_at(Path(root), 1)

    def rule(_method: str, _key: str, count: int) -> str:
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return ""

    job(house.Faulty(local.LocalStore(Path(path)), rule), shop, house.Clock())


def test_a_real_sigkill_harms_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.unit.backup.test_kills"])
    numbers = (2, 4, 7, 11)
    for number in numbers:
        path, root = tmp_path / f"store-{number}", tmp_path / f"shop-{number}"
        process = context.Process(target=_child, args=(str(path), str(root), number))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        process.close()
        shop = house.Shop(root, shop_at(tmp_path / f"twin-{number}", 1).tables, {"none": b"", "some": b"x" * 5})
        place = local.LocalStore(path)
        now = house.Clock()
        first = job(place, shop, now)
        repository = check(place, {first: shop.world()}, tmp_path / "out")
        prune_all(repository, now)
        assert verify.verify(repository).notes == ()
    print(f"SIGKILL at writes {numbers}")
