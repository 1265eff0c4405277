"""`ddr index` on texts of two indexes that have one work folder: neither touches the vectors of the other one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddr.cli import main
from ddr.wiring import index_settings
from tests.unit.index import tinybert

pytest.importorskip("torch")
pytest.importorskip("transformers", reason="the extra `embed` is not installed")

_ROWS = {"a": 120, "b": 150}


class Pair:
    """Two index files of their own with one model, texts of their own, and one work folder."""

    def __init__(self, base: Path, captured: Callable[[], Any]) -> None:
        self.work, self._captured = base / "shared", captured
        tinybert.make(base / "model")
        for seed, (name, rows) in enumerate(_ROWS.items()):
            (base / name).mkdir()
            tinybert.write(base / name / "texts.jsonl", tinybert.sentences(rows, seed))
            self.ask(name)

    def ask(self, name: str, prefix: str = "") -> None:
        embed = f"{{corpus: {name}/*.jsonl, model: model, maxTokens: 40, prefix: '{prefix}'}}"
        Path(f"{name}.yaml").write_text(f"home: home-{name}\nwork: shared\nembed: {embed}\n")

    def ddr(self, command: str, name: str, *words: str) -> tuple[str, str]:
        self._captured()
        code = main.run(["index", command, f"{name}.yaml", *words])
        said = self._captured()
        assert code == 0, said
        return said.out, said.err

    def is_in_step(self, name: str) -> bool:
        found = json.loads(self.ddr("check", name, "--level", "3", "--json")[0])
        return any(f"{_ROWS[name]} ids are those of the corpus" in line for line in found["passed"])

    def is_embedded_by_building(self, name: str) -> bool:
        return f"{_ROWS[name]} rows  there already" not in self._embedding(self.ddr("build", name, "--publish")[1])

    @staticmethod
    def _embedding(told: str) -> str:
        return next(line for line in told.splitlines() if line.split()[1:2] in (["embed"], ["embedded"]))

    def vectors(self) -> list[Path]:
        return sorted(path.parent for path in self.work.rglob("embedder.json"))


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pair:
    monkeypatch.chdir(tmp_path)
    return Pair(tmp_path, capsys.readouterr)


def test_a_build_of_one_leaves_the_vectors_of_the_other(pair: Pair) -> None:
    for name in _ROWS:
        assert pair.is_embedded_by_building(name)
    assert [pair.is_in_step(name) for name in _ROWS] == [True, True]
    assert [pair.is_embedded_by_building(name) for name in _ROWS] == [False, False]


def test_gc_of_one_leaves_the_vectors_of_the_other(pair: Pair) -> None:
    """Also where they are by another embedder, and no build reads them any more."""
    pair.ddr("build", "a", "--publish")
    (ours,) = pair.vectors()
    for plan in pair.work.glob("*/plan.json"):
        shutil.rmtree(plan.parent)
    for prefix in ("b: ", "text: "):
        pair.ask("b", prefix)
        pair.ddr("build", "b", "--publish", "--model-also")
    assert len(pair.vectors()) == 3
    pair.ddr("gc", "b")
    assert len(pair.vectors()) == 2
    assert ours in pair.vectors()
    assert [pair.is_in_step(name) for name in _ROWS] == [True, True]
    assert not pair.is_embedded_by_building("a")


_S3 = "s3://bucket/"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a home-a work", "b home-b work"),
        ("a home-a work", "a home-b work"),
        ("a home-a work", "b home-a work"),
        ("a/b home-a work", "a_b home-a work"),
        (f"a {_S3}a work", f"a {_S3}b work"),
        (f"a {_S3}a ", f"a {_S3}b "),
    ],
)
def test_name_and_home_decide_where_vectors_lie(one: str, other: str, tmp_path: Path) -> None:
    assert _folder(one, tmp_path) != _folder(other, tmp_path)
    assert _folder(one, tmp_path).parent.name == "vectors"


@pytest.mark.parametrize("index", ["a home work", "a home work/", "a ./home work", f"a {_S3}a ", f"a {_S3}a/ "])
def test_a_project_that_is_moved_keeps_its_vectors(index: str, tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    moved = _folder(index, there).relative_to(there)
    assert moved == _folder(index.replace("/ ", " ").replace("./", ""), here).relative_to(here)


def test_indexes_of_two_projects_with_one_work_folder_by_links_have_two_places(tmp_path: Path) -> None:
    places = []
    (tmp_path / "scratch").mkdir()
    for project in ("one", "two"):
        (tmp_path / project).mkdir()
        (tmp_path / project / "work").symlink_to(tmp_path / "scratch")
        places.append(_folder("a home work", tmp_path / project).resolve())
    assert places[0] != places[1]


def test_the_longest_name_of_a_file_has_a_folder(tmp_path: Path) -> None:
    _folder(f"{'ü' * 125} home work", tmp_path).mkdir(parents=True)


def _folder(index: str, base: Path) -> Path:
    name, home, work = index.split(" ")
    return index_settings.embedded_folder(index_settings.IndexEntry(home, ("a.npy",), work=work), base, name)
