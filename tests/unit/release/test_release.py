"""The ledger and the timeline over a running service."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ddr.domain import changes, planes, records
from ddr.errors import Unavailable
from ddr.release import ledger, timeline
from tests import platforms, worlds

MODEL, CODE, INDEX = planes.Plane.MODEL, planes.Plane.CODE, planes.Plane.INDEX


def _world() -> worlds.World:
    world = worlds.World()
    world.advance(1)
    return world


def test_a_release_is_what_is_live_with_digests() -> None:
    world = _world()
    seen = ledger.observe(platforms.platform(world), "digits")
    assert {plane: revision.name for plane, revision in seen.revisions.items()} == {
        plane: at.live for plane, at in world.planes.items()
    }
    assert all(revision.digest.startswith("sha256:") for revision in seen.revisions.values())
    assert (seen.known_good, seen.note, seen.at) == (False, "", world.clock.now())
    assert seen.id.startswith("r-20261102T070000-")


def test_recording_appends_one_event() -> None:
    on = platforms.platform(_world())
    made = ledger.record(on, "digits", known_good=True, note="load test passed")
    assert [event.record for event in on.journal.events()] == [records.ReleaseRecorded(made)]
    assert (made.known_good, made.note) == (True, "load test passed")


def test_a_plane_that_cannot_be_read_is_left_out_and_named() -> None:
    world = _world()
    world.planes[INDEX].down = "the index store does not answer"
    on = platforms.platform(world)
    seen = ledger.observe(on, "digits")
    assert INDEX not in seen.revisions
    assert seen.note == "not read: index (the index store does not answer)"
    made = ledger.record(on, "digits", note="partial")
    assert made.note == "partial; not read: index (the index store does not answer)"
    with pytest.raises(Unavailable, match="not recorded as known good"):
        ledger.record(on, "digits", known_good=True)
    assert len(list(on.journal.events())) == 1


def test_nothing_to_read_is_an_error() -> None:
    world = _world()
    for plane in world.planes.values():
        plane.down = "away"
    with pytest.raises(Unavailable, match="no plane of digits can be read"):
        ledger.observe(platforms.platform(world), "digits")


def test_the_timeline_tells_every_move_once() -> None:
    world = _world()
    on = platforms.platform(world)
    ledger.record(on, "digits", known_good=True)
    world.advance(0.5)
    world.release_code()
    world.advance(0.5)
    world.promote("3", logged=False)
    moved = world.clock.now()
    world.advance(0.5)
    on.journal.append(records.ChangeRecorded("digits", _noted(world)))
    on.journal.append(records.ChangeRecorded("another", _noted(world)))
    found = timeline.changes(on, "digits", worlds.START)
    assert [change.name for change in found.changes] == [
        "code:app 1.4.0 → 1.4.1",
        "model:digit 2 → 3",
        "infra:gpu-pool 8 → 7",
    ]
    assert [change.recorded for change in found.changes] == [True, False, True]
    seen = found.changes[1]
    assert seen.source == "request log"
    assert seen.not_before is not None
    assert moved - timedelta(minutes=1) < seen.not_before < moved <= seen.at < moved + timedelta(minutes=1)
    assert found.silent == ()


def _noted(world: worlds.World) -> changes.Change:
    return changes.Change(planes.Plane.INFRA, "gpu-pool", world.clock.now(), "8", "7", "ann", source="journal")


def test_without_a_request_log_the_ledger_finds_what_nobody_recorded() -> None:
    world = _world()
    on = platforms.platform(world)
    recorded = ledger.record(on, "digits")
    world.advance(0.5)
    world.overwrite_weights(roll=False)
    world.planes[CODE].move("1.4.1", "ghost", logged=False)
    found = timeline.changes(on, "digits", worlds.START)
    assert {change.plane for change in found.changes} == {MODEL, CODE}
    assert all(not change.recorded and change.not_before == recorded.at for change in found.changes)


def test_a_source_that_fails_is_named_and_the_others_go_on() -> None:
    world = _world()
    on = platforms.platform(world)
    world.release_code()
    world.planes[INDEX].down = "no answer"
    world.down["requests"] = "log is gone"
    found = timeline.changes(on, "digits", worlds.START)
    assert [change.plane for change in found.changes] == [CODE]
    assert found.silent == ("index plane: no answer", "Requests: log is gone")


def test_only_what_happened_since_is_told() -> None:
    """A move older than the window still accounts for what is live: it is not taken for an unrecorded one."""
    world = _world()
    on = platforms.platform(world)
    ledger.record(on, "digits")
    world.advance(0.5)
    world.release_code()
    world.advance(2)
    assert timeline.changes(on, "digits", world.clock.now() - timedelta(hours=1)).changes == ()
    assert len(timeline.changes(on, "digits", world.clock.now() - timedelta(hours=3)).changes) == 1


def test_a_silent_move_is_found_however_old_the_release_is() -> None:
    world = _world()
    on = platforms.platform(world)
    world.down["requests"] = "there is no request log"
    ledger.record(on, "digits")
    world.planes[CODE].move("1.4.1", "ghost", logged=False)
    world.advance(3)
    (found,) = timeline.changes(on, "digits", world.clock.now() - timedelta(hours=1)).changes
    assert (found.name, found.recorded) == ("code:app 1.4.0 → 1.4.1", False)
