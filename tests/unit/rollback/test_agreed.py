"""What people agree to: one digest from the plan to the approval, and the way back to what was bad asks as well."""

from __future__ import annotations

import copy

import pytest

from ddr.domain import changes, records, runbooks
from ddr.errors import ApprovalRequired, InputError, Interrupted, Refused
from ddr.rollback import book, proposal
from ddr.runbook import approval, engine
from tests import recovery
from tests.unit.rollback import runs

MODEL, FEATURES = runs.MODEL, runs.FEATURES
GOOD = {MODEL: runs.LAST_GOOD}


def promoted() -> recovery.World:
    world = recovery.World()
    world.promote()
    by = changes.Change(MODEL, "digit", world.clock.now(), "2", "3", "ci-bot", source="registry")
    world.model.changes = lambda since: [by]  # type: ignore[method-assign]
    world.effects.clear()
    return world


def asked(world: recovery.World) -> records.ApprovalRequested:
    return world.journal.of_kind(records.ApprovalRequested)[-1]


def agree(world: recovery.World, *, granted: bool = True, run: str = "r1", who: str = "lena") -> None:
    on = runs.platform(world, who, approvers=True)
    approval.decide(on, run, plan=asked(world).plan_digest, granted=granted, why="" if granted else "no")


def start(world: recovery.World, options: book.Options | None = None) -> engine.Finish:
    on = runs.platform(world, approvers=True)
    return runs.runner(world, approvers=True).start(runs.document(on, GOOD, options), "postcode", run="r1")


def recovered(world: recovery.World) -> None:
    with pytest.raises(ApprovalRequired):
        start(world)
    agree(world)
    assert runs.runner(world, approvers=True).resume("r1").status == "recovered"


def undo(world: recovery.World, *, glass: str = "", only: tuple[str, ...] = ()) -> engine.Finish:
    return runs.runner(world, approvers=True).undo("r1", break_glass=glass, only=only)


def test_the_digest_of_the_plan_is_what_is_approved() -> None:
    world = promoted()
    found = proposal.propose(runs.platform(world, approvers=True), "postcode", GOOD)
    with pytest.raises(ApprovalRequired, match=book.digest_of(found, book.Options()).removeprefix("sha256:")[:12]):
        start(world)
    assert asked(world).plan_digest == book.digest_of(found, book.Options())
    with pytest.raises(InputError, match="does not wait for plan"):
        approval.decide(runs.platform(world, "lena", approvers=True), "r1", plan=found.plan.digest)


def test_the_one_who_approves_reads_what_the_plan_has_shown() -> None:
    world = promoted()
    with pytest.raises(ApprovalRequired):
        start(world)
    told = asked(world).summary
    for beginning in (
        "take-back-model: ",
        "now: model digit 3, bytes ",
        "target: model digit 2, bytes ",
        "ok: fits input columns: ",
        "reverts: ci-bot: changed it 1 time in 7d; stop: ",
        "proof: watched 10s for who takes it back, other planes the same digests; then, on what comes after the switch",
    ):
        assert [line for line in told if line.startswith(beginning)], beginning
    assert "all of: golden, scores, wrong-answers, errors" in told[-1]
    assert "known good since" in next(line for line in told if line.startswith("target: "))


OTHER = {
    "another target": ({MODEL: "1"}, book.Options()),
    "one plane more": ({MODEL: runs.LAST_GOOD, FEATURES: "v1"}, book.Options()),
    "no mark": (GOOD, book.Options(mark=False)),
    "no proof": (GOOD, book.Options(prove=False)),
    "frozen for good": (GOOD, book.Options(keep_frozen=True)),
}


@pytest.mark.parametrize("name", OTHER)
def test_another_plan_has_another_digest(name: str) -> None:
    on = runs.platform(promoted())
    wanted, options = OTHER[name]
    one = book.digest_of(proposal.propose(on, "postcode", GOOD), book.Options())
    assert book.digest_of(proposal.propose(on, "postcode", wanted), options) != one
    assert book.digest_of(proposal.propose(on, "postcode", GOOD), book.Options()) == one, (
        "looked at again it is the same"
    )


def test_writes_that_are_others_by_now_are_not_approved_by_the_digest_of_the_paper() -> None:
    world = promoted()
    with pytest.raises(ApprovalRequired):
        start(world)
    paper = asked(world).plan_digest
    agree(world)
    world.model.block("3", "by hand")  # the step that blocks it now finds a mark that it must not take off
    with pytest.raises(ApprovalRequired):
        runs.runner(world, approvers=True).resume("r1")
    assert asked(world).plan_digest != paper
    assert world.model.live == "3", "nothing was switched"
    agree(world)
    assert runs.runner(world, approvers=True).resume("r1").status == "recovered"


def test_the_way_back_to_the_bad_one_asks_as_the_way_there_did() -> None:
    world = promoted()
    recovered(world)
    with pytest.raises(ApprovalRequired) as told:
        undo(world)
    assert "taking it back: waits for approval" in told.value.message
    assert (world.model.live, list(world.model.marks)) == ("2", ["3"]), "nothing is back"
    request = asked(world)
    assert request.step == runbooks.UNDO
    assert any("it brings back model 3, and it is blocked" in line for line in request.summary)
    with pytest.raises(Refused, match="is not among the approvers"):
        approval.decide(runs.platform(world, "anna", approvers=True), "r1", plan=request.plan_digest)
    with pytest.raises(ApprovalRequired):
        undo(world)
    agree(world)
    assert undo(world).status == "undone"
    assert (world.model.live, list(world.model.marks)) == ("3", [])


def test_denied_it_stays_and_has_its_end_again() -> None:
    world = promoted()
    recovered(world)
    with pytest.raises(ApprovalRequired):
        undo(world)
    agree(world, granted=False)
    with pytest.raises(Refused, match="it was denied; it stays recovered"):
        undo(world)
    assert world.model.live == "2"
    assert world.journal.of_kind(records.RunEnded)[-1].status == "recovered"


def test_one_who_thinks_better_of_it_resumes() -> None:
    world = promoted()
    recovered(world)
    with pytest.raises(ApprovalRequired):
        undo(world)
    assert runs.runner(world, approvers=True).resume("r1").status == "recovered"
    assert world.model.live == "2"


def test_broken_glass_is_loud_and_does_it() -> None:
    world = promoted()
    recovered(world)
    assert undo(world, glass="the good one is worse").status == "undone"
    assert world.model.live == "3"
    assert any("GLASS BROKEN by anna" in text for _, text in world.notifier.posted.values())


@pytest.mark.parametrize("step", ["take-back-model", "mark-model"])
def test_a_single_step_is_no_way_around_it(step: str) -> None:
    world = promoted()
    recovered(world)
    with pytest.raises(Refused, match="somebody has to agree"):
        undo(world, only=(step,))
    assert (world.model.live, list(world.model.marks)) == ("2", ["3"])


def test_unproved_and_paused_it_asks_too() -> None:
    world = promoted()
    with pytest.raises(ApprovalRequired):
        start(world)
    agree(world)
    world.silent.add("model")
    with pytest.raises(Interrupted, match="not proved"):
        runs.runner(world, approvers=True).resume("r1")
    with pytest.raises(ApprovalRequired):
        undo(world)
    world.silent.clear()
    assert runs.runner(world, approvers=True).resume("r1").status == "recovered", "the old approval still counts"


def test_what_was_never_marked_bad_comes_back_without_a_word() -> None:
    world = promoted()
    with pytest.raises(ApprovalRequired):
        start(world, book.Options(mark=False))
    agree(world)
    assert runs.runner(world, approvers=True).resume("r1").status == "recovered"
    assert undo(world).status == "undone"


def test_where_nobody_is_named_nobody_is_asked() -> None:
    world = promoted()
    document = runs.document(runs.platform(world), GOOD)
    assert runs.runner(world).start(document, "postcode", run="r1").status == "recovered"
    assert runs.runner(world).undo("r1").status == "undone"


def test_killed_while_it_asks_it_asks_again() -> None:
    """At every write until the request stands: a claim alone makes nobody free to take it back."""
    world = promoted()
    recovered(world)
    asked_before = len(world.journal.of_kind(records.ApprovalRequested))
    for die_at in [(1, "after"), (2, "before"), (2, "after"), (3, "before")]:
        dead = copy.deepcopy(world)
        dead.journal.live_again(die_at)
        with pytest.raises(recovery.Killed):
            undo(dead)
        dead.journal.live_again()
        with pytest.raises(ApprovalRequired, match="taking it back"):
            undo(dead)
        assert dead.model.live == "2", die_at
        assert len(dead.journal.of_kind(records.ApprovalRequested)) > asked_before
