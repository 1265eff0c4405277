"""kill -9 at every journal write of a game day, then the commands that the next `ddr` names: the platform as before.

Every write is a border of some step's protocol: before an intent, between intent and effect, between effect and
result, inside the response, inside the undo. All of them are enumerated, before the write is durable and after it.
"""

from __future__ import annotations

import copy
from collections import Counter

import pytest

from ddr.domain import records
from ddr.errors import Interrupted
from ddr.gameday import play
from tests import recovery
from tests.unit.gameday import twin as twins


def killed_at(number: int, when: str) -> twins.Twin | None:
    """A game day whose process dies at that write; None when it ended before."""
    twin = twins.Twin()
    twin.world.journal.live_again((number, when))
    try:
        twin.play()
    except (recovery.Killed, AssertionError):
        # What Python runs on the way out of a dying process writes nothing, and so does nothing: the journal refuses.
        if not twin.world.journal.dead:
            raise
        twin.world.journal.live_again()
        return twin
    return None


def end_everything(twin: twins.Twin, *, resume: bool) -> list[str]:
    """Do what the next game day asks for until it asks for nothing more."""
    done = []
    for _ in range(6):
        try:
            play.require_nothing_left(twin.stage(), [twins.source()])
        except Interrupted as problem:
            words = problem.hint.split()
            if resume and words[:3] == ["ddr", "runbook", "resume"]:
                done.append("resume")
                twin.type(words[1:4], "oncall-ml")
                resume = False
            elif "undo" in words:
                done.append("undo")
                twin.undo(words[words.index("undo") + 1])
            else:
                done.append("resolve")
                twin.type([*words[1:], "--why", "over"], "oncall-ml")
            continue
        return done
    raise AssertionError(f"there is always something left: {done}")


def writes_of_a_day() -> int:
    twin = twins.Twin()
    twin.world.journal.live_again()
    assert twin.play().passed
    return twin.world.journal.appends


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("resume", [False, True], ids=["undo", "resume"])
def test_the_platform_is_as_before_after_a_kill_at_any_write(when: str, resume: bool) -> None:
    writes = writes_of_a_day()
    before = twins.Twin().state()
    asked: Counter[str] = Counter()
    for number in range(1, writes + 1):
        twin = killed_at(number, when)
        assert twin is not None, number
        broken = copy.deepcopy(twin.state()) != before
        done = end_everything(twin, resume=resume)
        asked.update(done)
        assert done or not broken, f"write {number}: broken, and nobody says so"
        assert twin.state() == before, f"write {number} of {writes}, killed {when} it, after {done}"
        assert twin.world.journal.is_whole()
    print(f"{writes} writes, killed {when} each; asked for: {dict(asked)}")


def test_the_next_day_passes_after_a_kill_in_the_response() -> None:
    twin = twins.Twin()
    seen: list[int] = []
    twin.world.journal.live_again()
    twin.before = lambda words: seen.append(twin.world.journal.appends) if words[:2] == ["runbook", "resume"] else None
    twin.play()
    killed = killed_at(seen[0] + 8, "after")
    assert killed is not None
    end_everything(killed, resume=False)
    assert killed.play(name="gd-2").passed
    first = killed.world.journal.of_kind(records.GameDayStarted)
    assert [entry.gameday for entry in first] == ["gd-1", "gd-2"]
