"""Game days that end otherwise than planned: everything is undone, and what is left is named."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ddr.domain import gamedays, records
from ddr.errors import Interrupted, Unavailable
from ddr.gameday import verbs
from ddr.ports import verb
from tests.unit.gameday import twin as twins

MET, MISSED, NOT_RUN = gamedays.Standing.MET, gamedays.Standing.MISSED, gamedays.Standing.NOT_RUN


@pytest.fixture
def twin() -> twins.Twin:
    return twins.Twin()


def test_a_command_that_fails_ends_the_scenario_with_everything_undone(twin: twins.Twin) -> None:
    before = twin.state()

    def fail(words: Sequence[str]) -> None:
        if words[0] == "diagnose":
            raise Unavailable("the store is away")

    twin.before = fail
    (played,) = twin.play().played
    assert "the store is away" in played.why_not
    assert twins.standings(played)["detect"] is MET
    assert not played.passed
    assert twin.state() == before


@pytest.mark.parametrize("at", ["incident declare", "diagnose postcode", "runbook run", "runbook resume"])
def test_ctrl_c_ends_the_day_with_everything_undone(twin: twins.Twin, at: str) -> None:
    before = twin.state()
    pressed: list[str] = []

    def press(words: Sequence[str]) -> None:
        if " ".join(words[:2]) == at and not pressed:
            pressed.append(at)
            raise KeyboardInterrupt

    twin.before = press
    other = twins.SCENARIO.replace("name: promoted", "name: second")
    day = twin.play(twins.SCENARIO, other)
    assert day.was_stopped
    assert not day.passed
    assert [played.why_not for played in day.played] == ["stopped from the keyboard", "not begun"]
    assert day.played[1].possible == 100, "what was not begun counts 0 of what it could have"
    assert twin.state() == before
    twin.before = lambda words: None
    assert twin.play(name="gd-2").passed, "nothing is left in the way of the next day"


def test_a_defect_is_raised_after_everything_was_undone(twin: twins.Twin) -> None:
    before = twin.state()

    def defect(words: Sequence[str]) -> None:
        raise RuntimeError("a defect")

    twin.before = defect
    with pytest.raises(RuntimeError):
        twin.play()
    assert twin.state() == before


def test_a_platform_that_is_not_as_before_ends_the_day(twin: twins.Twin) -> None:
    def litter(words: Sequence[str]) -> None:
        if words[:2] == ["incident", "resolve"]:
            twin.world.model.contents["1"] = b"touched"

    twin.before = litter
    other = twins.SCENARIO.replace("name: promoted", "name: second")
    day = twin.play(twins.SCENARIO, other)
    assert day.why == "after promoted the platform is not as it was before"
    assert not day.played[0].is_restored
    assert not day.played[0].passed
    assert day.played[1].why_not == "not begun"


def test_hold_returns_planes_freezes_marks_and_the_fallback(twin: twins.Twin) -> None:
    on = twin.platform()
    hold = verbs.build(on)[verbs.HOLD]
    call = verb.Call("postcode", "r1", "hold", "r1/hold", "", on.clock.now())
    before = twin.state()
    settled = hold.prepare(call).settled
    assert hold.undo(call, settled).status == "skipped", "nothing to do is said"
    twin.world.model.live = "1"
    twin.world.model.marks["2"] = "blocked"
    twin.world.features.frozen_why = "frozen"
    twin.world.server.fallback_on = True
    assert hold.undo(call, settled).status == "undone"
    assert twin.state() == before
    assert hold.undo(call, settled).status == "skipped", "it may be repeated"


def test_what_was_frozen_before_stays_frozen(twin: twins.Twin) -> None:
    twin.world.model.frozen_why = "since yesterday, by lena"
    before = twin.state()
    assert twin.play().played[0].is_restored
    assert twin.state() == before


def test_leftovers_of_an_earlier_day_are_named_with_the_way_out(twin: twins.Twin) -> None:
    on = twin.platform()
    started = records.RunStarted("r9", "left", "faults", "", "", "postcode")
    on.journal.append(started)
    with pytest.raises(Interrupted) as caught:
        twin.play()
    assert caught.value.hint == "ddr runbook undo r9"
    on.journal.append(records.RunEnded("r9", "undone"))
    on.journal.append(records.IncidentDeclared("inc-1", "postcode", "SEV2", "old"))
    with pytest.raises(Interrupted, match="inc-1"):
        twin.play()
