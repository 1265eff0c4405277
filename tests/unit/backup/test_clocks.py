"""Clocks that are wrong, jump, or disagree with the store's: nothing that is kept is lost, and prune says it (T7)."""

from __future__ import annotations

import functools
import itertools
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ddr.backup import layout, leases, prune, retention, verify
from ddr.backup import repository as repositories
from ddr.errors import Conflict, DdrError, Refused
from ddr.ports import store
from ddr.stores import memory
from tests.unit.backup import house
from tests.unit.backup.test_kills import changed, copy_of, job, make_many_writes, shop_at

SKEWS = (
    timedelta(0), timedelta(minutes=-10), timedelta(minutes=10), timedelta(minutes=-11), timedelta(minutes=11),
    timedelta(days=-1), timedelta(days=1),
)  # fmt: skip
PHASES = ("writing", "forget", "mark", "sweep")


@pytest.fixture(autouse=True)
def many_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    make_many_writes(monkeypatch.setattr)


class Dated(house.SmallDisk):
    """Keeps when each object was written, by a clock of its own: `ours` (the right time) and `off` it."""

    def __init__(self, inner: store.Store, ours: house.Clock, off: timedelta) -> None:
        super().__init__(inner)
        self.ours, self.off = ours, off
        self.times: dict[str, datetime] = {}

    def _take(self, key: str, content: bytes) -> None:
        super()._take(key, content)
        self.times[key] = self.ours.at + self.off

    def written_at(self, key: str) -> datetime | None:
        return self.times.get(key)


class Skewed(house.Clock):
    """The right clock, seen from a machine whose own is `off`."""

    def __init__(self, true: house.Clock, off: timedelta) -> None:
        self.true, self.off = true, off

    def __call__(self) -> datetime:
        return self.true() + self.off


class Days:
    """A repository with four daily backups; then one more and a prune in two phases, with clocks that are off."""

    def __init__(self, root: Path) -> None:
        self.base, self.now, self.shop = memory.MemoryStore(), house.Clock(), shop_at(root)
        self.worlds: dict[str, house.World] = {}
        for step in range(4):
            self.worlds[job(self.base, self.shop, self.now)] = self.shop.world()
            changed(self.shop, step)
            self.now.at += timedelta(days=1)
        self.order = list(self.worlds)

    def forget(self, place: store.Store, now: datetime) -> list[repositories.Head]:
        """By retention; the newest two have to stay in any case."""
        repository = repositories.open_(place, house.OPEN)
        heads = {head.id: head for head in repository.heads()}
        policy = retention.Policy(keep_last=2, minimum=2)
        decided = retention.decide([repository.read(head) for head in heads.values()], policy, now, (), ())
        return [heads[one.snapshot.id] for one in decided if isinstance(one, retention.Forgotten)]

    def live(self, place: store.Store, offs: dict[str, timedelta], true: house.Clock) -> list[str]:
        """The whole course; what was refused, in words. Each phase has its own clock."""
        refused: list[str] = []
        made = job(place, self.shop, Skewed(true, offs["writing"]))
        expected = {**self.worlds, made: self.shop.world()}
        forget: list[repositories.Head] = []
        try:
            forget = self.forget(place, Skewed(true, offs["forget"])())
        except Refused as problem:
            refused.append(problem.message)
        for phase in ("mark", "sweep"):
            repository, now = repositories.open_(place, house.OPEN), Skewed(true, offs[phase])
            packs = {entry.key for entry in place.list(layout.PACKS)}
            try:
                there = [head for head in forget if place.head(head.key)] if phase == "mark" else []
                prune.apply(repository, prune.plan(repository, there, now()), now(), phase)
            except Refused as problem:
                _is_told(problem)
                assert {entry.key for entry in place.list(layout.PACKS)} == packs, "deleted with a wrong clock"
                refused.append(problem.message)
            true.at += timedelta(days=2)
        left = {head.id for head in repositories.open_(place, house.OPEN).heads()}
        assert {made, self.order[-1]} <= left, "the newest two by the order of what was done"
        report = verify.verify(repositories.open_(place, house.OPEN), "full")
        assert report.findings == ()
        assert set(report.whole) == left <= set(expected)
        for id_ in left:
            assert house.same(house.restored(repositories.open_(place, house.OPEN), id_, "shop", None), expected[id_])
        return refused


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Days:
    with pytest.MonkeyPatch.context() as patch:
        make_many_writes(patch.setattr)
        return Days(tmp_path_factory.mktemp("days") / "shop")


def _is_told(problem: Refused) -> None:
    assert "the clock of this machine is" in problem.message or "a clock is wrong" in problem.message
    assert "nothing is deleted" in problem.message
    assert problem.hint


def _courses(every: int) -> list[dict[str, timedelta]]:
    return [dict(zip(PHASES, offs, strict=True)) for offs in itertools.product(SKEWS, repeat=4)][::every]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.long)])
def test_whatever_the_clocks_say_nothing_that_is_kept_is_lost(every: int, days: Days) -> None:
    """A clock of its own for each phase, jumps in between among them: 7 x 7 x 7 x 7 courses."""
    refused = 0
    courses = _courses(every)
    for offs in courses:
        refused += bool(days.live(copy_of(days.base), offs, house.Clock(days.now.at)))
    assert refused
    print(f"{len(courses)} courses of {len(SKEWS)} clocks in {len(PHASES)} phases, {refused} were refused something")


def test_a_clock_that_is_not_the_store_s_deletes_nothing(days: Days) -> None:
    """Every skew against the store's clock; up to ten minutes it is none."""
    counts = {"refused": 0, "done": 0}
    for off, phase in itertools.product(SKEWS, ("mark", "sweep")):
        true = house.Clock(days.now.at)
        place = Dated(copy_of(days.base), true, timedelta(0))
        repository = repositories.open_(place, house.OPEN)
        if phase == "sweep":
            prune.apply(repository, prune.plan(repository, days.forget(place, true()), true()), true(), "first")
            true.at += timedelta(days=2)
        before = {entry.key for entry in place.list("") if entry.key != layout.LEASE}
        now = Skewed(true, off)
        forget = [] if phase == "sweep" else days.forget(place, true())
        try:
            prune.apply(repository, prune.plan(repository, forget, now()), now(), "skewed")
            assert abs(off) <= leases.SKEW
            counts["done"] += 1
        except Refused as problem:
            assert abs(off) > leases.SKEW
            _is_told(problem)
            assert {entry.key for entry in place.list("") if entry.key != layout.LEASE} == before
            counts["refused"] += 1
        # whoever has the right clock can prune at once
        prune.apply(repository, prune.plan(repository, (), true()), true(), "right")
    assert counts == {"refused": 8, "done": 6}
    print(counts)


def test_a_snapshot_from_the_future_does_not_stop_who_has_the_store_s_time(days: Days) -> None:
    """The store knows that it was not written in the future: it is kept, pushes nothing out, and prune works."""
    true = house.Clock(days.now.at)
    for knows in (True, False):
        place = Dated(copy_of(days.base), true, timedelta(0))
        future = job(place, days.shop, Skewed(true, timedelta(days=3000)))
        if not knows:
            place.times.clear()
        repository = repositories.open_(place, house.OPEN)
        forget = days.forget(place, true())
        assert future not in {head.id for head in forget}
        assert not {head.id for head in forget} & set(days.order[-2:])
        if knows:
            assert prune.apply(repository, prune.plan(repository, forget, true()), true(), "me").bury
        else:
            with pytest.raises(Refused, match=r"from .* in the future: a clock is wrong"):
                prune.plan(repository, forget, true())
        assert verify.verify(repository, "full").findings == ()


def test_names_are_the_order_of_what_was_done_also_where_the_clock_steps_back(days: Days) -> None:
    """Up to ten minutes; beyond that the snapshot keeps its own time and says so."""
    for back, sorts in ((1, True), (30, True), (599, True), (598, True), (700, False), (86_400, False)):
        place, now = copy_of(days.base), house.Clock(days.now.at)
        first = job(place, days.shop, now)
        now.at -= timedelta(seconds=back)
        second = job(place, days.shop, now)
        repository = repositories.open_(place, house.OPEN)
        made = repository.read(repository.head(second))
        order = [head.id for head in repository.heads()]
        assert (order[-2:] == [first, second]) == sorts
        assert made.parent == first
        warned = any("dated" in warning and "ahead" in warning for warning in made.components[0].warnings)
        assert warned != sorts


def test_a_lease_of_a_wrong_clock_is_told_as_such(days: Days) -> None:
    place, true = copy_of(days.base), house.Clock(days.now.at)
    lease = leases.take(place, "ahead", true() + timedelta(days=1))
    with pytest.raises(Refused, match="longer than any: a clock is wrong") as caught:
        leases.take(place, "right", true())
    assert layout.LEASE in caught.value.hint
    leases.give_back(place, lease)
    again = leases.take(place, "right", true())
    with pytest.raises(Refused, match=r"prunes .* until"):
        leases.take(place, "other", true())
    leases.give_back(place, again)
    place.swap(layout.LEASE, b"no lease", place.head(layout.LEASE).version)  # type: ignore[union-attr]
    assert leases.take(place, "after damage", true())


def test_a_backup_that_slept_through_the_grace_gives_way(days: Days) -> None:
    """A tombstone that came while it slept may be about to be executed by another clock: it does not rely on it."""
    for slept, is_late in ((timedelta(hours=1), False), (timedelta(hours=13), True), (timedelta(days=9), True)):
        place, now = copy_of(days.base), house.Clock(days.now.at)

        def rule(_method: str, key: str, _count: int, /, slept: timedelta, now: house.Clock, at: store.Store) -> str:
            if house.key_kind(key) == "snapshots":
                repository = repositories.open_(at, house.OPEN)
                prune.apply(repository, prune.plan(repository, repository.heads(), now()), now(), "all")
                now.at += slept
            return ""

        outcome: object
        try:
            asleep = functools.partial(rule, slept=slept, now=now, at=place)
            outcome = job(house.Faulty(place, asleep), days.shop, now)
        except DdrError as problem:
            outcome = problem
        assert isinstance(outcome, Conflict) == is_late, outcome
        repository = repositories.open_(place, house.OPEN)
        left = {head.id for head in repository.heads()}
        assert left == (set() if is_late else {outcome})
        assert verify.verify(repository, "full").findings == ()


def test_of_the_snapshots_of_one_second_the_last_made_is_the_latest(tmp_path: Path) -> None:
    """Names have whole seconds, and the rest of a name is by chance."""
    shop = house.small_shop(tmp_path / "shop")
    for first in range(6):
        place = memory.MemoryStore()
        repository = repositories.create(place, house.OPEN, house.NOW)
        made = []
        for number in range(4):
            at = house.NOW + timedelta(microseconds=100_000 * number + first)
            made.append(house.backup(repository, {"shop": shop}, functools.partial(_same, at)).id)
        assert [head.id for head in repository.heads()] == made
        assert repository.head("latest").id == made[-1]
        newest = repository.newest()
        assert newest is not None
        assert newest.id == made[-1]


def _same(at: datetime) -> datetime:
    return at
