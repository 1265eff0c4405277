"""kill -9 at every write of a rollback, then resume or undo: the same end, each effect once, the journal whole.

The same as for the shipped runbooks, and enumerated the same way: every journal write is a border of the protocol.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from ddr.domain import records
from tests import recovery
from tests.unit.rollback import runs

Die = tuple[int, str]
SOON = 2
QUICK = "model, no wait"
PAIRED = [QUICK, *(pytest.param(name, marks=pytest.mark.long) for name in runs.CASES if name != QUICK)]
"""Pairs of kills: the shortest case at once, the others in the long run."""


def killed(process: runs.Process, die_at: Die, command: Callable[[], str]) -> str:
    """Run a command that dies there; '' when it died, else how it ended. Afterwards the next process can begin."""
    process.world.journal.live_again(die_at)
    try:
        return command()
    except recovery.Killed:
        return ""
    finally:
        process.world.journal.live_again()


def deaths(writes: int) -> Iterator[Die]:
    for number in range(1, writes + 1):
        yield number, "before"
        yield number, "after"


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
    for die_at in deaths(expected.writes):
        process = runs.Process.of(case)
        assert killed(process, die_at, process.until_end) == ""
        expected.require(process, process.until_end(), die_at)
        points += 1
    print(f"{case}: {points} kill points, {expected.writes} writes")


@pytest.mark.parametrize("case", PAIRED)
def test_killed_again_at_the_first_writes_of_the_resumed_run(case: str) -> None:
    expected, points = Expected(case), 0
    for die_at in deaths(expected.writes):
        dead = runs.Process.of(case)
        killed(dead, die_at, dead.until_end)
        for again in deaths(SOON):
            process = dead.copy()
            end = killed(process, again, process.until_end)
            expected.require(process, end or process.until_end(), (die_at, again))
            points += 1
    print(f"{case}: {points} pairs of kill points")


@pytest.mark.parametrize("case", runs.CASES)
def test_killed_anywhere_and_taken_back(case: str) -> None:
    """Undo instead of resume: whatever the run had come to, the planes are as before it."""
    expected, points = Expected(case), 0
    for die_at in deaths(expected.writes):
        process = runs.Process.of(case)
        killed(process, die_at, process.until_end)
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
    for die_at in deaths(reference.world.journal.appends):
        dead = ended.copy()
        assert killed(dead, die_at, functools.partial(dead.undo)) == ""
        for again in (None, *deaths(SOON)):
            process = dead.copy()
            if again is not None:
                killed(process, again, functools.partial(process.undo))
            assert process.undo() == "undone", (die_at, again)
            assert process.world.state() == reference.world.state(), (die_at, again)
            assert process.world.effects == reference.world.effects, (die_at, again)
            points += 1
    print(f"{case}: {points} pairs of kill points in an undo of {reference.world.journal.appends} writes")
