"""`ddr index` as a person and a scheduler type it: on the index of a sandbox, and on a file of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ddr.index import codec
from tests import sandboxes
from tests.unit.cli import calls
from tests.unit.index import corpora

_OWN = """home: home
vectors: [corpus/*.npy]
metric: cosine
kind: ivf-flat
rowsPerPart: 200
"""


@pytest.fixture
def root(tmp_path: Path, pristine_sandbox: Path) -> Path:
    return sandboxes.copy(pristine_sandbox, tmp_path / "platform")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a corpus and an index file of its own, beside a ddr.yaml that says nothing of it."""
    (tmp_path / "ddr.yaml").write_text("apiVersion: ddr/v1\nrepository: {type: local, path: .ddr}\nservices: {}\n")
    (tmp_path / "corpus").mkdir()
    np.save(tmp_path / "corpus" / "a.npy", corpora.clustered(600, 16))
    (tmp_path / "own.yaml").write_text(_OWN)
    return tmp_path


def test_the_sandboxs_index_is_built_published_checked_and_gone_back_from(root: Path) -> None:
    planned = calls.ddr(root, "index", "plan", "--json")
    assert planned.code == 0, planned.err
    assert planned.document["shape"]["kind"] == "flat"
    assert not (root / "index" / ".work").exists(), "planning touches nothing"

    built = calls.ddr(root, "index", "build", "lookalikes")
    assert built.code == 0, built.err
    assert "not published; next: ddr index publish lookalikes" in built.out
    assert (root / "index" / "current").readlink().name == "v1"

    moved = calls.ddr(root, "index", "publish", "--json")
    assert moved.code == 0, moved.err
    version = moved.document["after"]
    assert moved.document["before"] == "v1"
    assert (root / "index" / "current").readlink().name == version
    again = calls.ddr(root, "index", "build", "--publish")
    assert again.code == 0
    assert f"serves {version} already" in again.out
    assert "there already" in again.err

    checked = calls.ddr(root, "index", "check", "--level", "4", "--json", "--events")
    assert checked.code == 0, checked.out
    assert checked.document["levels"] == [0, 1, 2, 3, 4]
    assert {"level 1", "level 3", "scan", "part-00000"} <= {
        json.loads(line)["stage"] for line in checked.err.split("\n") if line
    }
    listed = calls.ddr(root, "index", "list")
    assert "not published by ddr index" in listed.out
    assert f"{version}  serves" in listed.out

    # The plane goes back by the command that asks for approval, proves and marks; and it knows ddr's versions.
    back = calls.ddr(root, "rollback", "index", "--to", "v1")
    assert back.code == 0, back.err
    assert "target   index index v1" in back.out
    assert f"current from {version} to v1" in " ".join(back.out.split())
    journal = calls.ddr(root, "journal", "show")
    assert "index lookalikes built: flat" in journal.out
    assert f"index lookalikes published: v1 → {version}" in journal.out
    doctor = calls.ddr(root, "doctor")
    assert f"serves {version}" in doctor.out
    document = (root / "ddr.yaml").read_text()
    another = "\n  twins: {home: twins, vectors: [index/corpus/vectors.npy]}\n  lookalikes:\n"
    (root / "ddr.yaml").write_text(document.replace("\n  lookalikes:\n", another, 1))
    refused = calls.ddr(root, "index", "fetch", "lookalikes", str(root / "twins"), "--version", version)
    assert (refused.code, (root / "twins").exists()) == (64, False), "the home of another index"


def test_a_manifest_edited_by_hand_is_believed_by_nobody(root: Path) -> None:
    calls.ddr(root, "index", "build", "--publish")
    path = (root / "index" / "current").resolve() / "manifest.json"
    said = json.loads(path.read_text())
    said["scan"]["kept"] = 901
    path.chmod(0o644)
    path.write_text(json.dumps(said))
    found = calls.ddr(root, "index", "check")
    assert found.code == 10
    assert "manifest.json" in found.out
    assert calls.ddr(root, "index", "list").code == 10
    repaired = calls.ddr(root, "index", "repair", "--apply")
    assert repaired.code == 0, repaired.err
    assert "merge its parts again" in repaired.out, "the record says by which plan it was built"
    assert calls.ddr(root, "index", "check").code == 0


def test_an_index_that_is_out_of_step_with_its_corpus_is_told(own: Path) -> None:
    assert calls.ddr(own, "index", "build", str(own / "own.yaml"), "--publish").code == 0
    vectors = np.load(own / "corpus" / "a.npy")
    np.save(own / "corpus" / "a.npy", vectors[:-1])
    found = calls.ddr(own, "index", "check", str(own / "own.yaml"), "--level", "3", "--json")
    assert found.code == 11, found.out
    assert found.document["findings"][0]["trouble"] == "out-of-sync"
    repaired = calls.ddr(own, "index", "build", str(own / "own.yaml"), "--publish")
    assert repaired.code == 0
    assert calls.ddr(own, "index", "check", str(own / "own.yaml"), "--level", "3").code == 0
    back = calls.ddr(own, "index", "rollback", str(own / "own.yaml"))
    assert back.code == 0
    assert "nothing was changed" in back.out
    back = calls.ddr(own, "index", "rollback", str(own / "own.yaml"), "--apply")
    assert back.code == 0
    assert (own / "home" / "current").readlink().name.startswith("v000001-")
    again = calls.ddr(own, "index", "rollback", str(own / "own.yaml"), "--apply")  # by a tired person
    assert again.code == 1
    assert (own / "home" / "current").readlink().name.startswith("v000001-")
    (command,) = re.findall(r"`ddr (index rollback .* --to v000002-\w+)`", again.err)
    assert calls.ddr(own, *shlex.split(command), "--apply").code == 0
    assert (own / "home" / "current").readlink().name.startswith("v000002-")


def test_below_the_gate_nothing_is_published_unless_somebody_says_why(own: Path) -> None:
    (own / "own.yaml").write_text(_OWN.replace("ivf-flat", "ivf-pq") + "recall: 0.99\n")
    refused = calls.ddr(own, "index", "build", str(own / "own.yaml"), "--publish")
    assert refused.code == 13, refused.err
    assert not (own / "home" / "current").exists()
    built = calls.ddr(own, "index", "build", str(own / "own.yaml"))
    assert built.code == 13
    assert "not good enough: recall@10" in built.out
    forced = calls.ddr(own, "index", "publish", str(own / "own.yaml"), "--force", "the old one is on fire")
    assert forced.code == 0, forced.err
    assert "the old one is on fire" in calls.ddr(own, "index", "list", str(own / "own.yaml")).out


def test_another_embedder_of_the_same_dimension_is_not_published(own: Path) -> None:
    (own / "own.yaml").write_text(_OWN + "embedder: sha256:one\n")
    assert calls.ddr(own, "index", "build", str(own / "own.yaml"), "--publish").code == 0
    (own / "own.yaml").write_text(_OWN + "embedder: sha256:two\n")
    refused = calls.ddr(own, "index", "build", str(own / "own.yaml"), "--publish")
    assert refused.code == 12
    assert "--model-also" in refused.err
    assert calls.ddr(own, "index", "check", str(own / "own.yaml")).code == 12
    assert calls.ddr(own, "index", "build", str(own / "own.yaml"), "--publish", "--model-also").code == 0
    back = calls.ddr(own, "index", "rollback", str(own / "own.yaml"), "--apply")
    assert back.code == 12, back.out
    assert (own / "home" / "current").readlink().name.startswith("v000002-")


def test_old_versions_go_and_pinned_ones_stay(own: Path) -> None:
    versions = []
    for seed in range(4):
        np.save(own / "corpus" / "a.npy", corpora.clustered(300, 16, seed=seed))
        moved = calls.ddr(own, "index", "build", str(own / "own.yaml"), "--publish", "--json").document["moved"]
        versions.append(moved["after"])
    assert calls.ddr(own, "index", "pin", str(own / "own.yaml"), versions[0], "--why", "an audit").code == 0
    looked = calls.ddr(own, "index", "gc", str(own / "own.yaml"), "--keep", "1", "--dry-run", "--json")
    assert looked.document["gone"] == [], "all were made a moment ago"
    assert len(looked.document["work"]) == 3
    assert calls.ddr(own, "index", "gc", str(own / "own.yaml"), "--keep", "1").code == 0
    assert len(list((own / "home" / ".work").iterdir())) == 1
    assert calls.ddr(own, "index", "unpin", str(own / "own.yaml"), versions[0]).code == 0
    fetched = calls.ddr(own, "index", "fetch", str(own / "own.yaml"), str(own / "out"), "--json")
    assert fetched.code == 0
    assert {path.name for path in (own / "out").iterdir()} >= {"index.faiss"}
    refused = calls.ddr(
        own, "index", "fetch", str(own / "own.yaml"), str(own / "home/current"), "--version", versions[0]
    )
    assert refused.code == 64, refused.out
    assert f"{own / 'home'}, where an index has its versions" in refused.err
    assert calls.ddr(own, "index", "check", str(own / "own.yaml"), "--json").document["version"] == versions[-1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("vectors: [x.npy]\n", "home"),
        ("home: h\n", "vectors"),
        ("home: h\nvectors: [nothing/*.npy]\n", "nothing"),
        ("home: h\nvectors: [corpus/*.npy]\nrecall: 95\n", "0.95"),
        ("home: h\nvectors: [corpus/*.npy]\nmetrik: l2\n", "metric"),
        ("home: h\nvectors: [corpus/*.npy]\nkind: pq\n", "ivf-pq"),
        ("home: h\nvectors: [corpus/*.npy]\ndevice: gpu7\n", "cuda"),
        ("home: [\n", "own.yaml:"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_with_what_is_allowed(own: Path, text: str, says: str) -> None:
    (own / "own.yaml").write_text(text)
    done = calls.ddr(own, "index", "build", str(own / "own.yaml"))
    assert done.code in (1, 64), done.err
    assert says in done.err
    assert "Traceback" not in done.err


def test_words_that_name_nothing(root: Path) -> None:
    done = calls.ddr(root, "index", "build", "looklikes")
    assert done.code == 64
    assert "lookalikes" in done.err
    assert calls.ddr(root, "index", "check", "lookalikes", "v9").code == 1
    done = calls.ddr(root, "index", "publish")
    assert done.code == 1
    assert "ddr index build lookalikes" in done.err
    assert calls.ddr(root, "index", "check", "lookalikes", "v1").code in (1, 2, 64)


def test_a_worker_needs_only_the_plan(own: Path) -> None:
    planned = calls.ddr(own, "index", "plan", str(own / "own.yaml"), "--write")
    assert planned.code == 0, planned.err
    (path,) = (own / "home" / ".work").glob("*/plan.json")
    early = calls.ddr(own, "index", "worker", "--plan", str(path), "--part", "0")
    assert early.code == 1
    assert "scan is not done" in early.err
    assert calls.ddr(own, "index", "build", str(own / "own.yaml")).code == 0
    receipt = path.parent / "done" / "part-00001.json"
    before = receipt.read_bytes()
    receipt.unlink()
    made = calls.ddr(own, "index", "worker", "--plan", str(path), "--part", "1", "--json", "--events")
    assert made.code == 0, made.err
    assert receipt.read_bytes() == before
    assert json.loads(made.err.splitlines()[-1])["stage"] == "part-00001"
    assert calls.ddr(own, "index", "worker", "--plan", str(path), "--part", "99").code == 64
    np.save(own / "corpus" / "a.npy", corpora.clustered(600, 16, seed=9))
    receipt.unlink()
    moved = calls.ddr(own, "index", "worker", "--plan", str(path), "--part", "1")
    assert moved.code == 3, moved.err


def test_a_build_that_is_killed_goes_on_when_the_command_is_given_again(own: Path) -> None:
    np.save(own / "corpus" / "a.npy", corpora.clustered(20_000, 32))
    (own / "own.yaml").write_text(_OWN.replace("200", "2000"))
    command = [sys.executable, "-m", "ddr", "index", "build", str(own / "own.yaml"), "--events"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, cwd=own, env=environ, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    for line in process.stderr:
        if b'"stage": "part-00003"' in line:
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    done = calls.ddr(own, "index", "build", str(own / "own.yaml"), "--publish", "--events", "--json")
    assert done.code == 0, done.err
    events = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    kept = {event["stage"] for event in events if event["kept"]}
    assert kept >= {"scan", "train", "part-00000", "part-00001", "part-00002"}
    assert not kept & {f"part-{number:05d}" for number in range(5, 10)}
    assert done.document["manifest"]["plan_digest"].startswith("sha256:")


def test_readers_of_the_file_see_nothing_of_publishing_and_going_back(own: Path) -> None:
    """A process that opens by the resolved version and searches, over and over, while versions come and go."""
    calls.ddr(own, "index", "build", str(own / "own.yaml"), "--publish")
    program = own / "reader.py"
    program.write_text(
        "import faiss, numpy as np, pathlib, sys\n"
        "count = 0\n"
        "while not pathlib.Path('stop').exists():\n"
        "    path = pathlib.Path('home/current').resolve() / 'index.faiss'\n"
        "    index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)\n"
        "    found = index.search(np.ones((1, 16), 'float32'), 3)[1]\n"
        "    assert (found >= 0).any()\n"
        "    count += 1\n"
        "print(count)\n"
    )
    reader = subprocess.Popen([sys.executable, str(program)], cwd=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    np.save(own / "corpus" / "a.npy", corpora.clustered(600, 16, seed=5))
    assert calls.ddr(own, "index", "build", str(own / "own.yaml"), "--publish").code == 0
    first, second = sorted(path.name for path in (own / "home" / "versions").iterdir())
    for to in (first, second) * 3:
        assert calls.ddr(own, "index", "rollback", str(own / "own.yaml"), "--to", to, "--apply").code == 0
        time.sleep(0.05)
    assert calls.ddr(own, "index", "gc", str(own / "own.yaml"), "--keep", "1").code == 0
    (own / "stop").touch()
    out, err = reader.communicate(timeout=120)
    assert reader.returncode == 0, err.decode()
    print(f"{out.decode().strip()} readings without an error")
    assert int(out) > 20


def test_the_digest_of_a_plan_does_not_count_its_prose() -> None:
    """What is only told may be told otherwise: the work goes on."""
    import dataclasses

    from ddr.domain import indexes

    wanted = indexes.Wanted("a", "h", indexes.Source(("x.npy",)))
    plan = indexes.Plan(wanted, indexes.Shape(indexes.Kind.FLAT, 3, indexes.Metric.L2), "faiss", "cpu", (), ())
    assert codec.key(plan) == codec.key(dataclasses.replace(plan, reasons=("other words",)))
    assert codec.key(plan) != codec.key(dataclasses.replace(plan, engine="torch"))
