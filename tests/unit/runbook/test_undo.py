"""Taking runs back: in reverse, also of ended runs and of injected faults, never by force, and after any crash."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from ddr.domain import records, runbooks
from ddr.errors import BadDocument, InputError, Refused, Unavailable
from ddr.journal import views
from ddr.runbook import engine, progress, screen
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


CONTAINED = """
- {name: one, action: cell.set, with: {cell: a, to: good}}
- {name: two, action: cell.set, with: {cell: b, to: bad}}
- {name: check, gate: cell.hold, with: {cell: b, is: good}, onFailure: "step:contain", isEnd: true}
- {name: contain, action: cell.set, with: {cell: fallback, to: "on"}, isEnd: true, endStatus: contained}
"""


def test_the_fallback_alone_is_taken_off_and_the_rest_stays() -> None:
    stage = toys.Stage()
    assert stage.start(CONTAINED).status == "contained"
    assert stage.runner().undo("r1", only=("contain",)) == engine.Finish("r1", "undone", "taken back: contain")
    assert {name: stage.cells.values[name] for name in ("a", "b", "fallback")} == {
        "a": "good",
        "b": "bad",
        "fallback": "",
    }
    seen = views.fold(stage.world.journal.events()).runs["r1"]
    assert (seen.status, seen.half_undone) == ("contained", ())
    assert stage.runner().undo("r1", only=("contain",)).status == "undone", "repeatable"
    assert _order(stage) == ["contain"]
    assert stage.runner().undo("r1") == engine.Finish("r1", "undone", "taken back: contain, two, one")


def test_what_cannot_be_taken_back_alone_is_refused() -> None:
    stage = toys.Stage()
    stage.start(CONTAINED)
    written = len(stage.world.journal.written)
    problem = toys.raised(stage.runner().undo, "r1", only=("check",))
    assert isinstance(problem, InputError)
    assert "what can be taken back: contain, two, one" in problem.hint
    assert len(stage.world.journal.written) == written
    stage = toys.Stage()
    toys.raised(stage.start, toys.APPROVED)
    assert isinstance(toys.raised(stage.runner().undo, "r1", only=("before",)), Refused)


def test_a_lifting_that_was_killed_is_called_again_and_takes_nothing_else_back() -> None:
    deaths = 0
    for number in range(1, 4):
        for when in ("before", "after"):
            stage = toys.Stage()
            stage.start(CONTAINED)
            stage.world.journal.live_again((number, when))
            with contextlib.suppress(recovery.Killed):
                stage.runner().undo("r1", only=("contain",))
            stage.world.journal.live_again()
            seen = views.fold(stage.world.journal.events()).runs["r1"]
            assert seen.status == "contained"
            assert seen.is_interrupted(stage.world.clock.now(), lambda *_: False) == bool(seen.half_undone)
            assert stage.runner().resume("r1").status == "contained"
            assert stage.runner().undo("r1", only=("contain",)).status == "undone"
            assert (stage.cells.values["a"], stage.cells.values["fallback"]) == ("good", "")
            deaths += 1
    print(f"killed at {deaths} borders of a lifting")


def test_a_run_that_has_its_end_is_told_again() -> None:
    """Of its steps and its end, and that nothing was done now."""
    stage = toys.Stage()
    stage.start(CONTAINED)
    stage.runner().undo("r1")
    stage.heard.clear()
    for again in (stage.runner().undo, stage.runner().resume):
        assert again("r1").status == "undone"
        began, ended = stage.heard
        assert isinstance(began, progress.RunBegan)
        assert [(done.step, done.outcome.status.value) for done in began.done if done.step != "check"] == [
            ("one", "undone"),
            ("two", "undone"),
            ("contain", "undone"),
        ]
        assert isinstance(ended, progress.RunEnded)
        assert ended.before
        text = screen.final(screen.after(screen.after(screen.View(), began), ended))
        assert "  undone (it had ended before; nothing was done now): taken back: contain, two," in text.splitlines()
        assert text.splitlines()[-1] == "everything this run changed is taken back"
        stage.heard.clear()


class Layered(toys.SetCell):
    """Each cell is a layer."""

    name = "cell.layer"

    def layer(self, settled: Mapping[str, str]) -> str:
        return settled["cell"]


def _layered(stage: toys.Stage) -> engine.Engine:
    return engine.Engine(stage.platform(), {"cell.layer": Layered(stage.cells)})


def test_what_newer_effects_lie_on_is_taken_back_after_them() -> None:
    stage = toys.Stage()
    for run, cell, to in (("f1", "a", "worse"), ("f2", "b", "worse"), ("f3", "a", "worst")):
        step = runbooks.Step("break", action="cell.layer", inputs={"cell": cell, "to": to})
        assert _layered(stage).start_steps(f"break {cell}", [step], "postcode", run=run).status == "injected"
    written = len(stage.world.journal.written)
    problem = toys.raised(_layered(stage).undo, "f1")
    assert isinstance(problem, Refused)
    assert problem.message == "run f1 is not taken back: what run f3 (break a) did lies on it"
    assert problem.hint == "`ddr runbook undo f3` first, then `ddr runbook undo f1`"
    assert len(stage.world.journal.written) == written
    for run in ("f2", "f3", "f1"):
        assert _layered(stage).undo(run).status == "undone"
    assert stage.cells.values["a"] == "bad"


def test_within_a_run_nothing_is_pulled_from_under_what_could_not_be_taken_back() -> None:
    stage = toys.Stage()
    steps = [
        runbooks.Step(to, action="cell.layer", inputs={"cell": cell, "to": to})
        for cell, to in (("a", "worse"), ("b", "other"), ("a", "worst"))
    ]
    _layered(stage).start_steps("break a twice", steps, "postcode", run="f1")
    stage.cells.values["a"] = "somebody's"
    ended = _layered(stage).undo("f1")
    assert ended.status == "failed"
    assert "worse: worst lies on it and is not taken back yet" in ended.why
    assert stage.cells.values["b"] == ""
    stage.cells.values["a"] = "worst"
    assert _layered(stage).undo("f1").status == "undone"
    assert stage.cells.values["a"] == "bad"
