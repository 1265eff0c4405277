"""What the journal knows: runs, incidents, releases, game days, folded from events."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from ddr.domain import events, incidents, outcomes, planes, records, releases, revisions
from ddr.journal import run_view, views
from ddr.lib import decode
from ddr.stores import memory
from tests.unit.journal import places, samples

AT = samples.AT
MINUTE = timedelta(minutes=1)
MODEL = planes.Plane.MODEL


class Story:
    """Events as they would be read, one platform minute apart."""

    def __init__(self) -> None:
        self.events: list[events.Event] = []

    def tell(self, *told: records.Record, by: str = "ana", host: str = "laptop") -> Story:
        for record in told:
            seq = len(self.events) + 1
            at = AT + seq * MINUTE
            self.events.append(events.Event(seq, f"e{seq}", at, at, seq, by, host, record, "", f"sha256:{seq}"))
        return self

    def board(self) -> views.Board:
        return views.fold(self.events)


def started(
    run: str = "run-1", incident: str = "", purpose: Literal["runbook", "faults"] = "runbook"
) -> records.RunStarted:
    return records.RunStarted(
        run, "bad-model-promotion", purpose, "steps: []", "sha256:0", "postcode", incident=incident
    )


def claimed(run: str = "run-1", pid: int = 7, boot: str = "here", minutes: int = 60) -> records.RunClaimed:
    return records.RunClaimed(run, pid, "ticks", boot, AT + minutes * MINUTE)


def intended(step: str, attempt: int = 1) -> records.StepIntended:
    return records.StepIntended("run-1", step, attempt, "plane.switch", f"run-1/{step}", {"to": "2"}, "3 → 2", "2 → 3")


def ended(step: str, status: outcomes.Status = outcomes.Status.OK, attempt: int = 1) -> records.StepEnded:
    return records.StepEnded("run-1", step, attempt, outcomes.Outcome(status, f"{step} is {status}"))


def undone(step: str, status: outcomes.Status = outcomes.Status.UNDONE, attempt: int = 1) -> records.UndoEnded:
    return records.UndoEnded("run-1", step, attempt, outcomes.Outcome(status, "back at 3"))


def run_of(*told: records.Record) -> views.Run:
    return Story().tell(started(), claimed(), *told).board().runs["run-1"]


def test_nothing_is_known_at_first() -> None:
    board = views.fold([])
    assert board == views.Board()
    assert board.last_good("postcode") is None
    assert board.blocked("postcode", MODEL) == {}
    assert board.open_incidents("postcode") == []


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


ASKED = records.ApprovalRequested("run-1", "approve", "sha256:plan", ("3 → 2",), ("lead", "head"), 2, True, AT)


def decided(plan: str = "sha256:plan", *, granted: bool = True) -> records.ApprovalDecided:
    return records.ApprovalDecided("run-1", plan, granted)


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


def alive(value: bool | None) -> views.Alive:
    return lambda pid, process_started, boot: value


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


def test_events_of_unknown_runs_and_incidents_disturb_nobody() -> None:
    board = Story().tell(claimed("run-9"), ended("x"), records.IncidentNoted("inc-9", "?")).board()
    assert (board.runs, board.incidents, board.events) == ({}, {}, 3)


DECLARED = records.IncidentDeclared("inc-1", "postcode", "SEV2", "wrong digits", AT)


def test_an_incident_and_everything_that_names_it() -> None:
    story = Story().tell(DECLARED)
    story.tell(records.DiagnosisMade("postcode", samples.DIAGNOSIS, "inc-1"))
    story.tell(records.DiagnosisMade("other", samples.DIAGNOSIS))
    story.tell(started(incident="inc-1"), claimed())
    story.tell(ASKED).tell(decided(), by="lead")
    story.tell(intended("switch"), ended("switch"))
    story.tell(records.MessagePosted("#team", "rolled back", "run-1/tell", delivered=True))
    story.tell(records.MessagePosted("#team", "about inc-1", "by hand", delivered=False, why="away"))
    story.tell(records.MessagePosted("#team", "lunch", "lunch", delivered=True))
    story.tell(records.RunEnded("run-1", "recovered"))
    story.tell(records.IncidentMoved("inc-1", incidents.Status.MITIGATED, "verified"))
    story.tell(records.IncidentNoted("inc-1", "all lanes checked"), by="ben")
    story.tell(records.IncidentMoved("inc-1", incidents.Status.RESOLVED))
    board = story.board()
    incident = board.incidents["inc-1"]
    assert (incident.service, incident.severity, incident.title) == ("postcode", "SEV2", "wrong digits")
    assert (incident.declared_by, incident.declared_at, incident.first_bad) == ("ana", AT + MINUTE, AT)
    assert incident.status is incidents.Status.RESOLVED
    assert not incident.is_open
    assert incident.diagnosed_at == AT + 2 * MINUTE
    assert incident.mitigated_at == AT + 14 * MINUTE
    assert incident.resolved_at == AT + 16 * MINUTE
    assert incident.runs == ("run-1",)
    assert [note.text for note in incident.timeline] == [
        "SEV2 declared: wrong digits",
        "postcode: CONFIRMED model (p=0.97), model:postcode-digit 2 → 3",
        "run run-1 started: bad-model-promotion",
        "approval of plan plan asked of lead, head: 3 → 2",
        "plan plan granted",
        "switch ok: switch is ok",
        "told #team: rolled back",
        "could not tell (away) #team: about inc-1",
        "run run-1 recovered",
        "incident is mitigated: verified",
        "all lanes checked",
        "incident is resolved",
    ]
    assert incident.timeline[-2].actor == "ben"
    assert board.open_incidents("postcode") == []
    assert [len(board.diagnoses[service]) for service in ("postcode", "other")] == [1, 1]
    assert board.messages["by hand"].why == "away"


def test_an_incident_goes_only_where_it_may() -> None:
    """Of two who move it at once both were allowed to; the journal's order decides."""
    story = Story().tell(DECLARED)
    story.tell(*(records.IncidentMoved("inc-1", status) for status in (
        incidents.Status.MITIGATED, incidents.Status.RESOLVED, incidents.Status.MITIGATING, incidents.Status.RESOLVED,
    )))  # fmt: skip
    incident = story.board().incidents["inc-1"]
    assert incident.status is incidents.Status.RESOLVED
    assert incident.resolved_at == AT + 3 * MINUTE
    assert len(incident.timeline) == 5, "what was tried is in the timeline all the same"


def test_of_two_incidents_with_one_name_the_first_has_it() -> None:
    board = Story().tell(DECLARED, dataclasses.replace(DECLARED, service="returns")).board()
    assert [each.service for each in board.incidents.values()] == ["postcode"]
    assert [each.id for each in board.open_incidents("postcode")] == ["inc-1"]


def test_a_note_that_waited_in_a_spool_stands_at_its_time() -> None:
    story = Story().tell(DECLARED, records.IncidentNoted("inc-1", "second"), records.IncidentNoted("inc-1", "first"))
    story.events[2] = dataclasses.replace(story.events[2], at=AT + 90 * timedelta(seconds=1))
    assert [note.text for note in story.board().incidents["inc-1"].timeline][1:] == ["first", "second"]


def release(name: str, model: str, minutes: int, digest: str = "", *, good: bool = True) -> records.ReleaseRecorded:
    revision = revisions.Revision(MODEL, "postcode-digit", model, digest)
    return records.ReleaseRecorded(
        releases.Release(name, "postcode", AT + minutes * MINUTE, {MODEL: revision}, known_good=good)
    )


def marked(model: str, digest: str = "", *, good: bool = False) -> records.RevisionMarked:
    return records.RevisionMarked("postcode", MODEL, "postcode-digit", model, digest, good, "wrong digits")


def last_good(*told: records.Record) -> str:
    found = Story().tell(*told).board().last_good("postcode")
    return found.id if found else ""


def test_the_last_good_release_is_the_newest_that_nothing_speaks_against() -> None:
    one, two, three = release("r1", "1", 1), release("r2", "2", 2), release("r3", "3", 3, good=False)
    assert last_good() == ""
    assert last_good(three) == ""
    assert last_good(one, two, three) == "r2"
    assert last_good(two, one) == "r2", "by when it was live, not by when it was written down"
    assert last_good(one, two, marked("2")) == "r1"
    assert last_good(one, two, marked("2"), marked("1")) == ""
    assert last_good(one, two, marked("2"), marked("2", good=True)) == "r2"
    assert last_good(one, two, marked("9")) == "r2"
    board = Story().tell(two, one, three).board()
    assert [each.id for each in board.releases["postcode"]] == ["r1", "r2", "r3"], "oldest first"


def test_a_release_recorded_again_replaces_itself() -> None:
    """Seen live first, vouched for later, or taken back."""
    assert last_good(release("r1", "1", 1, good=False), release("r1", "1", 1)) == "r1"
    assert last_good(release("r1", "1", 1), release("r1", "1", 1, good=False)) == ""


def test_weights_overwritten_under_the_same_name_condemn_only_those_bytes() -> None:
    good = release("r1", "2", 1, "sha256:a")
    assert last_good(good, marked("2", "sha256:b")) == "r1"
    assert last_good(good, marked("2", "sha256:a")) == ""
    assert last_good(good, marked("2")) == "", "a mark without a digest means every one of that name"
    assert last_good(release("r1", "2", 1), marked("2", "sha256:b")) == "", "unknown bytes are not good bytes"
    assert last_good(good, marked("2", "sha256:a"), marked("2", "sha256:b", good=True)) == ""
    assert last_good(good, marked("2", "sha256:a"), marked("2", good=True)) == "r1"


def test_what_is_blocked_is_listed_with_the_reason() -> None:
    board = Story().tell(marked("3", "sha256:c"), marked("4"), marked("4", good=True)).board()
    assert board.blocked("postcode", MODEL) == {("3", "sha256:c"): "wrong digits"}
    assert board.blocked("postcode", planes.Plane.INDEX) == {}
    assert board.blocked("other", MODEL) == {}


def test_a_game_day_with_its_scenarios_and_runs() -> None:
    story = Story().tell(records.GameDayStarted("gd-1", ("one", "two", "three"), 7, "sha256:s"))
    story.tell(records.ScenarioStarted("gd-1", "one", "kind: Scenario", "sha256:s"))
    story.tell(records.ScenarioReached("gd-1", "one", "steady"), started("faults-1", purpose="faults"))
    story.tell(started("elsewhere"), host="another")
    story.tell(started("response-1"), records.ScenarioReached("gd-1", "one", "detected"))
    scored = records.ScenarioScored("gd-1", "one", {"detect": 25}, {"detect": 25}, passed=True)
    story.tell(scored, started("between"), records.ScenarioStarted("gd-1", "two", "", ""))
    board = story.board()
    day = board.gamedays["gd-1"]
    assert (day.id, day.actor, day.seq, day.at) == ("gd-1", "ana", 1, AT + MINUTE)
    assert [each.id for each in board.interrupted_gamedays()] == ["gd-1"]
    assert day.not_run == ("three",)
    one, two = day.scenarios.values()
    assert one.reached == (("steady", AT + 3 * MINUTE), ("detected", AT + 7 * MINUTE))
    assert (one.scored, one.scored_at, two.scored) == (scored, AT + 8 * MINUTE, None)
    assert one.runs == ("faults-1", "response-1")
    assert day.runs == ("faults-1", "response-1", "between")
    board = story.tell(records.GameDayEnded("gd-1", False, "sha256:s", "why")).board()
    assert board.interrupted_gamedays() == []
    assert board.gamedays["gd-1"].ended == records.GameDayEnded("gd-1", False, "sha256:s", "why")


def test_everything_can_be_shown_as_json(tmp_path: Path) -> None:
    place = places.Place(memory.MemoryStore(), tmp_path)
    log = place.open()
    for record in samples.RECORDS:
        log.append(record)
    board = views.fold(log.events())
    assert board.events == len(samples.RECORDS)
    for shown in (board.runs, board.incidents, board.releases, board.gamedays, board.changes, board.diagnoses):
        assert shown
        assert json.loads(json.dumps(decode.encode(shown)))
    assert board.newest is not None
    assert board.newest.seq == len(samples.RECORDS)


def test_spooled_events_count_and_foreign_ones_are_counted() -> None:
    story = Story().tell(DECLARED, records.Foreign("{}"))
    story.events.append(dataclasses.replace(story.events[0], seq=0, record=records.IncidentNoted("inc-1", "spooled")))
    board = story.board()
    assert (board.events, board.spooled, board.foreign) == (3, 1, 1)
    assert board.newest is story.events[1]
    assert board.incidents["inc-1"].timeline[-1].text == "spooled"


def test_folding_goes_on_from_where_it_was() -> None:
    """Event by event with a look in between is the same as all at once."""
    log = [
        dataclasses.replace(event)
        for event in Story().tell(DECLARED, started(incident="inc-1"), claimed(), intended("s"), ended("s")).events
    ]
    folding = views.Fold()
    for count, event in enumerate(log, 1):
        folding.take(event)
        assert folding.board() == views.fold(log[:count])


def test_the_lease_is_compared_with_the_clock_of_the_platform() -> None:
    run = run_of()
    later: datetime = AT + 61 * MINUTE
    assert isinstance(run, run_view.Run)
    assert run.is_interrupted(later, alive(None))
    assert not run.is_interrupted(AT, alive(None))
