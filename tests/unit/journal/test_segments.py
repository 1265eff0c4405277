"""Folding into segments: the same bytes whoever folds, and nobody who reads or writes at the time is disturbed."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from ddr.errors import Damaged, Unavailable
from ddr.journal import layout, reading, segments, verify
from ddr.ports import store as stores
from ddr.stores import memory
from tests.unit.journal import places

SIZE = 5
KEEP = 5


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "SEGMENT_SIZE", SIZE)


def keys(place: places.Place) -> list[str]:
    return [entry.key.removeprefix(layout.ROOT).lstrip("0") for entry in place.store.list(layout.ROOT)]


def expect_numbers(place: places.Place, count: int) -> None:
    for after in range(count + 2):
        assert places.numbers(place.open(), after) == list(range(after + 1, count + 1))
    assert places.numbers(place.elsewhere("fresh").open()) == list(range(1, count + 1))
    assert not verify.verify(place.open()).findings


def test_old_events_are_folded_and_the_newest_stay_single(place: places.Place) -> None:
    place.fill(17)
    raws = [place.raw(seq) for seq in range(1, 18)]
    done = place.open().compact(keep=KEEP)
    assert done == segments.Compacted((layout.Span(1, 5), layout.Span(6, 10)), 10, ())
    assert keys(place) == [
        *(str(seq) for seq in range(11, 18)),
        "segments/000000000001-000000000005",
        "segments/000000000006-000000000010",
    ]
    assert place.store.get(layout.segment_key(layout.Span(6, 10))) == b"".join(raws[5:10]), "nothing but the lines"
    expect_numbers(place, 17)
    assert place.open().compact(keep=KEEP) == segments.Compacted()
    place.fill(8, begin=18)
    assert place.open().compact(keep=KEEP).segments == (layout.Span(11, 15), layout.Span(16, 20))
    expect_numbers(place, 25)
    assert verify.verify(place.open()).segments == 4


def test_the_usual_segment_has_a_thousand_events_and_a_thousand_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert (layout.SEGMENT_SIZE, segments.KEEP) == (1000, 1000)
    assert layout.span_of(1) == layout.span_of(1000) == layout.Span(1, 1000)
    assert layout.span_of(1001) == layout.Span(1001, 2000)
    assert layout.segment_key(layout.Span(1001, 2000)) == "journal/segments/000000001001-000000002000"


@pytest.mark.parametrize("count", range(8, 18))
def test_only_full_and_old_segments_are_made(count: int, tmp_path: Path) -> None:
    place = places.Place(memory.MemoryStore(), tmp_path)
    place.fill(count)
    made = place.open().compact(keep=KEEP).segments
    assert [span.last for span in made] == [last for last in (5, 10, 15) if last <= count - KEEP]
    expect_numbers(place, count)


def test_two_compactors_write_equal_bytes(place: places.Place) -> None:
    """Two machines at once, several times over; then each alone on a copy of the same events."""
    place.fill(23)
    raws = [place.raw(seq) for seq in range(1, 24)]
    other = place.elsewhere()
    barrier = threading.Barrier(4)
    failed: list[Exception] = []

    def fold(spot: places.Place) -> None:
        barrier.wait()
        try:
            spot.open().compact(keep=KEEP)
        except Exception as problem:  # noqa: BLE001 - shown by the test
            failed.append(problem)

    threads = [threading.Thread(target=fold, args=(spot,)) for spot in (place, other, place, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    for first in (1, 6, 11):
        content = place.store.get(layout.segment_key(layout.span_of(first)))
        assert content == layout.pack(raws[first - 1 : first + SIZE - 1])
    expect_numbers(place, 23)


def test_a_torn_event_is_folded_with_the_others(place: places.Place) -> None:
    place.fill(3)
    torn = place.raw(3)[:-30] + b"\n\r\x00"
    place.overwrite(layout.event_key(3), torn)
    place.fill(14, begin=4)
    place.open().compact(keep=KEEP)
    assert reading.at(place.store, 3) == torn
    assert places.numbers(place.open()) == [1, 2, *range(4, 18)]
    assert [finding.seq for finding in verify.verify(place.open()).findings] == [3]


def test_every_changed_byte_of_a_segment_is_found(tmp_path: Path) -> None:
    place = places.Place(memory.MemoryStore(), tmp_path)
    place.fill(12)
    place.open().compact(keep=KEEP)
    key = layout.segment_key(layout.span_of(1))
    content = place.store.get(key)
    for at in range(len(content)):
        place.overwrite(key, content[:at] + bytes([content[at] ^ 0x01]) + content[at + 1 :])
        with pytest.raises(Damaged):
            list(place.open().events())
        assert verify.verify(place.open()).is_broken, f"byte {at}"
    for length in range(0, len(content), 7):
        place.overwrite(key, content[:length])
        with pytest.raises(Damaged):
            list(place.open().events())
        assert verify.verify(place.open()).is_broken
    print(f"segment: {len(content)} changed bytes and {len(content) // 7} lengths, all found")


def test_a_damaged_journal_is_not_folded(place: places.Place) -> None:
    """What is wrong must stay where it can be looked at."""
    place.fill(12)
    place.overwrite(layout.event_key(3), place.raw(3).replace(b"note", b"NOTE"))
    for spot in (place.elsewhere(), place):
        if spot is place and place.store.is_shared:
            done = spot.open().compact(keep=KEEP)  # from the copy of this machine, which has the true event
            assert done.strays == (3,), "and the forged one stays"
            assert {finding.seq for finding in verify.verify(spot.open()).findings} == {3}
        else:
            with pytest.raises(reading.Broken):
                spot.open().compact(keep=KEEP)
            assert len(keys(place)) == 12


def test_a_segment_that_holds_something_else_is_left_and_nothing_deleted(place: places.Place) -> None:
    place.fill(12)
    key = layout.segment_key(layout.span_of(1))
    place.store.create(key, layout.pack([place.raw(seq) for seq in (1, 2, 4, 3, 5)]))
    with pytest.raises(reading.Broken):
        list(place.elsewhere().open().events())
    done = place.open().compact(keep=KEEP)
    assert done.strays == (3, 4)
    assert {finding.seq for finding in verify.verify(place.open()).findings} >= {3, 4}


def test_a_segment_that_appears_with_other_bytes_is_refused_and_nothing_deleted(tmp_path: Path) -> None:
    """By someone between our look and our create; and a store that does not give back what it was given."""
    for own_bytes in (False, True):
        target = memory.MemoryStore()
        place = places.Place(target, tmp_path / str(own_bytes))
        place.fill(12)
        key = layout.segment_key(layout.span_of(1))
        through = places.Wrapped(target)

        def spoil(doing: str, of: str, place: places.Place = place, wanted: str = "get" if own_bytes else "create",
                  key: str = key) -> None:  # fmt: skip
            if (doing, of) == (wanted, key):
                place.overwrite(key, b"{}\n" * SIZE)

        through.before = spoil
        with pytest.raises(reading.Broken, match="nothing was deleted"):
            place.open(through=through).compact(keep=KEEP)
        assert len(keys(place)) == 13


def test_a_reader_is_not_disturbed_by_a_compactor(place: places.Place) -> None:
    """At every request of a reading, someone folds."""
    count = 16
    place.fill(count)
    wrapped = places.Wrapped(place.store, is_shared=place.store.is_shared)
    reader = places.Place(wrapped, place.folder / "reader")
    list(reader.open().events())
    requests = wrapped.calls
    for at in range(1, min(requests, 12) + 1):
        target = memory.MemoryStore()
        fold_place = places.Place(target, place.folder / f"f{at}")
        fold_place.fill(count)
        through = places.Wrapped(target)

        def fold(doing: str, key: str, through: places.Wrapped = through, spot: places.Place = fold_place,
                 at: int = at) -> None:  # fmt: skip
            if through.calls + 1 == at:
                spot.open().compact(keep=KEEP)

        through.before = fold
        assert places.numbers(fold_place.open(through=through)) == list(range(1, count + 1))
        assert through.calls >= at


def test_a_writer_that_slept_does_not_write_where_a_segment_is(place: places.Place) -> None:
    """It knows event 2 as the newest; meanwhile 3 to 17 came, and 3 is deleted: its create of 3 succeeds."""
    place.fill(2)
    sleeper = place.open("sleeper")
    assert sleeper.head().seq == 2
    place.fill(15, begin=3)
    place.open().compact(keep=KEEP)
    event = sleeper.append(places.note(18))
    assert event.seq == 18
    expect_numbers(place, 18)
    assert place.store.head(layout.event_key(3)) is None, "it took its stray event back"


def test_a_writer_killed_before_it_takes_its_stray_event_back(tmp_path: Path) -> None:
    """Nobody was told of it and nobody reads it; verify names it; a shared one is joined from the spool."""
    for is_shared in (False, True):
        target = memory.MemoryStore()
        place = places.Place(places.Wrapped(target, is_shared=is_shared), tmp_path / str(is_shared))
        place.fill(2)
        through = places.Wrapped(target, is_shared=is_shared)
        sleeper = place.open("sleeper", through=through)
        assert sleeper.head().seq == 2

        def sleep(doing: str, _key: str, place: places.Place = place, through: places.Wrapped = through) -> None:
            """A folder is looked at right before the create: there it must sleep between the two."""
            if (place.store.is_shared or doing == "create") and through.kill_at is None:
                through.kill_at = -1
                place.fill(15, begin=3)
                place.open().compact(keep=KEEP)
                through.kill_at = through.calls + 1

        through.after_effect = True
        if is_shared:
            sleep("before", "")  # else the others would join what it has in the spool
        through.before = sleep
        with pytest.raises(places.Killed):
            sleeper.append(places.note(18))
        (finding,) = verify.verify(place.open()).findings
        assert finding.seq == 3
        assert "stray" in finding.what
        assert place.open().compact(keep=KEEP).strays == (3,)
        assert place.open().sync() == int(is_shared)
        assert places.numbers(place.open()) == list(range(1, 18 + is_shared))


def test_the_end_is_found_when_everything_is_folded(place: places.Place) -> None:
    place.fill(10)
    place.open().compact(keep=0)
    kept = ["6", "7", "8", "9", "10", "segments/000000000001-000000000005"]
    assert keys(place) == kept, "what follows a segment must confirm it"
    place.fill(1, begin=11)
    place.open().compact(keep=0)
    for seq in range(6, 11):
        assert place.store.head(layout.event_key(seq)) is None
    place.overwrite(layout.event_key(11), None)
    place.forget()
    assert place.open().head() == layout.Head(10, layout.digest_of(reading.at(place.store, 10) or b""))
    place.fill(1, begin=11)
    expect_numbers(place, 11)


def test_what_waits_from_long_ago_is_looked_for_in_segments(tmp_path: Path) -> None:
    """Its place in the chain has been folded since: still it is found by its id, and not joined again."""
    wrapped = places.Wrapped(memory.MemoryStore(), is_shared=True)
    place = places.Place(wrapped, tmp_path)
    place.fill(2)
    wrapped.is_away = True
    place.open().append(places.note(3))
    (path,) = place.spooled()
    content = path.read_bytes()
    assert json.loads(content)["base"] == 2
    wrapped.is_away = False
    place.open().sync()
    place.fill(15, begin=4)
    place.open().compact(keep=KEEP)
    path.write_bytes(content)
    assert place.open().sync() == 1
    expect_numbers(place, 18)


def test_the_store_may_go_away_in_the_middle(tmp_path: Path) -> None:
    wrapped = places.Wrapped(memory.MemoryStore())
    place = places.Place(wrapped, tmp_path)
    place.fill(16)
    wrapped.calls, wrapped.fail_at = 0, 20
    with pytest.raises(Unavailable):
        place.open().compact(keep=KEEP)
    wrapped.fail_at = None
    expect_numbers(place, 16)
    place.open().compact(keep=KEEP)
    expect_numbers(place, 16)
    assert isinstance(wrapped, stores.Store)
