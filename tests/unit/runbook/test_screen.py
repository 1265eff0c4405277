"""The live screen: never more than 24 lines of 80 columns, and always where, what, undo and the next key."""

from __future__ import annotations

import dataclasses

import pytest

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


BEGAN = progress.RunBegan("r1", "t", "s", ())
IN_INCIDENT = progress.RunBegan("r1", "t", "s", (), incident="inc-1")
SET = outcomes.Outcome(outcomes.Status.OK, "set")
ACTED: list[progress.Event] = [
    progress.StepBegan("one", 1, 2, "action", "cell.set", "", undo="set it back"),
    progress.StepEnded("one", SET),
]
CONTAINS = progress.RunBegan("r1", "t", "s", (), containment="contain")
CONTAINED: list[progress.Event] = [
    progress.StepBegan("contain", 2, 2, "action", "cell.set", "", undo="answer with the model again"),
    progress.StepEnded("contain", outcomes.Outcome(outcomes.Status.OK, "the fallback answers")),
]
ENDS: list[tuple[list[progress.Event], list[str]]] = [
    ([BEGAN, progress.RunPaused("r1", "asked")], ["next: ddr runbook resume r1   or   ddr runbook undo r1"]),
    (
        [IN_INCIDENT, progress.RunEnded("r1", "recovered", "")],
        ["next: ddr incident resolve inc-1", "(ddr runbook undo r1 would bring the bad state back)"],
    ),
    (
        [BEGAN, progress.RunEnded("r1", "recovered", "")],
        ["next: ddr status s", "(ddr runbook undo r1 would bring the bad state back)"],
    ),
    (
        [BEGAN, *ACTED, progress.RunEnded("r1", "contained", "no way back")],
        ["next: ddr diagnose s   the cause is still there", "(ddr runbook undo r1 takes back what was changed)"],
    ),
    (
        [CONTAINS, *CONTAINED, progress.RunEnded("r1", "contained", "no way back")],
        ["next: ddr diagnose s   the cause is still there", "(ddr runbook undo r1 takes the fallback off again)"],
    ),
    (
        [CONTAINS, *ACTED, *CONTAINED, progress.RunEnded("r1", "contained", "no way back")],
        [
            "next: ddr diagnose s   the cause is still there",
            "the fallback alone off: ddr runbook undo r1 --only contain",
            "(ddr runbook undo r1 takes back all of the above)",
        ],
    ),
    ([BEGAN, progress.RunEnded("r1", "failed", "no")], ["next: ddr diagnose s", "(nothing was changed)"]),
    (
        [BEGAN, *ACTED, progress.RunEnded("r1", "failed", "no")],
        ["next: ddr diagnose s", "(ddr runbook undo r1 takes back what was changed; --only STEP one of it)"],
    ),
    ([BEGAN, *ACTED, progress.RunEnded("r1", "injected", "")], ["next: ddr runbook undo r1 takes it back"]),
    ([BEGAN, progress.RunEnded("r1", "undone", "")], ["everything this run changed is taken back"]),
    (
        [IN_INCIDENT, progress.RunEnded("r1", "undone", "")],
        ["everything this run changed is taken back", "next: ddr incident show inc-1"],
    ),
    (
        [BEGAN, progress.UndoBegan("one", 1, 1, "set a back"), progress.RunEnded("r1", "failed", "one: it moved")],
        ["what is named above is left; then again: ddr runbook undo r1"],
    ),
]


@pytest.mark.parametrize(("told", "said"), ENDS)
def test_the_end_says_what_comes_next(told: list[progress.Event], said: list[str]) -> None:
    view = screen.View()
    for event in told:
        view = screen.after(view, event)
    for text in (screen.render(view), screen.final(view)):
        assert text.splitlines()[-len(said) :] == said
        assert text.splitlines()[-len(said) - 1] == ""


def test_an_approver_reads_every_word_of_the_plan() -> None:
    stage = toys.Stage()
    assert isinstance(toys.raised(stage.start, toys.APPROVED), ApprovalRequired)
    view = screen.View()
    for event in stage.heard:
        view = screen.after(view, event)
    assert view.waiting is not None
    long = tuple(f"{line}, " + "and so on " * 20 for line in view.waiting.request.summary) * 9
    request = dataclasses.replace(view.waiting.request, summary=long)
    view = dataclasses.replace(view, waiting=progress.ApprovalAsked(request, view.waiting.command))
    words = screen.final(view).split()
    assert words.count("on") == len(long) * 20
    assert "..." not in words
    assert all(len(line) <= screen.WIDTH for line in screen.final(view).splitlines())
    assert f"  approve  {view.waiting.command if view.waiting else ''}" in screen.final(view).splitlines()


def test_a_resumed_run_shows_what_was_done_before() -> None:
    stage = toys.Stage()
    stage.start(toys.APPROVED, break_glass="asleep")
    whole = screen.View()
    for event in stage.heard:
        whole = screen.after(whole, event)
    stage.heard.clear()
    stage.runner().undo("r1")
    again = screen.View()
    for event in stage.heard[:1]:
        again = screen.after(again, event)
    assert [row[:2] for row in again.past] == [row[:2] for row in whole.past]
    assert again.changed


def test_what_undo_would_bring_back_is_said_before_anybody_types_it() -> None:
    view = screen.View()
    for event in [CONTAINS, *ACTED, *CONTAINED, progress.RunEnded("r1", "contained", "no way back")]:
        view = screen.after(view, event)
    assert screen.final(view).splitlines()[-7:-3] == [
        "this stays as it is; ddr runbook undo r1 would, newest first:",
        "  - contain: answer with the model again (now: the fallback answers)",
        "  - one: set it back (now: set)",
        "",
    ]
    resumed = progress.RunBegan("r1", "t", "s", (), True, done=(progress.Done("one", SET, True, "set it back"),))
    view = screen.after(screen.after(screen.View(), resumed), progress.RunEnded("r1", "failed", "no"))
    assert "  - one: set it back (now: set)" in screen.final(view).splitlines()
