"""A disk that becomes full at any write: said, cleaned up behind, and prune still makes room (T3)."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from ddr.backup import copying, graves, layout, prune, verify
from ddr.backup import repository as repositories
from ddr.ports import store
from ddr.stores import memory
from tests.unit.backup import house
from tests.unit.backup.test_kills import changed, copy_of, job, make_many_writes, shop_at


@pytest.fixture(autouse=True)
def many_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    make_many_writes(monkeypatch.setattr)


class Scene:
    """A repository with two backups, and a shop that has changed since."""

    def __init__(self, root: Path) -> None:
        self.base, self.now, self.shop = memory.MemoryStore(), house.Clock(), shop_at(root)
        self.worlds: dict[str, house.World] = {}
        for step in range(2):
            self.worlds[job(self.base, self.shop, self.now)] = self.shop.world()
            changed(self.shop, step)

    def disk(self, room: int | None = None) -> house.SmallDisk:
        """As it is, with so much room left."""
        place = copy_of(self.base)
        disk = house.SmallDisk(place)
        disk.room = sys.maxsize if room is None else disk.used + room
        return disk

    def job(self, place: store.Store) -> str:
        return job(place, self.shop, house.Clock(self.now.at))

    def check(self, place: store.Store, *, new: str = "", gone: tuple[str, ...] = ()) -> repositories.Repository:
        repository = repositories.open_(place, house.OPEN)
        expected = {id_: world for id_, world in self.worlds.items() if id_ not in gone}
        if new:
            expected[new] = self.shop.world()
        report = verify.verify(repository, "full")
        assert report.findings == ()
        assert set(report.whole) == set(expected)
        for id_, world in expected.items():
            assert house.same(house.restored(repository, id_, "shop", None), world)
        return repository


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "shop")


def rooms_of(whole: house.SmallDisk) -> list[int]:
    """For each write the room that is short of half of it. (Sizes differ by some bytes from run to run.)"""
    return [sum(whole.sizes[:number]) + size // 2 for number, size in enumerate(whole.sizes)]


def content_of(place: store.Store) -> dict[str, bytes]:
    return {entry.key: place.get(entry.key) for entry in place.list("")}


def test_a_backup_that_fills_the_disk_leaves_it_as_it_was(scene: Scene) -> None:
    """There is room for half of each write in turn, and for nothing."""
    whole = scene.disk()
    scene.job(whole)
    rooms = rooms_of(whole)
    assert len(rooms) >= 6
    assert {house.key_kind(key) for key in whole.written} == {"packs", "index", "snapshots"}
    before = content_of(scene.base)
    met: set[str] = set()
    for room in (0, *rooms):
        disk = scene.disk(room)
        with pytest.raises(store.Full) as caught:
            scene.job(disk)
        assert "No space left" in caught.value.message
        assert "no snapshot was made" in caught.value.message
        assert "ddr backup prune" in caught.value.hint
        assert caught.value.exit_code == 69
        met.update(house.key_kind(key) for key in disk.refused)
        assert content_of(disk) == before, "what it had stored keeps the disk full"
        scene.check(disk)
        disk.room = sys.maxsize
        scene.check(disk, new=scene.job(disk))
    assert met == {"packs", "index", "snapshots"}
    print(f"{1 + len(rooms)} rooms short of a write: {sorted(met)}")


def test_the_first_backup_of_all_on_a_full_disk(scene: Scene) -> None:
    """Also without room for key slot or configuration; what stays of that hinders nothing."""
    whole = house.SmallDisk(memory.MemoryStore())
    scene.job(whole)
    rooms = rooms_of(whole)
    for room in rooms:
        disk = house.SmallDisk(memory.MemoryStore(), room)
        with pytest.raises(store.Full):
            scene.job(disk)
        assert {house.key_kind(key) for key in content_of(disk)} <= {"keys", "config"}
        disk.room = sys.maxsize
        id_ = scene.job(disk)
        repository = repositories.open_(disk, house.OPEN)
        assert verify.verify(repository, "full").whole == (id_,)
    print(f"{len(rooms)} writes of a first backup")


def test_a_full_disk_while_chunks_are_stored_again(scene: Scene) -> None:
    """Every pack has a tombstone: the packs that are stored anew before the commit go as well when there is no room."""
    repository = repositories.open_(scene.base, house.OPEN)
    doomed = tuple(layout.hash_in(entry.key) for entry in scene.base.list(layout.PACKS))
    graves.write(repository, graves.Tombstone(house.NOW, house.NOW, doomed))
    whole = scene.disk()
    scene.job(whole)
    rooms = rooms_of(whole)
    before = content_of(scene.base)
    for room in rooms:
        disk = scene.disk(room)
        with pytest.raises(store.Full):
            scene.job(disk)
        assert content_of(disk) == before
    assert len(rooms) >= 12
    print(f"{len(rooms)} writes of a backup that stores again")


def pruned(place: store.Store, now: house.Clock, forget: tuple[str, ...] = ()) -> prune.Plan:
    repository = repositories.open_(place, house.OPEN)
    made = prune.plan(repository, [repository.head(id_) for id_ in forget], now())
    return prune.apply(repository, made, now(), "test")


def test_prune_frees_before_it_writes(scene: Scene) -> None:
    """Phase 2 with room for 0 bytes, for 1, for half of each write: whatever there is room for, what was
    due is gone, and a prune with room comes to the same end."""
    (first, second), now = scene.worlds, house.Clock(scene.now.at)
    orphan = house.Faulty(scene.base, house.at_call(4, "kill-before"))
    with pytest.raises(house.Killed):
        scene.job(orphan)
    pruned(scene.base, now, (first,))
    now.at += timedelta(days=2)
    changed(scene.shop, 7)
    with pytest.raises(house.Killed):  # and what the next prune has to bury
        job(house.Faulty(scene.base, house.at_call(3, "kill-before")), scene.shop, house.Clock(now.at))
    due = prune.plan(repositories.open_(scene.base, house.OPEN), (), now()).delete
    assert due
    whole = scene.disk()
    pruned(whole, house.Clock(now.at))
    rooms = [0, 1, *rooms_of(whole)]
    for room in rooms:
        disk, clock = scene.disk(room), house.Clock(now.at)
        used = disk.used
        pruned(disk, clock)
        assert not {layout.pack_key(pack) for pack in due} & set(content_of(disk))
        assert disk.used < used
        scene.check(disk, gone=(first,))
        disk.room = sys.maxsize
        for _ in range(3):
            clock.at += timedelta(days=2)
            pruned(disk, clock)
        assert verify.verify(scene.check(disk, gone=(first,))).notes == ()
    assert second in scene.worlds
    print(f"{len(rooms)} rooms, {len(due)} packs due")


def test_prune_with_nothing_due_and_no_room_forgets_first_or_says_what_is_missing(scene: Scene) -> None:
    first, second = scene.worlds
    disk = scene.disk(0)
    pruned(disk, house.Clock(scene.now.at), (first,))  # the room of the snapshot's own object is enough
    repository = scene.check(disk, gone=(first,))
    assert graves.read(repository)

    with pytest.raises(house.Killed):
        scene.job(house.Faulty(scene.base, house.at_call(4, "kill-before")))
    for room in (0, 150):
        disk = scene.disk(room)
        with pytest.raises(store.Full, match=r"no room to mark [23] more") as caught:
            pruned(disk, house.Clock(scene.now.at))
        assert "make some room" in caught.value.hint
        scene.check(disk)
        disk.room = sys.maxsize
        clock = house.Clock(scene.now.at)
        for _ in range(3):
            pruned(disk, clock)  # at once: no lease is left behind
            clock.at += timedelta(days=2)
        assert verify.verify(scene.check(disk)).notes == ()
    assert second


def test_a_spared_pack_is_listed_before_its_tombstone_goes_also_without_room(scene: Scene) -> None:
    """A backup that committed without seeing the tombstone; then prunes with every room there can be."""
    first, second = scene.worlds
    now = house.Clock(scene.now.at)
    repository = repositories.open_(scene.base, house.OPEN)
    head = repository.head(second)
    kept = scene.base.get(head.key)
    pruned(scene.base, now, (first, second))
    scene.base.create(head.key, kept)  # it was about to commit
    now.at += timedelta(days=2)
    whole = scene.disk()
    made = pruned(whole, house.Clock(now.at))
    assert made.spare
    rooms = [0, 1, *rooms_of(whole)]
    full = 0
    for room in rooms:
        disk, clock = scene.disk(room), house.Clock(now.at)
        try:
            pruned(disk, clock)
        except store.Full:
            full += 1
            assert graves.read(repositories.open_(disk, house.OPEN)), "who would know of the pack now?"
        disk.room = sys.maxsize
        pruned(disk, clock)
        scene.check(disk, gone=(first,))
    counted = house.Faulty(copy_of(scene.base), house.no_rule)
    pruned(counted, house.Clock(now.at))
    for number in range(1, len(counted.calls) + 1):  # nor is there a moment at which a kill would leave neither
        place = copy_of(scene.base)
        with pytest.raises(house.Killed):
            pruned(house.Faulty(place, house.at_call(number, "kill-before")), house.Clock(now.at))
        repository = repositories.open_(place, house.OPEN)
        assert graves.read(repository) or not verify.verify(repository).findings
    print(f"{len(rooms)} rooms, {full} too small, {len(counted.calls)} kills")


def test_a_copy_to_a_full_disk_goes_on_when_there_is_room(scene: Scene) -> None:
    whole = house.SmallDisk(memory.MemoryStore())
    copying.copy(scene.base, whole)
    rooms = rooms_of(whole)
    for room in rooms:
        disk = house.SmallDisk(memory.MemoryStore(), room)
        with pytest.raises(store.Full):
            copying.copy(scene.base, disk)
        if repositories.exists(disk):
            there = repositories.open_(disk, house.OPEN)
            report = verify.verify(there, "full")
            assert report.findings == ()
            assert set(report.whole) <= set(scene.worlds)
        disk.room = sys.maxsize
        copying.copy(scene.base, disk)
        scene.check(disk)
    print(f"{len(rooms)} writes of a copy")


def test_a_real_disk_that_becomes_full(tmp_path: Path) -> None:
    """A tmpfs of each size in turn, in a mount namespace of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("only root may mount a small disk; the tests above do the same without one")
    child = subprocess.run(
        ["unshare", "-m", sys.executable, "-m", "tests.unit.backup.small_disk", str(disk), str(tmp_path / "shop")],
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stdout + child.stderr
    print(child.stdout)


def test_what_no_journal_has_room_for_is_told_as_done() -> None:
    """Nothing takes the record: what was done is told as done, with the next move."""
    from ddr.cli import backup_watch
    from ddr.domain import backup_records
    from ddr.errors import Unavailable

    class Session:
        notices: tuple[str, ...] = ()

        def wired(self) -> Session:
            return self

        @property
        def log(self) -> Session:
            return self

        def append(self, _event: object) -> None:
            raise Unavailable("the journal can be written nowhere")

        def notice(self, text: str) -> None:
            self.notices = (*self.notices, text)

    session = Session()
    event = backup_records.BackupsForgotten((), 0, 0)
    assert not backup_watch.record(session, event)  # type: ignore[arg-type]
    (told,) = session.notices
    assert "it was done" in told
    assert "next:" in told
