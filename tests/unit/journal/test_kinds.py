"""A reader that asks for some kinds: the same events as one that asks for all and sifts, and the same damage found."""

from __future__ import annotations

import itertools
import secrets
from pathlib import Path

import pytest

from ddr.domain import planes, records, releases
from ddr.errors import Damaged
from ddr.journal import codec, layout, salvage, views
from ddr.stores import memory
from tests.unit.journal import places, samples

ASKED = (views.LEDGER, views.ENDS, views.RUNS, (records.IncidentNoted,))


def written(place: places.Place, every: int = 2) -> None:
    journal = place.open()
    for _, record in itertools.product(range(every), samples.RECORDS):
        journal.append(record)


def test_what_is_asked_for_is_what_sifting_gives(place: places.Place) -> None:
    written(place)
    everything = list(place.open().events())
    for kinds in ASKED:
        wanted = [event for event in everything if type(event.record) in kinds]
        assert wanted
        assert list(place.open().events(0, kinds)) == wanted
        assert list(place.open().events(20, kinds)) == [event for event in wanted if event.seq > 20]


def test_also_of_what_waits_in_the_spool(shared: tuple[places.Place, places.Wrapped]) -> None:
    place, store = shared
    written(place, 1)
    store.is_away = True
    journal = place.open()
    journal.append(samples.RECORDS[0])
    journal.append(samples.RECORDS[3])
    assert [event.seq for event in place.open().events(0, (records.ReleaseRecorded,))] == [1, 0]


def test_the_kind_is_read_from_the_bytes_whatever_the_texts_say() -> None:
    """An actor who is called like a kind, and a body that names one, deceive nobody."""
    for record in samples.RECORDS:
        body = codec.body_of(record)
        draft = codec.Draft(
            "00", samples.AT, samples.AT, 1.0, '","kind":"release.recorded","x":"', '"kind":"', record.kind, body
        )
        assert codec.kind_of(codec.encode(7, "sha256:00", draft)) == record.kind.encode()
        assert codec.encode(7, "sha256:00", draft).startswith(codec.beginning(7, "sha256:00"))


def test_damage_is_found_in_events_that_are_not_asked_for(tmp_path: Path) -> None:
    """Every byte of an event of another kind, each changed in two ways, by who has seen it and who has not."""
    place = places.Place(memory.MemoryStore(), tmp_path)
    journal = place.open()
    for record in (samples.RECORDS[5], samples.RECORDS[0], samples.RECORDS[5], samples.RECORDS[2]):
        journal.append(record)
    list(place.open().events())
    raw = place.raw(3)
    tried = 0
    for at, flip in itertools.product(range(len(raw)), (0x01, 0x80)):
        place.overwrite(layout.event_key(3), raw[:at] + bytes([raw[at] ^ flip]) + raw[at + 1 :])
        for reader in (place, place.elsewhere(secrets.token_hex(4))):
            with pytest.raises(Damaged):
                list(reader.open().events(0, views.LEDGER))
            tried += 1
    print(f"{tried} damaged journals, each found")


def test_who_only_looks_is_told_how_far_it_can_be_read(tmp_path: Path) -> None:
    """The last event that can be read is named, and not the last one of the kinds that were asked for."""
    place = places.Place(memory.MemoryStore(), tmp_path)
    place.fill(9)
    place.overwrite(layout.event_key(7), place.raw(6))
    told: list[str] = []
    looking = salvage.Salvaged(place.open(), told.append)
    list(looking.events(0, (records.GameDayEnded,)))
    assert "behind event 6 is not known" in told[0]


def test_records_of_before_there_was_lineage_decode() -> None:
    """Lines as they were written before releases had lineage and changes a layer, a link and a detail."""
    head = '{"seq":1,"prev":"","id":"00","at":"2026-11-02T09:00:00Z","wall":"2026-11-02T09:00:00Z","mono_s":1.0,'
    head += '"actor":"ana","host":"laptop",'
    model = '{"plane":"model","object":"digit","name":"2","digest":"sha256:ab","facts":{"run":"r1"}}'
    release = '"kind":"release.recorded","body":{"release":{"id":"r-1","service":"digits","at":"2026-11-02T09:00:00Z",'
    release += f'"revisions":{{"model":{model}}},"known_good":true,"note":"as built"}}}}}}\n'
    change = '"kind":"change.recorded","body":{"service":"digits","change":{"plane":"model","object":"digit",'
    change += '"at":"2026-11-02T09:00:00Z","before":"2","after":"3","actor":"ci","summary":"","source":"log",'
    change += '"recorded":true,"not_before":null}}}\n'
    seen = f'"kind":"planes.observed","body":{{"service":"digits","moment":"before","revisions":[{model}]}}}}\n'
    found = [codec.decode((head + text).encode(), "sha256:0").record for text in (release, change, seen)]
    recorded, changed, observed = found
    assert isinstance(recorded, records.ReleaseRecorded)
    assert (recorded.release.lineage, recorded.release.by) == (releases.Lineage(), "")
    assert recorded.release.revisions[planes.Plane.MODEL].facts == {"run": "r1"}
    assert isinstance(changed, records.ChangeRecorded)
    assert (changed.change.layer, changed.change.link, changed.change.detail) == ("", "", "")
    assert isinstance(observed, records.PlanesObserved)
    board = views.fold([codec.decode((head + text).encode(), "sha256:0") for text in (release, change, seen)])
    assert board.sightings("digits") == board.releases["digits"]  # a game day's look is no part of the ledger
    assert board.last_good("digits") == recorded.release


def test_a_run_without_an_end_is_told_from_the_ends_alone(tmp_path: Path) -> None:
    """At every length of the journal: what the slim fold says is what the whole one says."""
    place = places.Place(memory.MemoryStore(), tmp_path)
    journal = place.open()
    for record in itertools.islice(samples.endless(), 60):
        journal.append(record)
    events = list(place.open().events())
    for length in range(len(events) + 1):
        slim = views.fold(event for event in events[:length] if type(event.record) in views.ENDS)
        whole = views.fold(events[:length])
        open_ = [run.seq for run in whole.runs.values() if run.end is None]
        assert slim.unsettled == min(open_, default=None)
    print(f"{len(events) + 1} lengths")
