"""Plots and timelines: well-formed, inside their frame, and nothing written over anything else."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddr.domain import accounts, planes, signals
from ddr.report import plot, svg, timeline
from tests.unit.report import synthetic

BEGIN = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def judgement(minute: int, value: float | None, state: str, threshold: float | None = 0.06) -> signals.Judgement:
    return signals.Judgement(
        "golden", planes.Plane.MODEL, signals.State(state), BEGIN + minute * MINUTE, value, threshold, 300
    )


def draw(*judgements: signals.Judgement, unit: str = "") -> ET.Element:
    series = accounts.Series("golden", planes.Plane.MODEL, judgements, "share")
    return ET.fromstring(plot.draw(series, accounts.Times(), BEGIN, BEGIN + 60 * MINUTE))


def classes(drawing: ET.Element, name: str) -> list[ET.Element]:
    return [element for element in drawing.iter() if name in element.get("class", "").split()]


def test_a_plot_has_line_threshold_and_bad_stretch() -> None:
    drawing = draw(
        judgement(0, 0.02, "ok"), judgement(5, 0.4, "bad"), judgement(10, 0.4, "bad"), judgement(15, 0.02, "ok")
    )
    (stretch,) = classes(drawing, "stretch")
    assert stretch.get("class") == "stretch bad"
    assert len(classes(drawing, "value")) == 1
    assert [label.text for label in classes(drawing, "limit-name")] == ["threshold 6.0 %"]
    assert len([dot for dot in classes(drawing, "dot") if "bad" in dot.get("class", "")]) == 2


def test_an_unknown_look_leaves_a_gap_and_is_shaded_otherwise() -> None:
    drawing = draw(
        judgement(0, 0.02, "ok"),
        judgement(5, 0.02, "ok"),
        judgement(10, None, "unknown"),
        judgement(15, 0.02, "ok"),
        judgement(20, 0.02, "ok"),
    )
    assert len(classes(drawing, "value")) == 2, "no line through what is not known"
    assert [stretch.get("class") for stretch in classes(drawing, "stretch")] == ["stretch unknown"]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_looks_are_drawn_too(count: int) -> None:
    assert draw(*[judgement(5 * at, 0.02, "ok", None) for at in range(count)]).tag == "svg"


def test_the_threshold_follows_the_sample_size_in_steps() -> None:
    drawing = draw(judgement(0, 0.0, "ok", 0.06), judgement(5, 0.0, "ok", 0.12))
    (limit,) = classes(drawing, "limit")
    assert limit.get("d", "").count("L") == 2, "right, then up"


@given(
    st.lists(
        st.tuples(st.floats(0, 1e9), st.floats(0, 1e9), st.sampled_from(["ok", "bad", "unknown"])),
        min_size=1,
        max_size=30,
    )
)
def test_whatever_was_measured_stays_in_the_frame(entries: list[tuple[float, float, str]]) -> None:
    drawing = draw(*[judgement(2 * at, value, state, limit) for at, (value, limit, state) in enumerate(entries)])
    for element in drawing.iter():
        for x, y in re.findall(r"([\d.-]+) ([\d.-]+)", element.get("d", "") if element.tag == "path" else ""):
            assert 0 <= float(x) <= plot.WIDTH
            assert 0 <= float(y) <= plot.HEIGHT


@given(st.floats(1e-9, 1e12))
def test_ticks_are_few_round_and_reach_far_enough(high: float) -> None:
    ticks = svg.nice_ticks(high)
    assert ticks[0] == 0
    assert ticks[-1] >= high * 0.999
    assert 2 <= len(ticks) <= 6


@given(st.integers(1, 60 * 24 * 40))
def test_time_ticks_are_few_and_inside(minutes: int) -> None:
    scale = svg.TimeScale(BEGIN, BEGIN + minutes * MINUTE, 0, 100)
    ticks = scale.ticks(12)
    assert len(ticks) <= 13
    assert all(BEGIN <= tick <= scale.until for tick in ticks)


def _boxes(drawing: ET.Element) -> list[tuple[float, float, float, float, str]]:
    """Where every text of a timeline stands: left, top, right, bottom."""
    found = []
    for element in drawing.iter("text"):
        if not set(element.get("class", "").split()) & {"label", "moment-name", "lane-name"}:
            continue
        content, x, y = element.text or "", float(element.get("x", "0")), float(element.get("y", "0"))
        width = svg.width_of(content, 11.5)
        left = x - width if element.get("text-anchor") == "end" else x
        found.append((left, y - 10, left + width, y + 2, content))
    return found


def _overlapping(boxes: list[tuple[float, float, float, float, str]]) -> list[tuple[str, str]]:
    return [
        (one[4], other[4])
        for at, one in enumerate(boxes)
        for other in boxes[:at]
        if one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
    ]


def test_no_label_of_a_timeline_stands_on_another() -> None:
    checked = 0
    for seed in range(200):
        chance = random.Random(seed)
        account = synthetic.game_day().played[0].account
        assert account is not None
        happenings = tuple(_happening(chance) for _ in range(chance.randrange(1, 40)))
        shaken = accounts.Account(
            "postcode", account.since, account.until, account.times, happenings=happenings, views=account.views
        )
        boxes = _boxes(ET.fromstring(timeline.draw(shaken)))
        assert _overlapping(boxes) == [], seed
        assert all(box[0] >= 0 and box[2] <= timeline.WIDTH + 1 for box in boxes), seed
        checked += len(boxes)
    print(f"{checked} labels in 200 timelines")


def _happening(chance: random.Random) -> accounts.Happening:
    at = BEGIN + chance.randrange(0, 400) * MINUTE
    until = at + chance.randrange(1, 90) * MINUTE if chance.random() < 0.2 else None
    plane = chance.choice([None, *planes.Plane])
    title = "x" * chance.randrange(1, 60)
    return accounts.Happening(chance.choice(list(accounts.Kind)), at, title, plane, until)


def test_a_quiet_plane_has_its_lane() -> None:
    account = synthetic.game_day().played[0].account
    assert account is not None
    drawing = ET.fromstring(timeline.draw(account))
    names = [element.text for element in classes(drawing, "lane-name")]
    assert names == ["code", "model", "features", "index", "config", "symptoms", "response"]
    titles = [element.text for element in drawing.iter("title")]
    assert len(titles) == len(account.happenings)


def test_every_kind_has_a_shape_of_its_own() -> None:
    shapes = {svg.legend_glyph(kind).replace(f"k-{kind.name.lower()}", "") for kind in accounts.Kind}
    assert len(shapes) == len(accounts.Kind)
