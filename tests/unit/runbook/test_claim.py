"""One owner at a time: who is refused, who may take over, and what stops the one who lost the run."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from ddr.domain import records
from ddr.errors import Refused
from ddr.lib import process
from ddr.runbook import claim, engine, work
from tests import recovery
from tests.unit.runbook import toys


@pytest.fixture
def other() -> object:
    """A living process that is not this one."""
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    while not process.started_at(child.pid):
        pass
    yield claim.Owner(child.pid, process.started_at(child.pid), process.boot_id())
    assert child.stdin is not None
    child.stdin.close()
    child.wait()


def _cut_off(stage: toys.Stage, owner: claim.Owner) -> None:
    """A run whose owner is in the middle of its first step."""
    stage.cells.trouble["act", "a"] = [recovery.Killed()]
    with pytest.raises(recovery.Killed):
        stage.runner("bob", owner=owner).start(toys.document(toys.PLAIN), "postcode", run="r1")


def test_a_living_owner_is_named_and_left_alone(other: claim.Owner) -> None:
    stage = toys.Stage()
    _cut_off(stage, other)
    for call in (stage.runner().resume, stage.runner().undo):
        problem = toys.raised(call, "r1")
        assert isinstance(problem, Refused)
        assert problem.message == f"run r1 is worked on by bob on laptop (process {other.pid})"
        assert "--take-over" in problem.hint
    assert stage.runner().resume("r1", take_over=True).status == "recovered"


def test_a_dead_owner_and_a_reused_number_are_not_in_the_way(other: claim.Owner) -> None:
    dead = [
        claim.Owner(other.pid, "12345", other.boot),
        claim.Owner(2**22 - 7, "12345", other.boot),
    ]
    for owner in dead:
        stage = toys.Stage()
        _cut_off(stage, owner)
        assert stage.runner().resume("r1").status == "recovered"


def test_an_owner_elsewhere_has_the_run_until_its_lease_is_over() -> None:
    elsewhere = claim.Owner(os.getpid(), process.started_at(os.getpid()), "another-boot")
    stage = toys.Stage()
    _cut_off(stage, elsewhere)
    assert isinstance(toys.raised(stage.runner().resume, "r1"), Refused)
    stage.world.clock.sleep((timedelta(seconds=300) + claim.SLACK).total_seconds())
    assert stage.runner().resume("r1").status == "recovered"


def test_who_lost_the_run_does_nothing_more() -> None:
    """The first owner is stopped in front of its effect; a second takes over and finishes; the first wakes up."""
    stage = toys.Stage()
    first = claim.Owner(1, "x", "y")

    class Sleeper(toys.SetCell):
        def prepare(self, call):  # type: ignore[no-untyped-def]
            prepared = super().prepare(call)
            if call.step == "two" and not taken:
                taken.append(stage.runner("carol").resume("r1", take_over=True).status)
            return prepared

    taken: list[str] = []
    on = stage.platform("bob")
    tools = work.Tools(on, {**toys.catalog(stage.cells), "cell.set": Sleeper(stage.cells)}, owner=first)
    problem = toys.raised(
        engine.Engine(on, tools.catalog, tools=tools).start, toys.document(toys.PLAIN), "postcode", run="r1"
    )
    assert isinstance(problem, work.TakenOver)
    assert "taken over by carol" in problem.message
    assert taken == ["recovered"]
    assert stage.cells.effects == {"a: bad -> good": 1, "b:  -> good": 1}
    last = [event.record for event in stage.world.journal.written][-2:]
    assert isinstance(last[0], records.RunEnded)
    assert isinstance(last[1], records.StepIntended), "it had written its intent and was stopped behind it"


def test_of_many_at_once_one_owns_the_run() -> None:
    stage = toys.Stage()
    on = stage.platform()
    catalog = toys.catalog(stage.cells)
    ends: list[str] = []

    def run() -> None:
        made = engine.Engine(on, catalog)
        problem = toys.raised(lambda: ends.append(made.start(toys.document(toys.PLAIN), "postcode").status))
        if problem is not None:
            ends.append(type(problem).__name__)

    threads = [threading.Thread(target=run) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stage.cells.effects["a: bad -> good"] == 1
    assert stage.cells.effects["b:  -> good"] == 1
    assert "recovered" in ends
    assert set(ends) <= {"recovered", "Refused", "Interrupted"}
    print(f"20 at once: {ends.count('recovered')} ran, {ends.count('Refused')} refused")
