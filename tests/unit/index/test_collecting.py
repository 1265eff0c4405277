"""What came a short while ago is not collected, however long ago it was made: of restores, and of wrong clocks.

Here every version was made, and served last, years ago by the clock of its home; the places have clocks of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors import faiss_index
from ddr.domain import planes
from ddr.index.homes import bucket, collecting, folder, home
from ddr.lib import clock as clocks
from ddr.ports import restorable, store
from ddr.stores import memory
from tests import servers
from tests.unit.index import backed, published
from tests.unit.stores import conftest as stores

YEARS_AGO = datetime(2020, 1, 1, tzinfo=UTC)
SHORT = "was made, put here or served a short while ago"
Making = Callable[[int], published.Made]


class Dated(memory.MemoryStore):
    """Keeps when each object was written."""

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[str, datetime] = {}

    def create(self, key: str, content: bytes) -> store.Entry:
        entry = super().create(key, content)
        self.times[key] = datetime.now(UTC)
        return entry

    def delete(self, key: str) -> None:
        super().delete(key)
        self.times.pop(key, None)

    def written_at(self, key: str) -> datetime | None:
        return self.times.get(key)


def clock() -> published.Clock:
    made = published.Clock()
    made.at = YEARS_AGO
    return made


def in_store(place: store.Store) -> bucket.BucketHome:
    return bucket.BucketHome(place, "team/docs/", clock(), segment_bytes=4000)


@pytest.fixture(params=("folder", "dated", "moto"))
def tried(request: pytest.FixtureRequest, tmp_path: Path) -> home.Home:
    if request.param == "folder":
        (tmp_path / "home").mkdir()
        return folder.FolderHome(tmp_path / "home", clock())
    if request.param == "dated":
        return in_store(Dated())
    server: servers.S3Server = request.getfixturevalue("moto_server")
    return in_store(stores.s3_store(server, server.new_bucket()))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Making:
    one = published.make(tmp_path_factory.mktemp("corpus"), rows=40)
    return dataclasses.replace(one, manifest=dataclasses.replace(one.manifest, created=YEARS_AGO)).as_another


def several(of: home.Home, made: Making, count: int) -> list[str]:
    return [published.published(of, made(number)) for number in range(count)]


def came(of: home.Home, versions: Sequence[str]) -> list[datetime]:
    return [at for version in versions if (at := of.arrived(version))]


def test_what_was_put_here_stays_for_a_day(tried: home.Home, made: Making) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    names = several(tried, made, 4)
    at = came(tried, names)
    assert before < min(at) <= max(at) < datetime.now(UTC) + timedelta(seconds=2)
    hour = timedelta(hours=1)
    for now in (datetime.now(UTC), max(at) + collecting.GRACE - hour, min(at) - collecting.GRACE + hour):
        chosen = collecting.plan(tried, now, keep=1)
        assert chosen.gone == ()
        assert [why for _, why in chosen.kept[:3]] == [SHORT] * 3
    assert collecting.plan(tried, max(at) + collecting.GRACE, keep=1).gone == tuple(names[:3])


def test_what_comes_again_has_come_anew(tried: home.Home, made: Making) -> None:
    names = several(tried, made, 2)
    (first,) = came(tried, names[:1])
    manifest = tried.manifest(names[0])
    assert tried.remove(names[0])
    assert tried.arrived(names[0]) is None
    tried.add(names[0], made(0).files, manifest)
    (again,) = came(tried, names[:1])
    assert again >= first
    assert tried.manifest(names[0]).created == YEARS_AGO


def test_a_clock_that_is_behind_deletes_nothing_and_is_told(tried: home.Home, made: Making) -> None:
    """What was put here by a clock that was ahead looks the same."""
    names = several(tried, made, 3)
    for now in (min(came(tried, names)) - timedelta(days=2), YEARS_AGO + timedelta(days=40)):
        chosen = collecting.plan(tried, now, keep=1)
        assert chosen.gone == ()
        assert all(why.endswith("which is yet to come: a clock is or was wrong") for _, why in chosen.kept[:2])


def test_where_the_place_keeps_no_time_the_home_tells_what_it_knows(made: Making) -> None:
    of = in_store(memory.MemoryStore())
    names = several(of, made, 3)
    assert [of.arrived(name) for name in names] == [None] * 3
    assert collecting.plan(of, YEARS_AGO + timedelta(days=2), keep=1).gone == tuple(names[:2])
    served = dataclasses.replace(of, now=lambda: YEARS_AGO + timedelta(days=9))
    served.point(names[2], names[1])
    served.point(names[1], names[2])
    chosen = collecting.plan(of, YEARS_AGO + timedelta(days=9, hours=23), keep=1)
    assert (chosen.gone, chosen.kept[0]) == ((names[0],), (names[1], SHORT))


def test_what_another_command_moved_the_pointer_from_has_served(made: Making, tmp_path: Path) -> None:
    """`ddr rollback index` goes by the connector, which knows nothing of homes."""
    of = folder.FolderHome(tmp_path / "home", clock())
    names = several(of, made, 4)
    of.point(names[3], names[2])
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    connected = faiss_index.connect(faiss_index.Settings("home"), tmp_path, clocks.ManualClock(moment))
    plane = connected.plane(faiss_index.Binding(), planes.Plane.INDEX)
    plane.switch(plane.find(names[0]), plane.revision())
    assert of.moves()[-1] == home.Move(moment, names[2], names[0], "", "ddr rollback")
    chosen = collecting.plan(of, moment + timedelta(hours=23), keep=1)
    assert (chosen.gone, chosen.kept[1]) == ((names[1],), (names[2], SHORT))


def test_a_move_whose_line_cannot_be_written_is_made(made: Making, tmp_path: Path) -> None:
    of = folder.FolderHome(tmp_path / "home", clock())
    names = several(of, made, 2)
    connected = faiss_index.connect(
        faiss_index.Settings("home", deployments="none/log"), tmp_path, clocks.SystemClock()
    )
    plane = connected.plane(faiss_index.Binding(), planes.Plane.INDEX)
    assert plane.switch(plane.find(names[0]), plane.revision()).name == of.current() == names[0]


@dataclasses.dataclass
class Left:
    """Six versions were backed up, the newest three are left in the home."""

    source: restorable.Source
    first: str


@pytest.fixture
def left(tried: home.Home, made: Making) -> Left:
    vault, names = backed.Vault(), several(tried, made, 6)
    vault.run(backed.of(tried, "all"))
    assert collecting.apply(tried, collecting.plan(tried, published.LONG_AFTER)).gone == tuple(names[:3])
    return Left(vault.source(), names[0])


def test_a_collector_in_the_middle_of_a_restore(tried: home.Home, left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes are there, the pointer has not moved yet."""
    point, collected = type(tried).point, []

    def beside(*given: Any) -> str:
        collected.append(collecting.apply(tried, collecting.plan(tried, datetime.now(UTC))))
        return point(*given)

    monkeypatch.setattr(type(tried), "point", beside)
    mine = backed.of(tried)
    mine.restore(mine.plan_restore(left.source, backed.options(pointer=left.first)), left.source)
    assert [done.gone for done in collected] == [()]
    assert (left.first, SHORT) in collected[0].kept
    assert (tried.current(), tried.versions()[0]) == (left.first, left.first)


def test_what_was_restored_is_there_the_night_after(tried: home.Home, left: Left) -> None:
    """Beside the one that serves, for whoever wants to look at it."""
    mine = backed.of(tried)
    mine.restore(mine.plan_restore(left.source, backed.options("", "fail", f"version:{left.first}")), left.source)
    (at,) = came(tried, [left.first])
    assert collecting.plan(tried, at + timedelta(hours=12)).gone == ()
    assert collecting.plan(tried, at + collecting.GRACE).gone == (left.first,)
