"""Approvals: bound to what will be done, by another person, in time; and what each way around them meets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from ddr.domain import records
from ddr.errors import ApprovalRequired, InputError, Refused, Unavailable
from ddr.ports import platform as platforms
from ddr.runbook import approval, engine, progress
from tests.unit.runbook import toys

TEN_MINUTES = 600


def waiting(extra: str = "", steps: str = toys.APPROVED) -> toys.Stage:
    """A stage with run r1, asked for by anna, waiting at its gate."""
    stage = toys.Stage()
    document = toys.document(steps, extra=extra)
    problem = toys.raised(stage.runner().start, document, "postcode", run="r1")
    assert isinstance(problem, ApprovalRequired)
    return stage


def requests(stage: toys.Stage) -> list[records.ApprovalRequested]:
    return stage.world.journal.of_kind(records.ApprovalRequested)


def decide(stage: toys.Stage, actor: str, **more: Any) -> records.ApprovalDecided:
    plan = more.pop("plan", None) or requests(stage)[-1].plan_digest
    return approval.decide(stage.platform(actor), "r1", plan=plan, **more)


def resumed(stage: toys.Stage) -> str:
    """How a resume ends: a status, or the name of what stopped it."""
    problem = toys.raised(lambda: None)
    try:
        return stage.runner().resume("r1").status
    except (ApprovalRequired, Unavailable) as found:
        problem = found
    return type(problem).__name__


def test_what_is_asked_is_everything_that_can_follow_and_nothing_was_done() -> None:
    stage = waiting()
    request = requests(stage)[0]
    assert request.summary == (
        "one: set a bad -> good",
        "two: set b  -> good",
        "contain: only if a step fails: set fallback  -> on",
    )
    assert set(request.settled) == {"one", "two", "contain"}
    assert request.approvers == ("lena", "head-of-sorting")
    assert (request.expires - stage.world.clock.now()).total_seconds() == TEN_MINUTES
    assert stage.cells.values == {"a": "bad", "wanted": "good", "frozen": "yes"}
    asked = next(event for event in stage.heard if isinstance(event, progress.ApprovalAsked))
    assert asked.command == f"ddr runbook approve r1 --plan {request.plan_digest[7:19]}"
    paused = stage.world.journal.written[-1].record
    assert isinstance(paused, records.RunPaused)


def test_approved_by_another_person_the_run_goes_on() -> None:
    stage = waiting()
    assert resumed(stage) == "ApprovalRequired", "nobody has decided yet"
    assert len(requests(stage)) == 1, "the same plan is asked for once"
    digits = requests(stage)[0].plan_digest[7:19]
    assert decide(stage, "lena", plan=digits).granted
    assert resumed(stage) == "recovered"
    assert stage.cells.effects == {"frozen:  -> yes": 1, "a: bad -> good": 1, "b:  -> good": 1}


@pytest.mark.parametrize(
    ("actor", "why"),
    [
        ("anna", "anna is not among the approvers: lena, head-of-sorting"),
        ("mallory", "mallory is not among the approvers: lena, head-of-sorting"),
    ],
)
def test_who_may_not_approve(actor: str, why: str) -> None:
    stage = waiting()
    problem = toys.raised(decide, stage, actor)
    assert isinstance(problem, Refused)
    assert problem.message == f"run r1: {why}"
    assert resumed(stage) == "ApprovalRequired"


def test_who_asks_may_not_approve_under_any_spelling() -> None:
    for spelling in ("lena", "Lena", " LENA "):
        stage = toys.Stage()
        problem = toys.raised(stage.runner("lena").start, toys.document(toys.APPROVED), "postcode", run="r1")
        assert isinstance(problem, ApprovalRequired)
        problem = toys.raised(decide, stage, spelling)
        assert isinstance(problem, Refused)
        assert "who asks may not approve" in problem.message


def test_who_asks_may_approve_where_the_runbook_says_so() -> None:
    stage = toys.Stage()
    document = toys.document(toys.APPROVED, extra="approval: {separationOfDuties: false}\n")
    assert toys.raised(stage.runner("lena").start, document, "postcode", run="r1") is not None
    decide(stage, "lena")
    assert resumed(stage) == "recovered"


def forged(stage: toys.Stage, actor: str, **changes: Any) -> None:
    """A decision written into the journal past `decide`."""
    record = records.ApprovalDecided("r1", requests(stage)[-1].plan_digest, granted=True)
    stage.platform(actor).journal.append(dataclasses.replace(record, **changes))


@pytest.mark.parametrize(
    "forge",
    [
        lambda stage: forged(stage, "anna"),
        lambda stage: forged(stage, "mallory"),
        lambda stage: forged(stage, "lena", plan_digest="sha256:" + "0" * 64),
        lambda stage: forged(stage, "lena", run="another"),
        lambda stage: forged(stage, "mallory", break_glass=True, why=""),
    ],
    ids=["by the requester", "by a stranger", "for another plan", "for another run", "glass broken without a reason"],
)
def test_a_decision_that_does_not_count_stays_without_effect(forge: Callable[[toys.Stage], None]) -> None:
    stage = waiting()
    forge(stage)
    assert resumed(stage) == "ApprovalRequired"
    assert "a: bad -> good" not in stage.cells.effects


def test_two_approvals_by_one_person_count_once() -> None:
    stage = waiting("approval: {minRequiredApprovals: 2}\n")
    decide(stage, "lena")
    decide(stage, "lena")
    decide(stage, "Lena", why="and once more")
    forged(stage, " lena ")
    assert resumed(stage) == "ApprovalRequired"
    decide(stage, "head-of-sorting")
    assert resumed(stage) == "recovered"


def test_an_expired_approval_is_asked_for_anew_and_the_old_one_cannot_be_replayed() -> None:
    stage = waiting()
    decide(stage, "lena")
    stage.world.clock.sleep(TEN_MINUTES + 1)
    assert resumed(stage) == "ApprovalRequired"
    assert len(requests(stage)) == 2
    assert requests(stage)[0].plan_digest == requests(stage)[1].plan_digest
    assert resumed(stage) == "ApprovalRequired", "the decision for the first request does not count for the second"
    decide(stage, "lena")
    assert resumed(stage) == "recovered"


def test_deciding_too_late_is_refused() -> None:
    stage = waiting()
    stage.world.clock.sleep(TEN_MINUTES + 1)
    problem = toys.raised(decide, stage, "lena")
    assert isinstance(problem, Refused)
    assert problem.message == "run r1: the approval had expired at 2026-11-02 08:10:00Z"
    assert problem.hint == "`ddr runbook resume r1` asks anew"


def test_a_plan_that_changed_after_the_approval_is_not_carried_out() -> None:
    stage = waiting()
    decide(stage, "lena")
    stage.cells.values["b"] = "somebody's"
    problem = toys.raised(stage.runner().resume, "r1")
    assert isinstance(problem, ApprovalRequired)
    assert "the plan changed since it was approved: two" in problem.message
    assert problem.hint.startswith("one of lena, head-of-sorting runs: ddr runbook approve r1 --plan ")
    assert stage.cells.values["a"] == "bad"
    with pytest.raises(InputError, match="it waits for"):
        decide(stage, "lena", plan=requests(stage)[0].plan_digest)
    decide(stage, "lena")
    assert resumed(stage) == "recovered"
    assert stage.cells.values["b"] == "good"


def test_a_world_that_moves_behind_the_gate_voids_the_rest() -> None:
    """Step `one` is done as approved; then somebody moves what step `two` would change."""
    stage = waiting()
    decide(stage, "lena")
    stage.cells.trouble["prepare", "b"] = []

    class Meddling(toys.SetCell):
        def act(self, call, settled):  # type: ignore[no-untyped-def]
            outcome = super().act(call, settled)
            if call.step == "one":
                self.cells.values["b"] = "somebody's"
            return outcome

    on = stage.platform()
    catalog = {**toys.catalog(stage.cells), "cell.set": Meddling(stage.cells)}
    problem = toys.raised(engine.Engine(on, catalog).resume, "r1")
    assert isinstance(problem, ApprovalRequired)
    assert "step 'two'" in problem.message
    assert requests(stage)[-1].summary[0] == "two: set b somebody's -> good"
    assert stage.cells.values["b"] == "somebody's"
    decide(stage, "lena")
    assert resumed(stage) == "recovered"
    assert stage.cells.effects["a: bad -> good"] == 1


def test_a_rejection_fails_the_gate_and_takes_the_way_out_without_another_approval() -> None:
    stage = waiting()
    decide(stage, "lena", granted=False, why="not during the parade")
    finish = stage.runner().resume("r1")
    assert finish.status == "failed"
    assert finish.why == "step 'approve' failed: rejected by lena: not during the parade"
    assert stage.cells.values["a"] == "bad"

    stage = waiting(steps=toys.APPROVED.replace("gate: approval", "gate: approval, onFailure: 'step:contain'"))
    decide(stage, "lena")
    decide(stage, "lena", granted=False)
    assert resumed(stage) == "contained", "the newest decision of a person is the one that counts"
    assert stage.cells.values["fallback"] == "on"


def test_an_approver_who_was_taken_off_the_list_no_longer_counts() -> None:
    stage = waiting()
    decide(stage, "lena")
    on = stage.platform()
    entry = on.service("postcode")
    owners = dataclasses.replace(entry.owners, approvers=("head-of-sorting",))
    fewer: platforms.Platform = dataclasses.replace(
        on, services={"postcode": dataclasses.replace(entry, owners=owners)}
    )
    assert isinstance(toys.raised(engine.Engine(fewer, toys.catalog(stage.cells)).resume, "r1"), ApprovalRequired)


def test_broken_glass_is_allowed_recorded_and_told() -> None:
    stage = waiting()
    problem = toys.raised(decide, stage, "anna", break_glass=True)
    assert isinstance(problem, Refused)
    assert "breaking the glass needs a reason" in problem.message
    decide(stage, "anna", break_glass=True, why="nobody answers the phone")
    assert resumed(stage) == "recovered"
    (posted,) = stage.world.notifier.posted.values()
    assert posted[0] == "team-sorting"
    assert posted[1].startswith("GLASS BROKEN by anna on run r1 (postcode): nobody answers the phone. Plan: one:")

    stage = toys.Stage()
    stage.world.notifier.down = "the chat is away"
    finish = stage.runner().start(toys.document(toys.APPROVED), "postcode", run="r1", break_glass="all asleep")
    assert finish.status == "recovered"
    decided = stage.world.journal.of_kind(records.ApprovalDecided)[0]
    assert decided == records.ApprovalDecided("r1", requests(stage)[0].plan_digest, True, "all asleep", True)
    told = stage.world.journal.of_kind(records.MessagePosted)[0]
    assert (told.delivered, told.why) == (False, "the chat is away")
    assert any(isinstance(event, progress.GlassBroken) for event in stage.heard)


def test_nobody_is_asked_for_what_cannot_be_planned() -> None:
    stage = toys.Stage()
    stage.cells.values["wanted"] = "refuse"
    finish = stage.start(toys.APPROVED)
    assert finish.status == "failed"
    assert "what follows cannot be planned, so nobody was asked: a does not take that" in finish.why
    assert requests(stage) == []


def test_deciding_where_nothing_waits_is_refused() -> None:
    stage = toys.Stage()
    stage.start(toys.PLAIN)
    problem = toys.raised(approval.decide, stage.platform("lena"), "r1", plan="0" * 12)
    assert isinstance(problem, Refused)
    assert problem.message == "run r1 waits for no approval: it ended as recovered"


def test_a_plan_named_by_too_few_digits_is_not_taken() -> None:
    stage = waiting()
    with pytest.raises(InputError, match="does not wait for plan"):
        decide(stage, "lena", plan=requests(stage)[0].plan_digest[7:10])
