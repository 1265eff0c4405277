"""The shipped runbooks over a world in memory with every port: checked, run, and killed at every write."""

from __future__ import annotations

import pytest

from ddr.actions import catalog
from ddr.domain import records
from ddr.errors import ApprovalRequired, InputError, Interrupted
from ddr.runbook import approval, check, engine, progress, screen
from tests import recovery
from tests.unit.runbook import shipped


@pytest.mark.parametrize("name", shipped.BOOKS)
def test_a_shipped_runbook_fits_the_platform(name: str) -> None:
    world = recovery.World()
    on = world.platform()
    found = check.check(
        shipped.document(name), catalog.build(on), on.service("postcode"), at=on.clock.now(), parameters={}
    )
    assert found == check.Findings()


@pytest.mark.parametrize("name", shipped.BOOKS)
def test_a_shipped_runbook_recovers_and_is_taken_back(name: str) -> None:
    world = shipped.hurt(name)
    before = world.state()
    process = shipped.Process(world, name)
    assert process.step() == "waits"
    process.approve()
    assert process.step() == "recovered"
    plane = world.model if name == "bad-model-promotion" else world.features
    assert plane.live in ("2", "v2")
    assert list(plane.marks) in (["3"], ["v3"])
    assert not plane.frozen_why
    assert world.journal.is_whole()
    with pytest.raises(ApprovalRequired, match="taking it back"):
        shipped.runner(world).undo("r1")  # it would bring back what is marked bad
    process.approve()
    assert shipped.runner(world).undo("r1").status == "undone"
    after = world.state()
    assert after[0] == before[0]  # type: ignore[index]
    assert after[2:4] == before[2:4]  # type: ignore[index]


@pytest.mark.parametrize("name", shipped.BOOKS)
def test_preview_of_a_shipped_runbook_writes_nothing(name: str) -> None:
    world = shipped.hurt(name)
    before, at = world.state(), world.clock.now()
    world.journal.read_only = True
    seen = shipped.runner(world).preview(shipped.document(name), "postcode")
    assert seen.problems == ()
    assert [line.step for line in seen.lines] == [step.name for step in shipped.document(name).book.steps]
    assert world.effects == {}
    assert (world.state(), world.clock.now()) == (before, at)


@pytest.mark.parametrize("name", shipped.BOOKS)
def test_where_there_is_no_way_back_it_is_contained(name: str) -> None:
    world = shipped.hurt(name)
    for plane in (world.model, world.features):
        for good in ("1", "2", "v1", "v2"):
            if good in plane.contents:
                plane.contents[good] += b", touched"
    process = shipped.Process(world, name)
    assert process.step() == "waits"
    request = world.journal.of_kind(records.ApprovalRequested)[-1]
    assert [line.partition(":")[0] for line in request.summary] == ["contain-only", "tell-contained"]
    before = world.state()
    process.approve()
    assert world.state() == before, "saying yes does nothing by itself"
    assert process.step() == "contained"
    assert world.server.fallback_on
    assert world.model.live in ("2", "3")
    frozen = world.model if name == "bad-model-promotion" else world.features
    assert frozen.frozen_why == "frozen by ddr run r1", "nobody promotes while nothing is good"


@pytest.mark.parametrize("name", shipped.BOOKS)
def test_containment_that_is_denied_leaves_everything_as_it_is(name: str) -> None:
    world = shipped.hurt(name)
    for plane in (world.model, world.features):
        for good in ("1", "2", "v1", "v2"):
            if good in plane.contents:
                plane.contents[good] += b", touched"
    process = shipped.Process(world, name)
    process.step()
    request = world.journal.of_kind(records.ApprovalRequested)[-1]
    approval.decide(world.platform("lena"), process.run, plan=request.plan_digest, granted=False)
    assert process.step() == "failed"
    assert not world.server.fallback_on


@pytest.mark.parametrize("name", shipped.BOOKS)
def test_what_is_at_its_good_state_is_left_alone(name: str) -> None:
    """Before the first effect: nobody is told, nothing is frozen, nobody is asked."""
    world = recovery.World()
    before = world.state()
    assert shipped.Process(world, name).step() == "failed"
    assert world.journal.of_kind(records.StepIntended) == []
    assert (world.effects, world.state()) == ({}, before)
    ended = world.journal.of_kind(records.RunEnded)[-1]
    assert "nothing to take back" in ended.why
    preview = shipped.runner(world).preview(shipped.document(name), "postcode")
    assert any("nothing to take back" in problem for problem in preview.problems)


@pytest.mark.parametrize("name", shipped.BOOKS)
def test_a_recovery_that_did_not_help_is_contained(name: str) -> None:
    world = shipped.hurt(name)
    world.spoiled.add("model")
    assert shipped.Process(world, name).until_end() == "contained"
    assert world.server.fallback_on


@pytest.mark.parametrize("name", shipped.BOOKS)
def test_a_recovery_that_cannot_be_judged_waits_and_is_judged_again(name: str) -> None:
    world = shipped.hurt(name)
    world.silent.add("model")
    process = shipped.Process(world, name)
    for _ in range(2):
        with pytest.raises(Interrupted, match="cannot be judged yet"):
            process.until_end()
    assert not world.server.fallback_on
    world.silent.clear()
    assert process.until_end() == "recovered"


@pytest.mark.parametrize("name", shipped.BOOKS)
def test_people_who_cannot_be_told_do_not_stop_a_recovery(name: str) -> None:
    world = shipped.hurt(name)
    world.notifier.down = "the chat is away"
    assert shipped.Process(world, name).until_end() == "recovered"
    assert [post.delivered for post in world.journal.of_kind(records.MessagePosted)] == [False, False]


def test_a_model_whose_weights_were_overwritten_goes_to_the_version_before() -> None:
    world = recovery.World()
    world.overwrite_weights()
    assert shipped.Process(world, "bad-model-promotion").until_end() == "recovered"
    assert world.model.live == "1"
    assert list(world.model.marks) == ["2"]


def test_fresh_observations_alone_prove_a_recovery() -> None:
    world = shipped.hurt("bad-model-promotion")
    process = shipped.Process(world, "bad-model-promotion")
    process.step()
    process.approve()
    world.measures.asked.clear()
    process.step()
    switched = next(
        event.at
        for event in world.journal.written
        if isinstance(event.record, records.StepEnded) and event.record.step == "load-model"
    )
    assert world.measures.asked
    assert all(since >= switched for _, since, _ in world.measures.asked)


def _approved(name: str) -> shipped.Process:
    process = shipped.Process(shipped.hurt(name), name)
    assert process.step() == "waits"
    process.approve()
    return process


def _planes(process: shipped.Process) -> recovery.Plane:
    return process.world.model if process.name == "bad-model-promotion" else process.world.features


@pytest.mark.parametrize("name", shipped.BOOKS)
def test_a_plan_that_the_world_overtook_is_made_anew_as_a_whole(name: str) -> None:
    """Somebody moves the plane between yes and resume: every line speaks of what is live now, and the yes is void."""
    process = _approved(name)
    plane = _planes(process)
    worse = "4" if name == "bad-model-promotion" else "v4"
    plane.contents[worse] = b"frozen, bad as well"
    plane.live = worse
    heard: list[progress.Event] = []
    on = process.world.platform()
    made = engine.Engine(on, catalog.build(on), report=heard.append)
    with pytest.raises(
        ApprovalRequired, match="the plan changed since it was approved: roll-back, block-bad"
    ) as caught:
        made.resume("r1")
    assert "the approval of plan" in caught.value.message
    assert "by lena is void" in caught.value.message
    request = process.world.journal.of_kind(records.ApprovalRequested)[-1]
    assert f"{plane.which} {worse} -> " in request.summary[0]
    assert f"block {plane.which} {worse} " in request.summary[1]
    view = screen.View()
    for event in heard:
        view = screen.after(view, event)
    assert "asked anew: the plan changed since it was approved" in screen.final(view)
    process.approve()
    assert process.step() == "recovered"
    assert list(plane.marks) == [worse]


@pytest.mark.parametrize("name", shipped.BOOKS)
def test_a_way_back_that_closed_after_the_approval_leads_to_the_containment(name: str) -> None:
    process = _approved(name)
    plane = _planes(process)
    for good in ("1", "2", "v1", "v2"):
        if good in plane.contents:
            plane.contents[good] = b"cut off"
    assert process.step() == "waits", "the fallback is asked for, not taken for granted"
    request = process.world.journal.of_kind(records.ApprovalRequested)[-1]
    assert [line.partition(":")[0] for line in request.summary] == ["contain-only", "tell-contained"]
    ended = process.world.journal.of_kind(records.StepEnded)[-1]
    assert (ended.step, ended.outcome.status.value) == ("check-target", "failed")
    assert "bytes were changed in place" in ended.outcome.summary
    process.approve()
    assert process.step() == "contained"
    assert process.world.server.fallback_on


@pytest.mark.parametrize("name", shipped.BOOKS)
def test_a_service_that_somebody_else_recovered_is_not_touched_after_the_approval(name: str) -> None:
    process = _approved(name)
    plane = _planes(process)
    plane.live = "2" if name == "bad-model-promotion" else "v2"
    effects = dict(process.world.effects)
    assert process.step() == "failed"
    assert "nothing to take back" in process.world.journal.of_kind(records.RunEnded)[-1].why
    assert not process.world.server.fallback_on
    assert dict(process.world.effects) == effects


@pytest.mark.parametrize("name", shipped.BOOKS)
@pytest.mark.parametrize("hurt", [True, False])
def test_a_version_that_does_not_exist_is_a_slip_and_starts_nothing(name: str, hurt: bool) -> None:
    world = shipped.hurt(name) if hurt else recovery.World()
    before, written = world.state(), len(world.journal.written)
    for call in (shipped.runner(world).start, shipped.runner(world).preview):
        with pytest.raises(InputError, match=r"to=99: there is no .* 99; nothing was started"):
            call(shipped.document(name), "postcode", {"to": "99"})
    assert (world.state(), len(world.journal.written)) == (before, written)


@pytest.mark.parametrize("name", shipped.BOOKS)
def test_a_named_version_that_nobody_can_go_to_ends_before_the_first_effect(name: str) -> None:
    world = shipped.hurt(name)
    plane = world.model if name == "bad-model-promotion" else world.features
    oldest = next(iter(plane.contents))
    plane.contents[oldest] = b"cut off"
    before = world.state()
    assert shipped.runner(world).start(shipped.document(name), "postcode", {"to": oldest}).status == "failed"
    assert f"nobody can go to {oldest}" in world.journal.of_kind(records.RunEnded)[-1].why
    assert (world.state(), world.journal.of_kind(records.StepIntended)) == (before, [])


@pytest.mark.parametrize("name", shipped.BOOKS)
def test_a_plan_names_no_value_that_nobody_has(name: str) -> None:
    world = recovery.World()
    seen = shipped.runner(world).preview(shipped.document(name), "postcode")
    assert not [line for line in seen.lines if "<" in line.will + line.problem and "run-to-be" not in line.will]
    assert "check-target says no" in next(line.will for line in seen.lines if line.step == "roll-back") or seen.problems
