"""Carrying a plan out: compare-and-set, read back, recorded; and what happens when the world has moved."""

from __future__ import annotations

import pytest

from ddr.domain import plans, records, signals
from ddr.errors import Conflict, Refused
from ddr.rollback import apply, planner
from tests import recovery


def world_and_plan() -> tuple[recovery.World, plans.Plan]:
    world = recovery.World()
    world.promote()
    world.effects.clear()
    return world, planner.plan(world.platform(), "postcode", recovery.MODEL)


def test_a_plan_is_carried_out_once_and_recorded_once() -> None:
    world, plan = world_and_plan()
    for _ in range(2):
        assert [live.name for live in apply.apply(world.platform(), plan, "a test")] == ["2"]
    assert world.effects == {"switch model 3 -> 2": 1}
    (recorded,) = world.journal.of_kind(records.ChangeRecorded)
    change = recorded.change
    assert (change.before, change.after, change.actor, change.summary) == ("3", "2", "anna", "a test")


def test_a_refused_plan_is_not_carried_out() -> None:
    world, plan = world_and_plan()
    refused = plans.Plan(plan.service, plan.moves, (plans.Check("fits", signals.State.BAD, "it does not"),))
    with pytest.raises(Refused, match="it does not"):
        apply.apply(world.platform(), refused)
    assert world.effects == {}


def test_a_world_that_moved_is_left_alone() -> None:
    world, plan = world_and_plan()
    world.model.live = "1"
    with pytest.raises(Conflict):
        apply.apply(world.platform(), plan)
    assert (world.model.live, world.effects) == ("1", {})
    assert world.journal.of_kind(records.ChangeRecorded) == []


def test_a_target_whose_bytes_changed_since_the_plan_is_not_switched_to() -> None:
    world, plan = world_and_plan()
    world.model.contents["2"] += b"!"
    with pytest.raises(Conflict):
        apply.apply(world.platform(), plan)
    assert world.model.live == "3"


def test_when_a_later_move_fails_the_earlier_ones_are_switched_back() -> None:
    world, plan = world_and_plan()
    move = plans.Move(recovery.FEATURES, world.features.find("v1"), world.features.find("v2"))
    both = plans.Plan("postcode", (plan.moves[0], move.reversed()))
    world.features.live = "v1"
    stale = plans.Plan("postcode", (plan.moves[0], plans.Move(recovery.CODE, *([world.code.find("1.4.0")] * 2))))
    world.features.contents["v3"] = b"another"
    world.features.live = "v3"
    with pytest.raises(Conflict):
        apply.apply(world.platform(), both)
    assert world.model.live == "3", "taken back"
    assert world.effects == {"switch model 3 -> 2": 1, "switch model 2 -> 3": 1}
    assert [live.name for live in apply.apply(world.platform(), stale)] == ["2", "1.4.0"]
