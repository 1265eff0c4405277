"""A rollback as a run: what it refuses, who may be beside it, what proves it, and that nothing else is touched."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import timedelta

import pytest

from ddr.domain import changes, planes, records, releases, revisions, services, signals
from ddr.errors import Interrupted, Missing, Refused, UnknownName
from ddr.lib import decode
from ddr.rollback import book, proposal
from ddr.runbook import parse
from tests import recovery
from tests.unit.rollback import runs

MODEL, FEATURES, CODE = runs.MODEL, runs.FEATURES, runs.CODE


def summary(world: recovery.World, step: str) -> str:
    return [record.outcome.summary for record in world.journal.of_kind(records.StepEnded) if record.step == step][-1]


@pytest.mark.parametrize("wanted", [runs.GOOD, {MODEL: "1"}, {MODEL: "1h ago"}, {MODEL: "2", FEATURES: "v1"}], ids=str)
def test_a_plan_writes_nothing(wanted: Mapping[planes.Plane, str]) -> None:
    world = runs.promoted()
    before, world.journal.read_only = world.state(), True
    found = runs.propose(world, wanted)
    service = runs.platform(world).service("postcode")
    parse.read_text(book.of_rollback(service, found, book.Options(), world.clock.now()), book.SOURCE)
    assert (world.state(), world.effects) == (before, {})
    assert found.plan.moves
    assert json.dumps(decode.encode(found))


def test_only_the_plane_goes_back_and_the_bad_one_is_marked() -> None:
    world = runs.promoted()
    assert runs.carried_out(world).status == "recovered"
    assert (world.model.live, world.features.live, world.code.live) == ("2", "v2", "1.4.0")
    assert world.server.memory[MODEL][0] == "2"
    assert list(world.model.marks) == ["3"]
    assert world.model.frozen_why == ""
    assert "untouched: features v2, code 1.4.0" in summary(world, "hold")
    world.model.live = "3"
    found = runs.propose(world, {MODEL: "3", FEATURES: "v1"})
    assert (
        found.there == "model is at digit 3 (" + world.model.find("3").digest.removeprefix("sha256:")[:12] + ") already"
    )
    world.model.live = "2"
    with_bad = runs.propose(world, {MODEL: "3"})
    assert "it is blocked" in with_bad.plan.refusals[0].detail
    assert with_bad.possible == ("1",)


def test_the_newest_good_one_is_live_then_another_plane_is_wrong() -> None:
    found = runs.propose(recovery.World(), runs.GOOD)
    assert found.plan.moves == ()
    assert found.there.startswith("model is at digit 2 (")
    assert "known good since" in found.there


def test_moved_by_somebody_between_plan_and_apply() -> None:
    world = runs.promoted()
    document = runs.document(runs.platform(world), runs.GOOD)
    world.model.live = "1"
    finish = runs.runner(world).start(document, "postcode", run="r1")
    assert finish.status == "failed"
    assert "the plan was made for digit@3" in finish.why
    assert (world.model.live, world.effects) == ("1", {})


def test_moved_by_somebody_behind_the_check_is_a_conflict_too() -> None:
    """The check is not the lock: the switch itself compares."""
    world = runs.promoted()
    document = runs.document(runs.platform(world), runs.GOOD)
    freeze = world.model.freeze

    def frozen_and_moved(why: str) -> None:
        freeze(why)
        world.model.live = "1"

    world.model.freeze = frozen_and_moved  # type: ignore[method-assign]
    finish = runs.runner(world).start(document, "postcode", run="r1")
    assert finish.status == "failed"
    assert "not at digit@3" in finish.why
    assert (world.model.live, world.model.marks) == ("1", {})


@pytest.mark.parametrize("gone", [True, False], ids=["deleted", "damaged"])
def test_a_target_that_is_not_what_it_was(gone: bool) -> None:
    world = runs.promoted()
    document = runs.document(runs.platform(world), {MODEL: "2"})
    if gone:
        del world.model.contents["2"]
        with pytest.raises(Missing) as told:
            runs.propose(world, {MODEL: "2"})
        assert not isinstance(told.value, UnknownName), "it was there once"
        assert told.value.hint == "still possible: --to 1"
    else:
        world.model.contents["2"] += b"!"
        found = runs.propose(world, {MODEL: "2"})
        assert "changed in place" in found.plan.refusals[0].detail
        assert found.possible == ("1",)
    finish = runs.runner(world).start(document, "postcode", run="r1")
    assert finish.status == "failed"
    assert world.model.live == "3"
    assert runs.propose(world, runs.GOOD).plan.moves[0].target.name == "1", "the next good one"


def test_nothing_good_is_left() -> None:
    world = runs.promoted()
    for name in ("1", "2"):
        world.model.contents[name] += b"!"
    with pytest.raises(Missing, match="cannot go to last-good") as told:
        runs.propose(world, runs.GOOD)
    assert "ddr contain postcode" in told.value.hint


def test_what_is_live_is_damaged_and_can_be_left_all_the_same() -> None:
    world = runs.promoted()
    find = world.model.find

    def pointed() -> revisions.Revision:
        return revisions.Revision(MODEL, "digit", world.model.live)

    world.model.pointed = pointed  # type: ignore[attr-defined]
    assert runs.propose(world, runs.GOOD).plan.moves[0].live == pointed()
    assert find("3").digest
    assert runs.carried_out(world).status == "recovered"
    assert world.model.live == "2"


def test_two_engineers_at_once() -> None:
    world = runs.promoted()
    document = runs.document(runs.platform(world), runs.GOOD)
    refused: list[str] = []
    freeze = world.model.freeze

    def second(why: str) -> None:
        freeze(why)
        with pytest.raises((Interrupted, Refused)) as told:
            runs.runner(world, "ben").start(document, "postcode", run="r2")
        refused.append(told.value.message)

    world.model.freeze = second  # type: ignore[method-assign]
    assert runs.runner(world).start(document, "postcode", run="r1").status == "recovered"
    assert refused == ["run r1 (rollback-model) of postcode is worked on by anna on laptop"]
    assert world.effects["switch model 3 -> 2"] == 1
    third = runs.runner(world, "ben").start(document, "postcode", run="r3")
    assert third.status == "failed"
    assert "plan again" in third.why


@pytest.mark.parametrize("tells", [True, False], ids=["with a log", "without"])
def test_a_twin_that_takes_it_back_after_five_seconds(tells: bool) -> None:
    world = runs.promoted()

    def revert() -> None:
        now = world.clock.now()
        world.model.live = "3"
        if tells:
            log = changes.Change(MODEL, "digit", now, "2", "3", "promotion-bot", source="deployments.jsonl")
            world.model.changes = lambda since: [log] if log.at >= since else []  # type: ignore[method-assign]

    runs.later(world, timedelta(seconds=5), revert)
    finish = runs.carried_out(world)
    assert finish.status == "failed"
    assert "somebody took it back" in finish.why
    if tells:
        assert "by promotion-bot at" in finish.why
        assert "deployments.jsonl" in finish.why
    else:
        assert "no system remembers who did it" in finish.why
    assert world.model.frozen_why, "what was frozen stays frozen until somebody decides"


def test_another_plane_that_moves_meanwhile_is_told() -> None:
    world = runs.promoted()
    runs.later(world, timedelta(seconds=3), lambda: setattr(world.features, "live", "v1"))
    finish = runs.carried_out(world)
    assert finish.status == "failed"
    assert "features was" in finish.why
    assert "ddr did not touch it" in finish.why


def test_a_rollback_that_does_not_help_stays_and_says_so() -> None:
    world = runs.promoted()
    world.spoiled.add("model")
    finish = runs.carried_out(world)
    assert finish.status == "failed"
    assert "it is taken back and loaded, and still bad: golden" in finish.why
    assert world.model.live == "2"


def test_without_enough_traffic_it_is_not_called_recovered() -> None:
    world = runs.promoted()
    world.silent |= {"model", "rows"}
    with pytest.raises(
        Interrupted, match="switched, not proved: golden, scores, wrong-answers, errors not judged yet in 5m"
    ):
        runs.carried_out(world)
    world.silent.clear()
    assert runs.runner(world).resume("r1").status == "recovered"


def test_nobody_waited_so_it_is_switched_and_not_recovered() -> None:
    world = runs.promoted()
    before = world.clock.now()
    assert runs.carried_out(world, options=book.Options(prove=False)).status == "switched"
    assert world.clock.now() == before


def test_a_server_that_does_not_load_it() -> None:
    world = runs.promoted()
    roll = world.server.roll
    calls: list[int] = []

    def once() -> Mapping[planes.Plane, revisions.Revision]:
        calls.append(1)
        if len(calls) == 1:
            raise Refused("weights of another library")
        return roll()

    world.server.roll = once  # type: ignore[method-assign]
    finish = runs.carried_out(world)
    assert finish.status == "failed"
    assert runs.runner(world).undo("r1").status == "undone"
    assert (world.model.live, world.server.memory[MODEL][0]) == ("3", "3")


def test_a_model_that_does_not_fit_needs_its_features() -> None:
    world = recovery.World()
    runs.both_bad(world)
    alone = runs.propose(world, runs.GOOD)
    assert "input columns" in alone.plan.refusals[0].detail
    assert {plane: revision.name for plane, revision in alone.companions.items()} == {FEATURES: "v2"}
    both = runs.propose(world, {MODEL: runs.LAST_GOOD, FEATURES: "v2"})
    assert [move.plane for move in both.plan.moves] == [FEATURES, MODEL]
    assert both.plan.refusals == ()
    assert runs.propose(world, {MODEL: runs.LAST_GOOD, FEATURES: ""}).plan.digest == both.plan.digest
    assert runs.carried_out(world, {MODEL: "2", FEATURES: ""}).status == "recovered"
    assert runs.runner(world).undo("r1").status == "undone"
    assert (world.model.live, world.features.live, world.server.memory[MODEL][0]) == ("3", "v3", "3")


SKLEARN = {"flavor": "sklearn", "packages": "a==1,b==2"}


@pytest.mark.parametrize(
    ("model", "code", "state", "told"),
    [
        (
            {"python": "3.11.9", **SKLEARN},
            {},
            "ok",
            "flavor sklearn; python 3.11; 2 packages as the model that runs now",
        ),
        ({"python": "3.11.9", **SKLEARN}, {"packages": "a==1,b==2,c==3"}, "ok", "2 packages as the code"),
        ({"python": "3.9.1", **SKLEARN}, {"python": "3.11.2"}, "bad", "Python 3.9"),
        ({"python": "3.9.1", **SKLEARN}, {}, "unknown", "python 3.9 is new"),
        ({**SKLEARN, "flavor": "xgboost", "python": "3.11"}, {}, "unknown", "flavor xgboost is new"),
        ({}, {}, "unknown", "flavor: the model does not say; python: the model does not say; packages: the model pins"),
        (
            {"python": "3.11", **SKLEARN, "packages": "a==2"},
            {},
            "unknown",
            "made with a 2 (the model that runs now has 1)",
        ),
        ({"python": "3.11", **SKLEARN}, {"packages": "b==2"}, "unknown", "made with a 1 (the code has none)"),
    ],
)
def test_the_codes_runtime(model: dict[str, str], code: dict[str, str], state: str, told: str) -> None:
    world = runs.promoted()
    runs_now = {"python": "3.11.2", **SKLEARN}
    world.model.facts["3"] = {**recovery.SCHEMA, **runs_now}
    world.model.facts["2"] = {**recovery.SCHEMA, **model}
    world.code.facts["1.4.0"] = code
    world.code.contents["1.4.0"] += b", built anew"  # it never served with the target
    check = next(
        check for check in runs.propose(world, runs.GOOD).plan.checks if check.name == "fits the code's runtime"
    )
    assert check.state == signals.State(state), check
    assert told in check.detail


def test_who_could_put_it_back() -> None:
    world = runs.promoted()
    by = [
        changes.Change(MODEL, "digit", world.clock.now(), "", "3", actor) for actor in ("bot", "bot", "ddr-x", "anna")
    ]
    world.model.changes = lambda since: by  # type: ignore[method-assign]
    on = runs.platform(world)
    promoter = services.Promoter("nightly", MODEL, "CronJob ml/retrain", "kubectl patch cronjob retrain")
    entry = dataclasses.replace(on.service("postcode"), promoters=(promoter,))
    found = proposal.propose(dataclasses.replace(on, services={"postcode": entry}), "postcode", runs.GOOD)
    assert [(one.name, one.stop) for one in found.reverters] == [
        ("nightly", promoter.stop),
        ("bot", "the freeze, if bot obeys it; else tell them, or pause their job"),
    ]
    assert found.reverters[1].how == "changed it 2 times in 7d"
    assert not any("who else" in text for text in found.blind)


def test_an_index_of_another_embedder_goes_back_with_its_code_or_not_at_all() -> None:
    """Two indexes of one size say nothing; the embedder's fingerprint does."""
    index, one, two = planes.Plane.INDEX, {revisions.EMBEDDER: "e" * 64}, {revisions.EMBEDDER: "f" * 64}
    world = recovery.World()
    world.code.contents |= {"1.5.0": b"asks with f"}
    world.code.facts |= {"1.4.0": one, "1.5.0": two}
    world.planes[index] = recovery.Plane(
        index, "lookalikes", {"v1": b"e", "v2": b"f"}, "v1", world.effects, facts={"v1": one, "v2": two}
    )
    world.server.roll()
    world.journal.append(records.ReleaseRecorded(world.release("r-3")))
    world.clock.sleep(3600)
    world.code.live, world.planes[index].live = "1.5.0", "v2"
    on = runs.platform(world)
    entry = on.service("postcode")
    entry = dataclasses.replace(entry, planes={**entry.planes, index: "lookalikes"})
    on = dataclasses.replace(on, services={"postcode": entry})
    alone = proposal.propose(on, "postcode", {index: runs.LAST_GOOD})
    assert "has embedder eeeeeeeeeeee, but code 1.5.0 has ffffffffffff" in alone.plan.refusals[0].detail
    assert {plane: found.name for plane, found in alone.companions.items()} == {CODE: "1.4.0"}
    both = proposal.propose(on, "postcode", {index: runs.LAST_GOOD, CODE: "1.4.0"})
    assert both.plan.refusals == ()
    assert [(move.plane, move.target.name) for move in both.plan.moves] == [(index, "v1"), (CODE, "1.4.0")]


def test_going_away_from_what_is_known_good_is_worth_a_second_look() -> None:
    found = runs.propose(recovery.World(), {MODEL: "1"})
    assert [check.detail for check in found.plan.checks if check.name == "live"] == [
        "digit 2 is known good itself; --no-mark leaves it unblocked"
    ]
    assert not [check for check in runs.propose(runs.promoted(), runs.GOOD).plan.checks if check.name == "live"]


def test_a_release_by_hand_is_no_target_until_somebody_vouches() -> None:
    world = runs.promoted()
    seen = releases.Release("r-9", "postcode", world.clock.now(), {MODEL: world.model.find("3")})
    world.journal.append(records.ReleaseRecorded(seen))
    assert runs.propose(world, runs.GOOD).plan.moves[0].target.name == "2"
