"""The gate as a person meets it: queries that are others by now, vectors that tell nothing apart, recalls that no
number of queries can show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.unit.cli import calls
from tests.unit.index import corpora

_OWN = """home: home
vectors: [corpus/*.npy]
kind: ivf-flat
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a corpus and an index file of its own, without ddr.yaml."""
    (tmp_path / "corpus").mkdir()
    np.save(tmp_path / "corpus" / "a.npy", corpora.clustered(600, 16))
    (tmp_path / "own.yaml").write_text(_OWN)
    return tmp_path


def _ddr(own: Path, *words: str) -> calls.Done:
    return calls.ddr(own, "index", words[0], str(own / "own.yaml"), *words[1:])


def test_queries_that_were_replaced_are_asked_anew(own: Path) -> None:
    """The same name, other content: the gate holds what is asked now."""
    (own / "own.yaml").write_text(_OWN + "queries: q.npy\nrecall: 0.9\n")
    np.save(own / "q.npy", corpora.clustered(300, 16, seed=8))
    first = _ddr(own, "build", "--publish", "--json").document
    assert first["manifest"]["quality"]["recalls"][0]["queries"] == 300
    np.save(own / "q.npy", corpora.clustered(200, 16, seed=9))
    refused = _ddr(own, "publish")
    assert refused.code == 1, "what was built was measured with other queries"
    second = _ddr(own, "build", "--publish", "--events", "--json")
    assert second.code == 0, second.err
    assert second.document["manifest"]["quality"]["recalls"][0]["queries"] == 200
    assert second.document["manifest"]["probes"] != first["manifest"]["probes"]
    assert second.document["moved"]["before"] == first["moved"]["after"] != second.document["moved"]["after"]
    assert "measured with other queries" in second.document["uncompared"]
    events = [json.loads(line) for line in second.err.splitlines() if line.startswith("{")]
    kept = {one["stage"] for one in events if one["kept"]}
    assert kept == {"scan", "train"}, "only what depends on the queries is made again"
    again = _ddr(own, "build", "--publish")
    assert "serves v000002" in again.out
    assert "already" in again.out


def test_a_recall_that_cannot_be_compared_is_told(own: Path) -> None:
    version = _ddr(own, "build", "--publish", "--json").document["moved"]["after"]
    manifest = own / "home" / "versions" / version / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes()[:-5])
    np.save(own / "corpus" / "a.npy", corpora.clustered(650, 16))
    done = _ddr(own, "build", "--publish")
    assert (done.code, f"not compared: the manifest of {version} cannot be read" in done.out) == (0, True), done.err


@pytest.mark.parametrize("equal", [2000, 600])
def test_a_collapsed_embedder_is_not_published(own: Path, equal: int) -> None:
    vectors = corpora.clustered(600, 16)
    vectors[: min(equal, 400)] = vectors[0]
    if equal > 600:  # all but for rounding: no two rows are equal
        draw = np.random.default_rng(1).standard_normal(vectors.shape).astype(np.float32)
        vectors = vectors[:1] * (1 + 1e-3 * draw[:, :1])
        (own / "own.yaml").write_text(_OWN.replace("ivf-flat", "flat") + "metric: cosine\n")
    np.save(own / "corpus" / "a.npy", vectors.astype(np.float32))
    refused = _ddr(own, "build", "--publish")
    assert refused.code == 13, refused.out
    assert not (own / "home" / "current").exists()
    told = _ddr(own, "build")
    assert "not good enough: " in told.out
    if equal == 600:
        assert "399 with the vector of an earlier one" in told.out
        assert "399 of 600 rows have the vector of an earlier row" in told.out
    else:
        assert "find themselves first" in told.out
    assert _ddr(own, "build", "--publish", "--force", "a test of one document").code == 0


@pytest.mark.parametrize("rows", [1, 3, 4, 40])
def test_few_rows_are_exact_and_served(own: Path, rows: int) -> None:
    np.save(own / "corpus" / "a.npy", corpora.clustered(rows, 16))
    (own / "own.yaml").write_text(_OWN.replace("ivf-flat", "flat"))
    planned = _ddr(own, "plan")
    assert "flat is exact: all answers to" in planned.out
    built = _ddr(own, "build", "--publish")
    assert built.code == 0, built.err
    assert "every row is compared, and all answers" in built.out


def test_a_recall_that_cannot_be_shown_is_refused_before_the_build(own: Path) -> None:
    (own / "own.yaml").write_text(_OWN + "recall: 0.9999\n")
    for words in (("plan",), ("build", "--publish")):
        refused = _ddr(own, *words)
        assert refused.code == 1
        assert "600 queries that are all answered right show 0.9936" in refused.err
        assert "recall 0.9936 or less, or kind flat" in refused.err
    (own / "own.yaml").write_text(_OWN.replace("ivf-flat", "flat") + "recall: 1\n")
    assert _ddr(own, "build", "--publish").code == 0
    (own / "own.yaml").write_text(_OWN + "queries: q.npy\n")
    np.save(own / "q.npy", corpora.clustered(20, 16, seed=8))
    refused = _ddr(own, "plan")
    assert refused.code == 1
    assert "73 queries or more" in refused.err


@pytest.mark.parametrize(
    ("queries", "says"),
    [
        (None, "no file is named so"),
        (np.ones((100, 8), np.float32), "the dimension 8, the corpus 16"),
        (np.full((100, 16), np.nan, np.float32), "is no query"),
    ],
)
def test_queries_are_looked_at_before_anything_is_built(own: Path, queries: np.ndarray | None, says: str) -> None:
    (own / "own.yaml").write_text(_OWN + "queries: q.npy\n")
    if queries is not None:
        np.save(own / "q.npy", queries)
    for words in (("plan",), ("build",)):
        refused = _ddr(own, *words)
        assert refused.code == 64, refused.err
        assert says in refused.err
    assert not (own / "home").exists()
