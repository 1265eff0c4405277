"""`ddr index gc` beside a build that is running, and beside another index."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddr.cli import main
from ddr.index import work as works
from ddr.index.homes import folder as folders
from tests.unit.index import corpora


@pytest.mark.parametrize("spec", ["a", "b"])
def test_the_work_of_a_build_that_is_running_stays_and_is_told(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where its own corpus became another one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").mkdir()
    np.save(tmp_path / "corpus" / "1.npy", corpora.clustered(60, 8))
    for name in ("a", "b"):
        Path(f"{name}.yaml").write_text("home: home\nvectors: [corpus/*.npy]\n")
    assert main.run(["index", "plan", "a.yaml", "--write"]) == 0
    (folder,) = (tmp_path / "home" / ".work").iterdir()
    np.save(tmp_path / "corpus" / "2.npy", corpora.clustered(60, 8))
    why = "a build is at it" if spec == "a" else f"it is of index a in {tmp_path}/home"
    with works.Stages(folder).held():
        for words in (["--dry-run"], []):
            capsys.readouterr()
            assert main.run(["index", "gc", f"{spec}.yaml", *words]) == 0
            assert f"kept: work folder {folder}: {why}" in capsys.readouterr().out
        assert main.run(["index", "gc", f"{spec}.yaml", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["work"] == []
    assert document["work_spared"] == [{"folder": str(folder), "why": why}]
    assert (folder / works.PLAN).is_file()


def test_what_is_being_published_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", corpora.clustered(60, 8))
    Path("a.yaml").write_text("home: home\nvectors: [a.npy]\n")
    held: list[bool] = []
    add = folders.FolderHome.add

    def looked(*given: Any) -> None:
        held.extend(one.is_held() for one in works.all_of(tmp_path / "home" / ".work"))
        add(*given)

    monkeypatch.setattr(folders.FolderHome, "add", looked)
    assert main.run(["index", "build", "a.yaml", "--publish"]) == 0
    for command in (["publish", "a.yaml"], ["repair", "a.yaml", "--apply"]):
        (version,) = Path("home/versions").iterdir()
        (version / "index.faiss").unlink()
        assert main.run(["index", *command]) == 0
        shutil.rmtree(version)
    assert held == [True, True, True]


def test_vectors_of_texts_stay_while_it_is_not_known_which_are_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record of it is damaged, and no build was begun."""
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("home: home\nembed: {corpus: 'texts/*.jsonl', model: model}\n")
    vectors = tmp_path / "home" / ".work" / "embedded" / "0123456789abcdef"
    vectors.mkdir(parents=True)
    (vectors.parent / "current.json").write_text("{")
    assert main.run(["index", "gc", "a.yaml"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"
    assert vectors.is_dir()
