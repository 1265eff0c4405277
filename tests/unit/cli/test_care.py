"""Where a command must say no, or say more: slips of the pen, things that are bad still, what was decided before."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddr.cli import main
from ddr.sandbox import faults, process, registry
from ddr.sandbox.harm import bad_model
from tests import sandboxes
from tests.unit.cli import calls


def ddr(root: Path, *words: str, actor: str = "oncall-ml") -> calls.Done:
    """As `calls.ddr`, without a process for each of the many commands."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setenv("XDG_STATE_HOME", os.fspath(root / ".state"))
        code = main.run(["--config", str(root / "ddr.yaml"), "--as", actor, *words])
    return calls.Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def root(warm_sandbox: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One sandbox for the tests of this file, in their order: healthy, then broken."""
    made = sandboxes.copy(warm_sandbox, tmp_path_factory.mktemp("care") / "sandbox")
    process.start(made)
    assert ddr(made, "release", "record", "-s", "postcode", "--known-good").code == 0
    yield made
    process.stop(made)


def _events(root: Path) -> int:
    count: int = ddr(root, "journal", "verify", "--json").document["events"]
    return count


NAMES = [
    ["status", "nope"],
    ["changes", "nope"],
    ["status", "-s", "nope"],
    ["changes", "-s", "nope"],
    ["diagnose", "--service", "nope"],
    ["changes", "postcode", "-s", "other"],
    ["diagnose", "nope"],
    ["incident", "declare", "nope", "--title", "x"],
    ["incident", "show", "inc-nope"],
    ["incident", "note", "inc-nope", "x"],
    ["incident", "resolve", "inc-nope"],
    ["release", "record", "nope"],
    ["release", "withdraw", "r-nope"],
    ["runbook", "show", "nope"],
    ["runbook", "check", "nope.yaml"],
    ["runbook", "plan", "nope"],
    ["runbook", "run", "nope"],
    ["runbook", "run", "bad-model-promotion", "-s", "nope"],
    ["runbook", "run", "bad-model-promotion", "--incident", "inc-nope"],
    ["runbook", "run", "bad-model-promotion", "-p", "to=99"],
    ["runbook", "run", "bad-model-promotion", "-p", "to=two"],
    ["runbook", "plan", "bad-model-promotion", "-p", "to=99"],
    ["runbook", "run", "bad-model-promotion", "-p", "tu=2"],
    ["runbook", "resume", "run-nope"],
    ["runbook", "undo", "run-nope"],
    ["runbook", "approve", "run-nope", "--plan", "0" * 12],
    ["runbook", "deny", "run-nope", "--plan", "0" * 12],
    ["sandbox", "break", "nope"],
    ["gameday", "check", "nope"],
]


def test_a_name_that_does_not_exist_is_bad_usage_everywhere_and_starts_nothing(root: Path) -> None:
    before = _events(root)
    for words in NAMES:
        done = ddr(root, *words, "--json")
        assert done.code == 64, (words, done)
        assert "other" in words or done.document["error"]["hint"], words
    assert _events(root) == before
    print(f"{len(NAMES)} commands with a name that does not exist")


def test_a_second_declaration_says_that_it_is_one(root: Path) -> None:
    first = ddr(root, "incident", "declare", "-s", "postcode", "--title", "A", "--json")
    assert (first.code, first.document["already_open"]) == (0, False)
    again = ddr(root, "incident", "declare", "--severity", "SEV1", "--title", "B")
    assert again.code == 0
    assert again.out.startswith("open already: postcode has an open incident; 'B' was not taken as its title")
    story = ddr(root, "incident", "show", first.document["id"], "--json").document
    assert story["title"] == "A"
    assert any("declared again as SEV1: B" in note["text"] for note in story["timeline"])


def test_the_open_incident_is_taken_and_what_is_bad_keeps_it_open(root: Path) -> None:
    incident = ddr(root, "incident", "list", "--json").document["incidents"][0]["id"]
    broken = ddr(root, "sandbox", "break", "model.promote-bad", "--with", "kind=labels-flipped", "--json")
    ddr(root, "sandbox", "traffic", "--for", "1h")

    refused = ddr(root, "release", "record", "--known-good")
    assert refused.code == 1
    assert "not recorded as known good: bad now: golden" in refused.err
    vouched = ddr(root, "release", "record", "--known-good", "--although-bad", "--json")
    assert vouched.code == 0
    assert "recorded although bad: golden" in vouched.document["note"]
    withdrawn = ddr(root, "release", "withdraw", vouched.document["id"], "--why", "a slip", "--json")
    assert (withdrawn.code, withdrawn.document["known_good"]) == (0, False)
    assert "withdrawn by oncall-ml: a slip" in withdrawn.document["note"]

    waiting = ddr(root, "runbook", "run", "bad-model-promotion")
    assert waiting.code == 4, waiting.err
    assert f"belongs to {incident}, the open incident of postcode" in waiting.out
    run = waiting.out.split()[1]
    assert "waits for approval" in ddr(root, "runbook", "runs").out
    beside = ddr(root, "runbook", "run", "bad-model-promotion")
    assert beside.code == 5
    assert f"run {run} (bad-model-promotion) of postcode has no end yet" in beside.err

    closing = ddr(root, "incident", "resolve", incident)
    assert closing.code == 1
    assert f"{incident} stays open: still bad: golden" in closing.err
    assert f"run {run} (waits for approval): ddr runbook resume {run}" in closing.err

    wrong = ddr(root, "runbook", "approve", run, "--plan", "0" * 12, actor="head-of-sorting")
    assert f"`ddr runbook resume {run}` shows the one that waits" in wrong.err
    plan = ddr(root, "runbook", "resume", run, "--json").document["plan_digest"]
    assert "head-of-sorting\n" in ddr(root, "runbook", "approve", run, "--plan", plan, actor="head-of-sorting").out
    again = ddr(root, "runbook", "approve", run, "--plan", plan, actor="head-of-sorting")
    assert "approved by head-of-sorting already; nothing was written" in again.out
    glass = ddr(root, "runbook", "approve", run, "--plan", plan, "--break-glass", "nobody answers")
    assert glass.out.startswith("GLASS BROKEN by oncall-ml: nobody answers; recorded, and the team is told")

    assert ddr(root, "runbook", "undo", run).code == 0
    for words in (["undo", run], ["resume", run]):
        ended = ddr(root, "runbook", *words)
        assert ended.code == 0
        assert ended.out.splitlines()[0] == f"run {run}  bad-model-promotion  service postcode"
        assert "undone (it had ended before; nothing was done now)" in ended.out
    told = ddr(root, "runbook", "approve", run, "--plan", plan)
    assert "it ended as undone" in told.err

    assert ddr(root, "incident", "resolve", incident, "--although-bad").code == 0
    assert ddr(root, "runbook", "undo", broken.document["run"]).code == 0


def test_an_incident_that_cannot_be_judged_is_closed_with_a_finding(root: Path) -> None:
    incident = ddr(root, "incident", "declare", "--title", "C", "--json").document["id"]
    ddr(root, "sandbox", "traffic", "--for", "2h")
    process.stop(root)
    try:
        closed = ddr(root, "incident", "resolve", incident)
    finally:
        process.start(root)
    assert closed.code == 2, closed
    assert "not measured:" in closed.err
    assert "golden" in closed.err


def test_a_sandbox_without_its_clock_does_not_answer(root: Path) -> None:
    clock = root / "clock.json"
    kept = clock.read_bytes()
    clock.unlink()
    try:
        done = ddr(root, "status")
        assert done.code == 69
        assert "next:" in done.err
    finally:
        clock.write_bytes(kept)


def test_doctor_promises_no_way_back_that_is_not_there(root: Path) -> None:
    def model() -> dict[str, list[str]]:
        visits = ddr(root, "doctor", "--json").document["visits"]
        found: dict[str, list[str]] = next(visit for visit in visits if visit["what"].startswith("postcode model"))
        return found

    assert "switch" in model()["can"]
    good = registry.champion(root).folder / "model.pkl"
    broken = ddr(root, "sandbox", "break", "model.promote-bad", "--with", "kind=labels-flipped", "--json")
    assert "switch back to 2" in model()["can"]
    kept = good.read_bytes()
    good.write_bytes(kept[:100])
    try:
        seen = model()
    finally:
        good.write_bytes(kept)
    assert not [entry for entry in seen["can"] if entry.startswith("switch")]
    assert any(entry.startswith("switch back: ") and "changed in place" in entry for entry in seen["cannot"])
    assert ddr(root, "runbook", "undo", broken.document["run"]).code == 0


def test_faults_are_told_with_what_they_do_and_take(root: Path) -> None:
    told = {entry["name"]: entry for entry in ddr(root, "sandbox", "faults", "--json").document["faults"]}
    assert set(told) == set(faults.catalog(root))
    assert all(entry["about"] for entry in told.values())
    assert all(kind in told["model.promote-bad"]["inputs"]["kind"] for kind in bad_model.KINDS)
