"""Where a plane can go back to, what speaks against it, and what would fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from ddr.domain import planes, plans, records, revisions, signals
from ddr.errors import Missing, Unavailable, Unsupported
from ddr.ports import connector
from ddr.rollback import planner
from tests import recovery

MODEL, FEATURES, CODE = recovery.MODEL, recovery.FEATURES, recovery.CODE
OK, BAD, UNKNOWN = signals.State.OK, signals.State.BAD, signals.State.UNKNOWN


def plan(world: recovery.World, plane: planes.Plane = MODEL, to: str = planner.LAST_GOOD) -> plans.Plan:
    return planner.plan(world.platform(), "postcode", plane, to)


def check(found: plans.Plan, name: str) -> plans.Check:
    return next(check for check in found.checks if check.name == name)


def promoted() -> recovery.World:
    world = recovery.World()
    world.promote()
    return world


def test_the_newest_good_revision_is_the_target() -> None:
    world = promoted()
    found = plan(world)
    assert (found.moves[0].live.name, found.moves[0].target.name) == ("3", "2")
    assert found.refusals == ()
    assert check(found, "target").detail == "digit 2, known good since 2026-11-02 07:00:00Z, bytes intact"
    assert check(found, "fits input columns") == plans.Check(
        "fits input columns", OK, "input columns aaaaaaaaaaaa as on features v2"
    )
    assert check(found, "reverters") == plans.Check(
        "reverters", UNKNOWN, "nothing keeps the model plane from being moved again; freeze it first"
    )
    world.model.freeze("for the test")
    assert check(plan(world), "reverters") == plans.Check("reverters", OK, "frozen: for the test")
    assert world.effects == {"freeze model": 1}, "planning touches nothing"


def test_weights_overwritten_in_place_make_the_name_no_target() -> None:
    world = recovery.World()
    world.overwrite_weights()
    found = plan(world)
    assert found.moves[0].target.name == "1"
    assert check(found, "passed over").detail.startswith("digit 2: its bytes were changed in place: recorded ")


def test_bad_bytes_gone_and_blocked_revisions_are_passed_over_and_said() -> None:
    world = promoted()
    world.model.contents["2"] += b"!"
    assert plan(world).moves[0].target.name == "1"

    world = promoted()
    del world.model.contents["2"]
    found = plan(world)
    assert found.moves[0].target.name == "1"
    assert check(found, "passed over").detail == "digit 2: it is no longer there"

    world = promoted()
    world.model.block("2", "also wrong")
    found = plan(world)
    assert found.moves[0].target.name == "1"
    assert check(found, "passed over").detail == "digit 2: it is blocked: also wrong"

    world = promoted()
    world.journal.append(
        records.RevisionMarked("postcode", MODEL, "digit", "2", world.model.find("2").digest, False, "seen to be wrong")
    )
    found = plan(world)
    assert found.moves[0].target.name == "1"
    assert check(found, "passed over").detail == "digit 2: it is blocked: seen to be wrong"


def test_a_mark_on_other_bytes_of_the_same_name_does_not_block_the_good_ones() -> None:
    world = promoted()
    other = "sha256:" + "9" * 64
    world.journal.append(records.RevisionMarked("postcode", MODEL, "digit", "2", other, False, "overwritten"))
    assert plan(world).moves[0].target.name == "2"


def test_with_nothing_good_left_there_is_no_plan() -> None:
    world = promoted()
    for name in ("1", "2"):
        world.model.contents[name] += b"!"
    with pytest.raises(Missing, match="nothing good to take the model plane back to") as problem:
        plan(world)
    assert problem.value.message.count("changed in place") == 2

    world = promoted()
    world.journal.written.clear()
    with pytest.raises(Missing) as problem:
        plan(world)
    assert problem.value.message.endswith("no release is recorded as known good")


@pytest.mark.parametrize(
    ("prepare", "name", "state", "detail"),
    [
        (lambda world: None, "2", OK, "digit 2, recorded as known good, bytes intact"),
        (
            lambda world: world.model.contents.update({"7": b"new"}),
            "7",
            UNKNOWN,
            "digit 7 was never recorded as known good; you vouch for it",
        ),
        (lambda world: world.model.block("2", "wrong"), "2", BAD, "digit 2: it is blocked: wrong"),
        (lambda world: world.model.contents.update({"2": b"x"}), "2", BAD, "digit 2: its bytes were changed in place"),
    ],
)
def test_a_target_that_a_person_names(prepare, name: str, state: signals.State, detail: str) -> None:  # type: ignore[no-untyped-def]
    world = promoted()
    prepare(world)
    found = check(plan(world, to=name), "target")
    assert found.state is state
    assert found.detail.startswith(detail)


def test_a_named_target_that_is_not_there() -> None:
    with pytest.raises(Missing) as problem:
        plan(promoted(), to="99")
    assert problem.value.message == "postcode: there is no digit 99"


def test_switching_to_what_is_live_is_said() -> None:
    found = plan(promoted(), to="3")
    assert check(found, "switch").state is UNKNOWN
    assert not found.moves[0].is_needed


def test_a_rollback_that_does_not_fit_is_refused_with_the_smallest_combination_that_does() -> None:
    """Model 2 and features v2 have other columns than what is live now; model 1 goes with features v1."""
    world = recovery.World()
    world.features.facts["v1"] = recovery.OTHER_SCHEMA
    world.model.facts["1"] = recovery.OTHER_SCHEMA
    world.journal.written.clear()
    world.journal.append(records.ReleaseRecorded(world.release("r-old", model="1", features="v1")))
    world.promote()
    found = plan(world)
    assert [check.name for check in found.refusals] == ["fits input columns"]
    assert found.refusals[0].detail == (
        "digit 1 has input columns bbbbbbbbbbbb, but features v2 has aaaaaaaaaaaa; "
        "it fits together with features to v1 (release r-old)"
    )
    assert plan(world, FEATURES).refusals[0].detail.endswith("it fits together with model to 1 (release r-old)")


def test_where_no_combination_fits_that_is_said() -> None:
    world = promoted()
    world.model.facts["2"] = recovery.OTHER_SCHEMA
    assert plan(world, to="2").refusals[0].detail.endswith("; no known-good combination fits it")


def test_an_index_must_have_been_built_with_the_embedder_in_use() -> None:
    world = recovery.World()
    index = planes.Plane.INDEX
    facts: dict[str, Mapping[str, str]] = {"v1": {revisions.EMBEDDER: "e1"}, "v2": {revisions.EMBEDDER: "e2"}}
    world.planes[index] = recovery.Plane(index, "look", {"v1": b"1", "v2": b"2"}, "v2", world.effects, facts=facts)
    world.code.facts["1.4.0"] = {revisions.EMBEDDER: "e2"}
    on = world.platform()
    entry = on.service("postcode")
    entry = dataclasses.replace(entry, planes={**entry.planes, index: "lookalikes"})
    found = planner.plan(dataclasses.replace(on, services={"postcode": entry}), "postcode", index, "v1")
    assert found.refusals[0].detail == (
        "look v1 has embedder e1, but code 1.4.0 has e2; no known-good combination fits it"
    )


def test_what_cannot_be_known_is_unknown_and_not_ok() -> None:
    world = promoted()
    world.features.down = "the store is away"
    found = check(plan(world), "fits input columns")
    assert found.state is UNKNOWN
    assert found.detail == "no other plane says its input columns; features: the store is away"

    world = promoted()
    world.model.facts["2"] = {}
    assert check(plan(world), "fits input columns").state is UNKNOWN


def test_a_plane_that_can_only_be_looked_at_is_refused() -> None:
    world = promoted()

    class OnlyLooks:
        revision, health, changes = world.model.revision, world.model.health, world.model.changes

    on = world.platform()
    seen: dict[planes.Plane, connector.Observable] = {MODEL: OnlyLooks(), FEATURES: world.features}
    with pytest.raises(Missing):
        planner.plan(dataclasses.replace(on, planes={"postcode": seen}), "postcode", MODEL)
    with pytest.raises(Unsupported, match="no index plane"):
        planner.plan(on, "postcode", planes.Plane.INDEX)


def test_what_is_live_must_be_readable() -> None:
    world = promoted()
    world.model.down = "the registry is away"
    with pytest.raises(Unavailable):
        plan(world)


def test_the_decision_is_pure_and_the_digest_names_it() -> None:
    world = promoted()
    seen = planner.look(world.platform(), "postcode", MODEL, planner.LAST_GOOD)
    assert planner.decide(seen, planner.LAST_GOOD) == planner.decide(seen, planner.LAST_GOOD)
    before = plan(world).digest
    assert plan(world).digest == before
    world.model.contents["3"] += b"!"
    assert plan(world).digest != before, "other bytes are live: another plan"
