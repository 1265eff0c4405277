"""`ddr index` beside what a newer ddr left: while one machine is upgraded, and after going back to the ddr before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ddr.cli import main
from ddr.domain import indexes
from ddr.index import codec
from ddr.index.homes import home
from ddr.wiring import index_embedding
from tests.unit.index import published


class TestVectors:
    """What a newer ddr embedded is neither used, nor written over, nor deleted."""

    @pytest.fixture
    def left(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        monkeypatch.chdir(tmp_path)
        Path("words.yaml").write_text("home: home\nembed: {corpus: texts/*.jsonl, model: model}\n")
        embedded = tmp_path / "home" / ".work" / "embedded"
        vectors = embedded / "0123456789abcdef"
        vectors.mkdir(parents=True)
        (vectors / "vectors-1.npy").write_bytes(b"of days")
        newer = index_embedding.Current("sha256:0123456789abcdef", "ids", "", "", "", indexes.FORMAT + 1)
        for folder in (vectors, embedded):
            (folder / "current.json").write_bytes(codec.encode(newer))
        return sorted(path for path in embedded.rglob("*") if path.is_file())

    @pytest.mark.parametrize(
        ("command", "expected"),
        [("build", 64), ("build --publish", 64), ("plan", 64), ("publish", 64), ("gc", 0), ("list", 0)],
    )
    def test_stay(self, command: str, expected: int, left: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
        before = [path.read_bytes() for path in left]
        code = main.run(["index", *command.split(), "words.yaml"])
        said = capsys.readouterr()
        assert code == expected, said
        assert ("use the ddr that wrote it, or newer" in said.err) == bool(expected)
        assert [path.read_bytes() for path in left] == before

    def test_hinder_nobody_who_looks_at_versions_or_goes_back(self, left: list[Path], tmp_path: Path) -> None:
        at = published.at(tmp_path / "home")
        first, second = (published.published(at, published.make(tmp_path / f"{seed}", seed=seed)) for seed in (1, 2))
        assert at.current() == second
        for command in ("check", "repair", "rollback --apply"):
            assert main.run(["index", *command.split(), "words.yaml"]) == 0
        assert at.current() == first


@pytest.mark.parametrize("serving", ["newer", "ours"])
def test_doctor_calls_a_newer_version_newer(
    serving: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ddr.yaml").write_text(
        "apiVersion: ddr/v1\nrepository: {type: local, path: repository}\nservices: {}\n"
        "indexes: {docs: {home: home, vectors: [a.npy]}}\n"
    )
    np.save("a.npy", published.vectors(60, 1))
    at = published.at(tmp_path / "home")
    ours = published.published(at, published.make(tmp_path / "corpus", rows=60))
    newer = published.of_a_newer_ddr(at, ours)
    at.point(ours, newer, "upgraded")
    if serving == "ours":
        at.point(newer, ours, "built again", home.Published("", ""))
    main.run(["doctor", "--json"])
    visits = json.loads(capsys.readouterr().out)["visits"]
    said = next(one for one in visits if one["what"] == "index docs")
    assert said["state"] == "ok"
    assert f"read what a newer ddr made: {newer}" in said["cannot"]
    assert "damaged" not in str(said)
    assert any(f"go back to {ours}" in one for one in said["can"]) == (serving == "newer")
