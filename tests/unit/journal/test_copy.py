"""A store that is away or breaks off while it is read: the copy on this machine, and disks that are full."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddr.errors import Unavailable
from ddr.stores import local, memory
from tests.unit.journal import places


def test_a_local_store_that_cannot_be_written_sends_events_to_the_spool(tmp_path: Path) -> None:
    """A full disk under the repository: the spool may be on another."""
    folder = tmp_path / "store"
    place = places.Place(local.LocalStore(folder), tmp_path)
    place.fill(2)
    with places.listening(places.FileTrouble(folder, 1, _disk_full, lasting=True)):
        event = place.open().append(places.note(3))
        assert event.is_spooled
        assert len(place.spooled()) == 1
    assert place.open().sync() == 1
    assert places.numbers(place.open()) == [1, 2, 3]


def test_with_store_and_spool_gone_nothing_may_be_done(tmp_path: Path) -> None:
    for is_shared in (False, True):
        folder = tmp_path / str(is_shared)
        wrapped = places.Wrapped(memory.MemoryStore(), is_shared=is_shared)
        place = places.Place(wrapped, folder)
        place.fill(1)
        wrapped.is_away = True
        with (
            places.listening(places.FileTrouble(folder / "spool", 1, _disk_full, lasting=True)),
            pytest.raises(Unavailable) as caught,
        ):
            place.open().append(places.note(2))
        assert "can be written nowhere" in caught.value.message
        assert "No space left" in caught.value.message
        assert "nothing may be done" in caught.value.hint
        wrapped.is_away = False
        assert places.numbers(place.open()) == [1]


def test_with_the_spool_gone_a_shared_store_still_serves(tmp_path: Path) -> None:
    place = places.Place(places.Wrapped(memory.MemoryStore(), is_shared=True), tmp_path)
    with places.listening(places.FileTrouble(tmp_path / "spool", 1, _disk_full, lasting=True)):
        assert place.open().append(places.note(1)).seq == 1
    assert any("spool" in warning and "No space left" in warning for warning in place.warnings)


def test_memory_that_cannot_be_kept_stops_nobody_and_is_said(tmp_path: Path) -> None:
    for is_shared in (False, True):
        folder = tmp_path / str(is_shared)
        place = places.Place(places.Wrapped(memory.MemoryStore(), is_shared=is_shared), folder)
        with places.listening(places.FileTrouble(folder / "state", 1, _disk_full, lasting=True)):
            log = place.open()
            for number in (1, 2):
                assert log.append(places.note(number)).seq == number
            assert places.numbers(log) == [1, 2]
        assert sum("does not remember" in warning for warning in place.warnings) == 1


def test_the_copy_serves_while_the_store_is_away(shared: places.Shared) -> None:
    place, wrapped = shared
    place.fill(3)
    place.elsewhere().fill(2, begin=4)
    assert places.numbers(place.open()) == [1, 2, 3, 4, 5]
    wrapped.is_away = True
    log = place.open()
    place.warnings.clear()
    assert places.numbers(log) == [1, 2, 3, 4, 5]
    assert places.numbers(log, after=3) == [4, 5]
    assert any("up to event 5" in warning for warning in place.warnings)
    assert len(place.warnings) == 1


def test_a_store_that_breaks_off_while_reading_is_completed_from_the_copy(tmp_path: Path) -> None:
    """At every request of a long reading, on a machine that has seen everything and on one that has seen half."""
    wrapped = places.Wrapped(memory.MemoryStore(), is_shared=True)
    place = places.Place(wrapped, tmp_path)
    place.fill(5)
    tried = 0
    for seen in (5, 9):
        if seen == 9:
            place.fill(4, begin=6)
        for at in range(1, 30):
            wrapped.calls, wrapped.fail_at = 0, at
            place.later(1000)
            found = places.numbers(place.open())
            assert found == list(range(1, seen + 1))
            tried += 1
    wrapped.fail_at = None
    print(f"{tried} readings broken off, all complete")


def test_a_fresh_machine_gets_what_it_had_read_when_the_store_broke_off(tmp_path: Path) -> None:
    wrapped = places.Wrapped(memory.MemoryStore(), is_shared=True)
    place = places.Place(wrapped, tmp_path)
    place.fill(4)
    for at in range(1, 12):
        other = place.elsewhere(str(at))
        wrapped.calls, wrapped.fail_at = 0, at
        found = places.numbers(other.open())
        assert found in ([], [1, 2, 3, 4])
        assert bool(other.warnings) == (found == [])
        wrapped.fail_at = None


def _disk_full(what: str) -> OSError:
    return OSError(28, "No space left on device", what)
