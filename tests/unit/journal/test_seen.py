"""What this machine has seen: a journal that is shorter or other than it was is found, a new one is told from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddr.errors import Damaged
from ddr.journal import layout, mirror, reading, seen, verify
from ddr.stores import local, memory
from tests.unit.journal import places


@pytest.mark.parametrize("left", range(1, 6))
def test_a_journal_cut_short_is_found(place: places.Place, left: int) -> None:
    place.fill(6)
    for seq in range(left + 1, 7):
        place.overwrite(layout.event_key(seq), None)
    with pytest.raises(reading.Broken) as caught:
        list(place.open().events())
    assert caught.value.seq == 6
    assert f"ends at event {left}" in caught.value.message
    assert caught.value.expected.startswith("sha256:")
    assert str(place.folder / "state") in caught.value.hint
    with pytest.raises(reading.Broken, match="ends at event"):
        place.open().append(places.note(7))
    with pytest.raises(reading.Broken, match="ends at event"):
        place.open().head()
    findings = verify.verify(place.open()).findings
    assert [finding.seq for finding in findings] == [6]
    assert f"ends at event {left}" in findings[0].what


def test_an_old_journal_brought_back_on_purpose_goes_on(place: places.Place) -> None:
    """After the files that the hint names were moved away."""
    place.fill(6)
    for seq in (5, 6):
        place.overwrite(layout.event_key(seq), None)
    with pytest.raises(Damaged) as caught:
        list(place.open().events())
    for path in (place.folder / "state").glob("journal-*"):
        if str(path) in caught.value.hint:
            path.unlink()
    assert places.numbers(place.open()) == [1, 2, 3, 4]
    assert place.open().append(places.note(5)).seq == 5
    assert not verify.verify(place.open()).findings


def test_a_shorter_journal_found_in_the_middle_of_a_process(place: places.Place) -> None:
    place.fill(4)
    log = place.open()
    assert places.numbers(log) == [1, 2, 3, 4]
    place.overwrite(layout.event_key(4), None)
    with pytest.raises(reading.Broken):
        list(log.events())
    with pytest.raises(reading.Broken):
        list(log.events(after=2))


def test_an_end_torn_in_the_middle_of_a_process_is_not_read_from_memory(place: places.Place) -> None:
    place.fill(4)
    log = place.open()
    assert places.numbers(log) == [1, 2, 3, 4]
    place.overwrite(layout.event_key(4), place.raw(4)[:-9])
    assert places.numbers(log) == [1, 2, 3]


def test_a_shared_store_does_not_begin_anew_by_itself(tmp_path: Path) -> None:
    wrapped = places.Wrapped(memory.MemoryStore(), is_shared=True)
    place = places.Place(wrapped, tmp_path)
    place.fill(3)
    wrapped.inner = memory.MemoryStore()
    with pytest.raises(reading.Broken, match="ends at event 0"):
        list(place.open().events())
    with pytest.raises(reading.Broken, match="ends at event 0"):
        place.open().append(places.note(4))
    assert verify.verify(place.open()).is_broken


def test_a_first_event_that_is_gone_is_no_new_journal(tmp_path: Path) -> None:
    place = places.Place(local.LocalStore(tmp_path / "store"), tmp_path)
    place.fill(4)
    place.overwrite(layout.event_key(1), None)
    place.overwrite(layout.event_key(4), None)
    with pytest.raises(reading.Broken):
        list(place.open().events())
    assert {finding.seq for finding in verify.verify(place.open()).findings} == {1, 4}


def test_memory_torn_at_any_byte_is_memory_lost(tmp_path: Path) -> None:
    """Nothing is refused and nothing is believed because of it."""
    place = places.Place(memory.MemoryStore(), tmp_path)
    place.fill(3)
    path = tmp_path / "state" / "journal-seen.json"
    whole = path.read_bytes()
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        assert places.numbers(place.open()) == [1, 2, 3]
        path.write_bytes(whole[:length])
        place.open().append(places.note(4))
        place.overwrite(layout.event_key(4), None)
    anchor = seen.Seen(tmp_path / "state").read()
    assert anchor is not None
    assert anchor.head.seq == 4


def test_memory_does_not_go_back(tmp_path: Path) -> None:
    memory_ = seen.Seen(tmp_path)
    newer = seen.Anchor("sha256:1", layout.Head(9, "sha256:9"))
    memory_.note(newer)
    memory_.note(seen.Anchor("sha256:1", layout.Head(8, "sha256:8")))
    assert memory_.read() == newer
    other = seen.Anchor("sha256:2", layout.Head(3, "sha256:3"))
    memory_.note(other)
    assert memory_.read() == other, "another journal"


@pytest.fixture
def copied(tmp_path: Path) -> tuple[places.Place, places.Wrapped]:
    """A shared store and a machine that has a copy of its six events."""
    wrapped = places.Wrapped(memory.MemoryStore(), is_shared=True)
    place = places.Place(wrapped, tmp_path)
    place.fill(6)
    return place, wrapped


def test_only_the_tail_is_fetched(copied: tuple[places.Place, places.Wrapped]) -> None:
    place, wrapped = copied
    place.elsewhere().fill(2, begin=7)
    asked: list[str] = []
    wrapped.before = lambda doing, key: asked.append(f"{doing} {key[-2:]}")
    log = place.open()
    assert places.numbers(log) == list(range(1, 9))
    assert asked == ["list l/", "get 06", "get 07", "get 08"]
    asked.clear()
    assert places.numbers(log, after=8) == []
    assert places.numbers(log) == list(range(1, 9))
    assert asked == ["list l/", "get 08"] * 2
    assert place.open().append(places.note(9)).seq == 9
    copy = mirror.Mirror(place.folder / "state")
    assert copy.head() == log.head()
    assert len(copy.read()) == 9


def test_a_copy_cut_at_any_byte_is_completed(copied: tuple[places.Place, places.Wrapped]) -> None:
    place, _ = copied
    path = place.folder / "state" / "journal-copy.jsonl"
    whole = path.read_bytes()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        assert places.numbers(place.open()) == [1, 2, 3, 4, 5, 6]
        assert path.read_bytes() == whole, f"cut to {length} bytes"
    print(f"copy cut at {len(whole) // 3} places, completed each time")


def test_a_longer_torn_end_of_the_copy_leaves_nothing_behind(copied: tuple[places.Place, places.Wrapped]) -> None:
    place, _ = copied
    path = place.folder / "state" / "journal-copy.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b"000000000007 " + b"f" * 5000)
    place.open().append(places.note(7))
    assert path.read_bytes() == whole + path.read_bytes().splitlines(keepends=True)[6]
    assert places.numbers(place.open()) == [1, 2, 3, 4, 5, 6, 7]


def test_every_changed_byte_of_the_copy_is_noticed_and_fetched_again(
    copied: tuple[places.Place, places.Wrapped],
) -> None:
    """The copy is never believed: what it shows is what the store has."""
    place, _ = copied
    path = place.folder / "state" / "journal-copy.jsonl"
    whole = path.read_bytes()
    true = [event.digest for event in place.elsewhere().open().events()]
    for at in range(0, len(whole), 2):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x01]) + whole[at + 1 :])
        assert [event.digest for event in place.open().events()] == true
        assert path.read_bytes() == whole, f"byte {at}"
    print(f"copy changed at {len(whole) // 2} bytes, fetched again each time")


def test_a_careful_forger_of_the_copy_is_found(copied: tuple[places.Place, places.Wrapped]) -> None:
    """A line with a fitting checksum: the chain, or the comparison with the store, gives it away. Then it is dropped,
    but for its newest line: who is right there, the machine or the store, a person must say."""
    place, wrapped = copied
    path = place.folder / "state" / "journal-copy.jsonl"
    for seq in range(1, 7):
        lines = path.read_bytes().splitlines(keepends=True)
        raw = place.raw(seq).replace(b"note", b"NOTE")
        digest = layout.digest_of(raw).removeprefix("sha256:")
        lines[seq - 1] = f"{seq:012d} {digest} ".encode() + raw
        saved = path.read_bytes()
        path.write_bytes(b"".join(lines))
        with pytest.raises(reading.Broken) as caught:
            list(place.open().events())
        assert caught.value.seq in (seq, seq + 1)
        if seq < 6:
            assert "try again" in caught.value.hint
            assert places.numbers(place.open()) == [1, 2, 3, 4, 5, 6]
            path.write_bytes(b"".join(lines))
        else:
            assert "than this machine has seen" in caught.value.message
        wrapped.is_away = True
        if seq < 6:
            with pytest.raises(reading.Broken):
                list(place.open().events())
        wrapped.is_away = False
        place.later(1000)
        path.write_bytes(saved)
    assert places.numbers(place.open()) == [1, 2, 3, 4, 5, 6]


def test_the_copy_tells_which_event_was_changed_on_the_store(copied: tuple[places.Place, places.Wrapped]) -> None:
    """Also with an end that was forged to fit; and readers of this machine get the true events until then."""
    place, _ = copied
    true = place.raw(3)
    forged = true.replace(b"note", b"NOTE")
    place.overwrite(layout.event_key(3), forged)
    assert places.numbers(place.open()) == [1, 2, 3, 4, 5, 6]
    with pytest.raises(reading.Broken):
        list(place.elsewhere().open().events())
    said = [finding for finding in verify.verify(place.open()).findings if "this machine has seen" in finding.what]
    assert [(finding.seq, finding.expected, finding.found) for finding in said] == [
        (3, layout.digest_of(true), layout.digest_of(forged))
    ]


def test_the_digests_of_a_mismatch_are_both_told(copied: tuple[places.Place, places.Wrapped]) -> None:
    place, _ = copied
    true = place.raw(6)
    place.overwrite(layout.event_key(6), true.replace(b"note", b"NOTE"))
    with pytest.raises(reading.Broken) as caught:
        list(place.open().events())
    assert caught.value.expected == layout.digest_of(true)
    assert caught.value.found == layout.digest_of(place.raw(6))
    for text in (caught.value.expected, caught.value.found):
        assert text[7:19] in caught.value.message


def test_a_torn_end_on_a_shared_store_sets_the_copy_aside(copied: tuple[places.Place, places.Wrapped]) -> None:
    place, wrapped = copied
    place.overwrite(layout.event_key(6), place.raw(6)[:-9])
    assert places.numbers(place.open()) == [1, 2, 3, 4, 5]
    assert places.numbers(place.open()) == [1, 2, 3, 4, 5]
    assert len(list((place.folder / "state").glob("journal-copy-*.jsonl"))) == 1, "it has the whole event"
    assert sum("event 6 is torn" in warning for warning in place.warnings) == 2, "once in each process"
    place.open().append(places.note(7))
    wrapped.is_away = True
    assert places.numbers(place.open()) == [1, 2, 3, 4, 5, 7]


def test_a_long_copy_is_found_from_its_end(tmp_path: Path) -> None:
    """Lines longer than what is looked at first."""
    copy = mirror.Mirror(tmp_path)
    links = []
    for seq, size in enumerate((10, 100_000, 700_000, 5), 1):
        links.append(reading.link(seq, b"{" + b"x" * size + b"}\n"))
        copy.extend(links)
        assert copy.head() == links[-1].head
    assert copy.read() == [link.raw for link in links]
    assert copy.read(3) == [link.raw for link in links[2:]]
    copy.cut(3)
    assert copy.head() == links[1].head
    copy.extend(links[3:])
    assert copy.head() == links[1].head, "a gap is not bridged"
