"""Runs and their approvals, folded from the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytest

from ddr.domain import outcomes, records
from tests.unit.journal.stories import (
    ASKED,
    AT,
    MINUTE,
    Story,
    alive,
    claimed,
    decided,
    ended,
    intended,
    run_of,
    started,
)


def undone(step: str, status: outcomes.Status = outcomes.Status.UNDONE, attempt: int = 1) -> records.UndoEnded:
    return records.UndoEnded("run-1", step, attempt, outcomes.Outcome(status, "back at 3"))


def test_a_run_from_its_first_event_to_its_end() -> None:
    run = run_of(
        ended("look"), intended("freeze"), ended("freeze"), intended("switch"), ended("switch", outcomes.Status.FAILED)
    )
    assert (run.id, run.status, run.requester, run.seq) == ("run-1", "running", "ana", 1)
    assert (run.at, run.last_at, run.last_actor) == (AT + MINUTE, AT + 7 * MINUTE, "ana")
    assert list(run.steps) == ["look", "freeze", "switch"]
    look, freeze, switch = run.steps.values()
    assert (look.name, look.intended, look.has_effect) == ("look", None, False)
    assert look.outcome == outcomes.Outcome(outcomes.Status.OK, "look is ok")
    assert (freeze.intended, freeze.intended_at, freeze.ended_at) == (
        intended("freeze"), AT + 4 * MINUTE, AT + 5 * MINUTE,
    )  # fmt: skip
    assert switch.has_effect, "a step that failed may have done a part"
    assert run.to_undo == (switch, freeze)
    assert run.claim is not None
    assert (run.claim.event, run.claim.record, run.claim.actor, run.claim.host) == ("e2", claimed(), "ana", "laptop")


@pytest.mark.parametrize("status", ["recovered", "contained", "failed", "undone", "injected"])
def test_an_ended_run_says_how(status: Literal["recovered", "contained", "failed", "undone", "injected"]) -> None:
    run = run_of(records.RunEnded("run-1", status, "because"))
    assert run.status == status
    assert run.end is not None
    assert run.end.why == "because"
    assert run.ended_at == AT + 3 * MINUTE


def test_a_paused_run_goes_on_with_the_next_claim() -> None:
    paused = records.RunPaused("run-1", "waits for approval")
    run = run_of(paused)
    assert (run.status, run.is_paused, run.paused) == ("paused", True, "waits for approval")
    run = run_of(paused, claimed(pid=8))
    assert (run.status, run.is_paused, run.paused) == ("running", False, "")
    assert run_of(records.RunPaused("run-1", ""), records.RunEnded("run-1", "failed")).status == "failed"


def test_an_ended_run_that_is_taken_back_runs_again() -> None:
    end = records.RunEnded("run-1", "recovered")
    run = run_of(intended("switch"), ended("switch"), end, claimed(), records.UndoIntended("run-1", "switch", 1))
    assert (run.status, run.end, run.ended_at) == ("running", None, None)
    assert run.steps["switch"].is_undo_cut_off
    assert run.to_undo == (run.steps["switch"],)
    run = run_of(
        intended("switch"), ended("switch"), end, claimed(), records.UndoIntended("run-1", "switch", 1),
        undone("switch"), records.RunEnded("run-1", "undone"),
    )  # fmt: skip
    assert (run.status, run.to_undo) == ("undone", ())
    assert run.steps["switch"].undone


def test_an_intent_without_a_result_is_a_step_cut_off() -> None:
    step = run_of(intended("switch")).steps["switch"]
    assert step.is_cut_off
    assert step.has_effect
    assert not run_of(intended("switch"), ended("switch")).steps["switch"].is_cut_off


def test_another_attempt_keeps_the_first_intent() -> None:
    step = run_of(intended("switch"), ended("switch", outcomes.Status.FAILED), intended("switch", 2)).steps["switch"]
    assert (step.attempts, step.is_cut_off, step.ended) == (2, True, None)
    assert step.intended == intended("switch")
    assert step.intended_at == AT + 3 * MINUTE, "the world as it was before the first attempt"


@pytest.mark.parametrize(
    ("status", "is_left"),
    [(outcomes.Status.UNDONE, False), (outcomes.Status.SKIPPED, False), (outcomes.Status.FAILED, True)],
)
def test_an_undo_that_failed_leaves_the_effect(status: outcomes.Status, *, is_left: bool) -> None:
    run = run_of(
        intended("switch"), ended("switch"), records.UndoIntended("run-1", "switch", 1), undone("switch", status)
    )
    assert bool(run.to_undo) == is_left
    assert run.steps["switch"].undone != is_left


def test_a_step_done_again_after_its_undo_begins_anew() -> None:
    step = run_of(intended("switch"), ended("switch"), undone("switch"), intended("switch", 2)).steps["switch"]
    assert (step.undone, step.has_effect, step.is_cut_off) == (False, True, True)
    assert step.intended_at == AT + 6 * MINUTE


def test_decisions_belong_to_the_newest_request_for_their_plan() -> None:
    story = Story().tell(started(), claimed(), ASKED)
    story.tell(decided("sha256:other"), decided(), by="lead").tell(decided(), by="lead").tell(decided(), by="head")
    (approval,) = story.board().runs["run-1"].approvals
    assert (approval.request, approval.requester, approval.at) == (ASKED, "ana", AT + 3 * MINUTE)
    assert [decision.actor for decision in approval.decisions] == ["lead", "lead", "head"]
    assert approval.granted_by == ("lead", "head"), "each person once"
    story.tell(decided(granted=False), by="lead")
    (approval,) = story.board().runs["run-1"].approvals
    assert (approval.granted_by, approval.refused_by) == (("head",), ("lead",)), "the last word counts"


def test_a_run_waits_for_approval_until_enough_have_granted_it() -> None:
    story = Story().tell(started(), claimed())
    assert not story.board().runs["run-1"].is_awaiting_approval
    story.tell(ASKED).tell(decided(), by="lead")
    assert story.board().runs["run-1"].is_awaiting_approval
    story.tell(decided(), by="head")
    assert not story.board().runs["run-1"].is_awaiting_approval


@pytest.mark.parametrize(
    ("told", "runs", "minutes", "expected"),
    [
        pytest.param([], True, 5, False, id="its process runs"),
        pytest.param([], True, 500, False, id="its process runs, longer than its lease"),
        pytest.param([], False, 5, True, id="its process is gone"),
        pytest.param([], None, 59, False, id="on another machine, within its lease"),
        pytest.param([], None, 60, True, id="on another machine, its lease has passed"),
        pytest.param([records.RunEnded("run-1", "failed")], False, 500, False, id="ended"),
        pytest.param([records.RunPaused("run-1", "")], False, 500, False, id="paused"),
        pytest.param([ASKED], False, 500, False, id="waits for approval"),
        pytest.param([ASKED, decided(granted=False)], False, 500, True, id="approval denied, and cut off"),
        pytest.param([records.RunPaused("run-1", ""), claimed(pid=8)], False, 5, True, id="resumed, and cut off"),
        pytest.param([records.RunEnded("run-1", "failed"), claimed()], False, 5, True, id="its undo cut off"),
    ],
)
def test_when_a_run_is_interrupted(
    told: Sequence[records.Record], runs: bool | None, minutes: int, *, expected: bool
) -> None:
    board = Story().tell(started(), claimed(), *told).board()
    found = board.interrupted_runs(AT + minutes * MINUTE, alive(runs))
    assert [run.id for run in found] == ["run-1"] * expected


def test_a_run_without_a_claim_was_cut_off_at_once() -> None:
    assert len(Story().tell(started()).board().interrupted_runs(AT, alive(True))) == 1


def test_the_process_of_the_newest_claim_is_asked_for() -> None:
    asked: list[tuple[int, str, str]] = []

    def ask(pid: int, process_started: str, boot: str) -> bool:
        asked.append((pid, process_started, boot))
        return True

    Story().tell(started(), claimed(pid=7), claimed(pid=8, boot="there")).board().interrupted_runs(AT, ask)
    assert asked == [(8, "ticks", "there")]


def test_a_second_start_under_a_taken_name_is_none() -> None:
    story = Story().tell(started(), claimed()).tell(started(incident="inc-9"), by="ben")
    run = story.board().runs["run-1"]
    assert (run.requester, run.started.incident, run.seq) == ("ana", "", 1)
