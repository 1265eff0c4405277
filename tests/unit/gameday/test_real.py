"""On a real sandbox, through the real command: a game day killed in its middle and ended by hand, then one that passes.

The tests of this file share one sandbox and run in their order.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddr.gameday import parse
from ddr.lib import shipped
from ddr.sandbox import clock, process, state
from tests import sandboxes
from tests.unit.cli import calls
from tests.unit.report import pages

SCENARIOS = parse.names(shipped.folder("scenarios"))


@pytest.fixture(scope="module")
def root(warm_sandbox: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = sandboxes.copy(warm_sandbox, tmp_path_factory.mktemp("gameday") / "sandbox")
    process.start(made)
    assert calls.ddr(made, "release", "record", "--known-good").code == 0
    yield made
    process.stop(made)


def start(root: Path, *scenarios: str) -> subprocess.Popen[str]:
    """`ddr gameday run` with its progress as lines on stderr."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "ddr",
            "gameday",
            "run",
            *scenarios,
            "--sandbox",
            str(root),
            "--report",
            str(root / "r"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "XDG_STATE_HOME": str(root / ".state")},
        start_new_session=True,
    )


def wait_for(root: Path, playing: subprocess.Popen[str], line: str, *, at_work: bool = False) -> None:
    """Until the game day tells of it; with `at_work` until platform time has passed since."""
    assert playing.stderr is not None
    told = []
    for said in playing.stderr:
        told.append(said)
        if line in said:
            break
    else:
        raise AssertionError("".join(told))
    now = clock.read(root)
    while at_work and clock.read(root) == now:
        time.sleep(0.02)


def kill_when(root: Path, scenario: str, line: str, *, at_work: bool = False) -> None:
    """kill -9 of the game day alone, as from another terminal."""
    playing = start(root, scenario)
    wait_for(root, playing, line, at_work=at_work)
    os.kill(playing.pid, signal.SIGKILL)
    playing.communicate()


def play(root: Path, *scenarios: str) -> calls.Done:
    words = ["gameday", "run", *scenarios, "--sandbox", str(root), "--report", str(root / "r"), "--json"]
    return calls.ddr(root, *words, actor="gameday", timeout_s=560)


def end_by_hand(root: Path, scenario: str) -> list[str]:
    """Type what `ddr gameday run` asks for until nothing is left; what was typed."""
    typed: list[str] = []
    for _ in range(6):
        left = _left(root)
        if not left:
            return typed
        words = left.removeprefix("ddr ").partition("   or   ")[0].split()
        if words[:2] == ["runbook", "resume"]:
            words[1] = "undo"
        done = calls.ddr(root, *words, "--json")
        assert done.code == 0, (left, done.out, done.err)
        typed.append(" ".join(words[:2]))
    raise AssertionError(typed)


def _left(root: Path) -> str:
    """The way out that a game day names before it begins; '' when nothing is in its way.

    Asked inside this process, because a game day with nothing in its way would begin.
    """
    from ddr.cli import playing
    from ddr.errors import Interrupted
    from ddr.gameday import play, stage
    from ddr.wiring import build

    environ = {**os.environ, "XDG_STATE_HOME": str(root / ".state")}
    wired = build.build(root / "ddr.yaml", environ, actor="tester", warn=lambda text: None)
    on = stage.Stage(wired.platform, {}, wired.state_digest, playing.typed(root / "ddr.yaml"))
    try:
        play.require_nothing_left(on, [parse.read(parse.find(SCENARIOS[0], shipped.folder("scenarios")))])
    except Interrupted as problem:
        return problem.hint
    return ""


def survivors(root: Path) -> list[str]:
    """Processes that still work on the sandbox a little later, its server aside."""
    deadline = time.monotonic() + 10
    while (found := _at_work(root)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _at_work(root: Path) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes().decode().replace("\0", " ")
            if str(root) in command and "ddr.sandbox.server" not in command:
                found.append(command)
    return found


def test_killed_in_its_middle_it_is_ended_by_the_commands_that_ddr_names(root: Path) -> None:
    before = state.digest(root)
    kill_when(root, "bad-model-promotion", "$ ddr runbook resume", at_work=True)
    assert survivors(root) == [], "what it started died with it"
    assert state.digest(root) != before, "the fault is in"
    status = calls.ddr(root, "status")
    assert status.err.count("interrupted:") == 2, status.err
    assert "runbook undo gd-" in status.err
    assert "runbook undo run-" in status.err
    refused = play(root, "bad-model-promotion")
    assert refused.code == 5
    assert "has no end yet" in refused.document["error"]["message"]
    assert end_by_hand(root, "bad-model-promotion") == ["runbook undo", "runbook undo", "incident resolve"]
    assert state.digest(root) == before
    assert calls.ddr(root, "journal", "verify").code == 0


def test_the_next_game_day_passes_and_leaves_a_report(root: Path) -> None:
    before = state.digest(root)
    done = play(root, "bad-model-promotion")
    (played,) = done.document["played"]
    assert (done.code, played["reasons"]) == (0, [])
    assert (played["points"], played["possible"], played["passed"]) == (100, 100, True)
    assert {entry["signal"]: len(entry["broken"]) for entry in played["invariants"]} == {"errors": 0, "latency-p95": 0}
    assert played["account"]["impact"]["wrong"] > 0
    assert state.digest(root) == before
    text = (root / "r" / "report.html").read_text()
    page = pages.read(text)
    assert page.problems == []
    assert page.loads() == []
    assert len(text.encode()) < 2_000_000
    head = json.loads((root / "r" / "report.json").read_text())["head"]
    assert head["digest"] in page.text
    shown = calls.ddr(root, "journal", "show", "--json")
    assert head["digest"] in shown.out


@pytest.mark.long
@pytest.mark.parametrize("line", ["decoy log-level", "$ ddr diagnose", "$ ddr runbook resume", "verified"])
def test_ctrl_c_ends_it_with_everything_undone(root: Path, line: str) -> None:
    """As a terminal sends it: to the game day and to the command that it runs, at once."""
    before = state.digest(root)
    playing = start(root, "bad-model-promotion")
    wait_for(root, playing, line, at_work="resume" in line)
    os.killpg(playing.pid, signal.SIGINT)
    out, err = playing.communicate()
    assert playing.returncode == 130, out + err
    assert state.digest(root) == before
    assert _left(root) == "", "nothing is in the way of the next one"


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_shipped_scenario_passes(root: Path, scenario: str) -> None:
    before = state.digest(root)
    done = play(root, scenario)
    assert (done.code, done.document["played"][0]["reasons"]) == (0, [])
    assert state.digest(root) == before


@pytest.mark.long
@pytest.mark.parametrize(
    "line",
    [
        "decoys and the fault",
        "decoy log-level",
        "first bad",
        "detected",
        "$ ddr incident declare",
        "$ ddr diagnose",
        "$ ddr runbook run",
        "$ ddr runbook approve",
        "$ ddr runbook resume",
        "verified",
        "$ ddr incident resolve",
        "undoing the faults",
        "taken back",
        "waiting until the steady state is back",
    ],
)
@pytest.mark.parametrize("scenario", ["bad-model-promotion", "stale-online-features"])
def test_killed_at_every_line_it_tells(make_sandbox: sandboxes.MakeSandbox, scenario: str, line: str) -> None:
    root = make_sandbox()
    process.start(root)
    assert calls.ddr(root, "release", "record", "--known-good").code == 0
    before = state.digest(root)
    kill_when(root, scenario, line)
    assert survivors(root) == []
    end_by_hand(root, scenario)
    assert state.digest(root) == before
    assert calls.ddr(root, "journal", "verify").code == 0
