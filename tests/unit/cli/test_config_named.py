"""`--config` and DDR_CONFIG from any folder: the same index, the same plan, and other processes find its files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ddr.cli import main
from tests.unit.index import corpora

_DOCUMENT = """apiVersion: ddr/v1
services: {}
repository: {type: local, path: repo}
indexes:
  s: {home: index, vectors: [corpus/*.npy], rowsPerPart: 300}
"""
_FROM = {"": "demo", "../demo": "demo", "demo/ddr.yaml": ".", "../../demo/ddr.yaml": "demo/corpus"}
"""How it is named, and where."""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "demo" / "corpus").mkdir(parents=True)
    (tmp_path / "demo" / "ddr.yaml").write_text(_DOCUMENT)
    np.save(tmp_path / "demo" / "corpus" / "a.npy", corpora.clustered(600, 16))
    return tmp_path


def test_an_index_is_built_and_healthy_by_a_relative_config(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str) -> str:
        assert main.run([*words]) == 0, capsys.readouterr()
        return capsys.readouterr().out

    monkeypatch.chdir(root / "demo")
    plan = json.loads(said("-c", "ddr.yaml", "index", "prepare", "--json"))["plan"]
    said("index", "worker", "--plan", plan, "--part", "0")
    said("-c", "ddr.yaml", "index", "build", "--publish")
    said("-c", "ddr.yaml", "index", "check")
    for named, folder in _FROM.items():
        monkeypatch.chdir(root / folder)
        assert json.loads(said("-c", named, "index", "prepare", "--json"))["plan"] == plan
        monkeypatch.setenv("DDR_CONFIG", named)
        assert json.loads(said("index", "prepare", "--json"))["plan"] == plan
        monkeypatch.delenv("DDR_CONFIG")
