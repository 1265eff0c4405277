"""What is offered works: killed at any write of a rollback or its undo, the commands that are named are taken."""

from __future__ import annotations

import json

import pytest

from ddr.cli import openruns, rollback_text
from ddr.domain import records
from ddr.errors import Refused
from ddr.journal import views
from ddr.rollback import book
from ddr.runbook import parse, standing
from tests import deaths
from tests.unit.rollback import runs

CASE = "model, no wait"


def seen(process: runs.Process) -> views.Run:
    return views.fold(process.world.journal.events()).runs["r1"]


def offered(process: runs.Process) -> str:
    return openruns._next(seen(process), "interrupted", process.world.clock.now())


def test_an_undo_that_was_killed_is_gone_on_with_and_never_resumed() -> None:
    ended = runs.Process.of(CASE)
    ended.until_end()
    ended.world.journal.live_again()
    reference, begun = ended.copy(), 0
    reference.undo()
    for die_at in deaths.each(reference.world.journal.appends):
        process = ended.copy()
        assert deaths.killed(process.world, die_at, process.undo) == ""
        if not seen(process).is_undoing:
            continue
        assert offered(process) == "ddr rollback undo r1", die_at
        assert rollback_text.standing(seen(process), {"r1"}) == "interrupted (running)"
        with pytest.raises(Refused) as told:
            process.runner().resume("r1")
        assert told.value.hint == "`ddr rollback undo r1` goes on with that"
        assert standing.ways_on(seen(process)) == "`ddr rollback undo r1`"
        assert process.undo() == "undone"
        begun += 1
    print(f"{begun} kill points in an undo")
    assert begun > 5


def ended_document(process: runs.Process) -> parse.Document:
    return parse.read_text(process.text, book.SOURCE)


def test_a_rollback_that_was_killed_is_resumed_or_undone_and_not_told_to_run_beside() -> None:
    process = runs.Process.of(CASE)
    assert deaths.killed(process.world, (6, "after"), process.until_end) == ""
    assert offered(process) == "ddr runbook resume r1   # or: ddr rollback undo r1"
    assert rollback_text.standing(seen(process), {"r1"}) == "interrupted (running)"
    assert rollback_text.standing(seen(process), ()) == "running"
    assert standing.ways_on(seen(process)) == "`ddr runbook resume r1` or `ddr rollback undo r1`"
    for or_else in ("", "--beside runs this one as well"):
        with pytest.raises(Refused) as told:  # the process that was killed is this one, and it lives
            process.runner().start(ended_document(process), "postcode", run="r2", or_else=or_else)
        assert told.value.hint == "; ".join(text for text in ("let it end", or_else) if text)


@pytest.mark.parametrize("case", [CASE, "model, approved"])
def test_the_digest_of_the_plan_is_known_to_its_end(case: str) -> None:
    """Also where nobody had to approve, and also when it is looked at anew."""
    process = runs.Process.of(case)
    process.until_end()
    (started,) = process.world.journal.of_kind(records.RunStarted)
    shown = next(step["with"]["plan"] for step in json.loads(started.document)["steps"] if step["name"] == "check")
    told: list[object] = []
    made = process.runner()
    made._tools = made._tools.__class__(made._tools.platform, made._tools.catalog, told.append)
    made.resume("r1")
    assert getattr(told[0], "plan", "") == shown
    assert getattr(told[0], "undo", "") == "ddr rollback undo r1"
