"""The one look at every row: what it counts, where it says it is, and what it rejects."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.errors import InputError
from ddr.index.sources import hashes, scan
from tests.unit.index import corpora

L2, COSINE = indexes.Metric.L2, indexes.Metric.COSINE


def adversarial(rows: int, dimension: int, seed: int) -> tuple[NDArray[np.float32], dict[str, set[int]]]:
    """30 % duplicates, 2 % NaN, 2 % infinite, 2 % zero, one cluster with 40 %; and where what is."""
    draw = np.random.default_rng(seed)
    vectors = corpora.clustered(rows, dimension, seed)
    vectors[: rows * 4 // 10] = vectors[0] + draw.standard_normal((rows * 4 // 10, dimension)) / 100
    order = draw.permutation(rows)
    n = rows // 50
    bad, zero = order[: 2 * n], order[2 * n : 3 * n]
    vectors[bad, draw.integers(0, dimension, 2 * n)] = np.where(np.arange(2 * n) < n, np.nan, -np.inf)
    vectors[zero] = 0
    vectors[zero[::2], 0] = -0.0
    copies = np.sort(order[3 * n :])[: rows * 6 // 10].reshape(2, -1)
    vectors[copies[1]] = vectors[copies[0]]
    return vectors, {"not-finite": set(bad.tolist()), "zero": set(zero.tolist()), "duplicate": set(copies[1].tolist())}


def by_hand(vectors: NDArray[np.float32], policies: indexes.Policies) -> dict[str, set[int]]:
    """The definition, row by row."""
    found: dict[str, set[int]] = {"not-finite": set(), "zero": set(), "duplicate": set()}
    seen = set()
    for at, row in enumerate(vectors):
        if not np.isfinite(row).all():
            found["not-finite"].add(at)
            continue
        if not row.any():
            found["zero"].add(at)
            if policies.zero != "keep":
                continue
        if row.tobytes() in seen:
            found["duplicate"].add(at)
        seen.add(row.tobytes())
    return found


@pytest.mark.parametrize("dimension", [1, 2, 7, 32])
@pytest.mark.parametrize("seed", range(3))
def test_an_adversarial_corpus_is_counted_exactly(tmp_path: Path, dimension: int, seed: int) -> None:
    vectors, made = adversarial(3000, dimension, seed)
    corpus = corpora.of(tmp_path, vectors)
    total = 0
    for policies in (corpora.DROP, indexes.Policies("drop", "keep", "keep"), indexes.Policies("drop", "keep", "drop")):
        found, dropped = corpora.scanned(corpus, policies)
        expected = by_hand(vectors, policies)
        assert made["not-finite"] == expected["not-finite"]
        assert made["duplicate"] <= expected["duplicate"]
        assert found.anomalies == {name: len(some) for name, some in expected.items() if some}
        chosen = {"not-finite": "drop", "zero": policies.zero, "duplicate": policies.duplicate}
        out = {at for name, some in expected.items() if chosen[name] == "drop" for at in some}
        assert dropped.tolist() == sorted(out)
        assert (found.rows, found.kept) == (3000, 3000 - len(out))
        for name, some in expected.items():
            if some:
                assert list(found.examples[name]) == sorted(some)[:8]
        kept = np.setdiff1d(np.arange(3000), dropped)
        assert found.ids == hashes.id_set(hashes.of_numbers(kept))
        total += sum(len(some) for some in expected.values())
    print(f"{total} anomalies, each at its position")


def test_what_is_rejected_is_told_with_file_and_row_and_the_key_of_the_policy(tmp_path: Path) -> None:
    vectors = corpora.clustered(100, 4)
    vectors[[3, 50, 51, 52]] = np.nan
    vectors[7] = 0
    vectors[90] = vectors[20]
    corpus = corpora.of(tmp_path, vectors, np.arange(100) % 99)
    with pytest.raises(InputError) as caught:
        corpora.scanned(corpus, indexes.Policies("reject", "reject", "reject"))
    for told in (
        "4 rows have NaN or infinite numbers (anomalies.notFinite is reject), as v-000.npy row 3 (position 3)",
        ", v-001.npy row 17 (position 50), v-001.npy row 18 (position 51);",
        "1 row has only zeros (anomalies.zero is reject), as v-000.npy row 7 (position 7);",
        "1 row is a vector that came before (anomalies.duplicate is reject), as v-002.npy row 24 (position 90);",
        "1 id stands twice, as '0' in i-000.npy row 0 (position 0) and i-002.npy row 33 (position 99)",
    ):
        assert told in caught.value.message
    corpora.scanned(corpora.of(tmp_path, vectors), corpora.DROP)


def test_a_null_vector_is_told_as_one(tmp_path: Path) -> None:
    rows = [[1.0, 2.0], None, [3.0, 4.0]]
    corpora.written(tmp_path, corpora.table(pa.array(rows, pa.list_(pa.float32())), key=["a", "b", "b"]))
    with pytest.raises(InputError) as caught:
        corpora.scanned(corpora.opened(tmp_path, indexes.Source(("v.parquet",), "key")), corpora.KEEP)
    assert caught.value.message == (
        "1 row has NaN or infinite numbers, or null (anomalies.notFinite is reject), as v.parquet row 1 (position 1); "
        "1 id stands twice, as 'b' in v.parquet row 1 (position 1) and v.parquet row 2 (position 2)"
    )


@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_an_id_that_stands_twice_is_always_rejected(tmp_path: Path, kind: str) -> None:
    vectors = corpora.clustered(60, 4)
    for at in range(1, 60, 7):
        numbers = np.random.default_rng(at).permutation(10**6)[:60].astype(np.int64) * 16
        numbers[at] = numbers[at // 2]
        texts = [str(number) for number in numbers]
        corpus = corpora.of(tmp_path, vectors, numbers if kind == "numbers" else texts)
        with pytest.raises(
            InputError, match=rf"as '{numbers[at]}' in .*position {at // 2}\) and .*position {at}\)$"
        ) as refused:
            corpora.scanned(corpus, corpora.KEEP)
        assert refused.value.hint == "an id names one row: correct the ids", "no policy drops them"


@pytest.mark.parametrize("rows_at_once", [1, 7, 60])
def test_an_empty_id_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_at_once: int) -> None:
    monkeypatch.setattr(scan, "_BATCH_BYTES", 4 * 4 * rows_at_once)
    texts = [str(at) for at in range(60)]
    texts[42] = ""
    with pytest.raises(InputError, match=r"^an id is empty, in i-002\.json row 2 \(position 42\)$") as refused:
        corpora.scanned(corpora.of(tmp_path, corpora.clustered(60, 4), texts))
    assert refused.value.hint == "an id names one row: correct the ids", "no policy drops them"


def test_the_digest_of_a_shard_is_that_of_its_rows_and_ids(tmp_path: Path) -> None:
    vectors = corpora.clustered(100, 5)
    numbers, texts = np.arange(100)[::-1].copy(), [f"t{at}" for at in range(100)]
    for at in range(3):
        ids: NDArray[np.int64] | list[str] | None = [None, numbers, texts][at]
        found, _ = corpora.scanned(corpora.of(tmp_path, vectors, ids))
        for (first, end), digest in zip(corpora.cut(100, 3), found.digests, strict=True):
            of_ids = b""
            if isinstance(ids, np.ndarray):
                of_ids = ids[first:end].tobytes()
            elif ids is not None:
                of_ids = b"".join(text.encode() + b"\0" for text in ids[first:end])
            halves = hashlib.sha256(vectors[first:end].tobytes()).digest() + hashlib.sha256(of_ids).digest()
            assert digest == "sha256:" + hashlib.sha256(halves).hexdigest()


def test_a_scan_says_the_same_whatever_the_size_of_its_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = adversarial(1000, 6, 9)
    corpus = corpora.of(tmp_path, vectors, [f"id {at}" for at in range(1000)])
    expected, dropped = corpora.scanned(corpus)
    for size in (1, 24, 24 * 7, 24 * 333, 24 * 1000):
        monkeypatch.setattr(scan, "_BATCH_BYTES", size)
        seen: list[int] = []
        found, again = scan.scan(corpus, corpora.DROP, seen.append)
        assert found == expected
        np.testing.assert_array_equal(again, dropped)
        assert seen[-1] == 1000
        assert seen == sorted(seen)


def test_norms(tmp_path: Path) -> None:
    vectors = np.zeros((1001, 3), np.float32)
    vectors[:, 1] = np.arange(1001)
    found, _ = corpora.scanned(corpora.of(tmp_path, vectors), corpora.KEEP)
    assert list(found.norms) == [0, 10, 250, 500, 750, 990, 1000]
    huge = np.full((4, 3), 3e38, np.float32)
    tiny = np.full((4, 3), 1e-44, np.float32)
    found, dropped = corpora.scanned(corpora.of(tmp_path, np.concatenate([huge, tiny])), corpora.KEEP)
    assert not len(dropped)
    assert found.anomalies == {"duplicate": 6}
    assert found.norms[-1] == pytest.approx(3e38 * 3**0.5)
    assert found.norms[0] == pytest.approx(float(tiny[0, 0]) * 3**0.5)
    found, dropped = corpora.scanned(corpora.of(tmp_path, np.full((6, 2), np.nan, np.float32)))
    assert (found.norms, found.kept, len(dropped)) == ((), 0, 6)
