"""Commands that `ddr index` tells: typed as they stand they do what is said of them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ddr.cli import main
from ddr.index.homes import folder
from tests.unit.index import published


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> folder.FolderHome:
    """The home of own.yaml."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text("home: home\nvectors: [vectors.npy]\n")
    return published.at(tmp_path / "home")


def two(at: folder.FolderHome, embedder: str = "") -> list[str]:
    made = published.make(at.root.parent / "corpus", rows=60, embedder=embedder)
    return [published.published(at, made.as_another(number), (0,)) for number in range(2)]


def typed(told: str) -> list[str]:
    found = re.search(r"next: ddr (.*)", told)
    assert found, told
    return shlex.split(found[1])


@pytest.mark.parametrize("given", [["--model-also"], ["--embedder", "it's modelA"]])
def test_the_rollback_that_is_told_is_the_one_that_was_proved(
    given: list[str], at: folder.FolderHome, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own.yaml").write_text("home: home\nvectors: [vectors.npy]\nembedder: modelB\n")
    first, _ = two(at, "it's modelA")
    assert main.run(["index", "rollback", "own.yaml", "--to", first]) == 12
    capsys.readouterr()
    assert main.run(["index", "rollback", "own.yaml", "--to", first, *given]) == 0
    assert main.run(typed(capsys.readouterr().out)) == 0
    assert at.current() == first


@pytest.mark.parametrize("file", ["index.faiss", "manifest.json"])
def test_what_is_damaged_and_does_not_serve_is_left_to_the_collector(
    file: str, at: folder.FolderHome, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = two(at)
    told = "next: nothing is served by it or goes back to it; `ddr index gc own.yaml` removes it when it is old"
    for version, is_told in ((first, True), (second, False)):
        path = published.loosened(at.root / "versions" / version / file)
        path.write_bytes(path.read_bytes()[:-1])
        assert main.run(["index", "check", "own.yaml", version]) == 10
        assert (told in capsys.readouterr().out) == is_told
        assert main.run(["index", "list", "own.yaml"]) == (10 if file == "manifest.json" else 0)
        said = capsys.readouterr().out
        assert (told in said) == (file == "manifest.json")
        assert ("goes to a version that is whole" in said) == (file == "manifest.json" and not is_told)
