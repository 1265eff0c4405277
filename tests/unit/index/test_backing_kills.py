"""Index versions in snapshots: killed at any call, and with a disk that fills up."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from ddr.errors import DdrError
from ddr.index import check
from ddr.index.homes import home
from ddr.stores import memory
from tests.unit.backup import house
from tests.unit.index import backed, dying, published


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> published.Made:
    return published.make(tmp_path_factory.mktemp("corpus"), ids="texts", rows=40)


@pytest.mark.long
def test_killed_anywhere_the_pointer_names_what_was_proved(tmp_path: Path, made: published.Made) -> None:
    at, _, second = backed.two(tmp_path / "home", made)
    vault = backed.Vault()
    vault.run(backed.of(at))
    source = vault.source()

    def restore(root: Path) -> None:
        mine = backed.of(published.at(root / "home"))
        mine.restore(mine.plan_restore(source, backed.options()), source)

    deaths = 0
    for root, what in dying.each_death(tmp_path, lambda root: None, restore):
        into = published.at(root / "home")
        is_whole(into)
        assert into.current() in (None, second), what
        restore(root)
        assert (into.versions(), into.current()) == ((second,), second), what
        deaths += 1
    print(f"{deaths} deaths")
    assert deaths > 60


def is_whole(of: home.Home) -> None:
    for version in of.versions():
        assert check.check(of, version, check.Means(), (0, 1)).findings == ()


def test_killed_anywhere_it_goes_on(tmp_path: Path, made: published.Made) -> None:
    at, _, second = backed.two(tmp_path / "home", made)
    at.pin(second, "for the audit")
    vault = backed.Vault()
    vault.run(backed.of(at))
    source = vault.source()

    def restore(root: Path) -> None:
        mine = backed.of(published.at(root / "home"))
        plan = mine.plan_restore(source, backed.options(pointer="stay"))
        mine.restore(plan, source)

    deaths = 0
    for root, what in dying.each_death(tmp_path, lambda root: None, restore):
        into = published.at(root / "home")
        is_whole(into)
        assert into.current() is None, what
        restore(root)
        assert into.versions() == (second,), what
        assert dict(into.pins()) == {second: "for the audit"}, what
        is_whole(into)
        left = [path.name for place in (into.root, into.root / "versions") for path in place.glob(".*.tmp")]
        assert left == [], what
        deaths += 1
    print(f"{deaths} deaths")
    assert deaths > 60


def test_killed_anywhere_it_goes_on_in_a_bucket(tmp_path: Path, made: published.Made) -> None:
    at, first, second = backed.two(tmp_path / "home", made)
    vault = backed.Vault()
    vault.run(backed.of(at, "all"))
    source = vault.source()
    deaths = 0
    for mode in ("kill-before", "kill-after", "before", "after"):
        for call in range(1, 1000):
            inner = memory.MemoryStore()
            faulty = house.Faulty(inner, house.at_call(call, mode))
            dead = backed.of(backed.in_bucket(faulty))
            try:
                dead.restore(dead.plan_restore(source, backed.options(pointer="stay")), source)
            except (house.Killed, DdrError):
                deaths += 1
            else:
                break
            is_whole(backed.in_bucket(inner))
            again = backed.of(backed.in_bucket(inner))
            again.restore(again.plan_restore(source, backed.options(pointer="stay")), source)
            assert again.of.versions() == (first, second)
            is_whole(again.of)
    print(f"{deaths} deaths")
    assert deaths > 30


@pytest.mark.parametrize("call", ["write", "pwrite", "fsync", "mkdir", "rename"])
def test_a_full_disk_leaves_nothing_half(
    tmp_path: Path, made: published.Made, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    at, first, second = backed.two(tmp_path / "home", made)
    vault = backed.Vault()
    vault.run(backed.of(at, "all"))
    source = vault.source()
    for number in range(1, 100):
        root = tmp_path / "into" / str(number)
        root.mkdir(parents=True)
        mine = backed.of(published.at(root))
        plan = mine.plan_restore(source, backed.options(pointer="stay"))
        with monkeypatch.context() as patched:
            count = dying.failing(patched, call, number, errno.ENOSPC)
            failed = False
            try:
                mine.restore(plan, source)
            except DdrError:
                failed = True
        if count[0] < number:
            break
        assert failed or count[0] >= number
        is_whole(mine.of)
        assert [path.name for path in root.glob(".*.tmp")] == []
        mine.restore(mine.plan_restore(source, backed.options(pointer="stay")), source)
        assert mine.of.versions() == (first, second)
        shutil.rmtree(root)
    assert number > 1
