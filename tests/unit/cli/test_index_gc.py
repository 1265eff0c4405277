"""`ddr index gc` beside a build that is running, and beside another index."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddr.cli import main
from ddr.domain import planes, records, releases, revisions
from ddr.index import work as works
from ddr.index.homes import collecting
from ddr.index.homes import folder as folders
from ddr.wiring import build
from tests.unit.index import corpora, published

_SERVED = """\
apiVersion: ddr/v1
repository: {type: local, path: .ddr}
connectors:
  lookalikes: {type: faiss-index, root: own/home}
  server: {type: model-server, url: "http://127.0.0.1:1", golden: golden.jsonl}
services:
  s:
    serving: server
    planes:
      index: {connector: lookalikes}
    objectives: {rpo: 1h, rto: 15m}
    owners: {team: t, oncall: o, decisionMaker: d}
"""


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


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The older of two versions, of which the newer one serves: a known-good release names it. Long ago."""
    (tmp_path / "ddr.yaml").write_text(_SERVED)
    (tmp_path / "own").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "own" / "a.yaml").write_text("home: home\nvectors: [a.npy]\n")
    made = published.make(tmp_path / "corpus", rows=40)
    older, _ = (published.published(published.at(tmp_path / "own" / "home"), made.as_another(one)) for one in (1, 2))
    wired = build.build(tmp_path / "ddr.yaml", os.environ, actor="tester", warn=lambda text: None)
    named = {planes.Plane.INDEX: revisions.Revision(planes.Plane.INDEX, "home", older)}
    wired.platform.journal.append(records.ReleaseRecorded(releases.Release("r-1", "s", published.AT, named, True)))
    plan = collecting.plan
    monkeypatch.setattr(collecting, "plan", lambda of, now, keep: plan(of, published.LONG_AFTER, keep))
    return older


@pytest.mark.parametrize(
    ("here", "words"),
    [
        (".", "index gc own/a.yaml"),
        ("own", "index gc a.yaml"),
        ("elsewhere", "index gc ../own/a.yaml"),
        ("/", "index gc {root}/own/a.yaml"),
        ("/", "--config {root}/ddr.yaml index gc {root}/own/a.yaml"),
    ],
)
def test_what_a_known_good_release_names_stays_also_for_a_file_of_its_own(
    here: str,
    words: str,
    released: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path / here)
    assert main.run([*words.format(root=tmp_path).split(), "--keep", "1"]) == 0
    assert f"kept: {released}: it is needed by release r-1" in capsys.readouterr().out
    assert (tmp_path / "own" / "home" / "versions" / released).is_dir()


def test_beside_another_ddr_yaml_the_one_above_the_file_is_asked_too(
    released: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("ddr.yaml").write_text("apiVersion: ddr/v1\nrepository: {type: local, path: .ddr}\nservices: {}\n")
    assert main.run(["index", "gc", "../own/a.yaml", "--keep", "1"]) == 0
    assert f"kept: {released}: it is needed by release r-1" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["", "not-mounted/ddr.yaml"])
def test_nothing_goes_where_it_cannot_be_read_what_releases_need(
    where: str, released: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path / "own")
    (tmp_path / "ddr.yaml").write_text("{")
    if where:
        monkeypatch.setenv("DDR_CONFIG", f"{tmp_path}/{where}")
    assert main.run(["index", "gc", "a.yaml", "--keep", "1"]) == 64
    assert f"{tmp_path}/{where or 'ddr.yaml'}" in capsys.readouterr().err
    assert (tmp_path / "own" / "home" / "versions" / released).is_dir()


def test_from_a_folder_that_is_gone_nothing_goes(
    released: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").rmdir()
    assert main.run(["index", "gc", f"{tmp_path}/own/a.yaml", "--keep", "1"]) == 64
    assert "the folder you are in is not there any more" in capsys.readouterr().err
    assert (tmp_path / "own" / "home" / "versions" / released).is_dir()
