"""What a request log counts: an answer repeated for the same row is not a second observation."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ddr.connectors import prediction_log
from ddr.domain import signals
from ddr.lib import clock, timetext

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def _log(folder: Path, lines: list[dict[str, Any]]) -> prediction_log.PredictionLog:
    answers, truths = [], []
    for number, said in enumerate(lines):
        at = timetext.format_time(NOON + timedelta(seconds=number))
        truth = said.pop("truth", "7")
        answers.append({"id": f"q{number}", "at": at, "status": 200, "answer": "7", "score": 0.9, "model": "2"} | said)
        truths.append({"id": f"q{number}", "at": at, "truth": truth})
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in answers))
    (folder / "truths.jsonl").write_text("".join(json.dumps(line) + "\n" for line in truths))
    settings = prediction_log.Settings("predictions.jsonl", "truths.jsonl")
    return prediction_log.connect(settings, folder, clock.ManualClock(NOON + timedelta(hours=1)))


def _counted(folder: Path, lines: list[dict[str, Any]]) -> tuple[int, int, int]:
    """Scores, truths known, wrong answers."""
    log, until = _log(folder, lines), NOON + timedelta(hours=1)
    scores = log.read("scores", NOON, until).sample
    wrong = log.read("wrong-answers", NOON, until).sample
    assert isinstance(scores, signals.Values)
    assert isinstance(wrong, signals.Share)
    return len(scores.values), wrong.n, wrong.hits


def test_the_same_row_asked_again_is_one_observation(tmp_path: Path) -> None:
    lines = [{"entity": "lane-1", "event_ts": 1.0, "answer": "3"}] * 5 + [{"entity": "lane-2", "event_ts": 1.0}]
    assert _counted(tmp_path, [dict(line) for line in lines]) == (2, 2, 1)


def test_another_row_another_model_another_truth_are_others(tmp_path: Path) -> None:
    row = {"entity": "lane-1", "event_ts": 1.0}
    lines: list[dict[str, Any]] = [row, row | {"event_ts": 2.0}, row | {"model": "3"}, row | {"weights": "sha256:b"}]
    assert _counted(tmp_path, [*lines, row | {"truth": "4"}]) == (4, 5, 1)


def test_lines_that_do_not_tell_their_row_all_count(tmp_path: Path) -> None:
    assert _counted(tmp_path, [{}, {}, {"entity": "lane-1"}, {"entity": "lane-1"}, {"event_ts": 1.0}]) == (5, 5, 0)


def test_a_failed_request_is_no_observation(tmp_path: Path) -> None:
    row = {"entity": "lane-1", "event_ts": 1.0}
    assert _counted(tmp_path, [row | {"status": 500, "answer": ""}, dict(row)]) == (1, 1, 0)
