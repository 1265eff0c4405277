"""What every action keeps: looking changes nothing, acting and taking back may be repeated, observe tells the truth."""

from __future__ import annotations

import pytest

from ddr.actions import catalog
from ddr.domain import outcomes
from ddr.errors import InputError
from ddr.ports import verb
from tests import recovery
from tests.unit.actions import calls

OK = outcomes.Status.OK
REPEATED = {"features.refresh", "jobs.suspend"}
"""Has no lasting mark of having been done: it is simply done again."""

CONTRACT = {
    "changes.list",
    "signals.read",
    "signals.hold",
    "target.needed",
    "target.check",
    "promotions.freeze",
    "promotions.thaw",
    "plane.switch",
    "revision.block",
    "serving.behind",
    "serving.roll",
    "features.refresh",
    "serving.fallback",
    "view.isolate",
    "jobs.suspend",
    "rollback.check",
    "rollback.switch",
    "rollback.hold",
    "rollback.prove",
    "comms.post",
    "incident.move",
}


def test_the_catalog_has_every_verb_once() -> None:
    found = catalog.build(recovery.World().platform())
    assert set(found) == CONTRACT
    assert {name for name, made in found.items() if made.changes} == {case.name for case in calls.ACTIONS}
    assert all(isinstance(made, verb.Described) for made in found.values())


def test_two_verbs_of_one_name_are_a_crash_at_start() -> None:
    found = catalog.build(recovery.World().platform())
    with pytest.raises(ValueError, match=r"two verbs are called 'comms\.post'"):
        catalog.join(found.values(), [found["comms.post"]])


@pytest.mark.parametrize("case", calls.ACTIONS, ids=str)
def test_looking_changes_nothing(case: calls.Case) -> None:
    desk = case.begin()
    before = (desk.world.state(), len(desk.world.journal.written), dict(desk.world.effects))
    made, call = desk.made(case.name), desk.call(**case.inputs)
    prepared = made.prepare(call)
    made.observe(call, prepared.settled)
    assert made.problems(case.inputs, desk.world.platform().service("postcode")) == ()
    assert (desk.world.state(), len(desk.world.journal.written), dict(desk.world.effects)) == before
    assert prepared.will
    assert prepared.undo
    assert all(isinstance(value, str) for value in prepared.settled.values())
    assert made.prepare(call) == prepared, "the same world gives the same plan"


@pytest.mark.parametrize("case", calls.ACTIONS, ids=str)
def test_observe_tells_before_from_after(case: calls.Case) -> None:
    desk = case.begin()
    made, call = desk.made(case.name), desk.call(**case.inputs)
    settled = made.prepare(call).settled
    assert made.observe(call, settled) is verb.Seen.NOT_DONE
    assert made.act(call, settled).status is OK
    assert made.observe(call, settled) is (verb.Seen.NOT_DONE if case.name in REPEATED else verb.Seen.DONE)


@pytest.mark.parametrize("case", calls.ACTIONS, ids=str)
def test_acting_and_taking_back_may_be_repeated(case: calls.Case) -> None:
    desk = case.begin()
    made, call = desk.made(case.name), desk.call(**case.inputs)
    settled = made.prepare(call).settled
    before = desk.world.state()[0]  # type: ignore[index]
    assert made.act(call, settled).status is OK
    after, effects = desk.world.state(), dict(desk.world.effects)
    assert made.act(call, settled).status in (OK, outcomes.Status.SKIPPED)
    assert (desk.world.state(), dict(desk.world.effects)) == (after, effects), "the second time changes nothing"
    taken_back = (outcomes.Status.UNDONE, outcomes.Status.SKIPPED)
    assert made.undo(call, settled).status in taken_back
    assert desk.world.state()[0] == before  # type: ignore[index]
    effects = dict(desk.world.effects)
    assert made.undo(call, settled).status in taken_back
    assert dict(desk.world.effects) == effects, "the second undo changes nothing"


@pytest.mark.parametrize("case", calls.ACTIONS, ids=str)
def test_taking_back_what_was_never_done_changes_nothing(case: calls.Case) -> None:
    desk = case.begin()
    made, call = desk.made(case.name), desk.call(**case.inputs)
    settled = made.prepare(call).settled
    before = desk.world.state()
    assert made.undo(call, settled).status in (outcomes.Status.UNDONE, outcomes.Status.SKIPPED)
    assert desk.world.state()[0] == before[0]  # type: ignore[index]


@pytest.mark.parametrize("case", calls.ACTIONS, ids=str)
def test_wrong_inputs_are_all_named_and_templates_are_let_pass(case: calls.Case) -> None:
    desk = case.begin()
    made = desk.made(case.name)
    service = desk.world.platform().service("postcode")
    wrong = made.problems({**case.inputs, "nonsense": 1}, service)
    assert any(problem.startswith("nonsense: is not known here") for problem in wrong)
    later = dict.fromkeys(case.inputs, "{{ steps.look.value }}")
    assert made.problems(later, service) == ()
    if case.inputs:
        with pytest.raises(InputError, match=case.name):
            made.prepare(desk.call(nonsense=1))
