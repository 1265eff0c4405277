"""Two commands at once, the second whole at every call of the first: nothing is lost, and who has to give way says so.

The second runs inside the n-th call of the first to its store, reads too, for every n: every order that two can have
where one of them does not stop in between.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from datetime import timedelta

import pytest

from ddr.backup import copying, prune, verify
from ddr.backup import repository as repositories
from ddr.errors import Conflict, DdrError, Missing, Refused
from ddr.ports import store
from ddr.stores import memory
from tests.unit.backup import house
from tests.unit.backup.test_faults import ALL
from tests.unit.backup.test_kills import copy_of, job, make_many_writes
from tests.unit.backup.test_prune_kills import Yard

EVERY = pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.long)])
"""Each call, or in the plain suite each sixth: which ones they are differs from test to test."""

Do = Callable[[store.Store], object]


@pytest.fixture(autouse=True)
def many_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    make_many_writes(monkeypatch.setattr)


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    with pytest.MonkeyPatch.context() as patch:
        make_many_writes(patch.setattr)
        return Yard(tmp_path_factory.mktemp("yard") / "shop")


class Race:
    """`first` against `second` on copies of `begin`."""

    def __init__(self, begin: memory.MemoryStore, first: Do, second: Do) -> None:
        self.begin, self.first, self.second = begin, first, second
        counted = house.Faulty(copy_of(begin), house.no_rule, ALL)
        first(counted)
        self.calls = counted.calls

    def run(self, number: int) -> tuple[memory.MemoryStore, object, object]:
        """(store, result or error of the first, of the second)."""
        place, said = copy_of(self.begin), []

        def rule(_method: str, _key: str, count: int) -> str:
            if count == number:
                said.append(_outcome(self.second, place))
            return ""

        first = _outcome(self.first, house.Faulty(place, rule, ALL))
        return place, first, said[0] if said else None


def _outcome(do: Do, place: store.Store) -> object:
    try:
        return do(place)
    except DdrError as problem:
        return problem


def _backup(yard: Yard, after: timedelta = timedelta(0)) -> Do:
    return lambda place: job(place, yard.shop, house.Clock(yard.now.at + after))


def _late(yard: Yard, phase: str) -> Do:
    """A prune by whom the lease counts for nothing: hours have passed, or the first one's clock is wrong."""
    base = yard.now.at if phase == "mark" else yard.later

    def do(place: store.Store) -> object:
        repository, now = repositories.open_(place, house.OPEN), house.Clock(base + timedelta(hours=1))
        there = [head for head in repository.heads() if head.id == yard.forget]
        return prune.apply(repository, prune.plan(repository, there, now()), now(), "late")

    return do


@EVERY
@pytest.mark.parametrize("phase", ["mark", "sweep"])
def test_a_second_prune_is_refused_and_where_it_is_not_nothing_is_lost(phase: str, every: int, yard: Yard) -> None:
    refused = raced = gave_way = 0
    for second in (yard.phase(phase), _late(yard, phase)):
        race = Race(yard.begin[phase], yard.phase(phase), second)
        for number in range(1, len(race.calls) + 1, every):
            place, first, other = race.run(number)
            raced += 1
            for one in (first, other):
                if isinstance(one, DdrError):
                    assert isinstance(one, Refused), one
                    assert "prune" in one.message or "a clock is wrong" in one.message
                    assert one.hint
                    gave_way += 1
            refused += isinstance(other, Refused)
            yard.check(place, {})
            if number % 4 == 1:
                yard.end(place, {})
    assert refused > 3
    print(f"{phase}: {raced} orders of two prunes, {refused} seconds refused, {gave_way} gave way")


@EVERY
@pytest.mark.parametrize("phase", ["mark", "sweep"])
@pytest.mark.parametrize("who", ["prune first", "backup first"])
def test_a_backup_and_a_prune(phase: str, who: str, every: int, yard: Yard) -> None:
    late = 0
    after = timedelta(0) if phase == "mark" else timedelta(days=2)
    one, other = yard.phase(phase), _backup(yard, after)
    race = Race(yard.begin[phase], *((one, other) if who == "prune first" else (other, one)))
    for number in range(1, len(race.calls) + 1, every):
        place, first, second = race.run(number)
        if second is None:
            continue  # this time the first one had fewer calls
        made = second if who == "prune first" else first
        pruned = first if who == "prune first" else second
        assert isinstance(pruned, prune.Plan), pruned
        more = {made: yard.shop.world()} if isinstance(made, str) else {}
        if not more:
            assert isinstance(made, Conflict), made
            late += 1
        yard.check(place, more)
        if number % 4 == 1:
            yard.end(place, more)
    print(f"{phase}, {who}: {len(range(1, len(race.calls) + 1, every))} orders, {late} backups to be run again")


@EVERY
@pytest.mark.parametrize("phase", ["mark", "sweep"])
def test_verify_and_restore_while_it_is_pruned(phase: str, every: int, yard: Yard) -> None:
    """A prune inside a verify finds nothing wrong; a restore of what is kept gives it back."""

    def checked(place: store.Store) -> verify.Report:
        return verify.verify(repositories.open_(place, house.OPEN), "full", workers=1)

    race = Race(yard.begin[phase], checked, yard.phase(phase))
    for number in range(1, len(race.calls) + 1, every):
        _, report, _ = race.run(number)
        assert isinstance(report, verify.Report), report
        assert report.findings == (), (number, race.calls[number - 1], report.findings)
        assert set(report.whole) >= set(yard.worlds)
    kept = next(iter(yard.worlds))

    def restored(place: store.Store) -> house.World:
        return house.restored(repositories.open_(place, house.OPEN), kept, "shop", None)

    again = Race(yard.begin[phase], restored, yard.phase(phase))
    for number in range(1, len(again.calls) + 1, every):
        _, world, _ = again.run(number)
        assert isinstance(world, house.World), (number, again.calls[number - 1], world)
        assert house.same(world, yard.worlds[kept])
    print(f"{phase}: every {every}. of {len(race.calls)} calls of a verify, {len(again.calls)} of a restore")


@EVERY
def test_a_restore_of_what_is_being_forgotten_ends_with_a_word(every: int, yard: Yard) -> None:
    def both(place: store.Store) -> None:
        yard.mark(place)
        yard.sweep(place)

    world = house.restored(repositories.open_(yard.begin["mark"], house.OPEN), yard.forget, "shop", None)

    def restored(place: store.Store) -> house.World:
        return house.restored(repositories.open_(place, house.OPEN), yard.forget, "shop", None)

    race, ended = Race(yard.begin["mark"], restored, both), 0
    for number in range(1, len(race.calls) + 1, every):
        place, found, _ = race.run(number)
        if isinstance(found, DdrError):
            assert found.message
            assert found.hint
            ended += 1
        else:
            assert isinstance(found, house.World)
            assert house.same(found, world)
        yard.check(place, {})
    print(f"every {every}. of {len(race.calls)} calls of a restore, {ended} ended with a word")


@EVERY
@pytest.mark.parametrize("phase", ["mark", "sweep"])
def test_a_copy_while_it_is_pruned(phase: str, every: int, yard: Yard) -> None:
    """What the copy has is whole as far as it has snapshots of what is kept, and the next copy makes it whole."""
    counts = 0
    for number in range(1, 10_000, every):
        place, to = copy_of(yard.begin[phase]), memory.MemoryStore()

        def rule(_method: str, _key: str, count: int, n: int = number, p: memory.MemoryStore = place) -> str:
            if count == n:
                yard.phase(phase)(p)
            return ""

        faulty = house.Faulty(place, rule, ALL)
        outcome = _outcome(functools.partial(copying.copy, to=to), faulty)
        assert not isinstance(outcome, DdrError), outcome
        if len(faulty.calls) < number:
            break
        counts += 1
        there = repositories.open_(to, house.OPEN)
        report = verify.verify(there, "full")
        broken = {head.id for head in there.heads()} - set(report.whole)
        assert broken <= {yard.forget}, (number, faulty.calls[number - 1], report.findings)
        copying.copy(place, to)
        assert set(verify.verify(there, "full").whole) >= set(yard.worlds)
        for id_, world in yard.worlds.items():
            assert house.same(house.restored(there, id_, "shop", None), world)
    print(f"{phase}: {counts} calls of a copy")


@EVERY
def test_two_backups_at_once_and_a_look_at_each_step(every: int, yard: Yard) -> None:
    """A backup at every call of another one; then both are there, whole, and a restore works from the first moment."""
    race = Race(yard.begin["mark"], _backup(yard), _backup(yard, timedelta(minutes=1)))
    for number in range(1, len(race.calls) + 1, every):
        place, first, second = race.run(number)
        assert isinstance(first, str), first
        assert isinstance(second, str), second
        assert first != second
        yard.check(place, {first: yard.shop.world(), second: yard.shop.world()})
    print(f"every {every}. of {len(race.calls)} orders of two backups")


def test_a_snapshot_that_is_forgotten_while_it_is_read_is_missing_and_not_damaged(yard: Yard) -> None:
    place = copy_of(yard.begin["mark"])
    repository = repositories.open_(place, house.OPEN)
    head = repository.head(yard.forget)
    yard.mark(place)
    with pytest.raises(Missing):
        repository.read(head)
    with contextlib.suppress(Missing):
        assert repository.newest() is not None
