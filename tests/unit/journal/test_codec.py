"""Records to bytes and back, and bytes that are no event."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from types import MappingProxyType

import pytest

from ddr.domain import diagnoses, outcomes, records
from ddr.journal import codec, layout, spoken
from tests.unit.journal import samples


def draft(record: records.Record) -> codec.Draft:
    at = samples.AT + timedelta(microseconds=123456)
    return codec.Draft("00ff", at, at, 12.5, "ana", "laptop", record.kind, codec.body_of(record))


def test_there_is_a_sample_of_every_kind() -> None:
    assert {record.kind for record in samples.RECORDS} == set(records.KINDS)


@pytest.mark.parametrize("record", samples.RECORDS, ids=lambda record: record.kind)
def test_what_goes_in_comes_out(record: records.Record) -> None:
    raw = codec.encode(7, "sha256:00", draft(record))
    event = codec.decode(raw, layout.digest_of(raw))
    assert event.record == record
    assert (event.seq, event.previous, event.digest) == (7, "sha256:00", layout.digest_of(raw))
    assert (event.at, event.wall) == (samples.AT + timedelta(microseconds=123456),) * 2
    assert (event.id, event.mono_s, event.actor, event.host) == ("00ff", 12.5, "ana", "laptop")


@pytest.mark.parametrize("record", samples.RECORDS, ids=lambda record: record.kind)
def test_an_event_is_one_line_of_plain_json(record: records.Record) -> None:
    raw = codec.encode(7, "", draft(record))
    assert raw.endswith(b"\n")
    assert raw.count(b"\n") == 1
    value = json.loads(raw)
    assert list(value) == ["seq", "prev", "id", "at", "wall", "mono_s", "actor", "host", "kind", "body"]
    assert value["kind"] == record.kind
    assert set(value["body"]) == {field.name for field in dataclasses.fields(record)}


@pytest.mark.parametrize("record", samples.RECORDS, ids=lambda record: record.kind)
def test_every_kind_can_be_said_on_one_line(record: records.Record) -> None:
    event = codec.of_draft(draft(record))
    line = spoken.line(event)
    assert line
    assert "\n" not in line
    assert line != record.kind
    document = json.loads(json.dumps(spoken.document(event)))
    assert document["kind"] == record.kind
    assert document["body"]


def test_a_spooled_draft_comes_back_as_it_was() -> None:
    for record in samples.RECORDS:
        made = draft(record)
        assert codec.decode_waiting(codec.encode_waiting(41, made)) == (41, made)
        event = codec.of_draft(made)
        assert event.is_spooled
        assert event.record == record


def test_any_mapping_can_be_recorded() -> None:
    outcome = dataclasses.replace(samples.OUTCOME, values=MappingProxyType({"live": "2"}))
    raw = codec.encode(1, "", draft(records.StepEnded("r", "s", 1, outcome)))
    event = codec.decode(raw, "")
    assert isinstance(event.record, records.StepEnded)
    assert event.record.outcome.values == {"live": "2"}


def test_an_event_of_a_newer_ddr_is_kept_whole() -> None:
    known = codec.encode(7, "", draft(records.RunPaused("r", "why")))
    newer = [
        known.replace(b'"run.paused"', b'"run.hibernated"'),
        codec.encode(7, "", draft(records.RunEnded("r", "failed"))).replace(b'"failed"', b'"abandoned"'),
    ]
    for raw in newer:
        event = codec.decode(raw, "")
        assert event.record == records.Foreign(raw.decode())
        assert spoken.document(event)["kind"] in ("run.hibernated", "run.ended")
        assert spoken.line(event)
    added = codec.decode(known.replace(b'"why":', b'"mood":"calm","why":'), "")
    assert added.record == records.RunPaused("r", "why")


def test_what_would_not_come_back_is_not_written() -> None:
    candidate = diagnoses.Candidate(None, 0.5, (diagnoses.Evidence("swap", "nothing", float("nan")),))
    diagnosis = dataclasses.replace(samples.DIAGNOSIS, candidates=(candidate,))
    wrong: list[records.Record] = [
        records.DiagnosisMade("postcode", diagnosis),
        records.IncidentNoted("inc-1", "half a character: \ud800"),
        records.StepEnded("r", "s", 1, outcomes.Outcome(outcomes.Status.OK, "", values={"x": object()})),  # type: ignore[dict-item]
        records.Foreign("{}"),
    ]
    for record in wrong:
        with pytest.raises(ValueError, match=r"cannot be recorded|is kept, not written"):
            codec.body_of(record)


def test_every_beginning_of_an_event_is_torn() -> None:
    torn = 0
    for record in samples.RECORDS:
        raw = codec.encode(7, "sha256:00", draft(record))
        for length in range(len(raw)):
            with pytest.raises(codec.Torn):
                codec.decode(raw[:length], "")
            torn += 1
    print(f"{torn} beginnings of events, all found torn")


def test_lines_of_a_file_give_every_event_back() -> None:
    whole = [codec.encode(seq, "", draft(record)) for seq, record in enumerate(samples.RECORDS, 1)]
    strange = [b"", b"\n", b"{", b'{"seq":1', b"{}\n{}\n", b"#torn x\n", b"\r\n", b"a\rb", bytes(range(256)), b"{\r}\n"]
    raws = [*whole, *strange, *reversed(whole)]
    assert layout.unpack(layout.pack(raws)) == raws
    for raw in raws:
        line = layout.to_line(raw)
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert layout.of_line(line) == raw


def test_a_line_that_is_no_event_stands_for_itself() -> None:
    """It has another digest than what was written there."""
    lines = [b"#torn !!\n", b"x\n", b"\n", b'{"cut":']
    assert layout.unpack(b"".join(lines)) == lines
    for line in lines:
        assert layout.of_line(line) == line
