"""Where a rollback goes: a time is what the release ledger says of it, and nowhere is a step taken to where one is."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from ddr.cli import options
from ddr.domain import changes, moments, planes, signals
from ddr.errors import Refused, UnknownName
from ddr.release import past
from ddr.rollback import book
from tests import recovery
from tests.unit.rollback import runs

MODEL, CODE = runs.MODEL, runs.CODE


def promoted() -> recovery.World:
    world = recovery.World()
    world.promote()
    world.effects.clear()
    return world


@pytest.mark.parametrize("to", ["2", "30m ago", "2h ago", runs.LAST_GOOD])
def test_where_one_is_there_is_nothing_to_do(to: str) -> None:
    """`2h ago` is what was live when nobody has moved it since: that is where it is."""
    world = recovery.World()
    if to == "2h ago":
        world.journal.written.pop(0)  # nobody ever saw version 1 live
        world.clock.sleep(3 * 3600)
    found = runs.propose(world, {MODEL: to})
    assert found.plan.moves == (), to
    assert found.there.startswith("model is at digit 2 ("), to


def test_no_plan_blocks_the_revision_it_goes_to() -> None:
    """Every revision and every hour, from every revision that may be live: never the target's own name."""
    plans = 0
    for live in ("1", "2", "3"):
        world = promoted()
        world.model.live = live
        service = runs.platform(world).service("postcode")
        for to in ("1", "2", "3", "90m ago", "30m ago", "1m ago", runs.LAST_GOOD):
            try:
                found = runs.propose(world, {MODEL: to})
            except Refused:
                continue
            blocked = book.of_rollback(service, found, book.Options(), world.clock.now()) if found.plan.moves else ""
            for move in found.plan.moves:
                assert move.live.name != move.target.name, (live, to)
                assert f'"revision": "{move.target.name}"' not in blocked, (live, to)
            plans += 1
    print(f"{plans} plans")
    assert plans > 10


def by_hand(world: recovery.World, name: str, *, told: bool) -> datetime:
    """Somebody moves the alias, and the registry tells of it or does not."""
    at, was = world.clock.now(), world.model.live
    world.model.contents.setdefault(name, b"by hand")
    world.model.live = name
    log = [changes.Change(MODEL, "digit", at, was, name, "ci-bot", source="registry")] if told else []
    world.model.changes = lambda since: [one for one in log if one.at >= since]  # type: ignore[method-assign]
    return at


def test_a_time_between_a_sighting_and_a_move_by_hand_is_open_as_the_ledger_says() -> None:
    world = recovery.World()  # seen an hour ago with version 2
    by_hand(world, "4", told=False)
    world.clock.sleep(1800)
    on = runs.platform(world)
    with pytest.raises(Refused, match="model was at 2 or at 4 at") as refused:
        runs.propose(world, {MODEL: "1h ago"})
    assert refused.value.hint == "name the one you mean: --to 2   or   --to 4"
    at = options.moment("1h ago", world.clock.now(), "--at")
    (then,) = (one for one in past.at(on, "postcode", at).planes if one.plane is MODEL)
    assert then.certainty is moments.Certainty.OPEN


def test_what_a_source_tells_of_its_own_moves_counts() -> None:
    world = recovery.World()
    by_hand(world, "4", told=True)
    world.clock.sleep(1800)
    before = runs.propose(world, {MODEL: "1h ago"})
    assert before.plan.moves[0].target.name == "2"
    (check,) = (check for check in before.plan.checks if check.name == "as it was then")
    assert check.state is signals.State.OK
    assert "moved away" in check.detail
    assert "by ci-bot (registry)" in check.detail
    assert runs.propose(world, {MODEL: "10m ago"}).plan.moves == (), "and since then it is where it is"


def test_the_two_commands_agree_at_every_quarter_of_an_hour() -> None:
    world = recovery.World()
    by_hand(world, "4", told=True)
    world.clock.sleep(3600)
    world.model.contents["5"] = b"again"
    world.model.live = "5"
    world.clock.sleep(900)
    on, agreed = runs.platform(world), 0
    for quarters in range(1, 16):
        at = world.clock.now() - timedelta(minutes=15 * quarters)
        then = next((one for one in past.at(on, "postcode", at).planes if one.plane is MODEL), None)
        text = f"{15 * quarters}m ago"
        if then is None or then.revision is None:
            with pytest.raises(Exception, match="nobody can say"):
                runs.propose(world, {MODEL: text})
        elif then.certainty is moments.Certainty.OPEN:
            with pytest.raises(Refused, match="was at"):
                runs.propose(world, {MODEL: text})
        else:
            found = runs.propose(world, {MODEL: text})
            goes = found.plan.moves[0].target.name if found.plan.moves else world.model.live
            assert goes == then.revision.name, text
        agreed += 1
    print(f"{agreed} times")


def test_a_slip_of_the_pen_is_told_what_is_good_although_that_is_live() -> None:
    world = recovery.World()
    world.journal.written.pop(0)  # version 1 was never known good
    world.code.contents["1.5.0"] = b"newer"
    with pytest.raises(UnknownName) as told:
        runs.propose(world, {CODE: "1.5.0", MODEL: "99"})
    assert told.value.hint.startswith("known good: 2 (it is live); a time is written like")


def test_code_and_model_that_served_together_fit() -> None:
    world = recovery.World()
    schema = recovery.SCHEMA
    for name, python in (("1", "3.11.1"), ("2", "3.11.2")):
        world.model.facts[name] = {**schema, "flavor": "sklearn", "python": python, "packages": "a==1"}
    world.code.contents["1.5.0"] = b"app, newer"
    world.code.live = "1.5.0"
    world.server.roll()
    found = runs.propose(world, {CODE: runs.LAST_GOOD})
    (check,) = (check for check in found.plan.checks if check.name == "fits the code's runtime")
    assert (check.state, check.detail) == (
        signals.State.OK,
        "code 1.4.0 served model 2 in the known-good release r-2",
    )


def test_code_that_says_nothing_is_not_told_to_have_what_the_other_code_ran() -> None:
    world = recovery.World()
    world.model.facts["2"] = {**recovery.SCHEMA, "flavor": "sklearn", "python": "3.11.2"}
    world.code.contents |= {"1.5.0": b"newer", "1.3.0": b"never recorded"}
    world.code.live = "1.5.0"
    found = runs.propose(world, {CODE: "1.3.0"})
    (check,) = (check for check in found.plan.checks if check.name == "fits the code's runtime")
    assert check.detail.startswith("flavor: code 1.3.0 does not say; python: code 1.3.0 does not say")
    assert "which has sklearn" not in check.detail


def test_planes_that_nothing_freezes_are_told_with_what_to_do() -> None:
    world = recovery.World()

    class Unfrozen:
        """The code plane without the two methods that freeze it."""

        def __init__(self, plane: recovery.Plane) -> None:
            self._plane = plane

        def __getattr__(self, name: str) -> object:
            if name in ("freeze", "thaw", "frozen"):
                raise AttributeError(name)
            return getattr(self._plane, name)

    world.code.contents["1.5.0"] = b"newer"
    world.code.live = "1.5.0"
    move = changes.Change(CODE, "app", world.clock.now(), "1.4.0", "1.5.0", "ci-bot", source="log")
    world.code.changes = lambda since: [move]  # type: ignore[method-assign]
    world.planes[planes.Plane.CODE] = Unfrozen(world.code)  # type: ignore[assignment]
    found = runs.propose(world, {CODE: runs.LAST_GOOD})
    (check,) = (check for check in found.plan.checks if check.name == "freeze")
    assert check.detail == (
        "nothing freezes the code plane, its system has no such mark; by hand: pause the pipeline or job that deploys "
        "code"
    )
    assert found.freezable == ()
    assert [one.stop for one in found.reverters] == [
        "nothing here: tell ci-bot, or pause the pipeline or job that deploys code"
    ]
