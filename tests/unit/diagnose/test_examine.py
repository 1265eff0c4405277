"""Which plane is to blame: every fault with and without decoys, with and without replay, and what is not a fault."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from ddr.diagnose import examine
from ddr.domain import diagnoses, planes, records, timelines
from ddr.release import ledger, timeline
from tests import platforms, worlds
from tests.unit.diagnose import scenes

CODE, MODEL, FEATURES, CONFIG = planes.Plane.CODE, planes.Plane.MODEL, planes.Plane.FEATURES, planes.Plane.CONFIG
INFRA, INDEX = planes.Plane.INFRA, planes.Plane.INDEX
Verdict = diagnoses.Verdict
NAMED = (Verdict.CONFIRMED, Verdict.LIKELY)


@pytest.mark.parametrize("decoys", [False, True], ids=["alone", "with decoys"])
@pytest.mark.parametrize("fault", scenes.FAULTS)
def test_each_fault_is_confirmed_on_its_plane(fault: str, decoys: bool) -> None:
    for seed in range(4):
        found = scenes.hurt(fault, seed, decoys=decoys).diagnose()
        leading = found.leading
        assert leading is not None
        assert (found.verdict, leading.plane) == (Verdict.CONFIRMED, scenes.FAULTS[fault][0]), (seed, found)
        assert all(candidate.probability < 0.05 for candidate in found.candidates[1:])


@pytest.mark.parametrize("decoys", [False, True], ids=["alone", "with decoys"])
@pytest.mark.parametrize("after_hours", [0.25, 1.0])
def test_without_a_swap_test_the_right_plane_still_leads(after_hours: float, decoys: bool) -> None:
    """Also a quarter of an hour later, when no truth is known yet. Bad code has no signal of its own: it may not."""
    right = named = total = 0
    for fault, (plane, _) in scenes.FAULTS.items():
        if plane is CODE:
            continue
        for seed in range(3):
            found = scenes.hurt(fault, seed, decoys=decoys, after_hours=after_hours).diagnose(replay=False)
            if fault == "features frozen" and after_hours < 0.75:
                continue  # their age is not yet beyond the limit, nothing else shows
            total += 1
            leading = found.leading
            right += leading is not None and leading.plane is plane
            named += found.verdict in NAMED
            if leading is not None and leading.plane is not plane:
                assert found.verdict not in NAMED, "a wrong plane was named with confidence"
    print(f"{after_hours} h later, decoys {decoys}: {right} of {total} right, {named} of them named with confidence")
    assert right == total
    assert named >= 0.9 * total


def test_a_healthy_service_is_healthy_whatever_changed_beside_it() -> None:
    """Fifteen services over six hours, asked every hour, with innocent changes: no false alarm."""
    asked = false = 0
    for seed in range(15):
        scene = scenes.healthy(seed)
        scene.world.release_code("1.4.1")
        scene.world.change_config()
        for _ in range(6):
            scene.world.advance(1)
            found = scene.diagnose()
            asked, false = asked + 1, false + (found.verdict is not Verdict.HEALTHY)
            assert found.candidates == () or found.verdict not in NAMED
    print(f"{false} false alarms in {asked} questions")
    assert false <= 1, "six signals at 0.1 % each at most"


def test_the_culprit_is_named_with_who_did_it() -> None:
    found = scenes.hurt("bad model promoted", decoys=True).diagnose()
    assert found.leading is not None
    assert found.leading.change is not None
    assert (found.leading.change.name, found.leading.change.actor) == ("model:digit 2 → 3", "trainer")
    assert found.leading.change.recorded


def test_a_move_nobody_recorded_is_found_in_the_request_log() -> None:
    scene = scenes.hurt("bad model promoted in silence", decoys=True)
    leading = scene.diagnose().leading
    assert leading is not None
    assert leading.change is not None
    assert (leading.change.name, leading.change.recorded) == ("model:digit 2 → 3", False)
    assert leading.change.not_before is not None
    assert leading.change.not_before < scene.hurt_at <= leading.change.at < scene.hurt_at + timedelta(minutes=1)


def test_overwritten_weights_name_both_digests() -> None:
    leading = scenes.hurt("weights overwritten").diagnose().leading
    assert leading is not None
    assert leading.change is not None
    assert leading.change.before.startswith("2 (")
    assert leading.change.after.startswith("2 (")
    assert leading.change.before != leading.change.after
    assert not leading.change.recorded
    assert leading.evidence[0].test == "identity"
    assert leading.evidence[0].says.endswith("(limit: equal, n=1)")


@pytest.mark.parametrize("roll", [True, False], ids=["served", "server holds the good bytes"])
def test_overwriting_is_named_and_not_the_rollback_before_it(roll: bool) -> None:
    """Both led to what is called 2 and is live; only one of them put these bytes there."""
    scene = scenes.healthy()
    scene.world.promote("3")
    scene.world.advance(0.2)
    scene.world.promote("2")
    scene.world.advance(3)
    scene.world.overwrite_weights(roll=roll)
    scene.world.advance(1)
    found = scene.diagnose()
    assert found.verdict is Verdict.CONFIRMED
    assert found.leading is not None
    assert found.leading.change is not None
    assert found.leading.change.after == timelines.with_digest(scene.world.planes[MODEL].revision())
    assert "the good bytes of digit 2 are gone" in found.caution
    assert "can only contain" in found.caution
    assert ("do not restart or roll it" in found.caution) != roll


def test_overwriting_with_an_earlier_good_release_can_be_taken_back() -> None:
    scene = scenes.healthy()
    scene.world.promote("3")
    scene.world.advance(3)
    ledger.record(scene.on, "digits", known_good=True)
    scene.world.planes[MODEL].contents["3"] = b"right=0.2 overwritten"
    scene.world.advance(1)
    assert "goes back to the known-good one before it" in scene.diagnose().caution


def test_a_service_with_a_plane_that_cannot_be_read_is_not_called_healthy() -> None:
    scene = scenes.healthy()
    assert scene.diagnose().verdict is Verdict.HEALTHY
    scene.world.planes[planes.Plane.INDEX].down = "no answer"
    found = scene.diagnose()
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.cleared == ()
    assert any("index: no answer" in told for told in found.not_checked)


def test_without_overwriting_there_is_nothing_to_mind() -> None:
    assert scenes.hurt("bad model promoted").diagnose().caution == ""


def test_something_else_is_not_suspected_while_a_suspect_could_not_be_tried() -> None:
    """The good weights are gone, so the model was not swapped: that the features restore nothing says little."""
    found = scenes.hurt("weights overwritten").diagnose()
    (unknown,) = [candidate for candidate in found.candidates if candidate.plane is None]
    assert unknown.evidence == ()


def test_of_several_moves_to_what_is_live_the_last_is_named() -> None:
    scene = scenes.healthy()
    for version in ("3", "2", "3"):
        moved_at = scene.world.clock.now()
        scene.world.promote(version)
        scene.world.advance(1.5)
    leading = scene.diagnose(replay=False).leading
    assert leading is not None
    assert leading.change is not None
    assert leading.change.at == moved_at


def test_weights_overwritten_behind_a_running_server_are_found_before_they_are_served() -> None:
    scene = scenes.healthy()
    scene.world.overwrite_weights(roll=False)
    found = scene.diagnose()
    assert found.leading is not None
    assert (found.verdict, found.leading.plane) == (Verdict.CONFIRMED, MODEL)
    assert found.impaired == ()


def test_frozen_features_have_no_change_and_none_is_invented() -> None:
    leading = scenes.hurt("features frozen", decoys=True).diagnose().leading
    assert leading is not None
    assert (leading.plane, leading.change) == (FEATURES, None)


@pytest.mark.parametrize("decoys", [False, True], ids=["alone", "with decoys"])
def test_a_fault_that_was_taken_back_already_is_still_named(decoys: bool) -> None:
    """The windows still hold what the bad model answered. What is clean now does not speak for what was then."""
    scene = scenes.hurt("bad model promoted", decoys=decoys)
    scene.world.promote("2")
    scene.world.advance(0.1)
    found = scene.diagnose()
    assert found.leading is not None
    assert (found.verdict, found.leading.plane) == (Verdict.CONFIRMED, MODEL)
    assert found.leading.change is not None
    assert found.leading.change.name == "model:digit 2 → 3"
    assert found.leading.probability > 0.9
    assert found.next_command.startswith("ddr status digits   # model is as recorded again")


def test_a_decoy_that_was_taken_back_already_is_not_named() -> None:
    scene = scenes.hurt("features zeroed", decoys=True)
    scene.world.release_code("1.4.0")
    scene.world.advance(0.1)
    found = scene.diagnose()
    assert (found.verdict, found.leading and found.leading.plane) == (Verdict.CONFIRMED, FEATURES)
    assert all(candidate.probability < 0.05 for candidate in found.candidates[1:])


def test_a_change_after_it_was_bad_is_excluded() -> None:
    scene = scenes.hurt("features zeroed")
    scene.world.release_code("1.4.1")
    scene.world.advance(0.2)
    found = scene.diagnose(replay=False)
    suspected = {candidate.plane: candidate for candidate in found.candidates}
    assert suspected[CODE].change is None
    assert any(line.startswith("code:app 1.4.0 → 1.4.1 came at") for line in found.ruled_out)


def test_the_world_is_not_blamed_on_a_plane() -> None:
    for seed in range(5):
        scene = scenes.healthy(seed)
        scene.world.release_code("1.4.1")
        scene.world.upstream_noise = 0.3
        scene.world.advance(1)
        found = scene.diagnose()
        assert found.verdict is Verdict.INCONCLUSIVE
        assert found.leading is not None
        assert found.leading.plane is None
        assert "upstream data or the world" in found.leading.evidence[0].says
        assert found.next_command == "ddr changes digits --since 48h"


def test_loud_infrastructure_does_not_hide_the_cause() -> None:
    scene = scenes.hurt("bad model promoted")
    scene.world.failing = 0.2
    scene.world.advance(0.2)
    found = scene.diagnose()
    assert [candidate.plane for candidate in found.candidates][:1] == [MODEL]
    assert found.verdict is Verdict.CONFIRMED
    assert INFRA in {candidate.plane for candidate in found.candidates}


def test_two_planes_wrong_together_are_told() -> None:
    scene = scenes.healthy()
    scene.world.planes[CODE].contents["1.6.0"] = b"right=1.0 rounds"
    scene.world.planes[MODEL].contents["4"] = b"right=0.97 brittle"
    scene.world.release_code("1.6.0")
    scene.world.promote("4")
    scene.world.advance(1)
    found = scene.diagnose()
    assert found.verdict is Verdict.CONFIRMED
    assert {candidate.plane for candidate in found.candidates[:2]} == {CODE, MODEL}
    assert found.leading is not None
    assert any(line.test == "interaction" for line in found.leading.evidence)


def test_what_was_not_checked_is_said() -> None:
    scene = scenes.healthy()
    scene.world.change_config()
    scene.world.advance(0.1)
    scene.world.promote("3")
    scene.world.advance(1)
    scene.world.down["golden"] = "golden.jsonl is missing"
    scene.world.planes[INDEX].down = "index store is away"
    told = "\n".join(scene.diagnose().not_checked)
    for expected in ("golden.jsonl is missing", "index: index store is away", "swap of config"):
        assert expected in told
    assert "swap test: switched off" in scene.diagnose(replay=False).not_checked


def test_every_source_away_is_inconclusive_not_healthy() -> None:
    scene = scenes.healthy()
    scene.world.down |= dict.fromkeys(("requests", "golden", "event-age-p95", "zero-shares", "errors"), "away")
    found = scene.diagnose()
    assert found.verdict is Verdict.INCONCLUSIVE
    assert len(found.not_checked) >= 6


def test_symptoms_that_cannot_be_judged_are_not_healthy() -> None:
    scene = scenes.healthy()
    scene.world.down["requests"] = "away"
    assert scene.diagnose().verdict is Verdict.INCONCLUSIVE


def test_as_bad_as_a_week_ago_is_a_season_and_no_fault() -> None:
    scene = scenes.healthy()
    scene.world.upstream_noise = 0.3
    scene.world.advance(1)
    scene.world.upstream_noise = 0.0
    scene.world.clock.sleep(6 * 24 * 3600 + 23 * 3600)
    scene.world.upstream_noise = 0.3
    scene.world.advance(1)
    found = scene.diagnose()
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.leading is not None
    assert found.leading.evidence[0].test == "season"
    assert "wrong-answers was" in found.leading.evidence[0].says


def test_who_is_affected() -> None:
    """`returns` shares every plane and suffers; `archive` has another model and does not."""
    returns, archive = platforms.service("returns", consumers=()), platforms.service("archive", consumers=())
    archive = dataclasses.replace(archive, planes={**archive.planes, MODEL: "another registry"})
    world = worlds.World()
    on = platforms.platform(world, returns, archive)
    world.advance(3)
    for name in on.services:
        ledger.record(on, name, known_good=True)
    world.advance(1)
    world.promote("3")
    world.advance(1)
    found = scenes.Scene(world, on, world.clock.now()).diagnose()
    assert [line.split(" (")[0] for line in found.impaired] == ["digits", "returns"]
    assert all("wrong-answers" in line and "limit" in line and "n=" in line for line in found.impaired)
    assert found.exposed == ("sorting-hub", "returns-desk")
    assert found.cleared == ()


def test_a_service_on_the_same_plane_that_is_well_is_cleared() -> None:
    calm = dataclasses.replace(platforms.service("calm", consumers=()), signals=platforms.service().signals[-1:])
    blind = dataclasses.replace(platforms.service("blind", consumers=()), signals=())
    world = worlds.World()
    on = platforms.platform(world, calm, blind)
    world.advance(3)
    ledger.record(on, "digits", known_good=True)
    world.promote("3")
    world.advance(1)
    found = scenes.Scene(world, on, world.clock.now()).diagnose()
    assert found.cleared == ("calm (1 signals ok)",)
    assert found.exposed == ("sorting-hub", "returns-desk", "blind")


def test_the_next_command_names_the_runbook() -> None:
    scene = scenes.hurt("bad model promoted")
    told = timeline.changes(scene.on, "digits", examine.horizon(scene.world.clock.now()))
    found = examine.examine(scene.on, "digits", changes=told, hand=scenes.HAND)
    assert found.next_command == "ddr runbook run bad-model-promotion --service digits"


def test_without_a_timeline_the_ledger_alone_still_finds_the_move() -> None:
    scene = scenes.hurt("bad model promoted")
    found = examine.examine(scene.on, "digits")
    assert (found.verdict, found.leading and found.leading.plane) == (Verdict.CONFIRMED, MODEL)
    assert "changes: no timeline was given" in found.not_checked
    assert found.leading is not None
    assert found.leading.change is not None
    assert not found.leading.change.recorded


def test_a_diagnosis_goes_into_the_journal_and_touches_nothing_before() -> None:
    scene = scenes.hurt("bad model promoted")
    before = scene.world.loaded(), len(list(scene.on.journal.events()))
    found = scene.diagnose()
    assert (scene.world.loaded(), len(list(scene.on.journal.events()))) == before
    scene.on.journal.append(records.DiagnosisMade("digits", found))
