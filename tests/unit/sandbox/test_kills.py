"""`kill -9` before every durable step of every fault's act and undo: what is left is always taken back exactly."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from ddr.domain import outcomes
from ddr.ports import verb
from ddr.sandbox import faults, process, registry, state, traffic
from tests.unit.sandbox import victim as victims
from tests.unit.sandbox import worlds

KEY = "run-1/inject/1"
MOST_STEPS = 400

CHEAP = ["features.freeze", "features.null", "index.corrupt", "code.bad-release"]
CHEAP += ["decoy.code-release", "decoy.config-change"]
TRAINED = ["labels-flipped", "weights-overwritten"]


class Victim:
    """Tells the process of `victim.py` what to do."""

    def __init__(self, process_: subprocess.Popen[str]) -> None:
        self._process = process_

    def order(self, subject: Subject, do: str, at: int, inside: str = "") -> Literal["killed", "ended", "failed"]:
        told = {
            "root": str(subject.root),
            "fault": subject.fault.name,
            "inputs": dict(subject.call.inputs),
            "key": subject.call.key,
            "settled": dict(subject.settled),
            "do": do,
            "at": at,
            "recorded": str(subject.recorded or ""),
            "inside": inside,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(told), file=self._process.stdin, flush=True)
        ended = json.loads(self._process.stdout.readline())
        return "killed" if ended["killed"] else "ended" if ended["exit"] == 0 else "failed"


@dataclass
class Subject:
    """A fault on a sandbox, and the state the sandbox had before."""

    root: Path
    fault: verb.Verb
    call: verb.Call
    settled: Mapping[str, str]
    before: dict[str, object]
    recorded: Path | None = None

    def act(self) -> None:
        assert self.fault.act(self.call, self.settled).status is outcomes.Status.OK
        assert self.fault.observe(self.call, self.settled) is verb.Seen.DONE

    def must_come_back(self, what: str) -> None:
        """One undo takes everything back; a second finds nothing."""
        self.fault.undo(self.call, self.settled)
        assert state.describe(self.root) == self.before, what
        assert self.fault.undo(self.call, self.settled).status is outcomes.Status.SKIPPED, what
        assert state.describe(self.root) == self.before, what


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    command = [sys.executable, "-m", "tests.unit.sandbox.victim"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=victims.REPOSITORY
    ) as started:
        yield Victim(started)
        assert started.stdin is not None
        started.stdin.close()


def _subject(root: Path, name: str, inputs: Mapping[str, Any]) -> Subject:
    fault = faults.catalog(root)[name]
    call = worlds.call(inputs, KEY)
    return Subject(root, fault, call, fault.prepare(call).settled, state.describe(root))


def _kill_everywhere(subject: Subject, victim: Victim) -> None:
    """Kill act before each of its steps, then undo before each of its own."""
    acted = undone = 0
    for at in itertools.count(1):
        ended = victim.order(subject, "act", at)
        assert ended != "failed"
        assert at < MOST_STEPS
        if ended == "ended":
            break
        acted = at
        assert subject.fault.observe(subject.call, subject.settled) in (verb.Seen.NOT_DONE, verb.Seen.DONE)
        subject.must_come_back(f"act killed before step {at}, then undone")
        assert victim.order(subject, "act", at) == "killed"
        assert victim.order(subject, "act", MOST_STEPS) == "ended"
        assert subject.fault.observe(subject.call, subject.settled) is verb.Seen.DONE
        subject.must_come_back(f"act killed before step {at}, done again, then undone")
    subject.must_come_back("act")
    for at in itertools.count(1):
        assert victim.order(subject, "act", MOST_STEPS) == "ended"
        ended = victim.order(subject, "undo", at)
        assert ended != "failed"
        if ended == "ended":
            break
        undone = at
        subject.must_come_back(f"undo killed before step {at}")
    subject.must_come_back("undo")
    print(f"{subject.fault.name} {dict(subject.call.inputs)}: act killed at {acted} steps, undo at {undone}")
    assert acted >= 5
    assert undone >= 5


@pytest.mark.parametrize("name", CHEAP)
def test_a_kill_at_any_step_of_a_release(name: str, running_sandbox: Path, victim: Victim) -> None:
    _kill_everywhere(_subject(running_sandbox, name, {}), victim)


@pytest.mark.parametrize("kind", TRAINED)
def test_a_kill_at_any_step_around_a_training(kind: str, running_sandbox: Path, victim: Victim, tmp_path: Path) -> None:
    """The training itself ran once for real and is played back; inside of it see below."""
    subject = _subject(running_sandbox, "model.promote-bad", {"kind": kind})
    subject.act()
    shutil.copytree(running_sandbox / "mlflow", tmp_path / "mlflow")
    for bad in (running_sandbox / "faults").glob("*/bad"):
        shutil.copytree(bad, tmp_path / "bad")
    subject.must_come_back("act")
    subject.recorded = tmp_path
    _kill_everywhere(subject, victim)


def test_an_act_that_was_killed_before_the_promotion_completes_it(running_sandbox: Path) -> None:
    subject = _subject(running_sandbox, "model.promote-bad", {"kind": "stale-slice"})
    subject.act()
    made = registry.champion(running_sandbox).number
    assert registry.move_alias(running_sandbox, to=subject.settled["before"], expect=made)
    process.roll(running_sandbox)
    assert subject.fault.observe(subject.call, subject.settled) is verb.Seen.NOT_DONE
    subject.act()
    assert registry.champion(running_sandbox).number == made
    subject.must_come_back("act")


def _kill_inside(subject: Subject, victim: Victim, at: int, site: Path) -> bool:
    """Kill program and training together before the training's step `at`. False when it has fewer steps."""
    ended = victim.order(subject, "act", at, inside=str(site))
    assert ended != "failed"
    subject.must_come_back(f"killed before step {at} of the training")
    return ended == "killed"


@pytest.mark.parametrize("at", [1, 12, 30])
def test_a_kill_inside_a_training(at: int, running_sandbox: Path, victim: Victim, tmp_path: Path) -> None:
    subject = _subject(running_sandbox, "model.promote-bad", {"kind": "stale-slice"})
    assert _kill_inside(subject, victim, at, tmp_path)
    traffic.Driver(running_sandbox).advance(60)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["stale-slice", "weights-overwritten"])
def test_a_kill_at_any_step_inside_a_training(kind: str, running_sandbox: Path, victim: Victim, tmp_path: Path) -> None:
    subject = _subject(running_sandbox, "model.promote-bad", {"kind": kind})
    for at in itertools.count(1):
        if not _kill_inside(subject, victim, at, tmp_path):
            break
    print(f"{kind}: {at - 1} steps inside of the training")
    assert at > 4


def test_the_alias_is_never_left_on_a_version_that_is_gone(
    running_sandbox: Path, victim: Victim, tmp_path: Path
) -> None:
    """Between any two steps of an undo the champion can be loaded: the server may be started at any time."""
    subject = _subject(running_sandbox, "model.promote-bad", {"kind": "labels-flipped"})
    subject.act()
    shutil.copytree(running_sandbox / "mlflow", tmp_path / "mlflow")
    subject.recorded = tmp_path
    for at in itertools.count(1):
        ended = victim.order(subject, "undo", at)
        assert registry.champion(subject.root).digest
        process.roll(subject.root)
        if ended == "ended":
            break
        # Someone may even break it again from here.
        assert victim.order(subject, "act", MOST_STEPS) == "ended"
    subject.must_come_back("undo")
