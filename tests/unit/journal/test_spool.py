"""The store goes away and comes back: nothing is lost, nothing is there twice, nobody waits for each event."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ddr.errors import Damaged, Refused, Unavailable
from ddr.journal import layout, outage, verify
from ddr.ports import store
from ddr.stores import dry_run, memory
from tests.unit.journal import places


def test_with_the_store_there_the_spool_is_empty_again(shared: places.Shared) -> None:
    place, _ = shared
    place.fill(3)
    assert place.spooled() == []
    assert place.warnings == []


def test_an_event_is_in_the_spool_before_the_network_is_asked(shared: places.Shared) -> None:
    place, wrapped = shared
    waiting: list[int] = []
    wrapped.before = lambda doing, key: waiting.append(len(place.spooled())) if doing == "create" else None
    place.fill(1)
    assert waiting == [1]


def test_events_are_spooled_while_the_store_is_away_and_joined_later(shared: places.Shared) -> None:
    place, wrapped = shared
    place.fill(2)
    log = place.open("ana")
    wrapped.is_away = True
    spooled = []
    for number in (3, 4, 5):
        place.later(1)
        spooled.append(log.append(places.note(number)))
    assert all(event.is_spooled and event.seq == 0 for event in spooled)
    assert len(place.spooled()) == 3
    assert places.numbers(log) == [1, 2, 3, 4, 5]
    assert [event.seq for event in log.events()] == [1, 2, 0, 0, 0]
    assert places.numbers(place.open("ben")) == [1, 2, 3, 4, 5], "another process of this machine sees them"
    assert places.numbers(log, after=2) == [3, 4, 5]

    wrapped.is_away = False
    place.later(1000)
    assert place.open("ben").sync() == 3
    joined = list(log.events(after=2))
    assert [event.seq for event in joined] == [3, 4, 5]
    for event, before in zip(joined, spooled, strict=True):
        assert (event.id, event.at, event.wall, event.mono_s, event.actor, event.host, event.record) == (
            before.id, before.at, before.wall, before.mono_s, "ana", "laptop", before.record,
        )  # fmt: skip
    assert place.spooled() == []
    assert place.open().sync() == 0
    assert not verify.verify(log).findings


def test_an_outage_is_told_once_and_loudly(shared: places.Shared) -> None:
    place, wrapped = shared
    place.fill(1)
    wrapped.is_away = True
    log = place.open()
    for number in (2, 3, 4):
        log.append(places.note(number))
    told = [warning for warning in place.warnings if "THE STORE IS AWAY" in warning]
    assert len(told) == 1
    assert "ddr journal sync" in told[0]
    place.open().append(places.note(5))
    assert sum("THE STORE IS AWAY" in warning for warning in place.warnings) == 2, "once in every process"
    note = next(str(note) for note in _verified_later(place, wrapped).notes)
    assert "4 events wait in the spool" in note


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (store.Full("r: cannot write: No space left on device", hint="make room"), "THE STORE IS FULL: "),
        (store.Unusable("r: cannot write: Read-only file system", hint="dmesg"), "THE STORE CANNOT BE WRITTEN: "),
        (store.Absent("r: the folder is not there", hint="is it mounted?"), "THE STORE IS AWAY: "),
    ],
)
def test_what_keeps_the_store_from_being_written_is_told_as_it_is(
    shared: places.Shared, monkeypatch: pytest.MonkeyPatch, problem: store.Unusable | store.Full, said: str
) -> None:
    place, wrapped = shared
    place.fill(1)
    log = place.open()

    def fails(_key: str, _content: bytes) -> store.Entry:
        raise problem

    monkeypatch.setattr(wrapped, "create", fails)
    log.append(places.note(2))
    assert any(warning.startswith(said) for warning in place.warnings), place.warnings


def _verified_later(place: places.Place, wrapped: places.Wrapped) -> verify.Report:
    wrapped.is_away = False
    return verify.verify(place.open())


def test_later_events_do_not_wait_for_the_network_each(shared: places.Shared) -> None:
    """Nor do other commands on this machine. After ten seconds the store is asked again, once."""
    place, wrapped = shared
    place.fill(1)
    asked: list[str] = []
    wrapped.before = lambda doing, key: asked.append(doing)
    wrapped.is_away = True
    for number in range(2, 12):
        place.later(0.5)
        place.open().append(places.note(number))
    assert len(asked) == 1
    place.later(outage.SHORTEST_S)
    place.open().append(places.note(12))
    assert len(asked) == 2


def test_a_slow_failure_is_not_paid_for_again_and_again(shared: places.Shared) -> None:
    """Thirty seconds to find out: then the store is left alone for three times as long."""
    place, wrapped = shared
    place.fill(1)
    asked: list[str] = []

    def slow(doing: str, key: str) -> None:
        asked.append(doing)
        place.later(30)

    wrapped.before = slow
    wrapped.is_away = True
    log = place.open()
    log.append(places.note(2))
    for number in range(3, 11):
        place.later(10)
        log.append(places.note(number))
    assert len(asked) == 1
    place.later(11)
    log.append(places.note(11))
    assert len(asked) == 2


def test_the_next_append_joins_what_waits_in_order(shared: places.Shared) -> None:
    place, wrapped = shared
    place.fill(1)
    log = place.open()
    wrapped.is_away = True
    for number in (2, 3):
        log.append(places.note(number))
    wrapped.is_away = False
    place.later(outage.LONGEST_S + 1)
    event = log.append(places.note(4))
    assert event.seq == 4
    assert places.numbers(log) == [1, 2, 3, 4]
    assert place.spooled() == []
    assert any("2 events that waited on this machine were joined" in warning for warning in place.warnings)


def test_others_write_meanwhile(shared: places.Shared) -> None:
    """Their events come first: what waited is joined behind everything that was there when it came."""
    place, wrapped = shared
    place.fill(2)
    wrapped.is_away = True
    log = place.open()
    for number in (10, 11):
        log.append(places.note(number))
    wrapped.is_away = False
    other = place.elsewhere()
    other.fill(2, begin=3)
    assert place.open().sync() == 2
    assert places.numbers(other.open()) == [1, 2, 3, 4, 10, 11]
    assert not verify.verify(place.open()).findings


def test_an_event_whose_fate_is_unknown_is_there_once(shared: places.Shared) -> None:
    """The connection broke after the store had written it."""
    place, wrapped = shared
    place.fill(2)
    for after_effect in (False, True):
        log = place.open()
        assert log.head()
        wrapped.calls, wrapped.fail_at, wrapped.after_effect = 0, 1, after_effect
        event = log.append(places.note(3 + after_effect))
        assert event.is_spooled
        wrapped.fail_at = None
        assert places.numbers(place.open()) == list(range(1, 4 + after_effect)), "from the copy and the spool"
        place.later(1000)
        assert places.numbers(place.open()) == list(range(1, 4 + after_effect)), "from the store, and once"
        assert place.open().sync() == 1
        assert places.numbers(place.open()) == list(range(1, 4 + after_effect))
    assert place.spooled() == []


def test_a_file_that_comes_back_after_its_removal_is_not_joined_again(shared: places.Shared) -> None:
    """A power cut may undo the removal: the event is then found in the store by its id."""
    place, wrapped = shared
    place.fill(2)
    wrapped.is_away = True
    place.open().append(places.note(3))
    (path,) = place.spooled()
    content = path.read_bytes()
    wrapped.is_away = False
    assert place.open().sync() == 1
    place.open().append(places.note(4))
    place.elsewhere().fill(3, begin=5)
    path.write_bytes(content)
    assert places.numbers(place.open()) == [1, 2, 3, 4, 5, 6, 7]
    assert places.numbers(place.open(), after=6) == [7]
    assert place.open().append(places.note(8)).seq == 8
    assert place.spooled() == []
    path.write_bytes(content)
    assert place.open().sync() == 1
    assert places.numbers(place.open()) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_syncs_at_once_join_each_event_once(shared: places.Shared) -> None:
    place, wrapped = shared
    place.fill(1)
    wrapped.is_away = True
    log = place.open()
    for number in range(2, 12):
        log.append(places.note(number))
    wrapped.is_away = False
    barrier = threading.Barrier(4)
    joined: list[int] = []

    def sync() -> None:
        mine = place.open()
        barrier.wait()
        joined.append(mine.sync())

    threads = [threading.Thread(target=sync) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(joined) == 4
    assert places.numbers(place.open()) == list(range(1, 12))
    assert place.spooled() == []
    assert not verify.verify(place.open()).findings


def test_many_at_once_put_their_events_into_one_spool(tmp_path: Path) -> None:
    wrapped = places.Wrapped(memory.MemoryStore(), is_shared=True, is_away=True)
    place = places.Place(wrapped, tmp_path)
    barrier = threading.Barrier(8)

    def write(writer: int) -> None:
        log = place.open()
        barrier.wait()
        for count in range(10):
            log.append(places.note(writer * 100 + count))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    waiting = places.numbers(place.open())
    assert sorted(waiting) == [writer * 100 + count for writer in range(8) for count in range(10)]
    wrapped.is_away = False
    assert place.open().sync() == 80
    assert places.numbers(place.elsewhere().open()) == waiting, "joined in the order in which they waited"


def test_a_machine_that_never_saw_the_store_goes_on(tmp_path: Path) -> None:
    wrapped = places.Wrapped(memory.MemoryStore(), is_shared=True, is_away=True)
    place = places.Place(wrapped, tmp_path)
    log = place.open()
    assert log.append(places.note(1)).is_spooled
    assert places.numbers(log) == [1]
    wrapped.is_away = False
    place.later(1000)
    assert log.append(places.note(2)).seq == 2
    assert places.numbers(place.open()) == [1, 2]


def test_sync_says_that_the_store_is_still_away(shared: places.Shared) -> None:
    place, wrapped = shared
    wrapped.is_away = True
    with pytest.raises(Unavailable, match="does not answer"):
        place.open().sync()
    place.open().append(places.note(1))
    with pytest.raises(Unavailable, match="does not answer"):
        place.open().sync()
    with pytest.raises(Unavailable):
        verify.verify(place.open())
    with pytest.raises(Unavailable):
        place.open().head()


def test_a_file_that_is_no_event_is_left_and_named(shared: places.Shared) -> None:
    place, wrapped = shared
    place.fill(1)
    wrapped.is_away = True
    place.open().append(places.note(2))
    (path,) = place.spooled()
    torn = path.with_name("000000000007.json")
    torn.write_bytes(path.read_bytes()[:40])
    wrapped.is_away = False
    assert place.open().sync() == 1
    assert torn.exists()
    assert any(torn.name in warning for warning in place.warnings)
    assert any(str(torn) in finding.what for finding in verify.verify(place.open()).findings)
    assert places.numbers(place.open()) == [1, 2]


def test_a_key_of_the_spool_is_never_lower_than_one_that_waits(shared: places.Shared) -> None:
    place, wrapped = shared
    wrapped.is_away = True
    for number in range(1, 13):
        place.open().append(places.note(number))
    assert [path.name for path in place.spooled()] == [f"{number:012d}.json" for number in range(1, 13)]
    place.spooled()[3].unlink()
    place.open().append(places.note(13))
    assert place.spooled()[-1].name == "000000000013.json"


def test_an_event_that_was_refused_is_not_joined_later(tmp_path: Path) -> None:
    """A dry run, or a journal that is not what this machine has seen: who was told no must not find it done."""
    target = memory.MemoryStore()
    place = places.Place(places.Wrapped(target, is_shared=True), tmp_path)
    place.fill(3)
    with pytest.raises(Refused):
        place.open(through=dry_run.DryRun(place.store)).append(places.note(4))
    assert place.spooled() == []
    last = place.raw(3)
    place.overwrite(layout.event_key(3), None)
    with pytest.raises(Damaged):
        place.open().append(places.note(4))
    assert place.spooled() == []
    place.overwrite(layout.event_key(3), last)
    assert place.open().sync() == 0
    assert places.numbers(place.open()) == [1, 2, 3]


def test_a_first_event_that_cannot_be_asked_for_does_not_spoil_an_append(tmp_path: Path) -> None:
    """The event is there and its writer is told so; the memory begins with a later one."""
    wrapped = places.Wrapped(memory.MemoryStore(), is_shared=True)
    place = places.Place(wrapped, tmp_path)
    place.fill(3)
    log = place.open()
    assert log.head().seq == 3
    place.forget()
    wrapped.before = lambda doing, key: _lose(wrapped) if (doing, key) == ("get", layout.event_key(1)) else None
    assert log.append(places.note(4)).seq == 4
    assert place.spooled() == []


def _lose(wrapped: places.Wrapped) -> None:
    raise Unavailable(f"{wrapped.name}: connection lost")
