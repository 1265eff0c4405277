"""The live screen: never more than 24 lines of 80 columns, and always where, what, undo and the next key."""

from __future__ import annotations

from ddr.domain import outcomes
from ddr.errors import ApprovalRequired
from ddr.runbook import progress, screen
from tests.unit.runbook import toys


def views(events: list[progress.Event]) -> list[str]:
    view, shown = screen.View(), []
    for event in events:
        view = screen.after(view, event)
        shown.append(screen.render(view))
    return shown


def test_every_screen_of_real_runs_fits() -> None:
    stage = toys.Stage()
    problem = toys.raised(
        stage.runner().start, toys.document(toys.APPROVED), "postcode", run="r1", break_glass="asleep"
    )
    assert problem is None
    stage.runner().undo("r1")
    other = toys.Stage()
    assert isinstance(toys.raised(other.start, toys.APPROVED), ApprovalRequired)
    shown = views(stage.heard) + views(other.heard)
    assert all(len(text.splitlines()) <= screen.HEIGHT for text in shown)
    assert all(len(line) <= screen.WIDTH for text in shown for line in text.splitlines())
    print(f"{len(shown)} screens looked at")


def test_a_step_at_work() -> None:
    events: list[progress.Event] = [
        progress.RunBegan("run-1102-7f3a", "bad-model-promotion", "postcode", tuple("abcdefg")),
        progress.StepBegan("announce", 1, 7, "action", "comms.post", "People can speak up."),
        progress.StepEnded("announce", outcomes.Outcome(outcomes.Status.OK, "posted to team-sorting")),
        progress.StepBegan(
            "roll-back",
            2,
            7,
            "action",
            "plane.switch",
            "Only the model goes back.",
            "switch postcode model 3 (aaaa) -> 2 (bbbb)",
            ("model plane (registry)",),
            "switch back to 3 (aaaa), unless someone moved it since",
        ),
        progress.Retrying("roll-back", 2, 3, "the registry does not answer", 1.2),
    ]
    assert views(events)[-1] == (
        "run run-1102-7f3a  bad-model-promotion  service postcode\n"
        "  ok   announce: posted to team-sorting\n"
        "\n"
        "step 2/7  roll-back  (action plane.switch)\n"
        "  why      Only the model goes back.\n"
        "  will do  switch postcode model 3 (aaaa) -> 2 (bbbb)\n"
        "  touches  model plane (registry)\n"
        "  undo     switch back to 3 (aaaa), unless someone moved it since\n"
        "  trouble  the registry does not answer; attempt 2 of 3 in 1.2s\n"
        "\n"
        "Ctrl-C once: finish this step and pause. Twice: pause now. Both can be resumed."
    )


def test_the_longest_imaginable_run_still_fits() -> None:
    long = "every word of this text is one too many " * 30
    outcome = outcomes.Outcome(outcomes.Status.FAILED, long)
    events: list[progress.Event] = [progress.RunBegan("r" * 60, long, long, ("a",))]
    events += [progress.StepEnded(f"step-{at}", outcome) for at in range(40)]
    events += [progress.GlassBroken("r", "anna", long)]
    events += [progress.StepBegan("s" * 90, 41, 99, "action", "v" * 50, long, long, (long,) * 9, long)]
    events += [progress.Retrying("s", 2, 3, long, 30.0), progress.UndoBegan("s", 1, 2, long)]
    events += [progress.RunPaused("r", long), progress.RunEnded("r", "failed", long)]
    for text in views(events):
        lines = text.splitlines()
        assert len(lines) <= screen.HEIGHT
        assert max(map(len, lines)) <= screen.WIDTH


def test_the_end_says_what_comes_next() -> None:
    ends: dict[progress.Event, str] = {
        progress.RunPaused("r1", "asked"): "next: ddr runbook resume r1   or   ddr runbook undo r1",
        progress.RunEnded("r1", "recovered", ""): "next: ddr runbook undo r1 takes all of it back",
        progress.RunEnded("r1", "undone", ""): "everything this run changed is taken back",
    }
    for event, said in ends.items():
        assert views([progress.RunBegan("r1", "t", "s", ()), event])[-1].splitlines()[-1] == said
    left: list[progress.Event] = [
        progress.UndoBegan("one", 1, 1, "set a back"),
        progress.RunEnded("r1", "failed", "one: it moved"),
    ]
    shown = views([progress.RunBegan("r1", "t", "s", ()), *left])[-1]
    assert shown.splitlines()[-1] == "what is named above is left; then again: ddr runbook undo r1"
