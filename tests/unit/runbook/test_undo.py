"""Taking runs back: in reverse, also of ended runs and of injected faults, never by force, and after any crash."""

from __future__ import annotations

import contextlib

from ddr.domain import records, runbooks
from ddr.errors import BadDocument, Refused, Unavailable
from ddr.runbook import engine
from tests import recovery
from tests.unit.runbook import toys


def _order(stage: toys.Stage) -> list[str]:
    return [record.step for record in stage.world.journal.of_kind(records.UndoEnded)]


def test_a_recovered_run_is_taken_back_newest_first() -> None:
    stage = toys.Stage()
    before = dict(stage.cells.values)
    stage.start(toys.PLAIN)
    assert stage.runner().undo("r1") == engine.Finish("r1", "undone", "taken back: two, one")
    assert _order(stage) == ["two", "one"]
    assert {name: value for name, value in stage.cells.values.items() if value} == before
    written = len(stage.world.journal.written)
    assert stage.runner().undo("r1").status == "undone", "repeatable"
    assert len(stage.world.journal.written) == written


def test_what_someone_else_changed_is_left_alone_and_said() -> None:
    stage = toys.Stage()
    stage.start(toys.PLAIN)
    stage.cells.values["b"] = "somebody's"
    finish = stage.runner().undo("r1")
    assert finish.status == "failed"
    assert finish.why == "not everything could be taken back: two: b is \"somebody's\", not 'good'"
    assert stage.cells.values["b"] == "somebody's"
    assert stage.cells.values["a"] == "bad", "the others are taken back"
    stage.cells.values["b"] = "good"
    assert stage.runner().undo("r1").status == "undone", "only what was left"
    assert _order(stage) == ["two", "one", "two"]


def test_an_undo_waits_for_a_system_that_does_not_answer() -> None:
    stage = toys.Stage()
    stage.start(toys.PLAIN)
    stage.cells.trouble["undo", "a"] = [Unavailable("away")] * 2
    stage.cells.trouble["after-undo", "b"] = [Unavailable("the answer was lost")]
    assert stage.runner().undo("r1").status == "undone"
    assert stage.cells.effects["b: good -> "] == 1
    stage.cells.trouble["undo", "a"] = [Unavailable("away")] * 3
    other = toys.Stage(stage.cells, recovery.World())
    other.start(toys.PLAIN)
    stage.cells.trouble["undo", "a"] = [Unavailable("away")] * 3
    assert other.runner().undo("r1").why == "not everything could be taken back: one: away"


def test_a_run_that_is_being_taken_back_does_not_go_on() -> None:
    stage = toys.Stage()
    stage.start(toys.PLAIN)
    stage.cells.trouble["undo", "b"] = [recovery.Killed()]
    with contextlib.suppress(recovery.Killed):
        stage.runner().undo("r1")
    assert isinstance(toys.raised(stage.runner().resume, "r1"), Refused)
    assert stage.runner().undo("r1").status == "undone"


FAULTS = [
    runbooks.Step("break-a", action="cell.set", inputs={"cell": "a", "to": "worse"}),
    runbooks.Step("break-b", action="cell.set", inputs={"cell": "b", "to": "worse"}, why="noise", timeout_seconds=5),
]


def test_faults_are_injected_and_taken_back_by_the_same_engine() -> None:
    stage = toys.Stage()
    finish = stage.runner().start_steps("faults of a scenario", FAULTS, "postcode", run="f1")
    assert finish == engine.Finish("f1", "injected")
    assert stage.cells.values["a"] == "worse"
    started = stage.world.journal.of_kind(records.RunStarted)[0]
    assert started.purpose == "faults"
    assert stage.start(toys.PLAIN).status == "recovered", "an injected fault run does not stand in the way"
    finish = stage.runner().undo("f1")
    assert finish.status == "failed", "the recovery moved the cells since; a fault's verb decides what that means"


def test_a_fault_run_killed_half_way_is_taken_back() -> None:
    stage = toys.Stage()
    before = dict(stage.cells.values)
    stage.cells.trouble["after-act", "b"] = [recovery.Killed()]
    with contextlib.suppress(recovery.Killed):
        stage.runner().start_steps("faults", FAULTS, "postcode", run="f1")
    assert stage.runner().undo("f1").status == "undone"
    assert {name: value for name, value in stage.cells.values.items() if value} == before


def test_faults_that_do_not_fit_are_refused_before_anything() -> None:
    stage = toys.Stage()
    steps = [runbooks.Step("a", action="cell.sett"), runbooks.Step("b", action="cell.read", inputs={"cell": "a"})]
    problem = toys.raised(stage.runner().start_steps, "faults", steps, "postcode")
    assert isinstance(problem, BadDocument)
    assert [str(found) for found in problem.problems] == [
        "faults:1: steps[0].action: cell.sett is no verb; did you mean cell.set?",
        "faults:1: steps[1].action: cell.read only looks; write probe: cell.read or gate: cell.read",
    ]
    assert len(stage.world.journal.written) == 2
