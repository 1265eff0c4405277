"""A publish, a rollback and a collection that die at any call: readers see whole versions, the same command goes on."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ddr.domain import indexes
from ddr.errors import Refused
from ddr.index import check
from ddr.index.homes import bucket, collecting, home, naming, publishing
from ddr.ports import store
from ddr.stores import memory
from tests.unit.index import dying, published

Work = Callable[[home.Home], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> published.Made:
    return published.make(tmp_path_factory.mktemp("corpus"), rows=40, ids="texts")


def publish(made: published.Made) -> Work:
    return lambda of: published.published(of, made.as_another(9))


def roll_back(of: home.Home) -> object:
    return publishing.roll_back(of, publishing.way_back(of, None, published.prover(of, (0, 1))))


def collect(of: home.Home) -> object:
    return collecting.apply(of, collecting.plan(of, published.LONG_AFTER, keep=1))


def pin(of: home.Home) -> object:
    of.pin(of.versions()[0], "kept")
    return None


def is_whole(of: home.Home) -> None:
    """Every version that a reader can see is whole, and what serves is one of them."""
    for version in of.versions():
        assert check.check(of, version, check.Means(), (0, 1)).findings == ()
    assert of.current() in of.versions()


def state(of: home.Home) -> tuple[object, ...]:
    plans = [of.manifest(version).plan_digest for version in of.versions()]
    current = of.current()
    return plans, current and of.manifest(current).plan_digest, sorted(of.pins().values())


@pytest.mark.parametrize(("name", "calls"), [("publish", 45), ("roll_back", 10), ("collect", 20), ("pin", 8)])
def test_kill_at_every_call_in_a_folder(name: str, calls: int, made: published.Made, tmp_path: Path) -> None:
    work: Work = {"publish": publish(made), "roll_back": roll_back, "collect": collect, "pin": pin}[name]
    first = published.at(tmp_path / "first")
    for number in range(3):
        published.published(first, made.as_another(number))
    uninterrupted = tmp_path / "uninterrupted"
    shutil.copytree(first.root, uninterrupted, symlinks=True)
    work(published.at(uninterrupted))
    wanted = state(published.at(uninterrupted))
    points = visible = 0
    before = state(first)
    deaths = tmp_path / "deaths"
    deaths.mkdir()

    def prepare(folder: Path) -> None:
        shutil.copytree(first.root, folder, symlinks=True, dirs_exist_ok=True)

    for folder, where in dying.each_death(deaths, prepare, lambda folder: work(published.at(folder))):
        of = published.at(folder)
        is_whole(of)
        visible += state(of) != before
        if name != "roll_back" or of.current() == first.current():  # there a second time would be one further
            work(of)
        assert not list((folder / "versions").glob(".*")), f"{where}: the next try takes away what was half"
        of.sweep()
        is_whole(of)
        assert state(of) == wanted, where
        assert not list((folder / ".trash").glob("*")) if (folder / ".trash").exists() else True
        points += 1
    assert points >= calls
    print(f"{name} in a folder: {points} kills, {visible} of them after something was to be seen")


class Killed(BaseException):
    """Nothing may catch it."""


class Mortal(memory.MemoryStore):
    """Dies before or after its n-th change."""

    die_at = 0
    mode = "before"
    changes = 0

    def _change(self, do: Callable[[], store.Entry | None]) -> store.Entry | None:
        self.changes += 1
        if self.changes == self.die_at and self.mode == "before":
            raise Killed
        number = self.changes
        try:
            return do()
        finally:
            if number == self.die_at:  # also where the answer would have been no
                raise Killed

    def create(self, key: str, content: bytes) -> store.Entry:
        entry = self._change(lambda: super(Mortal, self).create(key, content))
        assert entry
        return entry

    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        entry = self._change(lambda: super(Mortal, self).swap(key, content, expect))
        assert entry
        return entry

    def delete(self, key: str) -> None:
        self._change(lambda: super(Mortal, self).delete(key))


def stored(place: store.Store, clock: published.Clock | None = None) -> bucket.BucketHome:
    return bucket.BucketHome(place, "", clock or published.Clock(), segment_bytes=1000)


@pytest.mark.parametrize("name", ["publish", "roll_back", "collect", "pin"])
def test_kill_at_every_change_in_a_store(name: str, made: published.Made) -> None:
    work: Work = {"publish": publish(made), "roll_back": roll_back, "collect": collect, "pin": pin}[name]

    def prepared() -> Mortal:
        place = Mortal()
        for number in range(3):
            published.published(stored(place), made.as_another(number))
        place.changes = 0
        return place

    done = prepared()
    before = state(stored(done))
    work(stored(done))
    wanted, total = state(stored(done)), done.changes
    first = stored(prepared()).current()
    for mode, die_at in itertools.product(("before", "after"), range(1, total + 1)):
        place = prepared()
        place.mode, place.die_at = mode, die_at
        with pytest.raises(Killed):
            work(stored(place))
        place.die_at = 0
        of = stored(place)
        is_whole(of)
        if name != "roll_back" or of.current() == first:
            work(of)
        later = published.Clock()
        later.at = published.LONG_AFTER
        stored(place, later).sweep()
        is_whole(of)
        assert state(of) == wanted, (mode, die_at)
        left = [
            entry.key
            for entry in place.list("")
            if entry.key.split("/")[0] in ("uploads", "removing", "leases", "probe")
        ]
        assert left == [], (mode, die_at)
        versions = {entry.key.split("/")[1] for entry in place.list("versions/")}
        assert versions == set(of.versions()), "no segment without a manifest stays"
    assert before != wanted
    print(f"{name} in a store: {2 * total} kills")


def test_a_version_that_is_removed_is_not_gone_to(made: published.Made) -> None:
    """A collector dies between its note and the deletion: whoever goes there meanwhile is told, the pointer stays."""
    place = Mortal()
    of = stored(place)
    names = [published.published(of, made.as_another(number)) for number in range(2)]
    place.changes, place.mode = 0, "after"
    place.die_at = 1
    with pytest.raises(Killed):
        of.remove(names[0])
    place.die_at = 0
    assert place.head(f"removing/{names[0]}")
    proof = indexes.Check(names[0], (0, 1))
    with pytest.raises(Exception, match=r"being removed|no version"):
        publishing.roll_back(of, publishing.Moved(names[1], names[0], proof))
    assert of.current() == names[1]
    with pytest.raises(Refused):
        of.remove(names[1])
    later = published.Clock()
    later.at += timedelta(hours=1)
    assert stored(place, later).sweep() == (f"removing/{names[0]}",)
    assert of.versions() == (names[1],)
    assert naming.number(published.published(of, made.as_another(3))) == 3
