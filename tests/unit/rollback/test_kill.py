"""kill -9 at every write of a rollback, then resume or undo: the same end, each effect once, the journal whole.

The same as for the shipped runbooks, and enumerated the same way: every journal write is a border of the protocol.
"""

from __future__ import annotations

import functools
from collections import Counter

import pytest

from ddr.domain import records
from tests import deaths
from tests.unit.rollback import runs

SOON = 2
QUICK = "model, no wait"
PAIRED = [QUICK, *(pytest.param(name, marks=pytest.mark.long) for name in runs.CASES if name != QUICK)]
"""Pairs of kills: the shortest case at once, the others in the long run."""


class Expected:
    """The uninterrupted run."""

    def __init__(self, case: str) -> None:
        process = runs.Process.of(case)
        self.planes_before = process.world.state()[0]  # type: ignore[index]
        process.world.journal.live_again()
        self.end = process.until_end()
        self.writes = process.world.journal.appends
        self.state = process.world.state()
        self.effects = Counter(process.world.effects)

    def require(self, process: runs.Process, end: str, where: object) -> None:
        assert end == self.end, where
        assert process.world.state() == self.state, where
        assert process.world.effects == self.effects, where
        assert process.world.journal.is_whole(), where


@pytest.mark.parametrize("case", runs.CASES)
def test_killed_anywhere_and_resumed(case: str) -> None:
    expected = Expected(case)
    assert expected.end == ("switched" if case == "model, no wait" else "recovered")
    points = 0
    for die_at in deaths.each(expected.writes):
        process = runs.Process.of(case)
        assert deaths.killed(process.world, die_at, process.until_end) == ""
        expected.require(process, process.until_end(), die_at)
        points += 1
    print(f"{case}: {points} kill points, {expected.writes} writes")


@pytest.mark.parametrize("case", PAIRED)
def test_killed_again_at_the_first_writes_of_the_resumed_run(case: str) -> None:
    expected, points = Expected(case), 0
    for die_at in deaths.each(expected.writes):
        dead = runs.Process.of(case)
        deaths.killed(dead.world, die_at, dead.until_end)
        for again in deaths.each(SOON):
            process = dead.copy()
            end = deaths.killed(process.world, again, process.until_end)
            expected.require(process, end or process.until_end(), (die_at, again))
            points += 1
    print(f"{case}: {points} pairs of kill points")


@pytest.mark.parametrize("case", runs.CASES)
def test_killed_anywhere_and_taken_back(case: str) -> None:
    """Undo instead of resume: whatever the run had come to, the planes are as before it."""
    expected, points = Expected(case), 0
    for die_at in deaths.each(expected.writes):
        process = runs.Process.of(case)
        deaths.killed(process.world, die_at, process.until_end)
        if not process.world.journal.of_kind(records.RunStarted):
            continue
        assert process.undo() == "undone", die_at
        assert process.world.state()[0] == expected.planes_before, die_at  # type: ignore[index]
        assert process.world.journal.is_whole(), die_at
        points += 1
    print(f"{case}: {points} kill points")


@pytest.mark.parametrize("case", PAIRED)
def test_an_undo_killed_anywhere_and_done_again(case: str) -> None:
    ended = runs.Process.of(case)
    ended.until_end()
    ended.world.effects.clear()
    ended.world.journal.live_again()
    reference = ended.copy()
    assert reference.undo() == "undone"
    points = 0
    for die_at in deaths.each(reference.world.journal.appends):
        dead = ended.copy()
        assert deaths.killed(dead.world, die_at, functools.partial(dead.undo)) == ""
        for again in (None, *deaths.each(SOON)):
            process = dead.copy()
            if again is not None:
                deaths.killed(process.world, again, functools.partial(process.undo))
            assert process.undo() == "undone", (die_at, again)
            assert process.world.state() == reference.world.state(), (die_at, again)
            assert process.world.effects == reference.world.effects, (die_at, again)
            points += 1
    print(f"{case}: {points} pairs of kill points in an undo of {reference.world.journal.appends} writes")
