"""The page a game day leaves behind: whole, self-contained, honest, and safe to open."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from ddr.domain import accounts, gamedays
from ddr.report import html, words
from tests.unit.report import pages, synthetic

HOSTILE = """</style></svg><script>alert(1)</script><img src=x onerror="alert(1)">'"&lt;{{ 7*7 }}"""
OUTCOMES = ("passed", "missed", "broken-off")


@pytest.fixture(params=OUTCOMES)
def day(request: pytest.FixtureRequest) -> gamedays.GameDay:
    return synthetic.game_day(outcome=request.param)


def test_the_tags_are_balanced(day: gamedays.GameDay) -> None:
    assert pages.read(html.gameday(day)).problems == []


def test_nothing_outside_the_file_is_loaded_and_nothing_runs(day: gamedays.GameDay) -> None:
    text = html.gameday(day)
    page = pages.read(text)
    assert page.loads() == []
    assert not {"script", "iframe", "object", "embed", "form", "link", "base"} & {tag for tag, _ in page.tags}
    assert not re.search(r"https?://|//[a-z]|@import|url\(", text), "no address, no CSS that fetches"


def test_it_is_small() -> None:
    sizes = {count: len(html.gameday(synthetic.game_day(scenarios=count)).encode()) for count in (1, 2, 12)}
    print(f"bytes by number of scenarios: {sizes}")
    assert sizes[12] < html.LARGEST_BYTES


def test_a_long_output_is_shortened_and_says_so() -> None:
    assert html.shortened("\n".join(map(str, range(1000)))).endswith("... 986 more lines")


def test_every_number_of_the_result_is_on_the_page(day: gamedays.GameDay) -> None:
    text = pages.read(html.gameday(day)).text
    missing = [expected for expected in _numbers(day) if expected not in text]
    assert missing == []


def _numbers(day: gamedays.GameDay) -> list[str]:
    expected = [day.id, day.head.digest, str(day.head.seq), day.actor, f"{day.points} of {day.possible} points"]
    for played in day.played:
        account = played.account
        assert account is not None
        assert account.impact is not None
        assert account.diagnosis is not None
        expected += [played.state_before, f"{played.points} of {played.possible}", str(account.impact.wrong)]
        expected += [words.percent(account.impact.rate), words.percent(account.impact.usual_rate)]
        expected += [words.clock(stamp.at) for _, stamp in account.times.moments if stamp]
        expected += [words.typed(command) for command in account.commands]
        expected += [happening.title for happening in account.happenings]
        for candidate in account.diagnosis.candidates:
            expected += [words.percent(candidate.probability), *(entry.says for entry in candidate.evidence)]
        for series in account.series:
            worst = words.extreme(series)
            assert worst is not None
            expected += [series.signal, words.samples(series)]
            expected += [words.value(worst.threshold, series.detector, series.unit)]
            if series.bad:
                expected += [f"n {worst.n}", words.value(worst.value, series.detector, series.unit)]
        for expectation in played.expectations:
            expected += [text for check in expectation.checks for text in (check.what, check.expected, check.found)]
    return expected


def test_hostile_text_stays_text() -> None:
    plain = pages.read(html.gameday(synthetic.game_day()))
    hurt = pages.read(html.gameday(synthetic.game_day(hostile=HOSTILE)))
    assert [tag for tag, _ in hurt.tags] == [tag for tag, _ in plain.tags], "no tag more or less"
    assert hurt.problems == []
    assert hurt.loads() == []
    assert hurt.text.count("<script>alert(1)</script>") > 20
    assert "{{ 7*7 }}" in hurt.text, "text is no template"


def test_hostile_text_is_escaped_wherever_a_result_has_text() -> None:
    """Every str of the result is replaced, one field name at a time, and the page keeps its shape."""
    day = synthetic.game_day(scenarios=1)
    shape = [tag for tag, _ in pages.read(html.gameday(day)).tags]
    names = sorted(_text_fields(day))
    for name in names:
        page = pages.read(html.gameday(_replaced(day, name, HOSTILE)))
        assert page.problems == [], name
        assert page.loads() == [], name
        assert [tag for tag, _ in page.tags if tag in ("script", "img")] == [], name
        assert len(page.tags) >= len(shape) - 60, name
    print(f"{len(names)} kinds of text fields, each made hostile")


def _text_fields(value: object) -> set[str]:
    found: set[str] = set()
    if isinstance(value, tuple):
        for entry in value:
            found |= _text_fields(entry)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            inner = getattr(value, field.name)
            if type(inner) is str:
                found.add(f"{type(value).__name__}.{field.name}")
            found |= _text_fields(inner)
    return found


def _replaced(value: Any, name: str, text: str) -> Any:
    if isinstance(value, tuple):
        return tuple(_replaced(entry, name, text) for entry in value)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    changes = {}
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        is_it = type(inner) is str and f"{type(value).__name__}.{field.name}" == name
        changes[field.name] = text if is_it else _replaced(inner, name, text)
    return dataclasses.replace(value, **changes)


def test_not_run_is_never_shown_as_a_pass() -> None:
    day = synthetic.game_day(outcome="broken-off")
    text = html.gameday(day)
    page = pages.read(text)
    assert "seal" in text
    assert 'class="headline wrong"' in text
    assert "Every expectation was met" not in page.text
    assert "Passed" not in page.text
    assert page.text.count("not run, and so no points") == 6, "three expectations in each of two scenarios"


def test_a_scenario_that_was_not_begun_has_its_points_and_gets_none() -> None:
    not_begun = gamedays.Played(
        "null-features", expectations=(gamedays.Expectation("detect", 0, 25),), why_not="not begun"
    )
    day = dataclasses.replace(synthetic.game_day(), played=(not_begun,), ended=False)
    page = pages.read(html.gameday(day))
    assert page.problems == []
    assert "not begun" in page.text
    assert "0 of 25" in page.text
    assert "Not run" in page.text


def test_an_empty_account_is_no_reason_to_fail() -> None:
    bare = accounts.Account("postcode", synthetic.BEGIN, synthetic.BEGIN)
    day = dataclasses.replace(synthetic.game_day(), played=(gamedays.Played("x", account=bare, why_not="cut off"),))
    page = pages.read(html.gameday(day))
    assert page.problems == []
    assert "There was no diagnosis." in page.text


def test_a_mark_always_has_its_word(day: gamedays.GameDay) -> None:
    """Colour and shape are for the eye; the word beside them is for everyone."""
    text = html.gameday(day)
    marks = re.findall(r'<span class="mark (\w+)" aria-hidden="true">.</span>(.{0,120})', text.replace("\n", " "))
    assert len(marks) > 10
    silent = [entry for entry in marks if not re.search(r"[a-z]", re.sub(r"<[^>]*>", "", entry[1]))]
    assert silent == []


def test_it_prints_and_follows_the_screen() -> None:
    text = html.gameday(synthetic.game_day())
    for rule in ("prefers-color-scheme: dark", "@media print", "max-width: 760px", "viewport"):
        assert rule in text
