"""One chunk of one artifact is lost: the rows and all other files come back, the lost one is named."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path

import pytest

from ddr.cli import main
from ddr.connectors.mlflow import schema

_FILES = 20


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An MLflow with an experiment of twenty files, backed up; then one byte of the largest pack changes."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    schema.migrate(f"sqlite:///{tmp_path}/mlflow.db", "dc11669786a5")
    artifacts = tmp_path / "mlruns" / "1"
    artifacts.mkdir(parents=True)
    noise = random.Random(5)
    for number in range(_FILES):
        (artifacts / f"model-{number}.bin").write_bytes(noise.randbytes(100_000))
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute(
            "insert into experiments (experiment_id, name, artifact_location, lifecycle_stage) values (1, 'one', ?, "
            "'active')",
            (str(artifacts),),
        )
    (tmp_path / "ddr.yaml").write_text(
        "apiVersion: ddr/v1\nrepository: {type: local, path: .ddr}\nservices: {}\nbackup: {encryption: none}\n"
        "connectors: {registry: {type: mlflow, tracking: 'sqlite:///mlflow.db'}}\n"
    )
    assert main.run(["backup", "run"]) == 0
    packs = [path for path in (tmp_path / ".ddr/backup/packs").rglob("*") if path.is_file()]
    largest = max(packs, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.chmod(0o644)
    largest.write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("is_repaired", [False, True])
def test_the_rest_is_restored_and_the_lost_file_named(
    root: Path, capsys: pytest.CaptureFixture[str], is_repaired: bool
) -> None:
    if is_repaired:
        assert main.run(["backup", "repair"]) == 2
    words = ["restore", "registry", "--to", f"sqlite:///{root}/there.db", "--with", f"artifacts={root}/files"]
    for _ in range(2):  # again it comes to the same end
        capsys.readouterr()
        assert main.run([*words, "--apply", "--json"]) == 2
        told = json.loads(capsys.readouterr().out)
        (unequal,) = told["unequal"]
        there = {path.name: path for path in (root / "files").rglob("*.bin")}
        assert len(there) == _FILES - 1
        (lost,) = {f"model-{number}.bin" for number in range(_FILES)} - set(there)
        assert lost in unequal["found"]
        for name, path in there.items():
            assert path.read_bytes() == (root / "mlruns" / "1" / name).read_bytes()
        with sqlite3.connect(root / "there.db") as database:
            assert database.execute("select name from experiments where experiment_id = 1").fetchone() == ("one",)
    assert not list((root / "files").rglob("*.ddr-part"))
    with_files_there = ["restore", "registry", "--to", f"sqlite:///{root}/other.db"]
    capsys.readouterr()
    assert main.run(with_files_there) in (0, 1), capsys.readouterr().err
    assert main.run([*with_files_there, "--with", "artifacts=none", "--apply"]) == 0


@pytest.mark.long
def test_the_drill_compares_the_rest_and_fails(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main.run(["backup", "drill", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    part = next(one for one in told["parts"] if one["component"] == "registry")
    assert part["compared"] > 60, "it went on to the end"
    assert "model-" in str(part["unequal"])
