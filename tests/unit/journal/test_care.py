"""A journal that is gone, replaced or damaged: nothing is written, what can be read is read, and there is a way on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ddr.domain import journal_records, records
from ddr.errors import Damaged, InputError, Refused
from ddr.journal import adoption, layout, mending, reading, salvage, segments, verify
from ddr.stores import local, memory
from tests.unit.journal import bulk, places, samples


@pytest.fixture
def here(tmp_path: Path) -> places.Place:
    """A journal of six events in a folder of this machine."""
    place = places.Place(local.LocalStore(tmp_path / "disk" / "store"), tmp_path)
    (tmp_path / "disk").mkdir()
    place.fill(6)
    return place


LOSSES: dict[str, Callable[[Path], object]] = {
    "its folder is gone": lambda folder: (folder / "store").rename(folder / "moved"),
    "there is no journal in it": lambda folder: shutil.rmtree(folder / "store" / "journal"),
    "another journal is there": lambda folder: _another(folder),
    "disk is not there": lambda folder: folder.rename(folder.with_name("unmounted")),
}


def _another(folder: Path) -> None:
    shutil.rmtree(folder / "store")
    places.Place(local.LocalStore(folder / "store"), folder / "elsewhere").fill(9)


def _tree(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize("said", list(LOSSES))
def test_a_journal_that_is_not_there_is_no_fresh_one(here: places.Place, said: str) -> None:
    used = here.open()
    assert places.numbers(used) == [1, 2, 3, 4, 5, 6]
    LOSSES[said](here.folder / "disk")
    before = _tree(here.folder)
    for log in (used, here.open()):
        for use in (
            lambda log=log: list(log.events()),
            lambda log=log: log.append(places.note(7)),
            lambda log=log: log.append(places.note(8)),
            lambda log=log: log.head(),
            lambda log=log: log.sync(),
        ):
            with pytest.raises(reading.Broken) as caught:
                use()
            if said in caught.value.message:
                assert isinstance(caught.value, reading.Displaced)
                assert "with 6 events" in caught.value.message
                assert "ddr journal adopt" in caught.value.hint
            assert caught.value.exit_code == 2
    with pytest.raises(reading.Displaced, match=said):
        list(here.open().events())
    assert not here.spooled(), "the spool does not hide it"
    assert _tree(here.folder) == before, "nothing was written"
    looking = salvage.Salvaged(here.open(), here.warnings.append)
    assert list(looking.events()) == []
    assert isinstance(looking.trouble, reading.Displaced)
    assert "NO HISTORY" in here.warnings[-1]
    try:
        report = verify.verify(here.open())
    except reading.Displaced:
        assert said.endswith("is not there")
    else:
        assert said in str(report.findings[0])
        assert "ddr journal adopt" in report.advice[0]


def test_a_journal_that_was_brought_back_goes_on(here: places.Place) -> None:
    disk = here.folder / "disk"
    disk.rename(here.folder / "unmounted")
    with pytest.raises(reading.Displaced):
        here.open().append(places.note(7))
    (here.folder / "unmounted").rename(disk)
    assert here.open().append(places.note(7)).seq == 7


@pytest.mark.parametrize("said", list(LOSSES)[:3])
def test_a_new_beginning_is_acknowledged_and_recorded(here: places.Place, said: str) -> None:
    LOSSES[said](here.folder / "disk")
    with pytest.raises(Damaged):
        here.open().append(places.note(7))
    event = adoption.adopt(here.open(), "meant so")
    newest = 9 if "another" in said else 0
    assert event.seq == newest + 1
    assert isinstance(event.record, journal_records.JournalAdopted)
    assert (event.record.seen, event.record.newest, event.record.why) == (6, newest, "meant so")
    assert here.open().append(places.note(1)).seq == newest + 2
    report = verify.verify(here.open())
    assert not report.findings
    assert report.events == newest + 2
    state = here.folder / "state"
    assert len(list(state.glob("journal-seen-*.json"))) == len(list(state.glob("journal-copy-*.jsonl"))) == 1, "kept"
    with pytest.raises(Refused, match="nothing to acknowledge"):
        adoption.adopt(here.open(), "")


def test_an_acknowledgement_cut_off_anywhere_may_be_repeated(here: places.Place) -> None:
    """The process ends at each thing it asks of its files, once; then the person calls it again."""
    shutil.rmtree(here.folder / "disk" / "store" / "journal")
    saved = here.folder.with_name(f"{here.folder.name}-saved")
    shutil.copytree(here.folder, saved)
    at = 0
    while True:
        at += 1
        shutil.rmtree(here.folder)
        shutil.copytree(saved, here.folder)
        trouble = places.FileTrouble(here.folder, at)
        with contextlib.suppress(places.Killed), places.listening(trouble):
            adoption.adopt(here.open(), "")
        if trouble.calls < at:
            break
        with contextlib.suppress(Refused):
            adoption.adopt(here.open(), "")
        found = [event.record for event in here.open().events()]
        assert found
        assert {type(record) for record in found} == {journal_records.JournalAdopted}
        assert here.open().append(places.note(1)).seq == len(found) + 1
        assert not verify.verify(here.open()).findings
    shutil.rmtree(saved)
    print(f"cut off at {at - 1} places")


def test_an_older_journal_brought_back_is_acknowledged(here: places.Place) -> None:
    for seq in (5, 6):
        here.overwrite(layout.event_key(seq), None)
    with pytest.raises(reading.Broken) as caught:
        here.open().append(places.note(7))
    assert "ddr journal adopt" in caught.value.hint
    assert adoption.adopt(here.open(), "").seq == 5
    assert not verify.verify(here.open()).findings


def test_a_shared_store_is_not_acknowledged(tmp_path: Path) -> None:
    wrapped = places.Wrapped(memory.MemoryStore(), is_shared=True)
    place = places.Place(wrapped, tmp_path)
    place.fill(3)
    wrapped.inner = memory.MemoryStore()
    with pytest.raises(Refused, match="shared"):
        adoption.adopt(place.open(), "")
    with pytest.raises(Refused, match="shared"):
        adoption.adopt_from(place.open(), 1, "")


def _damage(place: places.Place, seq: int, how: str) -> None:
    true = place.raw(seq)
    changed = {"missing": None, "changed": true.replace(b'"note ', b'"NOTE '), "torn": true[:-9]}[how]
    place.overwrite(layout.event_key(seq), changed)


@pytest.mark.parametrize("how", ["missing", "changed", "torn"])
@pytest.mark.parametrize("seq", range(1, 7))
def test_damage_anywhere_is_read_around_and_repaired(here: places.Place, seq: int, how: str) -> None:
    """Who looks sees what comes before; nobody writes behind it; the copy of this machine brings it back."""
    true = here.raw(seq)
    _damage(here, seq, how)
    looking = salvage.Salvaged(here.open(), here.warnings.append)
    seen = places.numbers(looking)  # type: ignore[arg-type]
    assert seen == list(range(1, len(seen) + 1))
    is_torn_end = how == "torn" and seq == 6
    if is_torn_end:
        assert looking.trouble is None
    else:
        assert len(seen) in (seq - 1, seq), "a changed one is only found out by what follows"
        assert "HISTORY ENDS EARLY" in here.warnings[-1]
        assert "next: " in here.warnings[-1]
        for use in (lambda: here.open().append(places.note(7)), lambda: here.open().sync()):
            with pytest.raises(reading.Broken, match="journal"):
                use()
        assert not here.spooled()
        assert any(f"event {seq}: " in line and "repair" in line for line in verify.verify(here.open()).advice)
    examined = mending.examine(here.open())
    assert [wound.seq for wound in examined.wounds] == [seq]
    mended = mending.mend(here.open(), examined)
    assert mended.events == (seq,)
    assert here.raw(seq) == true
    assert len(mended.aside) == (how != "missing")
    assert places.numbers(here.open()) == [1, 2, 3, 4, 5, 6]
    assert here.open().append(mended).seq == 7
    assert not verify.verify(here.open()).findings


@pytest.mark.parametrize("how", ["missing", "changed", "torn"])
@pytest.mark.parametrize("seq", range(1, 6))
def test_a_lost_event_that_nobody_has_is_gone_on_without(here: places.Place, seq: int, how: str) -> None:
    events = list(here.open().events())
    _damage(here, seq, how)
    here.forget()
    advice = verify.verify(here.open()).advice
    assert any(f"adopt --from {seq}" in line for line in advice)
    assert any(layout.event_key(seq) in line and events[seq - 1].digest[7:] in line for line in advice)
    with pytest.raises(InputError, match=f"is lost is {seq}"):
        adoption.adopt_from(here.open(), seq + 1, "")
    record = adoption.adopt_from(here.open(), seq, "the disk")
    assert (record.lost, record.joined_again) == ((seq,), 6 - seq)
    found = list(here.open().events())
    assert [event.id for event in found if isinstance(event.record, records.IncidentNoted)] == [
        event.id for event in events if event.seq != seq
    ]
    assert [(event.at, event.actor) for event in found[seq:]] == [(event.at, event.actor) for event in events[seq:]]
    assert found[seq - 1].record == record
    assert not verify.verify(here.open()).findings
    assert (here.folder / "state" / record.aside).stat().st_size > 0
    with pytest.raises(Refused, match="no event is lost"):
        adoption.adopt_from(here.open(), seq, "")


def test_going_on_without_it_cut_off_anywhere_may_be_repeated(here: places.Place) -> None:
    ids = [event.id for event in here.open().events()]
    _damage(here, 3, "missing")
    here.forget()
    saved = here.folder.with_name(f"{here.folder.name}-saved")
    shutil.copytree(here.folder, saved)
    at = 0
    while True:
        at += 1
        shutil.rmtree(here.folder)
        shutil.copytree(saved, here.folder)
        trouble = places.FileTrouble(here.folder, at)
        with contextlib.suppress(places.Killed), places.listening(trouble):
            adoption.adopt_from(here.open(), 3, "")
        if trouble.calls < at:
            break
        try:
            adoption.adopt_from(here.open(), 3, "")
        except Refused:
            here.open().sync()
        found = list(here.open().events())
        assert [event.id for event in found if isinstance(event.record, records.IncidentNoted)] == ids[:2] + ids[3:]
        assert sum(isinstance(event.record, journal_records.JournalAdopted) for event in found) == 1
        assert not verify.verify(here.open()).findings
        assert not here.spooled()
    shutil.rmtree(saved)
    print(f"cut off at {at - 1} places")


def test_another_copy_of_the_repository_is_looked_into(here: places.Place) -> None:
    shutil.copytree(here.folder / "disk" / "store", here.folder / "older")
    true = here.raw(4)
    _damage(here, 4, "changed")
    here.forget()
    assert not mending.examine(here.open()).is_curable
    examined = mending.examine(here.open(), [local.LocalStore(here.folder / "older")])
    assert mending.mend(here.open(), examined).events == (4,)
    assert here.raw(4) == true


def test_the_copy_brings_back_a_shared_event(tmp_path: Path) -> None:
    place = places.Place(places.Wrapped(memory.MemoryStore(), is_shared=True), tmp_path)
    place.fill(6)
    true = place.raw(3)
    _damage(place, 3, "changed")
    assert any("repair" in line for line in verify.verify(place.open()).advice)
    mending.mend(place.open(), mending.examine(place.open()))
    assert place.raw(3) == true
    assert places.numbers(place.elsewhere().open()) == [1, 2, 3, 4, 5, 6]


@pytest.mark.long
@pytest.mark.parametrize("how", ["line changed", "line lost", "segment lost", "cut short"])
def test_a_damaged_segment_is_repaired_or_gone_on_without(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "KEEP", 5)
    here = places.Place(local.LocalStore(tmp_path / "store"), tmp_path)
    bulk.fill(tmp_path, 1010, samples.AT)
    ids = [event.id for event in here.open().events()]
    key = layout.segment_key(layout.span_of(1))
    lines = here.store.get(key).splitlines(keepends=True)
    assert len(lines) == layout.SEGMENT_SIZE
    changed = {
        "line changed": b"".join([*lines[:989], lines[989].replace(b"laptop", b"palmtop"), *lines[990:]]),
        "line lost": b"".join(lines[:989] + lines[990:]),
        "segment lost": None,
        "cut short": b"".join(lines[:970]),
    }[how]
    here.overwrite(key, changed)
    with pytest.raises(reading.Broken):
        list(here.open().events())
    saved = tmp_path.with_name(f"{tmp_path.name}-saved")
    shutil.copytree(tmp_path, saved)
    mended = mending.mend(here.open(), mending.examine(here.open()))
    lost = mended.events
    assert len(lost) == {"line changed": 1, "line lost": 1, "segment lost": 1000, "cut short": 30}[how]
    assert [event.id for event in here.open().events()] == ids
    assert not verify.verify(here.open()).findings
    if how != "segment lost":
        shutil.rmtree(tmp_path)
        saved.rename(tmp_path)
        here.forget()
        assert [wound.seq for wound in mending.examine(here.open()).wounds] == list(lost)
        adoption.adopt_from(here.open(), lost[0], "")
        kept = [e.id for e in here.open().events() if not isinstance(e.record, journal_records.JournalAdopted)]
        assert kept == [each for seq, each in enumerate(ids, 1) if seq not in lost]
        assert not verify.verify(here.open()).findings
