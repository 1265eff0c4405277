"""The server holds something else than its planes point at: rolled by its own runbook, and by no other."""

from __future__ import annotations

import pytest

from ddr.actions import catalog
from ddr.domain import outcomes, records
from ddr.errors import BadDocument
from ddr.runbook import check, shelf
from tests import recovery
from tests.unit.actions import calls
from tests.unit.runbook import shipped

NAME = "stale-server"


def _left_behind() -> recovery.World:
    """Somebody moved the alias back by hand; the server still answers with the bad version."""
    world = recovery.World()
    world.promote()
    world.model.live = "2"
    world.effects.clear()
    return world


def test_it_fits_the_platform() -> None:
    world = recovery.World()
    on = world.platform()
    found = check.check(
        shipped.document(NAME), catalog.build(on), on.service("postcode"), at=on.clock.now(), parameters={}
    )
    assert found == check.Findings()


def test_the_server_is_rolled_and_no_plane_is_touched() -> None:
    world = _left_behind()
    process = shipped.Process(world, NAME)
    assert process.step() == "waits"
    will = [line.partition(":")[0] for line in world.journal.of_kind(records.ApprovalRequested)[-1].summary]
    assert "load-planes" in will
    process.approve()
    assert process.step() == "recovered"
    assert world.server.memory[recovery.MODEL][0] == "2"
    assert (world.model.live, world.model.marks, world.model.frozen_why) == ("2", {}, "")
    assert not any(effect.startswith(("switch", "block")) for effect in world.effects)


def test_where_the_server_follows_nothing_is_rolled() -> None:
    world = recovery.World()
    assert shipped.Process(world, NAME).step() == "failed"
    assert "nothing to roll" in world.journal.of_kind(records.RunEnded)[-1].why
    assert world.effects == {}


@pytest.mark.parametrize("harm", ["new", "overwritten", "blocked"])
def test_what_nobody_vouched_for_is_not_loaded(harm: str) -> None:
    """The server is the last that holds the good bytes: a roll would lose them."""
    world = recovery.World()
    if harm == "new":
        world.model.contents["3"] = b"bad"
        world.model.live = "3"
    elif harm == "overwritten":
        world.model.contents["2"] = b"bad, overwritten"
    else:
        world = _left_behind()
        world.model.marks["2"] = "wrong too"
    before = world.server.memory
    assert shipped.Process(world, NAME).step() == "failed"
    why = world.journal.of_kind(records.RunEnded)[-1].why
    assert "a roll would load model" in why
    assert "take the plane back first" in why
    assert (world.server.memory, world.effects) == (before, {})


def test_who_vouches_for_it_may_load_anything() -> None:
    world = recovery.World()
    world.model.contents["3"] = b"better"
    world.model.live = "3"
    made = shipped.runner(world)
    with pytest.raises(BadDocument, match="loads"):
        made.start(shipped.document(NAME), "postcode", {"loads": "nonsense"}, run="r0")
    desk = calls.Desk(world)
    gate, call = desk.made("serving.behind"), desk.call(loads="anything")
    outcome = gate.act(call, gate.prepare(call).settled)
    assert outcome.status is outcomes.Status.OK
    assert outcome.summary == "the server holds model 2, its planes point at model 3"


def test_the_runbook_of_the_plane_takes_nothing_back_and_names_this_one() -> None:
    """Going on would take the good version back to the one before it, and block the good one."""
    world = _left_behind()
    assert shipped.Process(world, "bad-model-promotion").step() == "failed"
    why = world.journal.of_kind(records.RunEnded)[-1].why
    assert "but the server holds digit@3" in why
    assert f"`ddr runbook run {NAME} --service postcode` rolls it" in why
    assert shelf.rolling() == NAME
