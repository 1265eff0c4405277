"""`ddr release`, `changes` and `affected` on a real platform: what a pipeline, a scheduler and an engineer type."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ddr.sandbox import process
from tests import sandboxes
from tests.unit.cli import calls


@pytest.fixture(scope="module")
def root(warm_sandbox: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One sandbox for the tests of this file, in their order."""
    made = sandboxes.copy(warm_sandbox, tmp_path_factory.mktemp("release") / "sandbox")
    process.start(made)
    yield made
    process.stop(made)


def test_a_pipeline_records_a_release_and_may_be_run_twice(root: Path) -> None:
    lock = root / "requirements.lock"
    lock.write_text("numpy==1.26\n")
    told = ("--lock", str(lock), "--evaluation", "accuracy=0.91", "--link", "https://me@ci.example/42?token=ab")
    words = ("release", "record", "--known-good", *told, "--json")
    first, again = calls.ddr(root, *words), calls.ddr(root, *words)
    assert (first.code, again.code, again.document["how"]) == (0, 0, "known")
    assert again.document["id"] == first.document["id"]
    assert "nothing new" in again.err
    made = first.document["lineage"]
    assert made["lock"].startswith("sha256:")
    assert (made["evaluation"], made["link"]) == (
        {"accuracy": 0.91},
        "https://[redacted]@ci.example/42?token=[redacted]",
    )
    assert made["commit"]
    assert made["run"]
    assert made["data"]
    assert calls.ddr(root, "release", "record", "--evaluation", "accuracy=good").code == 64
    tag = calls.ddr(root, "release", "record", "--image", "foo:latest")
    assert (tag.code, "no digest" in tag.err) == (64, True)
    assert len(calls.ddr(root, "release", "list", "--json").document["releases"]) == 1


def test_what_nobody_recorded_is_found_by_the_scheduler_once(root: Path) -> None:
    assert calls.ddr(root, "release", "observe").code == 0
    config = root / "config/serving.yaml"
    before = config.read_text()
    config.write_text(before.replace("timeout_ms: 500", "timeout_ms: 50") + "api_token: hunter2-abc\n")
    assert calls.ddr(root, "sandbox", "traffic", "--for", "5m").code == 0
    assert calls.ddr(root, "release", "observe", "--look-only").code == 2
    found = calls.ddr(root, "release", "observe", "--json")
    assert found.code == 2
    (change,) = found.document["services"][0]["found"]
    assert (change["plane"], change["recorded"]) == ("config", False)
    assert "timeout_ms 500 → 50" in change["detail"]
    assert calls.ddr(root, "release", "observe").code == 0
    told = calls.ddr(root, "changes", "--plane", "config", "--diff")
    assert "not recorded by anyone" in told.out
    assert "timeout_ms 500 → 50" in told.out
    journal = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file() and "journal" in str(path))
    assert b"timeout_ms" in journal
    assert b"hunter2" not in journal
    config.write_text(before)
    assert calls.ddr(root, "release", "observe").code == 2


def test_what_was_serving_then(root: Path) -> None:
    assert calls.ddr(root, "release", "show", "--at", "last thursday 14:05").code == 2  # before anything was recorded
    now = calls.ddr(root, "release", "show", "--at", "now", "--json")
    assert now.code == 0, now.out
    planes = {one["plane"]: one for one in now.document["planes"]}
    assert planes["model"]["revision"]["name"] == "2"
    assert {one["certainty"] for one in planes.values()} <= {"seen", "inferred", "told"}
    assert calls.ddr(root, "release", "show", "--at", "tomorrow 10:00").code == 64
    assert calls.ddr(root, "release", "show", "last-good").code == 0
    assert calls.ddr(root, "release", "diff", "last-good", "--json").document["is_same"]


def test_a_bad_release_is_blocked_in_mlflow_too_and_can_be_lifted(root: Path) -> None:
    broken = calls.ddr(root, "sandbox", "break", "model.promote-bad", "--with", "kind=labels-flipped", "--json")
    assert broken.code == 0
    assert calls.ddr(root, "release", "observe").code == 2  # a registration is no promotion
    assert calls.ddr(root, "release", "record", "--note", "seen").code == 0
    assert calls.ddr(root, "release", "diff", "last-good", "newest", "--json").document["is_same"] is False
    done = calls.ddr(root, "release", "mark", "newest", "bad", "--why", "labels flipped", "--json")
    assert done.code == 0, done.err
    assert [one["plane"] for one in done.document["marked"]] == ["model"]
    assert "blocked: labels flipped" in calls.ddr(root, "release", "show", "newest").out
    shown = calls.ddr(root, "release", "show", "live", "--json").document
    assert shown["revisions"]["model"]["facts"]["blocked"] == "labels flipped"  # read back from MLflow's own tag
    assert calls.ddr(root, "release", "verify").code == 0
    walked = calls.ddr(root, "affected", f"model:postcode-digit@{shown['revisions']['model']['name']}", "--json")
    assert (walked.code, walked.document["serving"]) == (0, ["postcode"])
    assert calls.ddr(root, "release", "mark", "newest", "good").code == 0
    shown = calls.ddr(root, "release", "show", "live", "--json").document
    assert "blocked" not in shown["revisions"]["model"]["facts"]


def test_what_cannot_be_deployed_any_more_is_found(root: Path) -> None:
    whole = calls.ddr(root, "release", "verify", "--all")
    assert (whole.code, "loads: 900 rows of 16" in whole.out) == (0, True), whole.out
    files = [path for path in (root / "mlflow").rglob("*.pkl") if path.is_file()]
    assert files
    kept = {path: path.read_bytes() for path in files}
    for path in files:
        path.write_bytes(kept[path] + b"x")
    found = calls.ddr(root, "release", "verify", "--json")
    assert found.code == 2
    parts = [part for one in found.document["services"][0]["verdicts"] for part in one["parts"]]
    assert {part["standing"] for part in parts if part["what"] == "model"} == {"changed"}
    for path, content in kept.items():
        path.write_bytes(content)
    assert calls.ddr(root, "release", "verify").code == 0


def test_a_registry_that_is_away_is_69_everywhere_and_nothing_is_given_up(root: Path) -> None:
    database = root / "mlflow/mlflow.db"
    database.rename(root / "away.db")
    try:
        for words in (
            ("release", "verify"),
            ("release", "observe"),
            ("rollback", "model"),
            ("contain", "--pin", "2"),
            ("release", "show", "live"),
        ):
            told = calls.ddr(root, *words)
            assert told.code == 69, (words, told.out, told.err)
            assert "withdraw" not in told.out + told.err, words
            once = words == ("release", "observe")
            assert (told.out + told.err).count("there is no file") == 1 or not once, words
    finally:
        (root / "away.db").rename(database)
    assert calls.ddr(root, "release", "verify").code == 0


def test_the_last_way_back_and_a_view_that_is_not_there(root: Path) -> None:
    asked = calls.ddr(root, "release", "mark", "last-good", "bad", "--plane", "code")  # all have this one
    assert (asked.code, "nothing was done" in asked.err, "ddr contain" in asked.err) == (64, True, True), asked.err
    unknown = calls.ddr(root, "contain", "--isolate", "nope")
    assert (unknown.code, "lane_pixels" in unknown.err) == (64, True)


@pytest.mark.long
def test_names_that_do_not_exist(root: Path) -> None:
    for words in (
        ("release", "show", "r-nope"),
        ("release", "diff", "r-nope"),
        ("release", "mark", "r-nope", "bad"),
        ("release", "mark", "newest", "bad", "--plane", "nope"),
        ("affected", "model:nope@1"),
        ("affected", "nope"),
        ("changes", "--plane", "nope"),
        ("changes", "--since", "soon"),
        ("changes", "nobody"),
    ):
        assert calls.ddr(root, *words).code == 64, words
