"""Looking for what nobody recorded: found once, with when it can have happened, and never what somebody announced."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta

import pytest

from ddr.domain import changes, moments, planes, records, releases
from ddr.journal import views
from ddr.ports import journal as journal_port
from ddr.ports import platform as ports
from ddr.release import discovery, ledger, timeline
from tests import platforms, worlds

MODEL, CODE, CONFIG = planes.Plane.MODEL, planes.Plane.CODE, planes.Plane.CONFIG


@pytest.fixture
def world() -> worlds.World:
    made = worlds.World()
    made.advance(0.5)
    return made


def changes_of(on: ports.Platform) -> list[changes.Change]:
    return [event.record.change for event in on.journal.events() if isinstance(event.record, records.ChangeRecorded)]


def test_an_alias_moved_by_hand_is_found_once(world: worlds.World) -> None:
    on = platforms.platform(world)
    ledger.record(on, "digits")
    recorded = world.clock.now()
    world.clock.sleep(600)
    world.move_by_hand("3")
    world.clock.sleep(600)
    first = discovery.observe(on, "digits")
    (found,) = first.found
    assert (found.name, found.recorded, found.actor, found.source) == (
        "model:digit 2 → 3",
        False,
        "unknown",
        discovery.SOURCE,
    )
    assert (found.not_before, found.at) == (recorded, world.clock.now())
    assert changes_of(on) == [found]
    world.clock.sleep(300)
    again = discovery.observe(on, "digits")
    assert (again.found, again.is_recorded) == ((), False)
    assert len(changes_of(on)) == 1
    (told,) = timeline.changes(on, "digits", worlds.START).changes
    assert (told.name, told.recorded) == ("model:digit 2 → 3", False)


def test_where_the_clock_stands_the_order_of_the_journal_counts(world: worlds.World) -> None:
    """A look, a move, a look, a release, all at one instant; then the plane is away and nothing has moved."""
    on = platforms.platform(world)
    ledger.record(on, "digits")
    discovery.observe(on, "digits")
    world.clock.sleep(60)
    world.planes[CONFIG].live = "debug"
    assert [one.name for one in discovery.observe(on, "digits").found] == ["config:serving.yaml info → debug"]
    world.move_by_hand("3")
    assert [one.name for one in discovery.observe(on, "digits").found] == ["model:digit 2 → 3"]
    ledger.record(on, "digits")
    assert views.fold(on.journal.events()).sightings("digits")[-1].revisions[MODEL].name == "3"
    assert discovery.observe(on, "digits").found == ()
    world.planes[MODEL].down = "the registry is away"
    seen = discovery.observe(on, "digits")
    assert (seen.found, bool(seen.live.note)) == ((), True)


def test_back_and_forth_is_two_changes(world: worlds.World) -> None:
    on = platforms.platform(world)
    ledger.record(on, "digits")
    for version in ("3", "2", "3"):
        world.clock.sleep(300)
        world.move_by_hand(version)
        assert [change.after for change in discovery.observe(on, "digits").found] == [version]
    assert [change.name for change in changes_of(on)] == ["model:digit 2 → 3", "model:digit 3 → 2", "model:digit 2 → 3"]


def test_weights_overwritten_in_place_are_found_once_with_their_bytes(world: worlds.World) -> None:
    on = platforms.platform(world)
    ledger.record(on, "digits")
    world.overwrite_weights()
    world.advance(0.5)
    (found,) = discovery.observe(on, "digits").found
    assert found.before.startswith("2 (")
    assert found.after.startswith("2 (")
    assert found.before != found.after
    world.advance(2)
    assert discovery.observe(on, "digits").found == ()
    told = timeline.changes(on, "digits", worlds.START).changes
    assert [(change.name, change.recorded) for change in told] == [(found.name, False)]


def test_what_somebody_recorded_is_announced_and_not_found(world: worlds.World) -> None:
    on = platforms.platform(world)
    ledger.record(on, "digits")
    world.clock.sleep(60)
    world.release_code()
    world.clock.sleep(60)
    seen = discovery.observe(on, "digits")
    assert (seen.found, [change.actor for change in seen.announced]) == ((), ["ci-bot"])
    assert seen.is_recorded  # so that the next look is held against it
    assert changes_of(on) == []


def test_a_registration_is_no_promotion(world: worlds.World) -> None:
    """A registry that tells when a version was made does not tell who made it live."""
    on = platforms.platform(world)
    ledger.record(on, "digits")
    world.clock.sleep(60)
    arrived = changes.Change(MODEL, "digit", world.clock.now(), "", "3", "trainer", "version 3 registered", "registry")
    arrived = dataclasses.replace(arrived, arrived=True)
    world.planes[MODEL].log.append(arrived)
    world.clock.sleep(60)
    world.move_by_hand("3")
    (found,) = discovery.observe(on, "digits").found
    assert (found.recorded, found.not_before) == (False, arrived.at)
    assert "version 3 registered by trainer" in found.summary
    told = timeline.changes(on, "digits", worlds.START).changes
    assert [(one.name, one.recorded) for one in told] == [
        ("model:digit 3 registered", True), ("model:digit 2 → 3", False)
    ]  # fmt: skip


@pytest.mark.parametrize("when", ["never looked", "looked before", "somebody told", "not live"])
def test_a_registration_never_stands_for_the_move_also_without_an_observation(world: worlds.World, when: str) -> None:
    on = platforms.platform(world)
    world.clock.sleep(60)
    looked = world.clock.now()
    if when == "looked before":
        ledger.record(on, "digits")
    world.clock.sleep(60)
    arrived = changes.Change(MODEL, "digit", world.clock.now(), "", "3", "trainer", "registered", "registry")
    world.planes[MODEL].log.append(dataclasses.replace(arrived, arrived=True))
    world.clock.sleep(600)
    if when != "not live":
        world.move_by_hand("3")
    told_at = world.clock.now()
    if when == "somebody told":
        move = changes.Change(MODEL, "digit", told_at, "2", "3", "ci", "deployed", "deployments")
        world.planes[MODEL].log.append(move)
    world.clock.sleep(600)
    now = world.clock.now()
    registered, *moves = timeline.changes(on, "digits", worlds.START).changes
    assert (registered.arrived, registered.actor, registered.at) == (True, "trainer", arrived.at)
    expected = {
        "never looked": [("", "3", False, now, arrived.at)],
        "looked before": [("2", "3", False, now, arrived.at)],
        "somebody told": [("2", "3", True, told_at, None)],
        "not live": [],
    }[when]
    assert [(one.before, one.after, one.recorded, one.at, one.not_before) for one in moves] == expected
    looked_at = timeline.look(on, "digits", worlds.START)
    for at in (arrived.at, now - timedelta(seconds=1)):
        then = moments.at(at, looked_at.sighted, looked_at.timeline.changes)
        (model,) = [one for one in then if one.plane is MODEL]
        assert "trainer" not in model.why, "who registers moves nothing"
    assert looked < arrived.at


def test_looking_only_records_nothing(world: worlds.World) -> None:
    on = platforms.platform(world)
    assert discovery.observe(on, "digits", only_look=True).compared_with is None
    ledger.record(on, "digits")
    before = list(on.journal.events())
    world.move_by_hand("3")
    for _ in range(2):
        assert len(discovery.observe(on, "digits", only_look=True).found) == 1
    assert list(on.journal.events()) == before


def test_the_first_look_finds_nothing_and_is_what_the_next_is_held_against(world: worlds.World) -> None:
    on = platforms.platform(world)
    assert discovery.observe(on, "digits").is_recorded
    world.move_by_hand("3")
    assert len(discovery.observe(on, "digits").found) == 1


def test_quiet_weeks_cost_four_events_a_day(world: worlds.World) -> None:
    on = platforms.platform(world)
    discovery.observe(on, "digits")
    for _ in range(7 * 24 * 12):
        world.clock.sleep(300)
        discovery.observe(on, "digits")
    assert len(list(on.journal.events())) == 1 + 7 * 4


def test_this_machines_own_last_look_narrows_when_it_can_have_happened(world: worlds.World) -> None:
    on = platforms.platform(world)
    ledger.record(on, "digits")
    world.clock.sleep(3600)
    last = discovery.observe(on, "digits").memory
    world.clock.sleep(300)
    world.move_by_hand("3")
    other = discovery.LastLook(last.at, "of something else")
    (wide,) = discovery.observe(on, "digits", only_look=True, last=other).found
    (narrow,) = discovery.observe(on, "digits", last=last).found
    assert narrow.not_before == last.at
    assert wide.not_before is not None
    assert wide.not_before < last.at


def test_a_plane_that_was_away_for_a_while_is_compared_with_what_it_was(world: worlds.World) -> None:
    on = platforms.platform(world)
    ledger.record(on, "digits")
    world.planes[MODEL].down = "away"
    world.clock.sleep(7 * 3600)
    seen = discovery.observe(on, "digits")
    assert (seen.found, seen.is_recorded) == ((), True)
    assert "model (away)" in seen.live.note
    world.planes[MODEL].down = ""
    world.move_by_hand("3")
    world.clock.sleep(60)
    (found,) = discovery.observe(on, "digits").found
    assert found.name == "model:digit 2 → 3"


class Dying:
    """A journal that ends the process at its n-th write."""

    def __init__(self, inner: platforms.MemoryJournal, at: int) -> None:
        self.inner, self.left = inner, at

    def append(self, record: records.Record, unless: journal_port.Unless | None = None) -> object:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.inner.append(record, unless)

    def events(self, after: int = 0, kinds: tuple[type[records.Record], ...] = ()) -> Iterator[object]:
        return self.inner.events(after, kinds)


@pytest.mark.parametrize("at", range(4))
def test_killed_at_any_write_each_change_is_told_once(world: worlds.World, at: int) -> None:
    on = platforms.platform(world)
    ledger.record(on, "digits")
    world.move_by_hand("3")
    world.planes[CODE].live = "1.4.1"
    world.planes[CONFIG].live = "debug"
    world.clock.sleep(60)
    with pytest.raises(KeyboardInterrupt):
        discovery.observe(dataclasses.replace(on, journal=Dying(on.journal, at)), "digits")  # type: ignore[arg-type]
    world.clock.sleep(60)
    discovery.observe(on, "digits")
    assert sorted(change.name for change in changes_of(on)) == [
        "code:app 1.4.0 → 1.4.1", "config:serving.yaml info → debug", "model:digit 2 → 3",
    ]  # fmt: skip
    assert discovery.observe(on, "digits").found == ()


def test_a_release_that_is_recorded_says_who_brought_it(world: worlds.World) -> None:
    on = platforms.platform(world)
    ledger.record(on, "digits")
    world.clock.sleep(60)
    world.move_by_hand("3")
    made = ledger.record(on, "digits", made_of=releases.Lineage(link="https://ci/42"))
    (told,) = timeline.changes(on, "digits", worlds.START).changes
    assert (told.recorded, told.actor, told.link) == (True, "tester", "https://ci/42")
    assert made.id in told.summary
    assert views.fold(on.journal.events()).sightings("digits") == views.fold(on.journal.events()).releases["digits"]
