"""Processes on `tests.recovery` that die at a journal write, and what an uninterrupted one comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests import recovery

Die = tuple[int, str]
"""The number of the journal write, and whether it died before or after it."""


def killed(world: recovery.World, die_at: Die, command: Callable[[], str]) -> str:
    """Run a command that dies there; '' when it died, else how it ended. Afterwards the next process can begin."""
    world.journal.live_again(die_at)
    try:
        return command()
    except recovery.Killed:
        return ""
    finally:
        world.journal.live_again()


def each(writes: int) -> Iterator[Die]:
    for number in range(1, writes + 1):
        yield number, "before"
        yield number, "after"
