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
TOGETHER = "model 1 and code 1.4.0 served with it in the known-good release r-1"
ALONG = "what asks with it may go along: --with model=REVISION or --with code=REVISION"


def world_of(model: str = "2", *, code: str = "1.4.0") -> recovery.World:
    """v1 served with model 1 and code 1.4.0 when it was known good; v2, of another embedder, serves now."""
    world = recovery.World()
    facts: dict[str, Mapping[str, str]] = {
        name: {revisions.EMBEDDER: TWO if name == "v2" else ONE} for name in ("v1", "v2", OURS)
    }
    contents = {name: name.encode() for name in facts}
    world.planes[INDEX] = recovery.Plane(INDEX, "look", contents, "v1", world.effects, facts=facts)
    world.journal.written.clear()
    release = world.release("r-1", model="1")
    assert INDEX in release.revisions
    world.journal.append(records.ReleaseRecorded(release))
    world.code.contents.setdefault(code, code.encode())
    world.code.facts.setdefault(code, {})
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


@pytest.mark.parametrize(
    ("model", "code", "wanted", "state", "detail"),
    [
        ("1", "1.4.0", LAST_GOOD, signals.State.UNKNOWN, TOGETHER),
        ("2", "1.4.0", LAST_GOOD, signals.State.BAD, f"it fits together with model to 1 (release r-1); {ALONG}"),
        ("2", "1.4.0", {**LAST_GOOD, MODEL: "1"}, signals.State.UNKNOWN, TOGETHER),
        ("2", "1.4.0", {**LAST_GOOD, MODEL: ""}, signals.State.UNKNOWN, TOGETHER),
        (
            "1",
            "1.4.0",
            {**LAST_GOOD, MODEL: "2"},
            signals.State.UNKNOWN,
            "model 2 must ask with that of v1, and does not say so",
        ),
        ("1", "1.5.0", LAST_GOOD, signals.State.BAD, f"it fits together with code to 1.4.0 (release r-1); {ALONG}"),
    ],
)
def test_it_goes_back_with_what_asks_it_or_where_that_is_as_it_was(
    model: str, code: str, wanted: Mapping[planes.Plane, str], state: signals.State, detail: str
) -> None:
    found = proposal.propose(platform(world_of(model, code=code)), "postcode", wanted)
    assert fits(found) == (state, MISFIT + detail)
    assert bool(found.plan.refusals) is (state is signals.State.BAD)


def test_one_of_ddr_index_has_a_way_of_its_own() -> None:
    on = platform(world_of())
    found = proposal.propose(on, "postcode", {INDEX: OURS})
    assert found.companions == {}
    assert fits(found)[1].endswith(
        f"; no known-good combination fits it; {ALONG} or `ddr index rollback --to {OURS} --model-also`"
    )
    assert planner.plan(on, "postcode", INDEX, OURS).refusals == found.plan.refusals


def test_what_cannot_be_read_proves_nothing() -> None:
    world = world_of("1")
    world.model.down = "the registry is away"
    assert fits(proposal.propose(platform(world), "postcode", LAST_GOOD))[0] is signals.State.BAD


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
