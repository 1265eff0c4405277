"""Recording releases: what they were made of, and that a pipeline may do it twice."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from ddr.domain import planes, releases, revisions
from ddr.errors import InputError, UnknownName
from ddr.journal import views
from ddr.release import ledger
from tests import platforms, worlds

MODEL, CODE = planes.Plane.MODEL, planes.Plane.CODE
SAID = releases.Lineage("abc1234", "repo@sha256:aa", "sha256:bb", "train@1", "run7", "", "https://ci/1", {"f1": 0.9})


def test_the_same_content_twice_is_one_event() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    first = ledger.enter(on, "digits", note="rollout", made_of=SAID)
    world.clock.sleep(60)
    again = ledger.enter(on, "digits", note="rollout", made_of=SAID)
    assert (first.how, again.how) == ("new", "known")
    assert again.release == first.release
    assert len(list(on.journal.events())) == 1


@pytest.mark.parametrize("field", ["commit", "image", "lock", "data", "run", "backup", "link", "evaluation"])
def test_other_content_is_another_release(field: str) -> None:
    """Each thing it was made of, said otherwise; said in addition it is the same release that is told more of."""
    world = worlds.World()
    on = platforms.platform(world)
    other: object = {"f1": 0.8} if field == "evaluation" else "another"
    full = dataclasses.replace(SAID, backup="20261102")
    ledger.record(on, "digits", made_of=full)
    world.clock.sleep(60)
    assert ledger.enter(on, "digits", made_of=dataclasses.replace(full, **{field: other})).how == "new"  # type: ignore[arg-type]
    on = platforms.platform(world)
    empty: object = {} if field == "evaluation" else ""
    first = ledger.record(on, "digits", made_of=dataclasses.replace(full, **{field: empty}))  # type: ignore[arg-type]
    more = ledger.enter(on, "digits", made_of=full)
    assert (more.how, more.release.id, more.release.lineage) == ("updated", first.id, full)


def test_vouching_later_keeps_the_release() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    first = ledger.record(on, "digits", made_of=SAID)
    world.clock.sleep(3600)
    good = ledger.record(on, "digits", known_good=True, note="an hour of traffic")
    assert (good.id, good.at, good.known_good, good.lineage) == (first.id, first.at, True, SAID)
    assert views.fold(on.journal.events()).releases["digits"] == [good]


def test_going_back_is_a_release_of_its_own() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    first = ledger.record(on, "digits")
    world.clock.sleep(60)
    world.move_by_hand("3")
    ledger.record(on, "digits")
    world.clock.sleep(60)
    world.move_by_hand("2")
    last = ledger.enter(on, "digits")
    assert (last.how, last.release.id != first.id) == ("new", True)


def test_what_nobody_says_is_taken_from_the_planes() -> None:
    def one(plane: planes.Plane, **facts: str) -> revisions.Revision:
        return revisions.Revision(plane, "x", "1", "", facts)

    live = {CODE: one(CODE, commit="c1", requirements="sha256:d1"), MODEL: one(MODEL, run="r1", data="train@9")}
    assert ledger.filled(releases.Lineage(), live) == releases.Lineage("c1", "", "sha256:d1", "train@9", "r1")
    said = releases.Lineage(commit="c2", run="r2")
    assert ledger.filled(said, live) == releases.Lineage("c2", "", "sha256:d1", "train@9", "r2")


def test_names_of_releases() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    first = ledger.record(on, "digits", known_good=True)
    world.clock.sleep(60)
    world.move_by_hand("3")
    second = ledger.record(on, "digits")
    assert ledger.find(on, "digits", "newest") == second
    assert ledger.find(on, "digits", "last-good") == first
    assert ledger.find(on, "digits", second.id[:-3]) == second
    with pytest.raises(InputError, match="beginning of 2"):
        ledger.find(on, "digits", "r-2026")
    with pytest.raises(UnknownName, match="no release 'r-x'"):
        ledger.find(on, "digits", "r-x")


def test_the_window_has_what_served_in_it_and_the_newest_good_one() -> None:
    at, day = worlds.START, timedelta(days=1)

    def made(days: int, *, good: bool) -> releases.Release:
        return releases.Release(f"r-{days}", "digits", at + days * day, {}, known_good=good)

    recorded = [made(0, good=True), made(3, good=True), made(10, good=False), made(20, good=True), made(40, good=False)]
    assert [one.id for one in releases.in_window(recorded, at + 9 * day)] == ["r-3", "r-20"]
    assert [one.id for one in releases.in_window(recorded, at + 11 * day)] == ["r-20"]
    assert [one.id for one in releases.in_window(recorded, at + 99 * day)] == ["r-20"]
    assert releases.in_window([], at) == ()
