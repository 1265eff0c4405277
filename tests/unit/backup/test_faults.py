"""A store that fails at any call: tried again, or told; nothing is lost and nothing wrong comes out (T4)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from ddr.backup import chunks, graves, layout, packs, verify, writing
from ddr.backup import repository as repositories
from ddr.errors import Conflict, Damaged, DdrError, Unavailable
from ddr.ports import store
from ddr.stores import memory
from tests.unit.backup import house
from tests.unit.backup.test_kills import changed, copy_of, prune_all

ALL = ("get", "head", "list", "create", "swap", "delete")


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "FULL", 12_000)
    monkeypatch.setattr(packs, "ROOM", 1 << 17)
    monkeypatch.setattr(chunks, "_BUFFER", 1 << 16)
    monkeypatch.setattr(writing, "_INDEXED_EVERY", 2)


class Scene:
    """A repository with one backup, and a shop that has changed since."""

    def __init__(self, root: Path) -> None:
        self.base, self.now = memory.MemoryStore(), house.Clock()
        self.shop = house.small_shop(root)
        repository = repositories.create(self.base, house.OPEN, self.now())
        self.first = house.backup(repository, {"shop": self.shop}, self.now).id
        self.before = self.shop.world()
        changed(self.shop, 1)

    def back_up(self, place: store.Store) -> str:
        repository = repositories.open_(place, house.OPEN)
        return house.backup(repository, {"shop": self.shop}, house.Clock(self.now.at)).id

    def restore(self, place: store.Store) -> house.World:
        return house.restored(repositories.open_(place, house.OPEN), self.first, "shop", None)

    def check(self, place: store.Store, id_: str) -> None:
        """Both snapshots are whole, nothing is odd."""
        repository = repositories.open_(place, house.OPEN)
        report = verify.verify(repository, "full")
        assert (report.findings, report.notes) == ((), ())
        assert set(report.whole) == {self.first, id_}
        assert house.same(house.restored(repository, id_, "shop", None), self.shop.world())
        assert house.same(house.restored(repository, self.first, "shop", None), self.before)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "shop")


def calls_of(place: memory.MemoryStore, do: Callable[[store.Store], object]) -> list[tuple[str, str]]:
    faulty = house.Faulty(place, house.no_rule, ALL)
    do(faulty)
    return faulty.calls


@pytest.mark.parametrize("what", ["before", "after", "exists"])
def test_a_store_that_is_away_once_at_any_call_is_tried_again(what: str, scene: Scene) -> None:
    """`after`: a write that had its effect and whose answer was lost: repeated, it finds its own bytes."""
    calls, tried = calls_of(copy_of(scene.base), scene.back_up), 0
    for number, (method, _) in enumerate(calls, 1):
        if what != "before" and method != "create":
            continue
        tried += 1
        place = copy_of(scene.base)
        faulty = house.Faulty(place, house.at_call(number, what), ALL)
        scene.check(place, scene.back_up(house.patient(faulty)))
    assert tried >= (5 if what != "before" else 30)
    print(f"{what}: {tried} calls of a backup")


def test_a_store_that_is_away_once_is_asked_again_while_restoring_and_verifying(scene: Scene) -> None:
    calls, tried = calls_of(scene.base, scene.restore), 0
    for number in range(1, len(calls) + 1):
        faulty = house.Faulty(scene.base, house.at_call(number, "before"), ALL)
        assert house.same(scene.restore(house.patient(faulty)), scene.before)
        tried += 1

    def verified(place: store.Store) -> verify.Report:
        return verify.verify(repositories.open_(place, house.OPEN), "full", workers=1)

    for number in range(1, len(calls_of(scene.base, verified)) + 1):
        faulty = house.Faulty(scene.base, house.at_call(number, "before"), ALL)
        assert verified(house.patient(faulty)).findings == ()
        tried += 1
    print(f"{tried} calls of a restore and a verify")


def test_a_store_that_stays_away_ends_the_backup_and_harms_nothing(scene: Scene) -> None:
    """Nobody tries again: whatever call it is, the backup says so or does without, and the next one is whole."""
    calls, ended = calls_of(copy_of(scene.base), scene.back_up), 0
    for number in range(1, len(calls) + 1):
        place = copy_of(scene.base)
        try:
            scene.back_up(house.Faulty(place, house.at_call(number, "before"), ALL))
        except DdrError as problem:
            ended += 1
            assert isinstance(problem, Unavailable)  # noqa: PT017
            heads = {head.id for head in repositories.open_(place, house.OPEN).heads()}
            assert scene.first in heads
            assert len(heads) == 1 or number > len(calls) - 3, "only behind its commit"
        repository = repositories.open_(place, house.OPEN)
        id_ = house.backup(repository, {"shop": scene.shop}, house.Clock(house.NOW.replace(hour=22))).id
        report = verify.verify(repository, "full")
        assert report.findings == ()
        assert {scene.first, id_} <= set(report.whole)
        assert house.same(house.restored(repository, id_, "shop", None), scene.shop.world())
    print(f"{len(calls)} calls, {ended} backups ended")


def test_an_answer_cut_in_half_never_gives_wrong_bytes(scene: Scene) -> None:
    calls, refused = calls_of(scene.base, scene.restore), 0
    gets = [number for number, (method, _) in enumerate(calls, 1) if method == "get"]
    for number in gets:
        faulty = house.Faulty(scene.base, house.at_call(number, "half"), ALL)
        try:
            assert house.same(scene.restore(faulty), scene.before)
        except DdrError:
            refused += 1
    calls = calls_of(copy_of(scene.base), scene.back_up)
    for number, (method, _) in enumerate(calls, 1):
        if method != "get":
            continue
        place = copy_of(scene.base)
        try:
            id_ = scene.back_up(house.Faulty(place, house.at_call(number, "half"), ALL))
        except DdrError:
            refused += 1
            continue
        repository = repositories.open_(place, house.OPEN)
        assert house.same(house.restored(repository, id_, "shop", None), scene.shop.world())
        assert verify.verify(repository, "full").findings == ()
    assert refused >= len(gets)
    print(f"{len(gets)} answers of a restore, {len(calls)} calls of a backup, {refused} refused")


def test_a_name_that_is_taken_by_other_bytes_is_damage(scene: Scene) -> None:
    place = copy_of(scene.base)
    content = b"what should be there"
    key = layout.pack_key(layout.name_of(content))
    place.create(key, b"something else")
    with pytest.raises(Damaged, match="other bytes"):
        layout.create_named(place, key, content)
    place.delete(key)
    layout.create_named(place, key, content)
    layout.create_named(place, key, content)
    assert place.get(key) == content


def test_a_pack_that_vanishes_before_the_commit_ends_the_backup(scene: Scene) -> None:
    """A prune whose grace was shorter than this backup; then again between the last look and the commit."""
    for kind in ("index", "snapshots"):
        place = copy_of(scene.base)
        victims = [entry.key for entry in place.list(layout.PACKS)]

        def rule(_method: str, key: str, _count: int, at: tuple[str, memory.MemoryStore, list[str]]) -> str:
            for victim in at[2] if house.key_kind(key) == at[0] else ():
                at[1].delete(victim)
            return ""

        with pytest.raises(Conflict, match="deleted meanwhile"):
            scene.back_up(house.Faulty(place, functools.partial(rule, at=(kind, place, victims))))
        repository = repositories.open_(place, house.OPEN)
        assert [head.id for head in repository.heads()] == [scene.first]
        id_ = scene.back_up(place)
        assert id_ in verify.verify(repository, "full").whole
        repository.forget(repository.head(scene.first))
        prune_all(repository, scene.now)  # the index still lists the packs that are gone before those that are not
        assert verify.verify(repository, "full").whole == (id_,)
        assert house.same(house.restored(repository, id_, "shop", None), scene.shop.world())


def test_what_is_about_to_be_deleted_is_stored_again(scene: Scene) -> None:
    """A tombstone on every pack there is: the new snapshot needs none of them."""
    place = copy_of(scene.base)
    repository = repositories.open_(place, house.OPEN)
    doomed = tuple(layout.hash_in(entry.key) for entry in place.list(layout.PACKS))
    graves.write(repository, graves.Tombstone(house.NOW, house.NOW, doomed))
    id_ = scene.back_up(place)
    for pack in doomed:
        place.delete(layout.pack_key(pack))
    repository = repositories.open_(place, house.OPEN)
    from ddr.backup import repair

    repair.rebuild_index(repository)
    assert id_ in verify.verify(repository, "full").whole
    assert house.same(house.restored(repository, id_, "shop", None), scene.shop.world())
