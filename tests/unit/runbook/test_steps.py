"""What a step's end means for the run: policies, retries, time limits, and what may never be called recovered."""

from __future__ import annotations

import time

import pytest

from ddr.domain import outcomes, records
from ddr.errors import Conflict, Interrupted, Missing, Refused, Unavailable
from ddr.runbook import engine, progress, work
from tests.unit.runbook import toys


def names(stage: toys.Stage) -> list[str]:
    return [record.step for record in stage.world.journal.of_kind(records.StepEnded)]


def test_a_run_goes_through_and_its_records_stand_in_order() -> None:
    stage = toys.Stage()
    assert stage.start(toys.PLAIN) == engine.Finish("r1", "recovered")
    assert stage.cells.values == {"a": "good", "wanted": "good", "b": "good"}
    kinds = [event.record.kind for event in stage.world.journal.written[2:]]
    step = ["step.intended", "step.ended"]
    assert kinds == ["run.started", "run.claimed", *step, *step, "step.ended", "run.ended"]


@pytest.mark.parametrize(
    ("two", "status", "ran"),
    [
        ("{name: two, action: cell.set, with: {cell: b, to: refuse}}", "failed", ["one", "two"]),
        (
            "{name: two, action: cell.set, with: {cell: b, to: refuse}, onFailure: Continue}",
            "failed",
            ["one", "two", "check"],
        ),
        (
            "{name: two, action: cell.set, with: {cell: b, to: refuse}, isCritical: false}",
            "recovered",
            ["one", "two", "check"],
        ),
        (
            "{name: two, action: cell.set, with: {cell: b, to: refuse}, onFailure: 'step:contain'}",
            "contained",
            ["one", "two", "contain"],
        ),
        (
            "{name: two, action: cell.set, with: {cell: b, to: refuse}, isCritical: false, onFailure: 'step:contain'}",
            "contained",
            ["one", "two", "contain"],
        ),
        ("{name: two, probe: cell.read, with: {cell: b}, nextStep: check}", "recovered", ["one", "two", "check"]),
    ],
)
def test_policies(two: str, status: str, ran: list[str]) -> None:
    stage = toys.Stage()
    finish = stage.start(f"- {{name: one, action: cell.set, with: {{cell: a, to: good}}}}\n- {two}\n{toys.ENDING}")
    assert (finish.status, names(stage)) == (status, ran)
    if status == "failed":
        assert "two" in finish.why


def test_a_validation_that_cannot_be_judged_yet_pauses_and_is_judged_again() -> None:
    """Not knowing is no reason to contain what may be well."""
    stage = toys.Stage()
    steps = "- {name: one, action: cell.set, with: {cell: b, to: good}}\n" + toys.ENDING
    stage.cells.values["a"] = ""
    runner = stage.runner()
    with pytest.raises(Interrupted, match="cannot be judged yet"):
        stage.start(steps)
    with pytest.raises(Interrupted, match="cannot be judged yet"):
        runner.resume("r1")
    assert "fallback" not in stage.cells.values
    stage.cells.values["a"] = "good"
    assert runner.resume("r1").status == "recovered"
    assert set(stage.cells.effects.values()) == {1}, "nothing was done twice while it was judged again"


def test_a_validation_that_was_jumped_over_is_no_recovery() -> None:
    past = """
    - {name: one, action: cell.set, with: {cell: a, to: refuse}, isCritical: false, onFailure: "step:end"}
    - {name: check, gate: cell.hold, with: {cell: a, is: good}, onFailure: "step:contain"}
    - {name: end, action: cell.set, with: {cell: c, to: x}, isEnd: true}
    - {name: contain, action: cell.set, with: {cell: fallback, to: "on"}, isEnd: true, endStatus: contained}
    """
    finish = toys.Stage().start(past)
    assert finish == engine.Finish("r1", "failed", "the recovery is not proved: check")


def test_only_unavailable_is_tried_again_and_only_when_the_effect_is_not_there() -> None:
    one = "- {name: one, action: cell.set, with: {cell: a, to: good}, maxAttempts: 3}\n" + toys.ENDING
    away = [Unavailable("away"), Unavailable("away")]

    stage = toys.Stage()
    stage.cells.trouble["act", "a"] = list(away)
    assert stage.start(one).status == "recovered"
    assert [record.attempt for record in stage.world.journal.of_kind(records.StepIntended)] == [1, 2, 3]
    waits = [event.wait_s for event in stage.heard if isinstance(event, progress.Retrying)]
    assert len(waits) == 2
    assert 1 <= waits[0] <= 1.5
    assert 2 <= waits[1] <= 3

    stage = toys.Stage()
    stage.cells.trouble["after-act", "a"] = [Unavailable("the answer was lost")]
    assert stage.start(one).status == "recovered"
    ended = stage.world.journal.of_kind(records.StepEnded)[0]
    assert ended.adopted
    assert stage.cells.effects["a: bad -> good"] == 1

    for problem in (Conflict("no"), Refused("no"), Missing("no")):
        stage = toys.Stage()
        stage.cells.trouble["act", "a"] = [problem]
        assert stage.start(one).status == "failed"
        assert len(stage.world.journal.of_kind(records.StepIntended)) == 1

    stage = toys.Stage()
    stage.cells.trouble["act", "a"] = [Unavailable("away")] * 3
    finish = stage.start(one)
    assert (finish.status, finish.why) == ("failed", "step 'one' failed: away")


def test_what_cannot_be_looked_at_after_a_failure_is_said_and_still_taken_back() -> None:
    stage = toys.Stage()
    stage.cells.trouble["after-act", "a"] = [Unavailable("the answer was lost")]
    stage.cells.trouble["observe", "a"] = [Unavailable("still away")]
    finish = stage.start("- {name: one, action: cell.set, with: {cell: a, to: good}}\n" + toys.ENDING)
    assert finish.status == "failed"
    assert "whether it took effect could not be seen" in finish.why
    assert stage.runner().undo("r1").status == "undone"
    assert stage.cells.values["a"] == "bad"


def test_a_step_that_hangs_is_cut_off_and_looked_for() -> None:
    class Slow(toys.SetCell):
        def act(self, call, settled):  # type: ignore[no-untyped-def]
            if call.step == "before":
                time.sleep(30)
            outcome = super().act(call, settled)
            time.sleep(30)
            return outcome

    stage = toys.Stage()
    on = stage.platform()
    catalog = {**toys.catalog(stage.cells), "cell.set": Slow(stage.cells)}
    steps = (
        """
    - {name: one, action: cell.set, with: {cell: a, to: good}, timeoutSeconds: 1}
    - {name: before, action: cell.set, with: {cell: b, to: good}, timeoutSeconds: 1, isCritical: false}
    """
        + toys.ENDING
    )
    began = time.monotonic()
    finish = engine.Engine(on, catalog).start(toys.document(steps), "postcode", run="r1")
    assert time.monotonic() - began < 10
    assert finish.status == "recovered"
    one, before, _ = stage.world.journal.of_kind(records.StepEnded)
    assert one.adopted, "its effect was there"
    assert before.outcome.status is outcomes.Status.FAILED
    assert "took longer than 1 s" in before.outcome.summary


def test_a_probe_that_does_not_answer_is_inconclusive() -> None:
    stage = toys.Stage()
    stage.cells.trouble["read", "wanted"] = [Unavailable("away")]
    finish = stage.start(
        "- {name: look, probe: cell.read, with: {cell: wanted}, isCritical: false}\n" + toys.PLAIN.lstrip()
    )
    assert finish.status == "recovered"
    look = stage.world.journal.of_kind(records.StepEnded)[0]
    assert look.outcome.status is outcomes.Status.INCONCLUSIVE


def test_asked_to_stop_it_pauses_behind_the_step_and_goes_on_later() -> None:
    stage, stop = toys.Stage(), work.Stop()
    runner = stage.runner(stop=stop)
    stage.cells.trouble["act", "a"] = []
    stop.ask()
    problem = toys.raised(runner.start, toys.document(toys.PLAIN), "postcode", run="r1")
    assert isinstance(problem, Interrupted)
    assert problem.hint == "`ddr runbook resume r1` goes on, `ddr runbook undo r1` takes it back"
    assert names(stage) == []
    assert stage.runner().resume("r1").status == "recovered"


def test_the_second_ctrl_c_pauses_at_once_and_resume_looks_what_was_done() -> None:
    for phase, adopted in (("act", False), ("after-act", True)):
        stage = toys.Stage()
        stage.cells.trouble[phase, "a"] = [KeyboardInterrupt()]
        with pytest.raises(KeyboardInterrupt):
            stage.start(toys.PLAIN)
        assert isinstance(stage.world.journal.written[-1].record, records.RunPaused)
        assert stage.runner().resume("r1").status == "recovered"
        one = stage.world.journal.of_kind(records.StepEnded)[0]
        assert isinstance(one, records.StepEnded)
        assert one.adopted is adopted
        assert stage.cells.effects["a: bad -> good"] == 1


def test_a_world_that_is_neither_before_nor_after_stops_and_asks() -> None:
    stage = toys.Stage()
    stage.cells.trouble["act", "a"] = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        stage.start(toys.PLAIN)
    stage.cells.values["a"] = "somebody's"
    problem = toys.raised(stage.runner().resume, "r1")
    assert isinstance(problem, Conflict)
    assert "step 'one'" in problem.message
    assert "ddr runbook undo r1" in problem.hint
    stage.cells.values["a"] = "bad"
    assert stage.runner().resume("r1").status == "recovered"


def test_a_defect_in_a_verb_pauses_the_run_and_is_not_hidden() -> None:
    stage = toys.Stage()
    stage.cells.trouble["act", "a"] = [ZeroDivisionError("oops")]
    with pytest.raises(ZeroDivisionError):
        stage.start(toys.PLAIN)
    paused = stage.world.journal.written[-1].record
    assert isinstance(paused, records.RunPaused)
    assert "ZeroDivisionError: oops" in paused.why
    assert stage.runner().resume("r1").status == "recovered"


def test_resuming_what_has_its_end_changes_nothing() -> None:
    stage = toys.Stage()
    finish = stage.start(toys.PLAIN)
    before = len(stage.world.journal.written)
    assert stage.runner().resume("r1") == finish
    assert len(stage.world.journal.written) == before
    assert isinstance(toys.raised(stage.runner().resume, "r2"), Missing)


def test_of_two_runs_of_one_service_the_first_goes_on() -> None:
    stage = toys.Stage()
    stage.cells.trouble["act", "a"] = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        stage.start(toys.PLAIN)
    problem = toys.raised(stage.start, toys.PLAIN, run="r2")
    assert isinstance(problem, Interrupted)
    assert problem.message == "run r1 (toy) of postcode has no end yet"
    assert stage.start(toys.PLAIN, run="r3", beside=True).status == "recovered"
    assert stage.runner().resume("r1").status == "recovered"
    assert isinstance(toys.raised(stage.start, toys.PLAIN, run="r3"), Refused), "a name is taken once"
    assert stage.start(toys.PLAIN, run="").run.startswith("run-1102-")
