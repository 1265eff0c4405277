"""Real processes, real SIGKILL, real files: the engine over the journal on disk."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ddr.domain import records
from ddr.journal import verify
from tests.unit.runbook import child

WRITES = 9
"""Of the small runbook: started, claimed, two intents with their results, the gate's result, the end; 8 and a spare."""


def call(root: Path, command: str, die_at: str = "-") -> str:
    """How the command ended; '' when it was killed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.runbook.child", str(root), command, die_at],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=120,
    )
    if done.returncode == -signal.SIGKILL:
        return ""
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def state(root: Path) -> tuple[dict[str, str], list[str]]:
    cells = json.loads((root / "cells.json").read_text()) if (root / "cells.json").exists() else dict(child.FIRST)
    effects = (root / "effects").read_text().splitlines() if (root / "effects").exists() else []
    return {name: value for name, value in cells.items() if value}, effects


def is_begun(root: Path) -> bool:
    return any(isinstance(event.record, records.RunStarted) for event in child.open_log(root).events())


@pytest.mark.parametrize(
    ("when", "way"),
    [
        ("before", "resume"),
        pytest.param("after", "resume", marks=pytest.mark.long),
        pytest.param("before", "undo", marks=pytest.mark.long),
        pytest.param("after", "undo", marks=pytest.mark.long),
    ],
)
def test_killed_at_every_write_and_resumed_or_taken_back(tmp_path: Path, when: str, way: str) -> None:
    ends = 0
    for number in range(1, WRITES + 1):
        root = tmp_path / str(number)
        root.mkdir()
        died = call(root, "start", f"{number}-{when}") == ""
        assert died is (number < WRITES)
        if not is_begun(root):
            assert state(root) == (child.FIRST, [])
            continue
        ends += 1
        if way == "resume":
            assert call(root, "resume") == "recovered"
            assert state(root) == ({**child.FIRST, "a": "good", "b": "good"}, ["a: bad -> good", "b:  -> good"])
        else:
            assert call(root, "undo") == "undone"
            cells, effects = state(root)
            assert cells == child.FIRST
            assert len(effects) == len(set(effects)), "each effect once, and once back"
        assert verify.verify(child.open_log(root)).findings == ()
    print(f"killed {when} each of {WRITES - 1} writes, then {way}: {ends} runs with a defined end")
