"""Building a sandbox: what lies there, what is refused, that the seed determines it, that a kill does no harm."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ddr.errors import Damaged, InputError, Missing, Refused, Unavailable
from ddr.lib import digest
from ddr.lib import process as processes
from ddr.sandbox import build, clock, features, layout, process, registry, traffic
from tests import sandboxes
from tests.unit.sandbox import worlds

_ASK_MLFLOW = """
import json, os, sys
os.chdir(sys.argv[1])
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
import mlflow.pyfunc
from mlflow.models import get_model_info
from mlflow.tracking import MlflowClient
mlflow.set_tracking_uri("sqlite:///mlflow/mlflow.db")
client = MlflowClient()
told = {"aliases": dict(client.get_registered_model("postcode-digit").aliases), "versions": {}}
for version in client.search_model_versions("name='postcode-digit'"):
    run = client.get_run(version.run_id)
    info = get_model_info(f"models:/postcode-digit/{version.version}")
    told["versions"][str(version.version)] = {
        "created": version.creation_timestamp, "started": run.info.start_time, "source": version.source,
        "inputs": [[column.name, column.type.name] for column in info.signature.inputs],
        "datasets": [given.dataset.name for given in run.inputs.dataset_inputs], "metrics": run.data.metrics,
        "rows": run.data.params["rows"], "user": run.data.tags["mlflow.user"],
    }
import pandas
golden = [json.loads(line) for line in open("golden.jsonl")]
table = pandas.DataFrame([row["features"] for row in golden], columns=[f"p{pixel:02d}" for pixel in range(64)])
model = mlflow.pyfunc.load_model("models:/postcode-digit@champion")
told["wrong"] = sum(a != row["truth"] for a, row in zip(model.predict(table), golden))
print(json.dumps(told))
"""


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_everything_of_the_contract_is_there(pristine_sandbox: Path) -> None:
    where = layout.Layout(pristine_sandbox)
    golden = _lines(where.golden)
    assert len(golden) == 300
    assert all(len(row["features"]) == 64 and row["truth"] in set("0123456789") for row in golden)
    assert clock.read(pristine_sandbox) == layout.BEGINS
    for folder, live, names in (
        (where.code, "releases/1.4.0", {"1.3.0", "1.4.0"}),
        (where.features, "releases/v2", {"v1", "v2"}),
        (where.index, "versions/v1", {"v1"}),
    ):
        assert str((folder / "current").readlink()) == live
        assert {path.name for path in (folder / "current").resolve().parent.iterdir()} == names
        deployments = _lines(folder / "deployments.jsonl")
        assert deployments[-1]["to"] == live.partition("/")[2]
        assert all(set(line) == {"at", "actor", "from", "to", "summary"} for line in deployments)
    card = json.loads((where.index / "current" / "card.json").read_text())
    assert (card["dim"], card["count"]) == (16, 900)
    assert features.wrong_rows(pristine_sandbox, clock.read(pristine_sandbox)) == 0
    assert not where.unfinished.exists()
    assert where.settings.read_text().startswith("# The settings of this sandbox")


def test_real_mlflow_reads_the_registry_and_finds_it_good(sandbox: Path) -> None:
    before = {number: registry.find(sandbox, number).digest for number in "123"}
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ASK_MLFLOW, str(sandbox)], check=True, capture_output=True, text=True
    )
    told = json.loads(printed.stdout.splitlines()[-1])
    assert told["aliases"] == {"champion": 2} or told["aliases"] == {"champion": "2"}
    assert set(told["versions"]) == {"1", "2", "3"}
    for version in told["versions"].values():
        assert version["created"] == version["started"] < layout.BEGINS.timestamp() * 1000
        assert version["inputs"] == [[name, "double"] for name in layout.COLUMNS]
        assert version["datasets"] == ["parcels"]
        assert version["metrics"]["train_accuracy"] > 0.95
        assert version["user"] == "retrain-pipeline"
    assert [told["versions"][number]["rows"] for number in "123"] == ["450", "900", "900"]
    assert told["wrong"] <= 0.04 * 300
    # Whoever loads a version leaves a mark in its folder: that is no change of the model.
    assert {number: registry.find(sandbox, number).digest for number in "123"} == before


def test_a_folder_that_is_taken_is_refused(pristine_sandbox: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is a sandbox already"):
        build.up(pristine_sandbox, 1, lambda line: None)
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(Refused, match="not empty"):
        build.up(tmp_path, 1, lambda line: None)
    assert (tmp_path / "mine.txt").read_text() == "keep me"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("module", ["mlflow", "faiss", "sklearn"])
def test_a_missing_extra_is_named(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError) as caught:
        build.up(tmp_path / "new", 1, lambda line: None)
    assert "ddr[sandbox]" in caught.value.hint
    assert not (tmp_path / "new").exists()


def test_no_sandbox_and_damaged_cards_are_told_apart(tmp_path: Path, sandbox: Path) -> None:
    with pytest.raises(Missing):
        build.down(tmp_path)
    where = layout.Layout(sandbox)
    for path, damage, read in (
        (where.clock, b"", clock.read),
        (where.clock, b'{"now": 7', clock.read),
        (where.clock, b'{"then": "2026-11-02T06:00:00Z"}', clock.read),
        (where.clock, b'{"now": "yesterday"}', clock.read),
        (where.clock, b"[]", clock.read),
        (where.card, b"{}", build.down),
        (where.card, b'{"format": 99, "seed": 1, "lanes": 2}', build.down),
        (where.card, b"\xff", build.down),
    ):
        good = path.read_bytes()
        path.write_bytes(damage)
        with pytest.raises(Damaged) as caught:
            read(sandbox)
        assert str(path) in caught.value.message
        assert caught.value.hint
        path.write_bytes(good)


def _weights(root: Path) -> list[str]:
    return [digest.of_file(registry.find(root, number).folder / "model.pkl") for number in "123"]


def _build_in_child(root: Path) -> subprocess.Popen[bytes]:
    script = "import sys; from pathlib import Path; from ddr.sandbox import build\n"
    script += "build.up(Path(sys.argv[1]), int(sys.argv[2]), print)"
    return subprocess.Popen(
        [sys.executable, "-c", script, str(root), str(sandboxes.SEED)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _users_of(root: Path) -> list[int]:
    """Processes that were started for the sandbox in `root`."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(root).encode() in words and processes.is_alive(int(folder.name)):
                found.append(int(folder.name))
    return found


def test_a_killed_up_leaves_nothing_running_and_starts_anew_to_the_same_platform(
    pristine_sandbox: Path, tmp_path: Path
) -> None:
    root = tmp_path / "again"
    with _build_in_child(root) as child:
        deadline = time.monotonic() + 120
        while not (root / "mlflow" / "mlflow.db").exists():  # the training is under way, the server waits at its gate
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.02)
        os.kill(child.pid, signal.SIGKILL)
    while _users_of(root):
        assert time.monotonic() < deadline, _users_of(root)
        time.sleep(0.05)
    lines: list[str] = []
    build.up(root, sandboxes.SEED, lines.append)
    print(*lines, sep="\n")
    for name in ("rows.npz", "golden.jsonl", "embedder.npz", "index/versions/v1/index.faiss", "config/serving.yaml"):
        assert digest.of_file(root / name) == digest.of_file(pristine_sandbox / name), name
    for name in ("code", "features"):
        assert digest.of_tree(root / name / "releases") == digest.of_tree(pristine_sandbox / name / "releases"), name
    assert _weights(root) == _weights(pristine_sandbox)
    other = sandboxes.copy(pristine_sandbox, tmp_path / "other")
    try:
        assert _told_in_an_hour(root) == _told_in_an_hour(other)
    finally:
        process.stop(root)
        process.stop(other)


def _told_in_an_hour(root: Path) -> list[dict[str, Any]]:
    """Every answer; without how long it took, and without MLflow's random ids in the digest of the weights."""
    traffic.Driver(root).advance(3600)
    answered = worlds.predictions(root)
    assert len(answered) > 500
    return [{name: line[name] for name in line.keys() - {"latency_ms", "weights"}} for line in answered]


def test_a_locked_registry_is_waited_for_and_then_named(sandbox: Path) -> None:
    holder = sqlite3.connect(layout.Layout(sandbox).registry, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(Unavailable, match=r"mlflow\.db is locked") as caught:
            registry.champion(sandbox)
        assert str(os.getpid()) in caught.value.message
        assert caught.value.hint
    finally:
        holder.close()
    assert registry.champion(sandbox).number == "2"
