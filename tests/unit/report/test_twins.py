"""The terminal's score and the JSON document say what the page says."""

from __future__ import annotations

import json

import pytest

from ddr.domain import gamedays
from ddr.report import document, text, words
from tests.unit.report import synthetic


def test_the_document_is_json_with_the_verdict_and_the_nouns() -> None:
    day = synthetic.game_day()
    read = json.loads(document.text(day))
    assert (read["passed"], read["points"], read["possible"]) == (True, 200, 200)
    assert read["head"]["digest"] == day.head.digest
    first = read["played"][0]
    assert first["standings"] == dict.fromkeys(gamedays.EXPECTATIONS, "met")
    assert first["gaps"][0] == {"from": "first bad", "to": "detected", "platform_s": 600.0, "wall_s": 0.7}
    assert first["account"]["series"][0]["judgements"][0]["n"] == 300
    assert first["account"]["impact"]["wrong"] == 62


@pytest.mark.parametrize(("outcome", "word"), [("passed", "✓ passed"), ("missed", "✗ failed")])
def test_the_terminal_says_the_verdict_of_each_scenario(outcome: str, word: str) -> None:
    told = text.gameday(synthetic.game_day(outcome=outcome))
    assert told.count(word) == 2
    assert "first bad 09:00, detected 09:10 (+10m)" in told


def test_the_terminal_names_what_was_missed_with_wanted_and_found() -> None:
    told = text.gameday(synthetic.game_day(outcome="missed"))
    assert "in time after the first bad: wanted at most 30m; found 10m" in told
    assert "latency-p95 did not stay green (1 of 44 looks)" in told


def test_colour_is_given_by_role() -> None:
    roles = []

    def paint(part: str, role: str) -> str:
        roles.append(role)
        return part

    text.gameday(synthetic.game_day(outcome="broken-off"), paint)
    assert {"good", "bad", "quiet", "strong"} <= set(roles)


@pytest.mark.parametrize(
    ("number", "detector", "unit", "said"),
    [
        (0.41, "share", "", "41.0 %"),
        (0.0004, "shift", "", "0.04 %"),
        (0.0, "columns", "", "0.0 %"),
        (0.907, "distribution", "", "0.907"),
        (2700, "ceiling", "s", "45m"),
        (0.011, "ceiling", "s", "11 ms"),
        (7.0, "floor", "rows", "7 rows"),
        (None, "share", "", "none"),
    ],
)
def test_a_value_is_said_the_way_its_detector_means_it(
    number: float | None, detector: str, unit: str, said: str
) -> None:
    assert words.value(number, detector, unit) == said


def test_the_excess_is_what_goes_beyond_the_usual() -> None:
    account = synthetic.game_day().played[0].account
    assert account is not None
    assert account.impact is not None
    assert account.impact.excess == 57
