"""What a diagnosis sends a person to: never back to where he came from, never into what would make it worse."""

from __future__ import annotations

import dataclasses

import pytest

from ddr.domain import diagnoses, planes
from ddr.release import ledger
from tests import platforms, worlds
from tests.unit.diagnose import scenes

MODEL, FEATURES, INFRA, INDEX = planes.Plane.MODEL, planes.Plane.FEATURES, planes.Plane.INFRA, planes.Plane.INDEX
Verdict = diagnoses.Verdict
PROMOTION = "ddr runbook run bad-model-promotion --service digits"
ROLL = "ddr runbook run stale-server --service digits"


def test_a_dead_server_is_not_healthy() -> None:
    scene = scenes.healthy()
    scene.world.kill_server()
    found = scene.diagnose()
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.leading is not None
    assert found.leading.plane is INFRA
    assert found.cleared == ()
    assert found.mend == ("server: start it, or correct the address",)
    assert found.next_command == "ddr diagnose digits   # again, when that is mended"
    assert "the server does not say what it has loaded: nobody is there" in scenes.printed(found)


@pytest.mark.parametrize("silent", ["golden", "event-age-p95", "errors", "requests", "zero-shares"])
def test_one_signal_that_cannot_be_judged_is_enough_for_not_healthy(silent: str) -> None:
    scene = scenes.healthy()
    assert scene.diagnose().verdict is Verdict.HEALTHY
    scene.world.down[silent] = "away"
    found = scene.diagnose()
    assert (found.verdict, found.next_command) == (Verdict.INCONCLUSIVE, "ddr doctor")


def test_where_nobody_vouched_for_anything_that_is_next() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    world.advance(3)
    found = scenes.Scene(world, on, world.clock.now()).diagnose()
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.next_command.startswith("ddr release record digits --known-good   #")


def test_a_server_that_dies_in_an_incident_hides_no_cause() -> None:
    scene = scenes.hurt("bad model promoted")
    scene.world.down["server"] = "nobody is there"
    found = scene.diagnose()
    assert (found.verdict, found.leading and found.leading.plane) == (Verdict.CONFIRMED, MODEL)
    assert found.mend == ("server: start it, or correct the address",)


@pytest.mark.parametrize("why", ["gone", "locked"])
def test_a_plane_that_cannot_be_read_says_what_to_do(why: str) -> None:
    scene = scenes.healthy()
    if why == "gone":
        del scene.world.planes[INDEX].contents["v1"]
    else:
        scene.world.planes[INDEX].down = "index.db is locked by process 4711"
    found = scene.diagnose()
    assert (found.verdict, found.leading and found.leading.plane) == (Verdict.INCONCLUSIVE, INDEX)
    assert found.mend == (("index: point it at one of: ",) if why == "gone" else ("index: wait, then try again",))
    assert found.next_command == "ddr diagnose digits   # again, when that is mended"
    assert found.leading is not None
    assert found.leading.probability > 0.9
    assert f"mend: {found.mend[0]}" in scenes.printed(found)


def test_a_server_behind_its_plane_is_rolled_and_not_taken_back() -> None:
    """The alias was moved back by hand and nobody rolled the server."""
    scene = scenes.hurt("bad model promoted")
    scene.world.move_by_hand("2")
    for replay in (True, False):
        found = scene.diagnose(replay=replay)
        assert found.leading is not None
        assert (found.verdict, found.leading.plane) == (Verdict.CONFIRMED, MODEL)
        assert any("the server holds digit 3, its plane points at 2" in one.says for one in found.leading.evidence)
        assert found.leading.change is not None
        assert found.leading.change.name == "model:digit 2 → 3"
        assert (found.next_command, found.together) == (ROLL, ())


def test_it_is_found_before_a_signal_sees_it() -> None:
    scene = scenes.healthy()
    scene.world.promote("3")
    scene.world.move_by_hand("2")
    scene.world.down["golden"] = "not asked yet"
    found = scene.diagnose()
    assert (found.verdict, found.leading and found.leading.plane) == (Verdict.CONFIRMED, MODEL)
    assert found.next_command == ROLL


def test_a_server_that_has_not_loaded_the_bad_one_yet_is_not_rolled() -> None:
    scene = scenes.healthy()
    scene.world.move_by_hand("3")
    found = scene.diagnose()
    assert (found.verdict, found.leading and found.leading.plane) == (Verdict.CONFIRMED, MODEL)
    assert found.next_command == PROMOTION
    assert "still answers with the known-good 2 and would load 3 at its next start" in found.caution
    assert f"`{ROLL} -p loads=anything`" in found.caution


def test_what_waits_behind_a_good_server_is_not_blamed_for_another_layer() -> None:
    scene = scenes.hurt("features zeroed")
    scene.world.move_by_hand("3")
    found = scene.diagnose()
    assert (found.verdict, found.leading and found.leading.plane) == (Verdict.CONFIRMED, FEATURES)
    assert found.together == ()


@pytest.mark.parametrize(
    ("harm", "says"), [("damaged", "digit 2 is damaged: its bytes were"), ("gone", "digit 2 is no longer there")]
)
def test_a_good_target_that_is_damaged_is_said_also_where_the_live_one_is_not(harm: str, says: str) -> None:
    scene = scenes.hurt("bad model promoted")
    contents = scene.world.planes[MODEL].contents
    if harm == "gone":
        del contents["2"]
    else:
        contents["2"] = b"right=0.97 cut off"
    found = scene.diagnose()
    assert found.leading is not None
    assert found.leading.plane is MODEL
    assert says in found.caution
    assert "the runbook can only contain" in found.caution
    assert any(f"swap of model: {says}" in line and "it cannot be the way back" in line for line in found.not_checked)


def test_of_two_good_ones_the_one_that_stands_is_named() -> None:
    scene = scenes.healthy()
    scene.world.planes[MODEL].contents["4"] = b"right=0.97 later"
    scene.world.promote("4")
    scene.world.advance(0.1)
    ledger.record(scene.on, "digits", known_good=True)
    scene.world.advance(0.1)
    scene.world.promote("3")
    scene.world.planes[MODEL].contents["4"] = b"right=0.97 cut off"
    scene.world.advance(1)
    found = scene.diagnose()
    assert "digit 4 is damaged" in found.caution
    assert found.caution.endswith("the runbook goes back to the known-good one before it, 2")


def test_a_run_without_an_end_is_the_next_command_whatever_is_found() -> None:
    hand = dataclasses.replace(scenes.HAND, waiting="ddr runbook resume r1")
    for scene in (scenes.healthy(), scenes.hurt("bad model promoted")):
        assert scene.diagnose(hand=hand).next_command == "ddr runbook resume r1"


def test_while_the_fallback_answers_it_is_not_healthy_and_the_way_off_is_named() -> None:
    scene = scenes.healthy()
    scene.world.set_fallback(on=True)
    hand = dataclasses.replace(scenes.HAND, lift="ddr runbook undo r1 --only contain-only")
    found = scene.diagnose(hand=hand)
    assert (found.verdict, found.cleared) == (Verdict.INCONCLUSIVE, ())
    assert found.next_command == "ddr runbook undo r1 --only contain-only   # the model answers again"
    assert found.caution.startswith("the fallback answers")
    assert scene.diagnose().next_command.startswith("ddr runbook runs")
    scene.world.promote("3")
    assert "--only" not in scene.diagnose(hand=hand).next_command, "the bad model is still there"
    scene.world.advance(1)
    scene.world.promote("2")
    found = scene.diagnose(hand=hand)
    assert found.leading is not None
    assert found.leading.plane is MODEL
    assert "--only" in found.next_command, "the model is good again, and answers are not its own before"


def test_an_incident_of_a_healthy_service_may_be_over() -> None:
    hand = dataclasses.replace(scenes.HAND, incident="inc-1")
    found = scenes.healthy().diagnose(hand=hand)
    assert found.next_command == 'ddr incident resolve inc-1 --why "..."   # if it is over'
    assert scenes.printed(found).startswith("HEALTHY  digits\n")


def test_the_incident_is_in_the_next_command() -> None:
    hand = dataclasses.replace(scenes.HAND, incident="inc-1")
    assert scenes.hurt("bad model promoted").diagnose(hand=hand).next_command == f"{PROMOTION} --incident inc-1"


def test_where_the_revision_is_good_already_the_runbook_is_not_named() -> None:
    """It would say that there is nothing to take back, and send back here."""
    found = scenes.hurt("features frozen").diagnose()
    assert found.next_command == "ddr changes digits --since 48h   # features is as recorded: look at what feeds it"


def test_numbers_are_said_as_status_prints_them() -> None:
    found = scenes.hurt("features frozen", after_hours=2.0).diagnose()
    (line,) = found.impaired
    assert "feature-age 2h8m (limit 45m), n=120" in line
    assert " %" in line
    assert "e+0" not in scenes.printed(found)
