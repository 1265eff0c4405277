"""The commands on a real platform: the whole incident by hand, as the README tells it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddr.sandbox import process
from tests import sandboxes
from tests.unit.cli import calls


@pytest.fixture(scope="module")
def root(warm_sandbox: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One sandbox for the tests of this file, in their order: healthy, broken, recovered."""
    made = sandboxes.copy(warm_sandbox, tmp_path_factory.mktemp("cli") / "sandbox")
    process.start(made)
    assert calls.ddr(made, "release", "record", "--known-good").code == 0
    yield made
    process.stop(made)


# Third-party packages that are imported on the hot path. A new one is a decision, not an accident.
HOT_PATH = ("status", "changes", "diagnose", "runbook runs", "rollback model --to 1", "rollback list")
EXACTLY = {"click", "msgspec", "yaml"}
COMPILED = {"_yaml", "cython_runtime", "typing_extensions"}  # what msgspec and the C part of yaml bring along
NEVER = {"mlflow", "pandas", "torch", "feast", "matplotlib", "kubernetes", "sklearn", "boto3", "faiss"}


@pytest.mark.parametrize("words", HOT_PATH)
def test_the_hot_path_imports_exactly_this(root: Path, words: str) -> None:
    program = (
        "import sys; before = set(sys.modules); from ddr.cli import main; "
        f"main.run(['--config', {str(root)!r}, *{words.split()!r}]); "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}"
        " - set(sys.stdlib_module_names) - {'ddr'}))"
    )
    environ = {**os.environ, "XDG_STATE_HOME": str(root / ".state")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environ)
    names = done.stdout.splitlines()[-1].split()
    imported = {name for name in names if name not in COMPILED and not name.startswith("_cython")}
    assert imported == EXACTLY
    assert not imported & NEVER


def test_a_healthy_platform_is_ok_everywhere(root: Path) -> None:
    status = calls.ddr(root, "status", "--check", "--json")
    assert status.code == 0, status.out
    (service,) = status.document["services"]
    assert service["state"] == "ok"
    assert {plane["plane"]: plane["known_good"] for plane in service["planes"]} == dict.fromkeys(
        ("code", "model", "features", "index", "config"), True
    )
    assert {judgement["state"] for judgement in service["signals"]} == {"ok"}
    assert calls.ddr(root, "diagnose", "--json").document["verdict"] == "HEALTHY"
    doctor = calls.ddr(root, "doctor", "--json")
    assert doctor.code == 0, doctor.out
    assert len(doctor.document["visits"]) >= 10
    assert calls.ddr(root, "journal", "verify").code == 0
    assert calls.ddr(root, "runbook", "check").code == 0
    assert calls.ddr(root, "gameday", "check").code == 0


def _next(root: Path, command: str) -> str:
    found = calls.ddr(root, command, "--json").document
    return str(found["next_command"] if "next_command" in found else found["services"][0]["next_command"])


def test_one_incident_by_hand(root: Path) -> None:
    before = calls.ddr(root, "sandbox", "digest", "--json").document["digest"]
    broken = calls.ddr(root, "sandbox", "break", "model.promote-bad", "--with", "kind=labels-flipped", "--json")
    assert broken.code == 0, broken.err
    calls.ddr(root, "sandbox", "traffic", "--for", "1h")
    assert calls.ddr(root, "status", "--check").code == 2
    assert _next(root, "status") == "ddr diagnose postcode"
    assert _next(root, "diagnose") == "ddr runbook run bad-model-promotion --service postcode"

    incident = calls.ddr(root, "incident", "declare", "--title", "wrong digits", "--json").document["id"]
    diagnosis = calls.ddr(root, "diagnose", "--incident", incident, "--json").document
    assert diagnosis["verdict"] == "CONFIRMED"
    assert diagnosis["candidates"][0]["plane"] == "model"
    assert diagnosis["next_command"] == f"ddr runbook run bad-model-promotion --service postcode --incident {incident}"

    assert _next(root, "diagnose") == diagnosis["next_command"], "the only open incident, also where it is not named"

    plan = calls.ddr(root, "runbook", "plan", "bad-model-promotion", "--json")
    assert plan.code == 0, plan.out
    waiting = calls.ddr(root, "runbook", "run", "bad-model-promotion", "--incident", incident, "--json")
    assert waiting.code == 4, waiting.err
    run, digest = waiting.document["run"], waiting.document["plan_digest"]
    for words in ("status", "diagnose"):
        assert _next(root, words).startswith(
            f"ddr runbook approve {run} --plan {digest.removeprefix('sha256:')[:12]}   #"
        )
    by_requester = calls.ddr(root, "runbook", "approve", run, "--plan", digest, "--json")
    assert by_requester.code == 1
    assert "not among the approvers" in by_requester.document["error"]["message"]
    wrong_plan = calls.ddr(root, "runbook", "approve", run, "--plan", "0" * 12, actor="head-of-sorting")
    assert wrong_plan.code == 64
    assert calls.ddr(root, "runbook", "approve", run, "--plan", digest, actor="head-of-sorting").code == 0
    for words in ("status", "diagnose"):
        assert _next(root, words) == f"ddr runbook resume {run}"
    ended = calls.ddr(root, "runbook", "resume", run, "--json")
    assert (ended.code, ended.document["status"]) == (0, "recovered"), ended.out
    assert calls.ddr(root, "incident", "resolve", incident, "--why", "golden set and traffic are right again").code == 0

    story = calls.ddr(root, "incident", "show", incident, "--json").document
    assert story["status"] == "resolved"
    assert [story[key] is not None for key in ("first_bad", "diagnosed_at", "mitigated_at", "resolved_at")] == [
        True
    ] * 4
    assert calls.ddr(root, "runbook", "undo", broken.document["run"]).code == 0
    assert calls.ddr(root, "sandbox", "digest", "--json").document["digest"] == before
    assert calls.ddr(root, "journal", "verify").code == 0


def test_errors_are_documents_with_json_and_name_the_next_move(root: Path) -> None:
    for words, code in (
        (["incident", "show", "inc-nope"], 64),
        (["runbook", "resume", "run-nope"], 64),
        (["runbook", "run", "nope"], 64),
        (["runbook", "run", "bad-model-promotion", "-s", "nope"], 64),
        (["sandbox", "break", "nope"], 64),
        (["sandbox", "break", "model.promote-bad", "--with", "kind=nope"], 64),
        (["changes", "nope"], 64),
    ):
        done = calls.ddr(root, *words, "--json")
        assert done.code == code, (words, done)
        error = json.loads(done.out)["error"]
        assert error["hint"], words
        assert "Traceback" not in done.err


def test_a_server_that_is_down_is_unknown_not_healthy(root: Path) -> None:
    process.stop(root)
    try:
        status = calls.ddr(root, "status", "--json")
        assert status.code == 0
        (service,) = status.document["services"]
        states = {judgement["signal"]: judgement["state"] for judgement in service["signals"]}
        assert {states["golden"], states["errors"], states["latency-p95"]} == {"unknown"}
        assert service["state"] == "unknown"
        (mend,) = service["mend"]
        assert mend.startswith("server: start")
        diagnosis = calls.ddr(root, "diagnose", "--json")
        assert (diagnosis.code, diagnosis.document["verdict"]) == (2, "INCONCLUSIVE")
        assert diagnosis.document["candidates"][0]["plane"] == "infra"
        assert diagnosis.document["mend"] == [mend]
        assert calls.ddr(root, "doctor").code == 2
    finally:
        process.start(root)


def test_a_link_that_is_gone_says_where_it_may_point(root: Path) -> None:
    link = root / "features" / "current"
    target = os.readlink(link)
    link.unlink()
    try:
        done = calls.ddr(root, "diagnose")
        assert done.code == 2
        assert "mend: features: point it at one of: v1, v2" in done.out
        assert "mend: features: point it at one of: v1, v2" in calls.ddr(root, "status").out
    finally:
        link.symlink_to(target)


def test_a_configuration_without_services_says_so(tmp_path: Path) -> None:
    assert calls.ddr(tmp_path, "init", str(tmp_path)).code == 0
    assert "no services yet: name one in ddr.yaml" in calls.ddr(tmp_path, "status").out
    done = calls.ddr(tmp_path, "diagnose")
    assert done.code == 64
    assert "no services yet" in done.err
    assert "`ddr doctor`" in done.err


def test_python_is_not_asked_for_a_sandbox_elsewhere(tmp_path: Path) -> None:
    assert sys.executable
    assert calls.ddr(tmp_path, "init", str(tmp_path)).code == 0
    for words in (["sandbox", "traffic"], ["sandbox", "digest"], ["sandbox", "faults"], ["sandbox", "break", "x"]):
        done = calls.ddr(tmp_path, *words)
        assert done.code == 64
        assert "no sandbox" in done.err
