"""Whatever is done to the stored bytes is found, by readers and by verify; a torn end stops nobody."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from ddr.errors import Damaged, DdrError
from ddr.journal import layout, reading, verify
from ddr.stores import memory
from tests.unit.journal import places

COUNT = 6


def found_by_verify(place: places.Place) -> verify.Report:
    return verify.verify(place.open())


def found_by_reader(place: places.Place) -> DdrError | None:
    """By this machine; or, where it reads its own copy up to the newest event, by one that has none."""
    for reader in (place, place.elsewhere(secrets.token_hex(4))) if place.store.is_shared else (place,):
        try:
            list(reader.open().events())
        except Damaged as problem:
            return problem
    return None


@pytest.fixture
def local_place(tmp_path: Path) -> places.Place:
    """In memory: thousands of damaged bytes are tried."""
    place = places.Place(memory.MemoryStore(), tmp_path)
    place.fill(COUNT)
    return place


@pytest.mark.parametrize("seq", [1, 3, COUNT - 1], ids=["first", "middle", "last but one"])
@pytest.mark.parametrize("remembers", [True, False], ids=["seen before", "never seen"])
def test_every_changed_byte_of_an_event_is_found(local_place: places.Place, seq: int, remembers: bool) -> None:
    """All bytes of the event, each changed in two ways: another digit or letter, and a bit in its high half."""
    raw = local_place.raw(seq)
    if not remembers:
        local_place.forget()
    tried = 0
    for at in range(len(raw)):
        for changed in (raw[at] ^ 0x01, raw[at] ^ 0x80):
            damaged = raw[:at] + bytes([changed]) + raw[at + 1 :]
            local_place.overwrite(layout.event_key(seq), damaged)
            problem = found_by_reader(local_place)
            assert problem is not None, f"byte {at}: {damaged!r}"
            assert "journal verify" in problem.hint
            report = found_by_verify(local_place)
            assert report.is_broken
            assert {finding.seq for finding in report.findings} & {seq, seq - 1, seq + 1}
            if not remembers:
                local_place.forget()
            tried += 1
    local_place.overwrite(layout.event_key(seq), raw)
    assert not found_by_verify(local_place).is_broken
    print(f"event {seq}: {tried} changed bytes, all found")


def test_every_changed_byte_of_the_newest_event_is_found_by_who_has_seen_it(local_place: places.Place) -> None:
    raw = local_place.raw(COUNT)
    as_torn = 0
    for at in range(len(raw)):
        damaged = raw[:at] + bytes([raw[at] ^ 0x01]) + raw[at + 1 :]
        local_place.overwrite(layout.event_key(COUNT), damaged)
        local_place.warnings.clear()
        problem = found_by_reader(local_place)
        if problem is None:  # it is no event any more: left out, and said
            assert any("torn" in warning for warning in local_place.warnings), f"byte {at}: {damaged!r}"
            as_torn += 1
        assert any(finding.seq == COUNT for finding in found_by_verify(local_place).findings)
    print(f"newest event: {len(raw)} changed bytes, {as_torn} of them as torn, all found")


FIELDS: dict[str, object] = {
    "seq": 99,
    "prev": "sha256:" + "0" * 64,
    "id": "ffffffffffffffff",
    "at": "2030-01-01T00:00:00Z",
    "wall": "2030-01-01T00:00:00Z",
    "mono_s": 1.5,
    "actor": "mallory",
    "host": "elsewhere",
    "kind": "incident.moved",
    "body": {"incident": "inc-1", "text": "nothing happened"},
}


@pytest.mark.parametrize("seq", [1, 3, COUNT], ids=["first", "middle", "last"])
def test_every_changed_field_is_found(place: places.Place, seq: int) -> None:
    """As a careful forger would write it: a whole, readable event. Put right again, nobody complains any more."""
    place.fill(COUNT)
    raw = place.raw(seq)
    for name, forged in FIELDS.items():
        value = {**json.loads(raw), name: forged}
        place.overwrite(layout.event_key(seq), json.dumps(value, separators=(",", ":")).encode() + b"\n")
        problem = found_by_reader(place)
        assert isinstance(problem, reading.Broken), name
        assert problem.seq in (seq, seq + 1)
        assert problem.exit_code == 2
        findings = found_by_verify(place).findings
        assert findings, name
        assert min(abs(finding.seq - seq) for finding in findings) <= 1
        place.overwrite(layout.event_key(seq), raw)
        assert found_by_reader(place) is None, name


def test_a_forged_event_that_was_read_is_not_what_this_machine_remembers(place: places.Place) -> None:
    """It is found at the event behind it; when the store is put right, a machine that stumbled over it goes on."""
    place.fill(COUNT)
    stranger = place.elsewhere()
    raw = place.raw(3)
    place.overwrite(layout.event_key(3), raw.replace(b"note", b"NOTE"))
    with pytest.raises(reading.Broken):
        list(stranger.open().events())
    place.overwrite(layout.event_key(3), raw)
    assert places.numbers(stranger.open()) == list(range(1, COUNT + 1))
    assert stranger.warnings == []


def test_verify_names_the_event_that_was_changed(local_place: places.Place) -> None:
    """Also on a machine that has never seen the journal: the neighbours tell."""
    local_place.forget()
    for seq in range(1, COUNT - 1):
        raw = local_place.raw(seq)
        local_place.overwrite(layout.event_key(seq), raw.replace(b"note", b"NOTE"))
        (finding,) = found_by_verify(local_place).findings
        assert finding.seq == seq
        assert f"event {seq + 1} recorded" in finding.what
        assert finding.expected == layout.digest_of(raw)
        assert finding.found == layout.digest_of(raw.replace(b"note", b"NOTE"))
        assert str(finding).startswith(f"event {seq}: chain broken")
        local_place.overwrite(layout.event_key(seq), raw)


def test_a_forged_end_is_found_by_who_has_seen_the_true_one(place: places.Place) -> None:
    """From some event on, everything written anew, with digests that fit."""
    place.fill(COUNT)
    forger = place.elsewhere()
    for seq in range(4, COUNT + 1):
        place.overwrite(layout.event_key(seq), None)
    forger.fill(3, begin=100)
    assert forger.warnings == []
    assert not found_by_verify(forger).is_broken, "in itself the forged journal is whole"
    problem = found_by_reader(place)
    assert isinstance(problem, reading.Broken)
    assert problem.seq == COUNT
    assert "than this machine has seen" in problem.message
    assert {problem.expected, problem.found} & {layout.digest_of(place.raw(COUNT))}
    assert any(finding.seq == COUNT for finding in found_by_verify(place).findings)
    with pytest.raises(reading.Broken):
        place.open().append(places.note(7))


def test_a_newest_event_with_another_number_is_found_by_anyone(place: places.Place) -> None:
    """Nothing follows it and this machine has never seen it: its own word is all there is."""
    place.fill(COUNT)
    place.overwrite(layout.event_key(COUNT), place.raw(COUNT).replace(b'"seq":6', b'"seq":7'))
    stranger = place.elsewhere()
    with pytest.raises(reading.Broken, match="says that it is event 7"):
        list(stranger.open().events())
    assert any("says that it is event 7" in finding.what for finding in found_by_verify(stranger).findings)


@pytest.mark.parametrize("missing", [1, 3, COUNT - 1])
def test_a_gap_is_found(place: places.Place, missing: int) -> None:
    place.fill(COUNT)
    place.overwrite(layout.event_key(missing), None)
    problem = found_by_reader(place)
    assert isinstance(problem, reading.Broken)
    assert problem.seq == missing
    assert "missing" in problem.message
    assert [finding.seq for finding in found_by_verify(place).findings] == [missing]


def test_a_wide_gap_is_one_finding(local_place: places.Place) -> None:
    for seq in (2, 3, 4):
        local_place.overwrite(layout.event_key(seq), None)
    (finding,) = found_by_verify(local_place).findings
    assert str(finding) == "event 2: it is missing, and all up to 4"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda raws: [*raws[:3], raws[4], raws[3], *raws[5:]], id="two exchanged"),
        pytest.param(lambda raws: [*raws[:3], raws[2], *raws[4:]], id="one in the place of another"),
        pytest.param(lambda raws: [*raws[:3], raws[2], *raws[3:]], id="one inserted twice"),
        pytest.param(lambda raws: [*raws, raws[-1]], id="the newest again"),
        pytest.param(lambda raws: [*raws, raws[0]], id="the first again at the end"),
        pytest.param(lambda raws: raws[1:], id="all moved forward"),
    ],
)
def test_another_order_is_found(place: places.Place, change: Callable[[list[bytes]], list[bytes]]) -> None:
    place.fill(COUNT)
    raws = change([place.raw(seq) for seq in range(1, COUNT + 1)])
    for seq in range(1, COUNT + 2):
        place.overwrite(layout.event_key(seq), raws[seq - 1] if seq <= len(raws) else None)
    assert isinstance(found_by_reader(place), reading.Broken)
    assert found_by_verify(place).is_broken


@pytest.mark.parametrize("remembers", [True, False], ids=["seen before", "never seen"])
def test_an_end_torn_at_any_byte_stops_nobody(local_place: places.Place, remembers: bool) -> None:
    """Everything else is read, appending goes on over the torn bytes, verify names them, before and after."""
    whole = local_place.raw(COUNT)
    for length in range(len(whole)):
        if not remembers:
            local_place.forget()
        local_place.overwrite(layout.event_key(COUNT), whole[:length])
        assert places.numbers(local_place.open()) == list(range(1, COUNT))
        report = found_by_verify(local_place)
        assert {finding.seq for finding in report.findings} == {COUNT}
        assert any("torn" in finding.what for finding in report.findings)

        event = local_place.open().append(places.note(7))
        assert (event.seq, event.previous) == (COUNT + 1, layout.digest_of(whole[:length]))
        assert places.numbers(local_place.open()) == [*range(1, COUNT), 7]
        assert {finding.seq for finding in found_by_verify(local_place).findings} == {COUNT}

        local_place.overwrite(layout.event_key(COUNT + 1), None)
        local_place.overwrite(layout.event_key(COUNT), whole)
        local_place.forget()
        list(local_place.open().events())
    print(f"newest event cut at {len(whole)} places, remembered={remembers}: read, appended to, named")


def test_the_last_but_one_cut_at_any_byte_is_found(local_place: places.Place) -> None:
    """There is an event behind it that has recorded its digest: this is no torn end, it is damage."""
    whole = local_place.raw(COUNT - 1)
    for length in range(len(whole)):
        local_place.overwrite(layout.event_key(COUNT - 1), whole[:length])
        problem = found_by_reader(local_place)
        assert isinstance(problem, reading.Broken)
        assert problem.seq == COUNT
        findings = found_by_verify(local_place).findings
        assert any("torn" in finding.what and finding.seq == COUNT - 1 for finding in findings)
    print(f"last but one cut at {len(whole)} places: all found")


def test_a_torn_end_is_told_on_every_store(place: places.Place) -> None:
    place.fill(3)
    place.overwrite(layout.event_key(3), place.raw(3)[:-20])
    assert places.numbers(place.open()) == [1, 2]
    assert any("event 3 is torn" in warning for warning in place.warnings)
    place.open().append(places.note(4))
    assert places.numbers(place.open()) == [1, 2, 4]
    assert places.numbers(place.elsewhere().open()) == [1, 2, 4]


def test_foreign_keys_are_named(local_place: places.Place) -> None:
    for key in ("journal/notes.txt", "journal/segments/000000000002-000000001001", "journal/000000000000"):
        local_place.store.create(key, b"x")
    named = {finding.what.split()[0] for finding in found_by_verify(local_place).findings}
    assert named == {"journal/notes.txt", "journal/segments/000000000002-000000001001", "journal/000000000000"}
    assert places.numbers(local_place.open()) == list(range(1, COUNT + 1)), "and they disturb nobody"


def test_clocks_that_jump_are_notes_not_findings(tmp_path: Path) -> None:
    place = places.Place(memory.MemoryStore(), tmp_path)
    place.fill(2)
    place.clock.sleep(-3601)
    place.fill(1, begin=3)
    report = found_by_verify(place)
    assert not report.findings
    assert [str(note) for note in report.notes] == ["event 3: the clock of laptop went back by 1h"]
