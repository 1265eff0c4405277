"""`ddr index` on texts, from a corpus and a model to what serves, as a person types it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddr.cli import main
from ddr.errors import Unavailable
from ddr.index.embedders import batching
from tests.unit.index import corpora, tinybert

pytest.importorskip("torch")
pytest.importorskip("transformers", reason="the extra `embed` is not installed")

_WORDS = """home: index
metric: cosine
embed:
  corpus: texts/*.jsonl
  model: model
  maxTokens: 40
  rowsPerShard: 50
  device_
"""


class Shop:
    """A folder with texts, a model and an index file of its own. Commands run in this process: torch is loaded once."""

    def __init__(self, base: Path, captured: Callable[[], Any]) -> None:
        self.base, self._captured = base, captured
        (base / "texts").mkdir()
        tinybert.write(base / "texts" / "a.jsonl", tinybert.sentences(120))
        tinybert.make(base / "model")
        self.ask("prefix: ''")

    def ask(self, line: str) -> None:
        (self.base / "words.yaml").write_text(_WORDS.replace("device_", line))

    def ddr(self, command: str, *words: str) -> tuple[int, str, str]:
        self._captured()
        code = main.run(["index", command, str(self.base / "words.yaml"), *words])
        said = self._captured()
        return code, said.out, said.err

    def json(self, command: str, *words: str) -> Any:
        code, out, err = self.ddr(command, *words, "--json")
        assert code == 0, err
        return json.loads(out)

    @property
    def folders(self) -> list[Path]:
        return sorted((self.base / "index" / ".work" / "embedded").glob("*/"))

    @property
    def serves(self) -> str:
        return os.readlink(self.base / "index" / "current")


@pytest.fixture
def shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shop:
    return Shop(tmp_path, capsys.readouterr)


def test_texts_are_embedded_built_and_published_and_once_is_enough(shop: Shop) -> None:
    code, _, err = shop.ddr("plan", "--write")
    assert code == 1
    assert "are not embedded yet" in err
    assert not (shop.base / "index").exists()

    made = shop.json("build", "--publish")
    assert made["manifest"]["scan"]["rows"] == 120
    embedder = made["manifest"]["embedder"]
    assert len(embedder["golden"]) == 64
    assert embedder["name"] == "model"
    assert embedder["fingerprint"] == made["manifest"]["plan"]["wanted"]["embedder"]
    (folder,) = shop.folders
    vectors = np.concatenate([np.load(path) for path in sorted(folder.glob("vectors-*.npy"))])
    assert vectors.shape == (120, 32)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*-*")}

    code, out, err = shop.ddr("build", "--publish")
    assert code == 0, err
    assert "embedded              120 rows  there already" in err
    assert "already" in out
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*-*")} == before

    found = shop.json("check", "--level", "3")
    assert found["findings"] == []
    assert any("64 of 64 golden documents" in line for line in found["passed"])


def test_vectors_that_rot_under_their_size_and_time_are_made_again_by_a_rescan(shop: Shop) -> None:
    shop.json("build")
    path = shop.folders[0] / "vectors-000001.npy"
    content = path.read_bytes()
    corpora.rot(path)
    code, _, err = shop.ddr("build", "--rescan")
    assert code == 0, err
    assert path.read_bytes() == content


def test_a_plan_says_what_embedding_takes_before_it_is_done(shop: Shop) -> None:
    found = shop.json("plan")
    assert found["estimates"][0]["stage"] == "embed"
    assert found["estimates"][0]["memory_mib"] > 50
    assert found["shards"][0]["rows"] == 120
    assert found["shape"]["dimension"] == 32
    code, out, _ = shop.ddr("plan")
    assert code == 0
    characters = sum(
        len(json.loads(line)["text"]) for line in (shop.base / "texts" / "a.jsonl").read_text().splitlines()
    )
    assert f"120 texts of {characters:,} characters become vectors of 32" in out
    assert "its texts are not embedded yet" in out
    assert not (shop.base / "index").exists(), "planning touches nothing"

    shop.ask("prefix: ''\nqueries: queries.npy")
    np.save(shop.base / "queries.npy", np.ones((100, 8), np.float32))
    for command in ("plan", "build"):
        code, _, err = shop.ddr(command)
        assert code == 64
        assert "the dimension 8, the corpus 32" in err
    assert not (shop.base / "index").exists(), "refused before the first text was embedded"
    shop.ask("prefix: ''")
    (shop.base / "texts" / "a.jsonl").rename(shop.base / "a.jsonl")
    code, _, err = shop.ddr("plan")
    assert (code, "no file is named so" in err) == (64, True)
    (shop.base / "a.jsonl").rename(shop.base / "texts" / "a.jsonl")
    (shop.base / "model").rename(shop.base / "gone")
    code, _, err = shop.ddr("plan")
    assert (code, "is not there" in err) == (64, True)


@pytest.mark.parametrize("change", ["weights", pytest.param("normalise: false", marks=pytest.mark.long)])
def test_another_embedder_is_found_refused_and_taken_only_with_the_model(shop: Shop, change: str) -> None:
    first = shop.json("build", "--publish")["moved"]["after"]
    if change == "weights":
        tinybert.make(shop.base / "model", 1)
    else:
        shop.ask(change)

    code, out, err = shop.ddr("check", "--level", "3", "--json")
    assert code == 12, err
    findings = [one for one in json.loads(out)["findings"] if one["trouble"] == "other-embedder"]
    assert len(findings) == 2, "by its fingerprint, and by what it does to the golden documents"
    assert change.partition(":")[0] in findings[1]["what"]

    code, _, err = shop.ddr("publish")
    assert code == 1
    assert "embedded" in err
    code, _, err = shop.ddr("build", "--publish")
    assert code == 12
    assert "--model-also" in err
    assert shop.serves.endswith(first)
    assert len(shop.folders) == 2

    second = shop.json("build", "--publish", "--model-also")["moved"]["after"]
    assert second != first
    assert shop.json("check", "--level", "3")["findings"] == []
    code, _, err = shop.ddr("rollback", "--apply")
    assert code != 0
    assert "was made by embedder" in err
    assert shop.serves.endswith(second)
    assert shop.json("rollback", "--apply", "--model-also")["after"] == first
    code, out, _ = shop.ddr("check", "--level", "3", "--json")
    assert {one["trouble"] for one in json.loads(out)["findings"]} == {"other-embedder"}, "its ids are in step"


def test_texts_that_changed_are_embedded_by_the_next_build_and_no_others(shop: Shop) -> None:
    shop.json("build", "--publish")
    (folder,) = shop.folders
    tinybert.write(shop.base / "texts" / "b.jsonl", tinybert.sentences(10, 9), [f"e{number}" for number in range(10)])
    code, _, err = shop.ddr("publish")
    assert code == 1
    assert "changed since they were embedded" in err
    code, out, _ = shop.ddr("check", "--level", "3", "--json")
    assert code == 11
    assert "golden" in json.loads(out)["passed"][3]
    before = {path: path.stat().st_mtime_ns for path in folder.glob("vectors-*")}
    made = shop.json("build", "--publish")
    assert made["manifest"]["scan"]["rows"] == 130
    after = {path: path.stat().st_mtime_ns for path in folder.glob("vectors-*")}
    assert before.items() < after.items()
    assert len(after) == len(before) + 1
    assert shop.json("check", "--level", "3")["findings"] == []


def test_a_bad_line_ends_it_before_anything_is_embedded(shop: Shop) -> None:
    path = shop.base / "texts" / "a.jsonl"
    path.write_text(path.read_text() + '{"id": "d00003", "text": "again"}\n')
    code, _, err = shop.ddr("build")
    assert code == 64
    assert "a.jsonl:121: the id is there already, in " in err
    assert "a.jsonl:4" in err
    assert not shop.folders


def test_what_goes_with_texts_and_what_does_not(shop: Shop) -> None:
    for line, told in (("rowsPerShard: 0", "rowsPerShard"), ("pooling: max", "pooling"), ("maxTokens: 2", "maxTokens")):
        shop.ask(line) if "Shard" not in line and "Tokens" not in line else (shop.base / "words.yaml").write_text(
            f"home: index\nembed: {{corpus: a, model: b, {line}}}\n"
        )
        code, _, err = shop.ddr("plan")
        assert (code, told in err) == (64, True), err
    for extra in ("ids: x.npy", "embedder: e", "vectors: [a.npy]"):
        (shop.base / "words.yaml").write_text(f"home: index\nembed: {{corpus: a, model: b}}\n{extra}\n")
        code, _, err = shop.ddr("plan")
        assert code == 64, err


def test_old_embeddings_go_with_old_versions(shop: Shop) -> None:
    shop.json("build", "--publish")
    shop.ask("prefix: 'query: '")
    shop.json("build", "--publish", "--model-also")
    assert len(shop.folders) == 2
    shop.json("gc")
    assert len(shop.folders) == 1


@pytest.mark.parametrize("is_here", [True, False])
def test_an_embedding_that_was_cut_off_stays(shop: Shop, is_here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model was replaced in place, and what it was before is what serves; or it cannot be read here."""
    shop.json("build", "--publish")
    (older,) = shop.folders
    tinybert.make(shop.base / "model", 1)
    embedded, calls = batching.embedded, iter(range(9))

    def cut_off(*given: Any) -> Any:
        if next(calls):
            raise Unavailable("cut off")
        return embedded(*given)

    with monkeypatch.context() as patched:
        patched.setattr(batching, "embedded", cut_off)
        assert shop.ddr("build")[0] == 69
    (begun,) = set(shop.folders) - {older}
    there = sorted(path.name for path in begun.iterdir())
    assert any(name.startswith("vectors-") for name in there)
    if not is_here:
        (shop.base / "model" / "config.json").unlink()
    found = shop.json("gc")
    assert sorted(path.name for path in begun.iterdir()) == there
    why = "the model cannot be read here, and these may be its vectors"
    assert {"folder": str(begun), "why": why} in found["work_spared"] or is_here
