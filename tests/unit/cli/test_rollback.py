"""`ddr rollback` on a real platform: each plane that goes wrong is taken back alone, and nothing else is touched."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ddr.lib import durable
from ddr.sandbox import layout, process, state
from tests import sandboxes
from tests.unit.cli import calls
from tests.unit.cli.test_care import ddr

PARTS = {"model": {"registry", "artifacts"}, "features": {"features", "wrong_online_rows", "suspended"}}
"""What of the sandbox's state belongs to which plane, where it is not called as the plane is."""


@pytest.fixture(scope="module")
def root(warm_sandbox: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One sandbox whose service demands no approval, with what is live vouched for."""
    made = sandboxes.copy(warm_sandbox, tmp_path_factory.mktemp("rollback") / "sandbox")
    settings = made / "ddr.yaml"
    text = settings.read_text()
    assert "approvers: [oncall-ml-lead, head-of-sorting]" in text
    text = text.replace("approvers: [oncall-ml-lead, head-of-sorting]", "approvers: []")
    promoter = "{name: nightly, plane: model, how: retrains, stop: systemctl stop retrain}"
    settings.write_text(text.replace("    serving: server\n", f"    serving: server\n    promoters: [{promoter}]\n"))
    process.start(made)
    assert ddr(made, "release", "record", "--known-good").code == 0
    yield made
    process.stop(made)


def others(root: Path, plane: str) -> Mapping[str, object]:
    """The state of everything but one plane."""
    own = PARTS.get(plane, {plane}) | {"not_rolled"}
    return {part: found for part, found in state.describe(root).items() if part not in own}


def events(root: Path) -> int:
    count: int = ddr(root, "journal", "verify", "--json").document["events"]
    return count


def loaded(root: Path, plane: str) -> str:
    return process.loaded_name(root, plane)


def taken_back(root: Path, plane: str, bad: str, good: str) -> calls.Done:
    """Plan, which writes nothing; apply; the other planes are what they were."""
    before, written, whole = others(root, plane), events(root), state.digest(root)
    plan = ddr(root, "rollback", plane, "--json")
    assert plan.code == 0, plan.out + plan.err
    (move,) = plan.document["plan"]["plan"]["moves"]
    assert (move["live"]["name"], move["target"]["name"]) == (bad, good)
    text = ddr(root, "rollback", plane)
    assert len(text.out.splitlines()) <= 24, text.out
    assert (events(root), state.digest(root)) == (written, whole), "a plan writes nothing"
    digest = plan.document["plan_digest"]
    patience = ["--patience", "1h"]  # a code or an index is proved by traffic alone
    done = ddr(root, "rollback", plane, "--apply", "--plan", digest, *patience, "--json")
    assert (done.code, done.document["status"]) == (0, "recovered"), done.out + done.err
    assert loaded(root, plane) in ("", good)
    assert others(root, plane) == before
    return done


def test_a_bad_model(root: Path) -> None:
    assert ddr(root, "sandbox", "break", "model.promote-bad", "--with", "kind=labels-flipped").code == 0
    bad = ddr(root, "rollback", "model", "--json").document["plan"]["plan"]["moves"][0]["live"]["name"]
    done = taken_back(root, "model", bad, "2")
    nothing = ddr(root, "rollback", "model", "--apply")
    assert (nothing.code, nothing.out.partition(":")[0]) == (0, "nothing to take back"), "nothing is wrong with it now"
    listed = ddr(root, "rollback", "list", "--json").document["rollbacks"]
    assert [run["started"]["run"] for run in listed] == [done.document["run"]]

    # somebody promotes the bad one again by hand, and is told that it is blocked
    blocked = ddr(root, "rollback", "model", "--to", bad)
    assert blocked.code == 1
    assert "it is blocked" in blocked.out
    again = ddr(root, "rollback", "model", "--to", "2")
    assert (again.code, again.out.splitlines()[0].startswith("nothing to do: model is at")) == (0, True)

    # undo, undo of undo, and back to good
    assert ddr(root, "rollback", "undo").code == 64, "on a pipe somebody has to say yes"
    for live in (bad, "2"):
        undone = ddr(root, "rollback", "undo", "--yes")
        assert undone.code == 0, undone.err
        assert (loaded(root, "model")) == live


def test_a_frozen_feature_view(root: Path) -> None:
    assert ddr(root, "sandbox", "break", "features.freeze").code == 0
    ddr(root, "sandbox", "traffic", "--for", "1h")
    bad = ddr(root, "rollback", "features", "--json").document["plan"]["plan"]["moves"][0]["live"]["name"]
    done = taken_back(root, "features", bad, "v2")
    steps = [step["step"] for step in done.document["steps"]]
    assert steps.index("take-back-features") < steps.index("refresh-features") < steps.index("load")


def test_a_corrupted_index(root: Path) -> None:
    """Published whole, damaged on the disk: nothing can read it, and one can go away from it all the same."""
    where = layout.Layout(root).root / "index"
    shutil.copytree(where / "versions" / "v1", where / "versions" / "v2")
    (where / "versions" / "v2" / "index.faiss").write_bytes(b"")
    durable.point(where / "current", "versions/v2")
    taken_back(root, "index", "v2", "v1")
    back = ddr(root, "rollback", "undo", "--yes")
    assert back.code == 1, "nobody goes back to what cannot be read"
    assert loaded(root, "index") == "v1"


def test_a_bad_code_release(root: Path) -> None:
    where = layout.Layout(root).root / "code"
    shutil.copytree(where / "releases" / "1.4.0", where / "releases" / "1.5.0")
    app = where / "releases" / "1.5.0" / "app.py"
    text = app.read_text().replace("np.argmax(logs)", "np.argmin(logs)").replace('"1.4.0"', '"1.5.0"')
    app.write_text(text)
    durable.point(where / "current", "releases/1.5.0")
    process.roll(root)
    assert loaded(root, "code") == "1.5.0"
    taken_back(root, "code", "1.5.0", "1.4.0")


def test_code_that_fails_a_part_of_the_requests_is_no_recovery(root: Path) -> None:
    """It loads and answers most: the answers that are missing are counted since the switch, and asked for."""
    where = layout.Layout(root).root / "code"
    shutil.copytree(where / "releases" / "1.4.0", where / "releases" / "1.6.0")
    app = where / "releases" / "1.6.0" / "app.py"
    raises = '    if sum(pixels) % 16 < 2:\n        raise RuntimeError("cannot answer this one")\n'
    app.write_text(app.read_text().replace("    best = int(", f"{raises}    best = int("))
    ddr(root, "sandbox", "traffic", "--for", "3h")  # thousands of good answers that must not count
    done = ddr(root, "rollback", "code", "--to", "1.6.0", "--apply", "--no-mark", "--json")
    assert done.code == 1, done.out
    assert "still bad: golden, errors" in done.document["why"]
    assert done.document["plan_digest"].startswith("sha256:")
    assert ddr(root, "rollback", "undo", "--yes").code == 0
    assert loaded(root, "code") == "1.4.0"


def test_unproved_it_says_so_and_the_second_engineer_is_told_of_it(root: Path) -> None:
    """Truth comes half an hour late: in a second nobody can know that the answers are right again."""
    assert ddr(root, "sandbox", "break", "model.promote-bad", "--with", "kind=labels-flipped").code == 0
    done = ddr(root, "rollback", "model", "--apply", "--patience", "1s", "--json")
    assert (done.code, done.document["status"]) == (5, "paused"), done.out
    assert "switched, not proved: " in done.document["why"]
    assert "wrong-answers" in done.document["why"]
    run = done.document["run"]
    bob = calls.ddr(root, "rollback", "model", "--apply", actor="bob")
    assert bob.code == 0, bob.err
    assert f"run {run} of " in bob.out
    assert bob.out.splitlines()[-1] == f"  next: ddr runbook resume {run}"
    ddr(root, "sandbox", "traffic", "--for", "2h")
    assert ddr(root, "runbook", "resume", run, "--json").document["status"] == "recovered"
    live = ddr(root, "rollback", "model", "--to", "1m ago", "--apply", "--json")
    assert (live.code, live.document["plan"]) == (0, None), "where it is, nothing is planned and nothing is blocked"


def test_code_that_does_not_load_is_taken_back_at_once(root: Path) -> None:
    """A release that was good once and does not load any more: what was switched goes back by itself."""
    where = layout.Layout(root).root / "code"
    shutil.copytree(where / "releases" / "1.4.0", where / "releases" / "1.3.9")
    (where / "releases" / "1.3.9" / "app.py").write_text("raise RuntimeError('no such library')\n")
    before = others(root, "code")
    done = ddr(root, "rollback", "code", "--to", "1.3.9", "--apply", "--no-mark", "--json")
    assert done.code == 1, done.out
    assert "taken back" in done.document["why"]
    assert os.readlink(where / "current").endswith("1.4.0")
    assert loaded(root, "code") == "1.4.0"
    assert others(root, "code") == before


def test_contained_and_off_again(root: Path) -> None:
    before = state.digest(root)
    plan = ddr(root, "contain", "--json")
    assert plan.code == 0
    assert state.digest(root) == before
    done = ddr(root, "contain", "--apply", "--json")
    assert (done.code, done.document["status"]) == (2, "contained")
    assert state.describe(root)["fallback"] is True
    assert ddr(root, "rollback", "undo", done.document["run"], "--yes").code == 0
    assert state.digest(root) == before
    for words in (["--suspend"], ["--isolate", "lane_pixels"]):
        cannot = ddr(root, "contain", *words, "--apply")
        assert cannot.code == 1, cannot.out
    assert ddr(root, "contain", "--pin", "99").code == 64


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["model", "--to", "99"], 64, "there is no postcode-digit 99"),
        (["model", "--to", "yesterday"], 64, "is no time"),
        (["model", "--to", "2030-01-01"], 64, "2030-01-01"),
        (["model", "--with", "model"], 64, "goes back anyway"),
        (["model", "--with", "config"], 64, "no plane that goes back"),
        (["model", "nope"], 64, "no service"),
        (["undo", "run-nope"], 64, "there is no run"),
        (["model", "--to", "1", "--apply", "--plan", "0" * 12], 3, "the plan is"),
    ],
)
def test_what_is_typed_wrong(root: Path, words: list[str], code: int, text: str) -> None:
    before, written = state.digest(root), events(root)
    done = ddr(root, "rollback", *words)
    assert (done.code, text in done.err + done.out) == (code, True), done.err + done.out
    assert "next:" in done.err or "--with" in done.err
    assert (events(root), state.digest(root)) == (written, before)


def test_json_is_whole(root: Path) -> None:
    plan = ddr(root, "rollback", "model", "--to", "1", "--json").document
    assert set(plan) >= {"plan_digest", "plan", "refused", "apply", "undo", "proved_by", "smallest_fit"}
    assert json.dumps(plan["plan"]["stays"])
    assert [(one["name"], one["stop"]) for one in plan["plan"]["reverters"]][:1] == [
        ("nightly", "systemctl stop retrain")
    ]
    assert {check["name"] for check in plan["plan"]["plan"]["checks"]} >= {"target", "fits input columns"}
