"""An index of another embedder than the one that serves, where no other plane says what the queries are made with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from ddr.domain import planes, records, revisions, signals
from ddr.ports import platform as platforms
from ddr.rollback import book, planner, proposal
from tests import recovery
from tests.unit.rollback import runs

INDEX, MODEL, CODE = planes.Plane.INDEX, recovery.MODEL, recovery.CODE
OURS = "v000001-0123456789ab"
LAST_GOOD = {INDEX: runs.LAST_GOOD}
ONE, TWO = "1" * 64, "2" * 64
MISFIT = f"look v1 has embedder {ONE[:12]}, but v2, which serves, has {TWO[:12]}; "
TOGETHER = "model 1 and code 1.4.0 served with one of that in the known-good release r-1"
ALONG = "what asks with it may go along: --with model=REVISION or --with code=REVISION"


def world_of(model: str = "2", *, code: str = "1.4.0", is_known: bool = False) -> recovery.World:
    """v1 served with model 1 and code 1.4.0 when it was known good; v2, of another embedder, serves now. `is_known`:
    with model 2 it was known good, too."""
    world = recovery.World()
    facts: dict[str, Mapping[str, str]] = {
        name: {revisions.EMBEDDER: TWO if name == "v2" else ONE} for name in ("v1", "v2", "v3", OURS)
    }
    contents = {name: name.encode() for name in facts}
    world.planes[INDEX] = recovery.Plane(INDEX, "look", contents, "v1", world.effects, facts=facts)
    world.journal.written.clear()
    release = world.release("r-1", model="1")
    assert INDEX in release.revisions
    world.journal.append(records.ReleaseRecorded(release))
    if is_known:
        world.planes[INDEX].live, world.model.live = "v2", "2"
        world.journal.append(records.ReleaseRecorded(world.release("r-2", model="2")))
    for acting, live in ((world.code, code), (world.model, model)):
        acting.contents.setdefault(live, live.encode())
        acting.facts.setdefault(live, {})
    world.planes[INDEX].live, world.model.live, world.code.live = "v2", model, code
    world.server.roll()
    return world


def platform(world: recovery.World) -> platforms.Platform:
    on = runs.platform(world)
    entry = on.service("postcode")
    entry = dataclasses.replace(entry, planes={**entry.planes, INDEX: "lookalikes"})
    return dataclasses.replace(on, services={"postcode": entry})


def fits(found: proposal.Proposal) -> tuple[signals.State, str]:
    (check,) = [check for check in found.plan.checks if check.name == "fits embedder"]
    return check.state, check.detail


def unknown(what: str, way_out: str = "no known-good combination fits it") -> str:
    return f"whether the queries of {what} are made by it is not known; {way_out}"


MODEL_TOO = "it fits together with model to 1 (release r-1)"
CODE_TOO = "it fits together with code to 1.4.0 (release r-1)"
KNOWN = f"in known-good releases model 2 and code 1.4.0 served with one of {TWO[:12]} alone"


@pytest.mark.parametrize(
    ("model", "code", "wanted", "detail"),
    [
        ("1", "1.4.0", LAST_GOOD, TOGETHER),
        ("1", "1.4.0", {INDEX: "v3"}, TOGETHER),
        ("2", "1.4.0", LAST_GOOD, unknown("model 2 and code 1.4.0", MODEL_TOO)),
        ("2", "1.4.0", {**LAST_GOOD, MODEL: "1"}, TOGETHER),
        ("2", "1.4.0", {**LAST_GOOD, MODEL: ""}, TOGETHER),
        ("1", "1.4.0", {**LAST_GOOD, MODEL: "2"}, unknown("model 2 and code 1.4.0", MODEL_TOO)),
        ("1", "1.5.0", LAST_GOOD, unknown("model 1 and code 1.5.0", CODE_TOO)),
    ],
)
def test_it_goes_back_where_nothing_speaks_against_it(
    model: str, code: str, wanted: Mapping[planes.Plane, str], detail: str
) -> None:
    found = proposal.propose(platform(world_of(model, code=code)), "postcode", wanted)
    to = wanted[INDEX] or "v1"
    assert fits(found) == (signals.State.UNKNOWN, MISFIT.replace("v1", "v3" if to == "v3" else "v1") + detail)
    assert not found.plan.refusals


@pytest.mark.parametrize(
    ("model", "wanted"),
    [("2", LAST_GOOD), ("1", {**LAST_GOOD, MODEL: "2"})],
)
def test_what_asks_is_known_to_ask_with_another(model: str, wanted: Mapping[planes.Plane, str]) -> None:
    on = platform(world_of(model, is_known=True))
    found = proposal.propose(on, "postcode", {**wanted, INDEX: "v1"})
    assert fits(found) == (signals.State.BAD, f"{MISFIT}{KNOWN}; {MODEL_TOO}; {ALONG}")
    assert found.plan.refusals


def test_one_of_ddr_index_has_a_way_of_its_own() -> None:
    on = platform(world_of(is_known=True))
    found = proposal.propose(on, "postcode", {INDEX: OURS})
    assert fits(found)[1].endswith(f"; {ALONG} or `ddr index rollback --to {OURS} --model-also`")
    assert planner.plan(on, "postcode", INDEX, OURS).refusals == found.plan.refusals


def test_a_model_that_goes_along_is_one_that_asked_such_an_index() -> None:
    """Also where the code is another one since, and the newest good model asked one of another embedder."""
    world = world_of("3", code="1.5.0", is_known=True)
    found = proposal.propose(platform(world), "postcode", {INDEX: "v1", MODEL: ""})
    assert [move.target.name for move in found.plan.moves if move.plane is MODEL] == ["1"]


def test_damage_of_what_serves_does_not_hide_that_another_embedder_comes() -> None:
    """What is damaged says nothing of itself."""
    world = world_of(is_known=True)
    world.planes[INDEX].facts["v2"] = {}
    state, detail = fits(proposal.propose(platform(world), "postcode", {INDEX: "v1"}))
    assert (state, "but v2, which serves, does not say its own" in detail) == (signals.State.BAD, True)


def test_what_cannot_be_read_proves_nothing() -> None:
    world = world_of("1")
    world.model.down = "the registry is away"
    found = fits(proposal.propose(platform(world), "postcode", LAST_GOOD))
    assert found == (signals.State.UNKNOWN, MISFIT + unknown("code 1.4.0"))


@pytest.mark.parametrize("plane", [MODEL, CODE], ids=str)
def test_a_plane_that_says_its_embedder_decides(plane: planes.Plane) -> None:
    for said, state in ((ONE, signals.State.OK), (TWO, signals.State.BAD)):
        world = world_of("1")
        acting = world.model if plane is MODEL else world.code
        acting.facts[acting.live] = {revisions.EMBEDDER: said}
        assert fits(proposal.propose(platform(world), "postcode", LAST_GOOD))[0] is state


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_an_index_that_names_none_is_not_held_to_any(name: str) -> None:
    world = world_of()
    world.planes[INDEX].facts[name] = {}
    assert fits(proposal.propose(platform(world), "postcode", LAST_GOOD))[0] is signals.State.UNKNOWN


def test_both_go_back_as_a_run() -> None:
    world = world_of()
    on = platform(world)
    found = proposal.propose(on, "postcode", {**LAST_GOOD, MODEL: "1"})
    assert found.plan.refusals == ()
    assert book.of_rollback(on.service("postcode"), found, book.Options(), on.clock.now())


STAYS = (
    f"look v2, which stays, has embedder {TWO[:12]}; in known-good releases model 1 and code 1.4.0 served with one of "
    f"{ONE[:12]} alone; the index of then goes along by --with index=v1 (release r-1)"
)


@pytest.mark.parametrize(
    ("live", "wanted"),
    [
        ({MODEL: "2"}, {MODEL: "1"}),
        ({MODEL: "2"}, {MODEL: ""}),
        ({MODEL: "1", CODE: "1.5.0"}, {CODE: "1.4.0"}),
        ({MODEL: "2", CODE: "1.5.0"}, {MODEL: "1", CODE: "1.4.0"}),
    ],
)
def test_what_asks_goes_back_across_a_change_of_embedder(
    live: Mapping[planes.Plane, str], wanted: Mapping[planes.Plane, str]
) -> None:
    world = world_of(live[MODEL], code=live.get(CODE, "1.4.0"))
    wanted = {plane: to or planner.LAST_GOOD for plane, to in wanted.items()}
    found = proposal.propose(platform(world), "postcode", wanted)
    assert fits(found) == (signals.State.UNKNOWN, STAYS)
    assert not found.plan.refusals


@pytest.mark.parametrize(
    ("index", "model", "wanted"),
    [
        ("v1", "2", {MODEL: "1"}),  # the index is that of then
        ("v2", "1", {MODEL: "2"}),  # with which it served once
        ("v2", "2", {MODEL: "3"}),  # of which nothing is known
        ("v2", "2", {MODEL: "1", CODE: "1.5.0"}),
    ],
)
def test_nothing_is_told_where_nothing_speaks_against_it(
    index: str, model: str, wanted: Mapping[planes.Plane, str]
) -> None:
    world = world_of(model, is_known=True)
    world.planes[INDEX].live = index
    for acting, name in ((world.model, "3"), (world.code, "1.5.0")):
        acting.contents.setdefault(name, name.encode())
        acting.facts.setdefault(name, {})
    found = proposal.propose(platform(world), "postcode", wanted)
    assert not [check for check in found.plan.checks if check.name == "fits embedder"]


def test_a_model_that_says_its_embedder_is_held_to_it_when_it_goes_back() -> None:
    world = world_of("2")
    world.model.facts["1"] = {revisions.EMBEDDER: ONE}
    assert fits(proposal.propose(platform(world), "postcode", {MODEL: "1"}))[0] is signals.State.BAD
