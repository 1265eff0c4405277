"""The request log: windows, truths that come later, damage, and the history of who answered."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors import prediction_log
from ddr.domain import planes, signals
from ddr.errors import InputError, Unavailable
from ddr.lib import clock, timetext
from ddr.ports import connector, replayable, signal
from tests.unit.connectors import rigs

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
BEGIN = rigs.NOW - 3 * HOUR
CONFIG = "sha256:" + "ab" * 32


def _line(minute: float, **said: Any) -> dict[str, Any]:
    """One answer: wrong in every fifth half minute."""
    number = round(minute * 60)
    return {
        "id": f"r{number}",
        "at": timetext.format_time(BEGIN + minute * MINUTE),
        "entity": f"lane-{number % 7}",
        "status": 200,
        "latency_ms": 1.5,
        "answer": "7" if number // 30 % 5 else "1",
        "score": 0.5 + number / 100_000,
        "model": "2",
        "weights": "sha256:" + "11" * 32,
        "code": "1.4.0",
        "index": "v1",
        "features": "v2",
        "config": CONFIG,
        "event_ts": float(number),
        "row": [0.0] * 64,
        **said,
    }


def _truth(line: Mapping[str, Any]) -> dict[str, Any]:
    at = timetext.parse_time(line["at"]) + 30 * MINUTE
    return {"id": line["id"], "at": timetext.format_time(at), "truth": "7"}


def _log(folder: Path, lines: list[dict[str, Any]], *, truths: bool = True) -> prediction_log.PredictionLog:
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    known = [_truth(line) for line in lines]
    known = [truth for truth in known if timetext.parse_time(truth["at"]) <= rigs.NOW]
    (folder / "truths.jsonl").write_text("".join(json.dumps(truth) + "\n" for truth in known))
    settings = prediction_log.Settings("predictions.jsonl", "truths.jsonl" if truths else "")
    return prediction_log.connect(settings, folder, clock.ManualClock(rigs.NOW))


def _three_hours() -> list[dict[str, Any]]:
    return [_line(minute / 2) for minute in range(360)]


def test_it_is_what_it_says(tmp_path: Path) -> None:
    log = _log(tmp_path, [])
    assert isinstance(log, signal.Signal)
    assert isinstance(log, replayable.RequestLog)
    assert isinstance(log, connector.History)
    with pytest.raises(InputError):
        log.read("none", BEGIN, rigs.NOW)


def test_scores_are_those_of_the_window_in_order(tmp_path: Path) -> None:
    lines = _three_hours()
    lines[3] |= {"status": 500, "answer": None, "score": None, "model": None, "entity": None}
    lines[4] |= {"score": None}
    log = _log(tmp_path, lines)
    reading = log.read("scores", BEGIN, BEGIN + HOUR)
    assert reading.sample == signals.Values(tuple(line["score"] for line in lines[:120] if line["score"]))
    assert reading.why == ""
    assert log.read("scores", rigs.NOW, rigs.NOW + HOUR).sample is None


def test_a_truth_counts_from_when_it_was_known(tmp_path: Path) -> None:
    lines = _three_hours()
    log = _log(tmp_path, lines)
    last_hour = log.read("wrong-answers", rigs.NOW - HOUR, rigs.NOW).sample
    assert last_hour == signals.Share(13, 61), "requests of the first half hour, and the one at its very end"
    first_hour = log.read("wrong-answers", BEGIN, BEGIN + HOUR).sample
    assert first_hour == signals.Share(13, 61), "as it was known then, not as it is known now"
    early = log.read("wrong-answers", BEGIN, BEGIN + 20 * MINUTE)
    assert early.sample is None
    assert "40 requests" in early.why
    assert _log(tmp_path, lines, truths=False).read("wrong-answers", BEGIN, rigs.NOW).sample is None


def test_no_log_is_no_sample(tmp_path: Path) -> None:
    settings = prediction_log.Settings("none.jsonl", "none-either.jsonl")
    log = prediction_log.connect(settings, tmp_path, clock.ManualClock(rigs.NOW))
    for series in prediction_log.SERIES:
        reading = log.read(series, BEGIN, rigs.NOW)
        assert reading.sample is None
        assert "none.jsonl" in reading.why
    with pytest.raises(Unavailable):
        log.logged(BEGIN, rigs.NOW, 10)
    assert list(log.changes(BEGIN)) == []


def test_bad_lines_are_counted_and_said_and_a_torn_end_is_not(tmp_path: Path) -> None:
    lines = _three_hours()
    log = _log(tmp_path, lines)
    path = tmp_path / "predictions.jsonl"
    content = path.read_bytes().splitlines(keepends=True)
    damage = [
        b"\n",
        b"\0" * 100 + b"\n",
        content[100][:200] + b"\n",
        b'{"id": 1, "at": "2026-11-02T06:50:00Z"}\n',
        b'{"id": "x", "at": "soon"}\n',
        b'{"id": "x"}\n',
        b"\xff\xfe\n",
        b"[" * 10_000 + b"\n",
        b'{"id":"x","at":"2026-11-02T06:50:00Z","score":NaN}\n',
    ]
    path.write_bytes(b"".join(content[:100] + damage + content[100:]) + content[5][:-30])
    reading = log.read("scores", BEGIN, rigs.NOW)
    assert reading.sample == signals.Values(tuple(line["score"] for line in lines))
    assert reading.why == f"{len(damage)} lines of predictions.jsonl cannot be read"
    assert log.read("scores", rigs.NOW - HOUR, rigs.NOW).why == ""


def test_the_swap_test_gets_the_newest_requests_whose_truth_is_known(tmp_path: Path) -> None:
    lines = _three_hours()
    log = _log(tmp_path, lines)
    found = log.logged(BEGIN, rigs.NOW, 50)
    assert [request.id for request in found] == [line["id"] for line in lines[251:301]]
    assert found[0].truth == "7"
    assert found[0].entity == lines[251]["entity"]
    assert found[0].revisions == {
        planes.Plane.MODEL: "2",
        planes.Plane.CODE: "1.4.0",
        planes.Plane.INDEX: "v1",
        planes.Plane.FEATURES: "v2",
        planes.Plane.CONFIG: "ab" * 6,
    }
    assert log.logged(BEGIN, rigs.NOW, 0) == ()
    assert len(log.logged(BEGIN, BEGIN + 10 * MINUTE, 1000)) == 20


def test_a_change_is_the_first_answer_by_another_revision(tmp_path: Path) -> None:
    lines = _three_hours()
    for line in lines[200:]:
        line |= {"model": "3", "weights": "sha256:" + "22" * 32}
    for line in lines[250:]:
        line["config"] = "sha256:" + "cd" * 32
    for line in lines[300:]:
        line["code"] = "1.4.1"
    for line in lines[320:]:
        line["weights"] = "sha256:" + "33" * 32
    lines[310] |= {"model": None, "weights": None, "status": 500}
    log = _log(tmp_path, lines)
    found = log.changes(BEGIN)
    assert [(change.plane, change.before, change.after) for change in found] == [
        (planes.Plane.MODEL, "2", "3"),
        (planes.Plane.CONFIG, "ab" * 6, "cd" * 6),
        (planes.Plane.CODE, "1.4.0", "1.4.1"),
        (planes.Plane.MODEL, "3", "3"),
    ]
    assert [change.at for change in found] == [timetext.parse_time(lines[at]["at"]) for at in (200, 250, 300, 320)]
    assert {(change.recorded, change.actor, change.source) for change in found} == {(False, "unknown", "request log")}
    assert "other bytes under the same name: 222222222222 → 333333333333" in found[-1].summary
    for at in (200, 250, 300, 320):
        exactly = timetext.parse_time(lines[at]["at"])
        assert log.changes(exactly)[0].at == exactly, "the line before the window says what it was"
    assert list(log.changes(rigs.NOW)) == []


def test_old_and_new_answers_that_alternate_are_one_change(tmp_path: Path) -> None:
    lines = [_line(second / 60, model="3" if second > 100 and second % 3 else "2") for second in range(160)]
    lines += [_line(second / 60, model="3") for second in range(160, 400)]
    lines += [_line(second / 60, model="2") for second in range(400, 700)]
    found = _log(tmp_path, lines).changes(BEGIN)
    assert [(change.before, change.after) for change in found] == [("2", "3"), ("3", "2")]
    assert found[1].at == timetext.parse_time(lines[400]["at"])


def test_a_change_that_is_taken_back_within_the_overlap_is_seen_a_little_late(tmp_path: Path) -> None:
    lines = [_line(second / 60, model="3" if 100 <= second < 120 else "2") for second in range(400)]
    found = _log(tmp_path, lines).changes(BEGIN)
    assert [(change.before, change.after) for change in found] == [("2", "3"), ("3", "2")]
    assert found[1].at == BEGIN + timedelta(seconds=160)


def test_a_window_of_a_long_log_costs_its_own_length(tmp_path: Path) -> None:
    lines = _three_hours()
    log = _log(tmp_path, lines)
    old = [json.dumps({**_line(0), "at": timetext.format_time(BEGIN - (100_000 - at) * MINUTE)}) for at in range(2000)]
    path = tmp_path / "predictions.jsonl"
    recent = path.read_bytes()
    with path.open("wb") as file:
        for _ in range(60):
            file.write(("\n".join(old) + "\n").encode())
        file.write(recent)
    begin = time.perf_counter()
    reading = log.read("scores", rigs.NOW - HOUR, rigs.NOW)
    took_ms = (time.perf_counter() - begin) * 1000
    assert isinstance(reading.sample, signals.Values)
    assert len(reading.sample.values) == 120
    print(f"{path.stat().st_size >> 20} MiB: {took_ms:.1f} ms")
