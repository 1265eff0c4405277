"""A scenario from steady state to steady state, and every way in which it does not get there."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from ddr.domain import accounts, diagnoses, gamedays, planes, records, signals
from ddr.gameday import fold, progress
from ddr.ports import platform as platforms
from tests.unit.gameday import twin as twins

MET, MISSED, NOT_RUN = gamedays.Standing.MET, gamedays.Standing.MISSED, gamedays.Standing.NOT_RUN


@pytest.fixture
def twin() -> twins.Twin:
    return twins.Twin()


@pytest.fixture(scope="module")
def good() -> tuple[twins.Twin, gamedays.GameDay]:
    """A day on which everything went right."""
    made = twins.Twin()
    return made, made.play()


def test_every_expectation_is_met(good: tuple[twins.Twin, gamedays.GameDay]) -> None:
    _, day = good
    (played,) = day.played
    assert twins.standings(played) == dict.fromkeys(gamedays.EXPECTATIONS, MET)
    assert day.passed
    assert (day.points, day.possible) == (100, 100)


def test_the_platform_is_as_before(good: tuple[twins.Twin, gamedays.GameDay]) -> None:
    made, day = good
    assert made.state() == twins.Twin().state()
    assert day.played[0].is_restored


def test_the_five_times_come_in_order_and_from_the_journal(good: tuple[twins.Twin, gamedays.GameDay]) -> None:
    made, day = good
    account = day.played[0].account
    assert account is not None
    stamps = [stamp for _, stamp in account.times.moments]
    assert None not in stamps
    seqs = [stamp.seq for stamp in stamps if stamp]
    assert seqs == sorted(seqs)
    kinds = [made.world.journal.written[seq - 1].record.kind for seq in seqs]
    assert kinds == ["step.ended", "scenario.reached", "diagnosis.made", "step.ended", "run.ended"]
    first_bad, detected = stamps[0], stamps[1]
    assert first_bad is not None
    assert detected is not None
    assert detected.at - first_bad.at == timedelta(minutes=10), "two looks, five minutes apart"


def test_the_account_has_lanes_commands_and_views(good: tuple[twins.Twin, gamedays.GameDay]) -> None:
    account = good[1].played[0].account
    assert account is not None
    lines = [(entry.kind, entry.plane, entry.title) for entry in account.happenings]
    assert (accounts.Kind.DECOY, planes.Plane.CODE, "new-code") in lines
    assert (accounts.Kind.FAULT, planes.Plane.MODEL, "promotion") in lines
    assert (accounts.Kind.SIGNAL, planes.Plane.MODEL, "golden") in lines
    assert (accounts.Kind.ACTION, planes.Plane.MODEL, "roll-back") in lines
    assert (accounts.Kind.APPROVAL, None, "approved by lena") in lines
    assert (accounts.Kind.UNDO, planes.Plane.MODEL, "promotion undone") in lines
    words = [(command.actor, command.words[:2]) for command in account.commands]
    assert words == [
        ("oncall-ml", ("incident", "declare")),
        ("oncall-ml", ("diagnose", "postcode")),
        ("oncall-ml", ("runbook", "run")),
        ("lena", ("runbook", "approve")),
        ("oncall-ml", ("runbook", "resume")),
        ("oncall-ml", ("incident", "resolve")),
    ]
    moments = [view.moment for view in account.views]
    assert moments == [
        "start", "after new-code", "after promotion", "before the response", "after the response", "end",
    ]  # fmt: skip


def test_faults_and_waiting_are_one_run_with_one_undo(good: tuple[twins.Twin, gamedays.GameDay]) -> None:
    made, day = good
    (faults,) = [entry for entry in made.world.journal.of_kind(records.RunStarted) if entry.purpose == "faults"]
    assert faults.run == day.played[0].fault_run
    intents = [entry.step for entry in made.world.journal.of_kind(records.StepIntended) if entry.run == faults.run]
    assert intents == ["hold", "new-code", "promotion"]
    undone = [entry.step for entry in made.world.journal.of_kind(records.UndoEnded) if entry.run == faults.run]
    assert undone == ["promotion", "new-code", "hold"]


def test_the_result_is_a_fold_of_the_journal_and_nothing_else(good: tuple[twins.Twin, gamedays.GameDay]) -> None:
    made, day = good
    again = fold.gameday(made.world.journal.events(), twins.NAME, made.platform().services)
    assert again == day
    assert day.head.digest == made.world.journal.written[-1].digest


def test_the_screen_is_told_of_everything(good: tuple[twins.Twin, gamedays.GameDay]) -> None:
    made, _ = good
    kinds = {type(event) for event in made.told}
    assert kinds == set(progress.Event.__args__)
    moments = [event.moment for event in made.told if isinstance(event, progress.Reached)]
    assert moments == ["first bad", "detected", "diagnosed", "contained", "verified"]


def test_without_a_steady_state_nothing_is_broken(twin: twins.Twin) -> None:
    twin.infra.bad_from = twin.world.clock.now()
    before = twin.state()
    day = twin.play()
    (played,) = day.played
    assert played.why_not.startswith("the steady state is not there: errors bad")
    assert (played.points, played.possible) == (0, 100)
    assert twins.standings(played) == dict.fromkeys(gamedays.EXPECTATIONS, NOT_RUN)
    assert not day.passed
    assert twin.state() == before
    assert twin.world.effects == {}
    assert twin.world.journal.of_kind(records.RunStarted) == []


def test_an_unknown_signal_is_no_steady_state(twin: twins.Twin) -> None:
    twin.world.silent.add("rows")
    (played,) = twin.play().played
    assert "feature-age unknown: no live sample" in played.why_not
    assert played.points == 0


def test_a_steady_state_that_comes_during_the_warm_up_is_waited_for(twin: twins.Twin) -> None:
    twin.world.silent.add("rows")
    begun = twin.world.clock.now()

    def heal() -> None:
        if twin.world.clock.now() - begun > timedelta(minutes=30):
            twin.world.silent.clear()

    sleep = twin.world.clock.sleep

    def slept(seconds: float) -> None:
        sleep(seconds)
        heal()

    twin.world.clock.sleep = slept  # type: ignore[method-assign]
    assert twin.play().passed


def test_a_decoy_that_hurts_spoils_the_scenario_and_is_taken_back(twin: twins.Twin) -> None:
    before = twin.state()
    twin.infra.bad_from = twin.world.clock.now() + timedelta(minutes=3)
    (played,) = twin.play().played
    assert "the steady state broke before the fault: errors bad" in played.why_not
    assert played.points == 0
    assert twin.state() == before


def test_an_invariant_that_breaks_fails_the_scenario_although_all_points_are_won(twin: twins.Twin) -> None:
    def break_infra(words: Sequence[str]) -> None:
        if words[0] == "diagnose":
            twin.infra.bad_from = twin.world.clock.now() + timedelta(minutes=55)
        if words[:2] == ["incident", "resolve"]:
            twin.infra.bad_from = None

    twin.before = break_infra
    text = twins.SCENARIO.replace("[golden, scores, wrong-answers, feature-age, errors]", "[golden, feature-age]")
    (played,) = twin.play(text).played
    (invariant,) = played.invariants
    assert invariant.standing is MISSED
    assert not played.passed


def test_a_signal_that_stays_quiet_misses_detection_and_nothing_more_is_run(twin: twins.Twin) -> None:
    text = twins.SCENARIO.replace("detect: {signals: [golden]", "detect: {signals: [feature-age]")
    (played,) = twin.play(text).played
    assert twins.standings(played) == {"detect": MISSED, "diagnose": NOT_RUN, "affected": NOT_RUN, "recover": NOT_RUN}
    assert played.points == 0
    assert played.is_restored
    assert played.steady.held_after


def test_one_bad_look_is_not_yet_a_detection(twin: twins.Twin) -> None:
    text = twins.SCENARIO.replace("within: 15m", "within: 5m")
    (played,) = twin.play(text).played
    assert twins.standings(played)["detect"] is MISSED
    assert twins.standings(played)["recover"] is MET


def blames(**changes: object) -> Callable[[platforms.Platform], diagnoses.Diagnosis]:
    return lambda on: dataclasses.replace(twins.model_to_blame(on), **changes)  # type: ignore[arg-type]


def test_a_wrong_plane_costs_the_diagnosis_and_its_runbook_the_recovery(twin: twins.Twin) -> None:
    def features(on: platforms.Platform) -> diagnoses.Diagnosis:
        found = twins.model_to_blame(on)
        candidates = (diagnoses.Candidate(planes.Plane.FEATURES, 0.9), *found.candidates)
        command = "ddr runbook run stale-online-features --service postcode"
        return dataclasses.replace(found, candidates=candidates, next_command=command)

    twin.diagnose = features
    (played,) = twin.play().played
    assert twins.standings(played) == {"detect": MET, "diagnose": MISSED, "affected": MET, "recover": MISSED}
    assert played.points == 40
    assert played.is_restored, "also what the wrong runbook froze and blocked"


def test_blaming_a_decoy_is_a_miss(twin: twins.Twin) -> None:
    def decoy(on: platforms.Platform) -> diagnoses.Diagnosis:
        found = twins.model_to_blame(on)
        change = dataclasses.replace(
            found.candidates[0].change,
            plane=planes.Plane.CODE,
            before="1.4.0",
            after="1.4.1",  # type: ignore[type-var]
        )
        return dataclasses.replace(found, candidates=(dataclasses.replace(found.candidates[0], change=change),))

    twin.diagnose = decoy
    (played,) = twin.play().played
    checks = {check.what: check.standing for check in played.expectations[1].checks}
    assert checks == {"the plane is found": MET, "the decoy new-code is not blamed": MISSED}
    assert played.expectations[1].points == 0, "all or nothing"


@pytest.mark.parametrize("impaired", [(), ("postcode", "other")])
def test_affected_means_exactly(twin: twins.Twin, impaired: tuple[str, ...]) -> None:
    twin.diagnose = blames(impaired=impaired)
    assert twins.standings(twin.play().played[0])["affected"] is MISSED


def test_an_inconclusive_diagnosis_is_made_again_until_it_names_a_runbook(twin: twins.Twin) -> None:
    asked = []

    def slow(on: platforms.Platform) -> diagnoses.Diagnosis:
        asked.append(on.clock.now())
        found = twins.model_to_blame(on)
        if len(asked) < 2:
            return dataclasses.replace(found, verdict=diagnoses.Verdict.INCONCLUSIVE, next_command="")
        return found

    twin.diagnose = slow
    assert twin.play().passed
    assert [later - earlier for earlier, later in itertools.pairwise(asked)] == [timedelta(minutes=15)]


def test_a_diagnosis_that_never_names_one_ends_when_patience_does(twin: twins.Twin) -> None:
    twin.diagnose = blames(next_command="", verdict=diagnoses.Verdict.INCONCLUSIVE)
    text = twins.SCENARIO + "giveUpAfter: 1h\n"
    (played,) = twin.play(text).played
    assert twins.standings(played) == {"detect": MET, "diagnose": MISSED, "affected": MET, "recover": NOT_RUN}
    assert played.is_restored


def test_a_validation_that_cannot_be_judged_yet_is_waited_for(twin: twins.Twin) -> None:
    resumed = []

    def blind(words: Sequence[str]) -> None:
        if words[:2] == ["runbook", "resume"]:
            resumed.append(words[2])
            twin.world.silent = {"model"} if len(resumed) == 1 else set()

    twin.before = blind
    (played,) = twin.play().played
    assert len(resumed) == 2, "paused once, then judged again"
    assert played.account is not None
    assert [command.exit_code for command in played.account.commands] == [0, 0, 4, 0, 5, 0, 0]
    assert twins.standings(played)["recover"] is MET


def test_another_plane_that_moves_meanwhile_costs_the_recovery(twin: twins.Twin) -> None:
    def meddle(words: Sequence[str]) -> None:
        if words[:2] == ["runbook", "resume"]:
            twin.world.features.live = "v1"

    twin.before = meddle
    (played,) = twin.play().played
    checks = {check.what: check.standing for check in played.expectations[3].checks}
    assert checks["no other plane is touched"] is MISSED
    assert twin.world.features.live == "v2", "the planes are returned all the same"


def test_two_scenarios_one_after_the_other(twin: twins.Twin) -> None:
    other = twins.SCENARIO.replace("name: promoted", "name: second")
    day = twin.play(twins.SCENARIO, other)
    assert [played.name for played in day.played] == ["promoted", "second"]
    assert day.passed
    (first, second) = [played.account for played in day.played]
    assert first is not None
    assert second is not None
    assert first.until <= second.since
    assert first.incident != second.incident


def test_judgements_made_by_gates_are_part_of_the_series(good: tuple[twins.Twin, gamedays.GameDay]) -> None:
    account = good[1].played[0].account
    assert account is not None
    golden = next(series for series in account.series if series.signal == "golden")
    states = [judgement.state for judgement in golden.judgements]
    assert states.count(signals.State.BAD) == 2
    assert golden.detector == "share"
