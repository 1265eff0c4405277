"""Run in a mount namespace of its own: backup, prune and restore on a real disk that is full to the last page."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from ddr.backup import prune, reading, source, verify
from ddr.backup import repository as repositories
from ddr.connectors import folder_restore
from ddr.errors import Unavailable
from ddr.ports import store
from ddr.stores import local
from tests.unit.backup import house
from tests.unit.backup.test_kills import changed, job, make_many_writes, shop_at

PAGE = 4096


class Disk:
    """A tmpfs of `size` with a file in it that takes what is not to be free."""

    def __init__(self, folder: Path, size: str, *, inodes: int = 0) -> None:
        limit = f",nr_inodes={inodes}" if inodes else ""
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}{limit}", "none", str(folder)], check=True)
        self.folder = folder
        self._filler = folder / "filler"

    def free(self) -> int:
        return os.statvfs(self.folder).f_bfree * PAGE

    def leave(self, free: int) -> None:
        self._filler.unlink(missing_ok=True)
        fd = os.open(self._filler, os.O_CREAT | os.O_WRONLY)
        os.posix_fallocate(fd, 0, self.free() - free)
        os.close(fd)
        assert self.free() == free, (self.free(), free)

    def empty(self) -> None:
        self._filler.unlink(missing_ok=True)

    def leave_inodes(self, count: int) -> None:
        number = 0
        while os.statvfs(self.folder).f_ffree > count:
            (self.folder / f"empty-{number}").touch()
            number += 1

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted((self.folder / "store").rglob("*"))
            if path.is_file() and path.name != ".lock"
        }


def pruned(place: store.Store, now: house.Clock, forget: tuple[str, ...] = ()) -> prune.Plan:
    repository = repositories.open_(place, house.OPEN)
    return prune.apply(repository, prune.plan(repository, [repository.head(one) for one in forget], now()), now(), "me")


def check(place: store.Store, worlds: dict[str, house.World]) -> None:
    repository = repositories.open_(place, house.OPEN)
    report = verify.verify(repository, "full")
    assert report.findings == ()
    assert set(report.whole) == set(worlds)
    for id_, world in worlds.items():
        assert house.same(house.restored(repository, id_, "shop", None), world)


def told(problem: Unavailable) -> None:
    assert "No space left" in problem.message, problem.message
    assert "df -h" in problem.hint, problem.hint


def full(disk: Disk, place: local.LocalStore, shop: house.Shop, now: house.Clock, what: str) -> bool:
    """A backup that should find no room; whether it found it."""
    before = disk.files()
    try:
        job(place, shop, house.Clock(now.at))
    except store.Full as problem:
        told(problem)
        left = sorted(set(disk.files()) ^ set(before))
        assert disk.files() == before, f"{what}: {left}"
        return False
    return True


def backups(folder: Path, root: Path) -> None:
    disk = Disk(folder, "1m")
    place, now, shop = local.LocalStore(folder / "store"), house.Clock(), shop_at(root)
    worlds = {job(place, shop, now): shop.world()}
    changed(shop, 1)
    worlds[job(place, shop, now)] = shop.world()
    changed(shop, 2)
    first = next(iter(worlds))
    counts = 0
    for pages in range(200):
        disk.leave(pages * PAGE)
        if full(disk, place, shop, now, f"{pages} pages"):
            break
        counts += 1
        if pages % 5 == 0:
            check(place, worlds)
    (new,) = {head.id for head in repositories.open_(place, house.OPEN).heads()} - set(worlds)
    worlds[new] = shop.world()
    check(place, worlds)
    assert counts >= 15
    print(f"{counts} sizes of a disk on which a backup had no room, each {PAGE} bytes apart")

    disk.leave(0)
    pruned(place, now, (first,))
    del worlds[first]
    now.at += timedelta(days=2)
    disk.leave(0)
    made = pruned(place, now)
    assert made.delete
    assert disk.free() >= len(made.delete) * PAGE / 2
    check(place, worlds)
    disk.empty()
    for _ in range(2):
        now.at += timedelta(days=2)
        pruned(place, now)
    assert verify.verify(repositories.open_(place, house.OPEN)).notes == ()
    print(f"prune with 0 bytes free: {len(made.delete)} packs deleted, {disk.free()} bytes free")

    restores(disk, place, new, shop)


def restores(disk: Disk, place: local.LocalStore, id_: str, shop: house.Shop) -> None:
    repository = repositories.open_(place, house.OPEN)
    component = repository.read(repository.head(id_)).component("shop")
    assert component is not None
    target, refused = disk.folder / "restored", 0
    for pages in range(200):
        disk.leave(pages * PAGE)
        reader = reading.Reader(repository, repository.index())
        one = folder_restore.FolderRestore(source.ChunkSource(repository, reader, component), "files", target, "fail")
        try:
            one.apply()
            break
        except Unavailable as problem:
            told(problem)
        assert not target.exists(), "half of it looks like all of it"
        assert not list(disk.folder.glob(".ddr-*")), "half of it keeps the disk full"
        refused += 1
    assert refused >= 10
    assert dict(sorted(house.Shop(target).world().files.items())) == dict(sorted(shop.world().files.items()))
    assert [path.name for path in disk.folder.iterdir() if path.name.startswith(".")] == []
    print(f"{refused} sizes of a disk on which a restore had no room; the next call took up what was built")


def inodes(folder: Path, root: Path) -> None:
    disk = Disk(folder, "4m", inodes=200)
    place, now, shop = local.LocalStore(folder / "store"), house.Clock(), shop_at(root)
    worlds = {job(place, shop, now): shop.world()}
    changed(shop, 1)
    counts = 0
    for count in range(60):
        for path in folder.glob("empty-*"):
            path.unlink()
        disk.leave_inodes(count)
        if full(disk, place, shop, now, f"{count} inodes"):
            break
        counts += 1
    assert counts >= 8
    (new,) = {head.id for head in repositories.open_(place, house.OPEN).heads()} - set(worlds)
    worlds[new] = shop.world()
    check(place, worlds)
    for path in folder.glob("empty-*"):
        path.unlink()
    pruned(place, now, (next(iter(worlds)),))
    del worlds[next(iter(worlds))]
    now.at += timedelta(days=2)
    disk.leave_inodes(0)
    made = pruned(place, now)
    assert made.delete
    check(place, worlds)
    print(f"{counts} counts of inodes with which a backup had no room; prune with 0: {len(made.delete)} packs deleted")


def main() -> None:
    make_many_writes(setattr)
    folder, root = Path(sys.argv[1]), Path(sys.argv[2])
    backups(folder, root / "one")
    other = folder.with_name("inodes")
    other.mkdir()
    inodes(other, root / "two")


if __name__ == "__main__":
    main()
