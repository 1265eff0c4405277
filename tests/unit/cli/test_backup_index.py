"""`ddr backup` and `ddr restore` of a vector index, as a person types them: built, backed up, damaged, brought back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import sandboxes, servers
from tests.unit.cli import calls
from tests.unit.index import corpora

_PLAIN = """apiVersion: ddr/v1
repository: {type: local, path: .ddr}
services: {}
indexes:
  docs: {home: home, vectors: ["corpus/*.npy"], kind: ivf-flat, rowsPerPart: 200}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    np.save(tmp_path / "corpus" / "a.npy", corpora.clustered(600, 16))
    configure(tmp_path)
    assert calls.ddr(tmp_path, "index", "build", "--publish").code == 0
    return tmp_path


def configure(root: Path, more: str = "") -> None:
    (root / "ddr.yaml").write_text(f"{_PLAIN}backup: {{encryption: none{more}}}\n")


def test_backed_up_damaged_and_brought_back(root: Path) -> None:
    made = calls.ddr(root, "backup", "run", "--json")
    assert made.code == 0, made.err
    version = (root / "home" / "current").readlink().name
    component = made.document["snapshot"]["components"][0]
    assert (component["name"], component["facts"]["serves"]) == ("docs", version)
    shown = calls.ddr(root, "backup", "show", "--files").out
    for text in (f"serves: {version}", f"bytes of: {version}", f"versions/{version}/index.faiss", "tree records"):
        assert text in shown, text
    assert "docs" in calls.ddr(root, "backup", "list").out

    np.save(root / "corpus" / "a.npy", corpora.clustered(700, 16))
    assert calls.ddr(root, "index", "build", "--publish").code == 0
    second = (root / "home" / "current").readlink().name
    assert calls.ddr(root, "backup", "run").code == 0
    snapshots = [one["id"] for one in calls.ddr(root, "backup", "list", "--json").document["snapshots"]]
    told = " ".join(calls.ddr(root, "backup", "diff", *snapshots).out.split())
    assert f"fact serves {version} → {second}" in told
    assert f"versions/{second}/index.faiss" in told
    assert "fact rows 600 → 700" in told

    path = root / "home" / "versions" / second / "index.faiss"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:5000] + b"!" + content[5001:])
    partial = calls.ddr(root, "backup", "run")
    assert partial.code == 2, partial
    assert f"{second}/index.faiss has other bytes than were published" in partial.out
    assert "its bytes are not in this backup" in partial.out

    plan = calls.ddr(root, "restore", "docs")
    assert plan.code == 1, plan
    assert "the newest that has it whole" in plan.err
    assert "conflict" in plan.out
    mended = calls.ddr(root, "restore", "docs", "--policy", "update", "--apply")
    assert mended.code == 0, mended
    third = (root / "home" / "current").readlink().name
    assert third.startswith("v000003-")
    assert calls.ddr(root, "index", "check").code == 0
    assert calls.ddr(root, "backup", "run").code == 0

    elsewhere = root / "elsewhere"
    first = calls.ddr(root, "restore", "docs", "--snapshot", snapshots[0], "--to", str(elsewhere), "--apply")
    assert first.code == 0, first
    assert (elsewhere / "current").readlink().name == version
    assert f"restored into {elsewhere}" in first.out


def test_a_drill_loads_what_it_restored(root: Path) -> None:
    assert calls.ddr(root, "backup", "run").code == 0
    drilled = calls.ddr(root, "backup", "drill", "--json")
    assert drilled.code == 0, drilled
    part = next(one for one in drilled.document["parts"] if one["component"] == "docs")
    assert part["compared"] >= 5
    assert part["problems"] == []


def test_whose_bytes_is_said_in_ddr_yaml(root: Path) -> None:
    configure(root, ", indexes: {docs: {versions: records}}")
    made = calls.ddr(root, "backup", "run")
    assert made.code == 0, made
    assert "comes back by building it again" in made.out
    configure(root, ", indexes: {}")
    assert calls.ddr(root, "backup", "run", "--dry-run", "--json").document == {"would_capture": ["journal"]}
    configure(root, ", indexes: {dosc: {}}")
    wrong = calls.ddr(root, "backup", "run")
    assert wrong.code == 64
    assert "backup.indexes.dosc" in wrong.err
    assert "known: docs" in wrong.err
    configure(root, ", indexes: {docs: {versions: newest}}")
    assert "must be one of" in calls.ddr(root, "backup", "run").err


def test_from_a_bucket_into_a_folder_and_into_another_bucket(
    tmp_path: Path, moto_server: servers.S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INDEX_KEY", moto_server.key)
    monkeypatch.setenv("INDEX_SECRET", moto_server.secret)
    (tmp_path / "corpus").mkdir()
    np.save(tmp_path / "corpus" / "a.npy", corpora.clustered(300, 8))
    home, other = (f"s3://{moto_server.new_bucket()}/docs" for _ in range(2))
    access = f"endpoint: '{moto_server.endpoint}', region: us-east-1"
    access += ", accessKey: '${env:INDEX_KEY}', secretKey: '${env:INDEX_SECRET}'"
    said = _PLAIN.replace("home: home", f"home: '{home}', s3: {{{access}}}")
    (tmp_path / "ddr.yaml").write_text(said + "backup: {encryption: none}\n")
    built = calls.ddr(tmp_path, "index", "build", "--publish", "--json")
    assert built.code == 0, built.err
    assert calls.ddr(tmp_path, "backup", "run").code == 0
    for target in (str(tmp_path / "folder"), other):
        done = calls.ddr(tmp_path, "restore", "docs", "--to", target, "--apply")
        assert done.code == 0, done
        assert "compared equal" in done.out
    version = (tmp_path / "folder" / "current").readlink().name
    listed = calls.ddr(tmp_path, "index", "list", "--json").document
    assert listed["current"] == version
    names = [entry["Key"] for entry in moto_server.client().list_objects_v2(Bucket=other.split("/")[2])["Contents"]]
    assert f"docs/versions/{version}/manifest.json" in names
    assert "docs/current" in names


def test_an_index_that_was_never_built_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    np.save(tmp_path / "corpus" / "a.npy", corpora.clustered(100, 16))
    configure(tmp_path)
    made = calls.ddr(tmp_path, "backup", "run")
    assert made.code == 0, made
    assert "backups of docs" in calls.ddr(tmp_path, "doctor").out


def test_the_first_index_of_a_sandbox(tmp_path: Path, pristine_sandbox: Path) -> None:
    """Deployed by hand, with a card; the connector `lookalikes` and the index of that name have one home."""
    root = sandboxes.copy(pristine_sandbox, tmp_path / "platform")
    (root / "ddr.yaml").write_text((root / "ddr.yaml").read_text() + "\nbackup: {encryption: none}\n")
    assert calls.ddr(root, "backup", "run", "--dry-run", "--json").document == {
        "would_capture": ["registry", "lookalikes", "journal"]
    }
    made = calls.ddr(root, "backup", "run", "--json")
    assert made.code == 0, made
    found = next(one for one in made.document["snapshot"]["components"] if one["name"] == "lookalikes")
    assert (found["problem"], found["facts"]["bytes of"]) == ("", "v1")
    (root / "index").rename(root / "gone")
    away = calls.ddr(root, "backup", "run")
    assert away.code == 2
    assert "had 1 version and has none" in away.out
    back = calls.ddr(root, "restore", "lookalikes", "--apply")
    assert back.code == 0, back
    for name in ("index.faiss", "ids.json", "card.json"):
        lies = root / "index" / "versions" / "v1" / name
        assert lies.read_bytes() == (root / "gone" / "versions" / "v1" / name).read_bytes()
    assert (root / "index" / "current").readlink().name == "v1"
