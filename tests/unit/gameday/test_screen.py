"""What is shown while it runs: the same events as lines for a pipe and as a board for a terminal."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from ddr.domain import signals
from ddr.gameday import progress, screen
from tests.unit.gameday import twin as twins

BEGIN = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def told() -> list[progress.Event]:
    twin = twins.Twin()
    twin.play()
    return twin.told


def test_lines_tell_the_whole_story(told: list[progress.Event]) -> None:
    lines: list[str] = []
    report = screen.lines(lines.append)
    for event in told:
        report(event)
    text = "\n".join(lines)
    for part in (
        "scenario 1 of 1: promoted",
        "decoy new-code: 1.4.1 is live",
        "fault promotion: 3 is champion",
        "detected: golden bad: 0.5",
        "oncall-ml $ ddr diagnose postcode",
        "lena $ ddr runbook approve",
        "verified",
        "100 of 100 points: passed",
    ):
        assert part in text


def test_a_board_is_drawn_after_every_event(told: list[progress.Event]) -> None:
    from rich import console as consoles

    view = progress.View()
    drawn = ""
    for event in told:
        view = progress.after(view, event)
        out = io.StringIO()
        consoles.Console(file=out, width=100, force_terminal=False).print(screen.render(view, 1.0))
        drawn = out.getvalue()
        assert len(drawn.splitlines()) <= 32
    assert "first bad" in drawn
    assert "golden" in drawn
    assert "BAD" not in drawn, "it ends green"


def judged(value: float | None, threshold: float | None, state: str = "ok") -> signals.Judgement:
    return signals.Judgement("x", None, signals.State(state), BEGIN, value, threshold)


def test_a_spark_is_measured_by_its_own_threshold() -> None:
    history = (judged(0, 0.1), judged(0.1, 0.1), judged(0.2, 0.1), judged(9, 0.1), judged(None, 0.1, "unknown"))
    assert screen.spark(history) == "▁▅██·"
    assert screen.spark((judged(0.5, None), judged(0.5, 0.0))) == "▅▅"


def test_a_screen_remembers_only_what_it_can_show() -> None:
    view = progress.View()
    for minute in range(200):
        at = BEGIN + timedelta(minutes=minute)
        view = progress.after(view, progress.Judged(at, (judged(0.0, 0.1),)))
    assert len(view.history["x"]) == progress.REMEMBERED
