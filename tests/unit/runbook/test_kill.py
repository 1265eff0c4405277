"""kill -9 at every write of every shipped runbook, then resume or undo: the same end, each effect once, chain whole.

A journal write is where a step's protocol has its borders: before and after the intent, before the result (the effect
is there and nobody wrote it down) and after it. Every write of a run is one of these borders or a claim, a pause, an
approval, an end; all of them are enumerated, none is drawn by chance.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from ddr.domain import records
from tests import deaths, recovery
from tests.unit.runbook import shipped

SOON = 2
"""In the quick test the second kill comes at one of the first writes of the resumed run."""


def beyond_help(world: recovery.World) -> None:
    """No good revision is left, so that the run is contained."""
    for plane in (world.model, world.features):
        for name in ("1", "2", "v1", "v2"):
            if name in plane.contents and name != plane.live:
                plane.contents[name] += b", touched"


CASES: dict[str, tuple[str, Callable[[recovery.World], None]]] = {
    "bad-model-promotion recovered": ("bad-model-promotion", lambda world: None),
    "bad-model-promotion contained": ("bad-model-promotion", beyond_help),
    "stale-online-features recovered": ("stale-online-features", lambda world: None),
    "stale-online-features contained": ("stale-online-features", beyond_help),
}


def fresh(case: str) -> shipped.Process:
    name, more = CASES[case]
    world = shipped.hurt(name)
    more(world)
    return shipped.Process(world, name)


class Expected:
    """The uninterrupted run: its end, its world, its effects, and how many writes it took."""

    def __init__(self, case: str) -> None:
        process = fresh(case)
        self.case = case
        self.planes_before = process.world.state()[0]  # type: ignore[index]
        process.world.journal.live_again()
        self.end = process.until_end()
        self.writes = process.world.journal.appends
        self.state = process.world.state()
        self.effects = Counter(process.world.effects)
        self.steps = [record.step for record in process.world.journal.of_kind(records.StepEnded)]

    def require(self, process: shipped.Process, end: str, where: object) -> None:
        assert end == self.end, where
        assert process.world.state() == self.state, where
        assert process.world.effects == self.effects, where
        assert process.world.journal.is_whole(), where
        ended = [record.step for record in process.world.journal.of_kind(records.StepEnded)]
        assert ended == self.steps, where


@pytest.mark.parametrize("case", CASES)
def test_killed_anywhere_and_resumed(case: str) -> None:
    expected = Expected(case)
    points = 0
    for die_at in deaths.each(expected.writes):
        process = fresh(case)
        assert deaths.killed(process.world, die_at, process.until_end) == ""
        expected.require(process, process.until_end(), die_at)
        points += 1
    print(f"{case}: {points} kill points, {expected.writes} writes, {len(expected.steps)} steps")


def twice(case: str, first: Iterator[deaths.Die], soon: int | None) -> int:
    expected, points = Expected(case), 0
    for die_at in first:
        dead = fresh(case)
        deaths.killed(dead.world, die_at, dead.until_end)
        number = 0
        while soon is None or number < soon:
            number += 1
            ends = []
            for when in ("before", "after"):
                process = dead.copy()
                ends.append(deaths.killed(process.world, (number, when), process.until_end))
                expected.require(process, ends[-1] or process.until_end(), (die_at, number, when))
                points += 1
            if all(ends):
                break
    return points


@pytest.mark.parametrize("case", CASES)
def test_killed_again_at_the_first_writes_of_the_resumed_run(case: str) -> None:
    points = twice(case, deaths.each(Expected(case).writes), SOON)
    print(f"{case}: {points} pairs of kill points")


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_killed_anywhere_twice_in_a_row(case: str) -> None:
    points = twice(case, deaths.each(Expected(case).writes), None)
    print(f"{case}: {points} pairs of kill points")


@pytest.mark.parametrize("case", CASES)
def test_killed_anywhere_and_taken_back(case: str) -> None:
    """Undo instead of resume: whatever the run had come to, the planes are as before it."""
    expected = Expected(case)
    points = 0
    for die_at in deaths.each(expected.writes):
        process = fresh(case)
        deaths.killed(process.world, die_at, process.until_end)
        if not process.world.journal.of_kind(records.RunStarted):
            continue
        assert process.undo() == "undone", die_at
        assert process.world.state()[0] == expected.planes_before, die_at  # type: ignore[index]
        assert not process.world.server.fallback_on, die_at
        twice_done = {effect for effect, count in process.world.effects.items() if count > 1}
        # A thaw is taken back by freezing, and that freeze by thawing.
        assert all(effect.startswith(("freeze", "thaw")) for effect in twice_done), (die_at, twice_done)
        assert process.world.journal.is_whole(), die_at
        points += 1
    print(f"{case}: {points} kill points")


def undo_killed(case: str, soon: int | None) -> tuple[int, int]:
    """Pairs of kill points in the undo of an ended run; the number of pairs, the writes of one undo."""
    ended = fresh(case)
    ended.until_end()
    ended.world.effects.clear()
    ended.world.journal.live_again()

    def undo(process: shipped.Process) -> str:
        return process.undo()

    reference = ended.copy()
    assert undo(reference) == "undone"
    writes, points = reference.world.journal.appends, 0
    for die_at in deaths.each(writes):
        dead = ended.copy()
        assert deaths.killed(dead.world, die_at, functools.partial(undo, dead)) == ""
        for again in [None, *deaths.each(writes if soon is None else soon)]:
            process = dead.copy()
            if again is not None:
                deaths.killed(process.world, again, functools.partial(undo, process))
            assert undo(process) == "undone", (die_at, again)
            assert process.world.state() == reference.world.state(), (die_at, again)
            assert process.world.effects == reference.world.effects, (die_at, again)
            assert process.world.journal.is_whole(), (die_at, again)
            points += 1
    return points, writes


@pytest.mark.parametrize("case", CASES)
def test_undo_killed_anywhere_and_again_at_its_first_writes(case: str) -> None:
    points, writes = undo_killed(case, SOON)
    print(f"{case}: {points} pairs of kill points in an undo of {writes} writes")


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_undo_killed_anywhere_twice_in_a_row(case: str) -> None:
    points, writes = undo_killed(case, None)
    print(f"{case}: {points} pairs of kill points in an undo of {writes} writes")
