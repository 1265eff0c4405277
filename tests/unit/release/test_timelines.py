"""Putting sources together: the same move told twice is one change, and nothing else is dropped."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as some

from ddr.domain import changes, planes, releases, revisions, timelines
from tests import worlds

MODEL = planes.Plane.MODEL


def change(
    minute: float,
    before: str,
    after: str,
    source: str = "deployments",
    *,
    recorded: bool = True,
    actor: str = "ci-bot",
    plane: planes.Plane = MODEL,
) -> changes.Change:
    at = worlds.START + timedelta(minutes=minute)
    return changes.Change(plane, "digit", at, before, after, actor, source=source, recorded=recorded)


def sighting(minute: float, before: str, after: str) -> changes.Change:
    return change(minute, before, after, "request log", recorded=False, actor="unknown")


def test_a_deployment_and_its_first_answer_are_one_change() -> None:
    deployed, seen = change(0, "2", "3"), sighting(4, "2", "3")
    assert timelines.merged([seen, deployed]) == (deployed,)


def test_the_one_with_an_actor_is_preferred() -> None:
    anonymous, named = change(0, "2", "3", "registry", actor="unknown"), change(1, "2", "3", "journal", actor="ann")
    assert timelines.merged([anonymous, named]) == (named,)


def test_a_registry_that_knows_arrivals_only_learns_what_was_there_before() -> None:
    arrived = change(0, "", "4", "registry", actor="unknown")
    (found,) = timelines.merged([arrived, sighting(2, "2", "4")])
    assert (found.name, found.at, found.recorded) == ("model:digit 2 → 4", arrived.at, True)


def test_other_moves_stay() -> None:
    kept = [
        change(0, "2", "3"),
        change(1, "2", "3", plane=planes.Plane.CODE),
        change(2, "3", "4"),
        sighting(90, "4", "3"),  # too late to be the first
        change(91, "4", "5", "registry"),
    ]
    assert timelines.merged(kept) == tuple(kept)


def test_two_recorded_moves_that_start_elsewhere_are_two() -> None:
    kept = [change(0, "2", "4"), change(5, "3", "4", "registry")]
    assert timelines.merged(kept) == tuple(kept)


def test_a_sighting_that_missed_the_middle_still_belongs_to_the_last_move() -> None:
    moves = [change(0, "2", "3"), change(1, "3", "4")]
    assert timelines.merged([*moves, sighting(2, "2", "4")]) == tuple(moves)


def test_flapping_keeps_every_move_and_pairs_each_with_its_sighting() -> None:
    moves = [change(0, "2", "3"), change(10, "3", "2"), change(20, "2", "3"), change(30, "3", "2")]
    seen = [sighting(minute + 1, *pair) for minute, pair in ((0, "23"), (10, "32"), (20, "23"), (30, "32"))]
    assert timelines.merged([*moves, *seen]) == tuple(moves)


@given(order=some.permutations(range(8)))
def test_the_order_of_the_sources_does_not_matter(order: list[int]) -> None:
    moves = [change(0, "2", "3"), change(10, "3", "2"), change(20, "2", "3"), change(80, "3", "2")]
    told = [*moves, *(sighting(minute + 1, "", after) for minute, after in ((0, "3"), (10, "2"), (20, "3"), (80, "2")))]
    assert timelines.merged([told[at] for at in order]) == tuple(moves)


def test_moves_at_one_time_follow_from_one_another() -> None:
    """The clock of a sandbox stands still between commands; a registry writes seconds. 2 → 4 came before 4 → 2."""
    moves = [change(0, "2", "4"), change(0, "4", "2"), change(0, "2", "4"), change(0, "4", "2")]
    assert timelines.merged(moves) == tuple(moves)
    assert timelines.merged(moves[:2]) == tuple(moves[:2])
    reverted = [change(5, "4", "2"), change(5, "2", "4", "registry")]
    assert timelines.in_order([change(0, "2", "4"), *reverted])[1:] == tuple(reverted)
    assert timelines.in_order([change(0, "1", "2"), *reverted])[1:] == tuple(reversed(reverted))
    assert timelines.in_order([change(0, "4", "5"), change(0, "3", "4")])[0].before == "3"
    arrived = dataclasses.replace(change(0, "", "4", "registry"), arrived=True)
    assert timelines.in_order([change(0, "2", "4"), arrived])[0] == arrived


@given(walk=some.lists(some.sampled_from("123"), min_size=2, max_size=8))
def test_the_order_of_the_journal_stays_where_the_times_are_equal(walk: list[str]) -> None:
    moves = [change(0, *pair) for pair in itertools.pairwise(walk)]
    assert timelines.in_order([change(-1, "0", walk[0]), *moves])[1:] == tuple(moves)
    assert timelines.in_order(moves)[0].before == walk[0]


@given(order=some.permutations(range(5)))
def test_a_chain_of_several_sources_at_one_time_is_put_in_order(order: list[int]) -> None:
    moves = [change(0, str(at), str(at + 1), f"source {at}") for at in range(5)]
    code = change(0, "9", "8", plane=planes.Plane.CODE)
    told = timelines.in_order([code, *(moves[at] for at in order)])
    assert told == (code, *moves)


_changes = some.builds(
    change,
    some.integers(0, 200),
    some.sampled_from(["", "2", "3"]),
    some.sampled_from("234"),
    some.sampled_from(["deployments", "registry", "request log"]),
    recorded=some.booleans(),
)


@given(told=some.lists(_changes, max_size=12))
def test_merging_invents_nothing_loses_no_move_and_is_done_once(told: list[changes.Change]) -> None:
    kept = timelines.merged(told)
    assert {one.at for one in kept} <= {one.at for one in told}
    assert [one.at for one in kept] == sorted(one.at for one in kept)
    for one in told:
        assert any(
            (one.plane, one.after) == (other.plane, other.after) and abs(one.at - other.at) <= 2 * timelines.SAME_MOVE
            for other in kept
        )
    by_source = itertools.groupby(sorted(kept, key=lambda one: one.source), key=lambda one: one.source)
    assert sum(len(list(group)) for _, group in by_source) == len(kept)


def release(minute: float, **names: str) -> releases.Release:
    """Names like `2`, or `2:bytes` where the bytes are not those the name usually has."""
    found = {}
    for plane, text in names.items():
        name, _, content = text.partition(":")
        which = planes.Plane(plane)
        found[which] = revisions.Revision(which, "digit", name, f"sha256:{content or name:0>12}")
    return releases.Release("r", "digits", worlds.START + timedelta(minutes=minute), found)


def found_between(
    before: releases.Release, after: releases.Release, told: list[changes.Change]
) -> list[changes.Change]:
    return [one for one in timelines.completed(told, [before, after]) if one not in told]


def test_what_nobody_recorded_is_found_by_comparing() -> None:
    before, after = release(0, model="2", code="1.4.0", index="v1"), release(60, model="3", code="1.4.1", index="v1")
    told = [change(30, "1.4.0", "1.4.1", plane=planes.Plane.CODE)]
    (found,) = found_between(before, after, told)
    assert (found.plane, found.before, found.after, found.recorded) == (MODEL, "2", "3", False)
    assert (found.not_before, found.at) == (before.at, after.at)
    assert found.summary == "nobody recorded this move"


def test_bytes_overwritten_in_place_are_told_apart_by_their_digest() -> None:
    before, after = release(0, model="2"), release(60, model="2:bad")
    (found,) = found_between(before, after, [change(30, "1", "2")])
    assert found.name == "model:digit 2 (000000000002) → 2 (000000000bad)"
    assert found.summary == "its bytes were overwritten in place"
    sighted = sighting(30, "2 (000000000002)", "2 (000000000bad)")
    assert found_between(before, after, [sighted]) == []


def test_a_sighting_without_digests_gives_the_time() -> None:
    before, after = release(0, model="2"), release(60, model="2:bad")
    (found,) = timelines.completed([sighting(30, "2", "2")], [before, after])
    assert found.name == "model:digit 2 (000000000002) → 2 (000000000bad)"
    assert (found.not_before, found.at) == (before.at, sighting(30, "2", "2").at)


def test_a_move_before_the_release_accounts_for_nothing() -> None:
    assert len(found_between(release(10, model="2"), release(60, model="3"), [change(5, "2", "3")])) == 1
    assert len(found_between(release(10, model="2"), release(60, model="3"), [change(15, "2", "3")])) == 0


def test_a_plane_only_one_side_knows_is_not_compared() -> None:
    assert found_between(release(0, model="2"), release(60, code="1.4.0"), []) == []


def test_a_move_in_the_very_moment_of_the_release_came_after_it() -> None:
    assert found_between(release(10, model="2"), release(60, model="3"), [change(10, "2", "3")]) == []
