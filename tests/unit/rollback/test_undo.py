"""Rollbacks taken back, and planes that no sequence of them touches."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies

from ddr.domain import planes
from ddr.errors import Conflict, Missing, Refused
from ddr.rollback import book
from tests import recovery
from tests.unit.rollback import runs

MODEL, FEATURES, CODE = runs.MODEL, runs.FEATURES, runs.CODE


def test_undo_of_undo_of_undo() -> None:
    world = runs.promoted()
    document = runs.document(runs.platform(world), runs.GOOD)
    seen = []
    for run in ("r1", "r2"):
        assert runs.runner(world).start(document, "postcode", run=run).status == "recovered"
        seen.append((world.model.live, list(world.model.marks), world.server.memory[MODEL][0]))
        assert runs.runner(world).undo(run).status == "undone"
        seen.append((world.model.live, list(world.model.marks), world.server.memory[MODEL][0]))
    assert seen == [("2", ["3"], "2"), ("3", [], "3")] * 2


def test_an_undo_after_somebody_moved_it_on_changes_nothing() -> None:
    world = runs.promoted()
    runs.carried_out(world)
    world.model.live = "1"
    finish = runs.runner(world).undo("r1")
    assert finish.status == "failed"
    assert "someone else moved it since" in finish.why
    assert world.model.live == "1"


def test_of_two_rollbacks_the_newer_one_is_undone_first() -> None:
    world = runs.promoted()
    runs.carried_out(world)
    document = runs.document(runs.platform(world), {MODEL: "1"})
    assert runs.runner(world).start(document, "postcode", run="r2").status == "recovered"
    with pytest.raises(Refused) as told:
        runs.runner(world).undo("r1")
    assert "`ddr runbook undo r2` first" in told.value.hint
    assert runs.runner(world).undo("r2").status == "undone"
    assert runs.runner(world).undo("r1").status == "undone"
    assert world.model.live == "3"


NAMES = {MODEL: ["1", "2", "3"], FEATURES: ["v1", "v2", "v3"], CODE: ["1.4.0", "1.4.1"]}
ACTS = strategies.lists(
    strategies.one_of(
        *(strategies.tuples(strategies.just(plane), strategies.sampled_from(names)) for plane, names in NAMES.items()),
        strategies.just(("undo", "")),
    ),
    min_size=1,
    max_size=8,
)


def contents(world: recovery.World, plane: planes.Plane) -> object:
    at = world.planes[plane]
    return at.live, dict(at.contents), dict(at.marks), at.frozen_why


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(ACTS)
def test_planes_that_are_not_named_are_untouched_by_any_sequence(acts: list[tuple[str, str]]) -> None:
    world = runs.promoted()
    world.features.contents["v3"] = b"third"
    world.code.contents["1.4.1"] = b"app, patched"
    world.server.roll()
    done: list[tuple[str, planes.Plane]] = []
    options = book.Options(prove=False)
    for at, (plane, to) in enumerate(acts):
        run = f"r{at}"
        before = {each: contents(world, each) for each in world.planes}
        touched: planes.Plane | None = None
        if plane == "undo":
            if done:
                last, touched = done.pop()
                assert runs.runner(world).undo(last).status == "undone"
        else:
            touched = planes.Plane(plane)
            try:
                found = runs.propose(world, {touched: to})
            except (Missing, Conflict):
                continue
            if found.plan.moves and not found.plan.refusals:
                document = runs.document(runs.platform(world), {touched: to}, options)
                assert runs.runner(world).start(document, "postcode", run=run).status == "switched"
                done.append((run, touched))
        for each in world.planes:
            assert each is touched or contents(world, each) == before[each], (plane, to, each)
    for run, _ in reversed(done):
        assert runs.runner(world).undo(run).status == "undone"
    assert (world.model.live, world.features.live, world.code.live) == ("3", "v2", "1.4.0")
    assert not any(at.marks or at.frozen_why for at in world.planes.values())
