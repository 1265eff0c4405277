"""All shards as one: batches, the sample for training, and memory that does not grow with the corpus."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.errors import Conflict, InputError
from ddr.index.sources import corpus as corpora_
from ddr.index.sources import places, sample
from tests.unit.index import corpora

L2, COSINE = indexes.Metric.L2, indexes.Metric.COSINE


def joined(batches: list[corpora_.Batch], field: str) -> NDArray[np.generic]:
    return np.concatenate([getattr(batch, field) for batch in batches])


def every_row(vectors: NDArray[np.float32]) -> set[bytes]:
    return {row.tobytes() for row in vectors}


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 60),
    dimension=st.integers(1, 9),
    shards=st.integers(1, 7),
    size=st.integers(1, 70),
    data=st.data(),
)
def test_batches_are_the_kept_rows_in_order(
    tmp_path_factory: pytest.TempPathFactory, rows: int, dimension: int, shards: int, size: int, data: st.DataObject
) -> None:
    base = tmp_path_factory.mktemp("corpus")
    vectors = corpora.clustered(rows, dimension, rows)
    ids = np.arange(rows, dtype=np.int64) * 7 + 3
    source = indexes.Source(corpora.write_npy(base, vectors, shards), corpora.write_ids(base, ids, shards))
    corpus = corpora.opened(base, source)
    start, stop = sorted((data.draw(st.integers(0, rows)), data.draw(st.integers(0, rows))))
    dropped = np.array(sorted(data.draw(st.sets(st.integers(0, rows - 1)))), np.int64)
    kept = np.setdiff1d(np.arange(start, stop), dropped)
    for metric in (L2, COSINE):
        found = list(corpus.batches(start, stop, size, metric, corpora.DROP, dropped))
        assert all(len(batch.vectors) <= size for batch in found)
        if not found:
            assert start == stop
            continue
        np.testing.assert_array_equal(joined(found, "positions"), kept)
        np.testing.assert_array_equal(joined(found, "labels"), ids[kept])
        if metric == L2:
            np.testing.assert_array_equal(joined(found, "vectors"), vectors[kept])
        else:  # bit for bit what one batch of all gives
            whole = vectors[kept].copy()
            corpora_.normalise(whole, corpora_.squared_lengths(whole))
            np.testing.assert_array_equal(joined(found, "vectors"), whole)
            lengths = np.linalg.norm(whole.astype(np.float64), axis=1)
            np.testing.assert_allclose(lengths, 1, atol=1e-6)
    chosen = np.array(data.draw(st.lists(st.integers(0, rows - 1))), np.int64)
    np.testing.assert_array_equal(corpus.take(chosen), vectors[chosen])


@pytest.mark.parametrize("dimension", [3, 31, 100, 384])
def test_a_row_of_length_one_has_the_same_bytes_in_every_batch(dimension: int) -> None:
    vectors = corpora.clustered(301, dimension)
    whole = vectors.copy()
    corpora_.normalise(whole, corpora_.squared_lengths(whole))
    for first in range(60):
        for size in (1, 2, 3, 17, 301):
            part = vectors[first : first + size].copy()
            corpora_.normalise(part, corpora_.squared_lengths(part))
            np.testing.assert_array_equal(part, whole[first : first + size])


def test_the_place_of_a_row_among_files_without_rows(tmp_path: Path) -> None:
    for number, rows in enumerate((0, 2, 0, 0, 3, 0)):
        np.save(tmp_path / f"{number}.npy", np.ones((rows, 4), np.float32))
    corpus = corpora.opened(tmp_path, indexes.Source(("*.npy",)))
    assert [corpus.place(at) for at in range(5)] == [
        "1.npy row 0 (position 0)",
        "1.npy row 1 (position 1)",
        "4.npy row 0 (position 2)",
        "4.npy row 1 (position 3)",
        "4.npy row 2 (position 4)",
    ]


def test_a_row_that_went_bad_after_the_scan_is_a_conflict(tmp_path: Path) -> None:
    vectors = corpora.clustered(100, 4)
    vectors[40], vectors[60] = np.nan, 0
    corpus = corpora.of(tmp_path, vectors)
    _, dropped = corpora.scanned(corpus)
    list(corpus.batches(0, 100, 30, L2, corpora.DROP, dropped))
    for left, row in ((dropped[:1], 27), (dropped[1:], 7)):
        with pytest.raises(Conflict, match=rf"v-001.npy row {row} \(position {33 + row}\) was a vector"):
            list(corpus.batches(0, 100, 30, L2, corpora.DROP, left))
    list(corpus.batches(0, 100, 30, COSINE, corpora.KEEP, dropped[:1]))


def test_a_shard_that_changes_during_batches_is_a_conflict(tmp_path: Path) -> None:
    vectors = corpora.clustered(300, 4)
    source = indexes.Source(corpora.write_npy(tmp_path, vectors))
    corpus = corpora.opened(tmp_path, source)
    coming = corpus.batches(0, 300, 10, L2, corpora.DROP, corpora.NONE_DROPPED)
    next(coming)
    np.save(tmp_path / "v-001.npy", vectors[:100])
    for _ in range(9):
        batch = next(coming)
        np.testing.assert_array_equal(batch.vectors, vectors[batch.positions])
    with pytest.raises(Conflict, match=r"v-001\.npy changed since"):
        next(coming)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ddr-read")]


def test_a_reader_that_stops_leaves_no_thread(tmp_path: Path) -> None:
    corpus = corpora.of(tmp_path, corpora.clustered(300, 4))
    coming = corpus.batches(0, 300, 10, L2, corpora.DROP, corpora.NONE_DROPPED)
    next(coming)
    assert [thread for thread in threading.enumerate() if thread.name.startswith("ddr-read")]
    coming.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ddr-read")]


def test_no_row_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row"):
        corpora.of(tmp_path, np.empty((0, 4), np.float32))


@pytest.mark.parametrize("kind", ["numbers", "texts", "positions"])
def test_the_sample_does_not_depend_on_how_the_corpus_is_cut(tmp_path: Path, kind: str) -> None:
    vectors = corpora.clustered(2000, 8)
    numbers = np.random.default_rng(3).permutation(10**7)[:2000].astype(np.int64)
    forms: dict[str, NDArray[np.int64] | list[str] | None] = {
        "numbers": numbers,
        "texts": [f"doc/{number}" for number in numbers],
        "positions": None,
    }
    ids = forms[kind]
    dropped = np.arange(0, 2000, 17, dtype=np.int64)
    found = []
    for shards in (1, 2, 13):
        base = tmp_path / str(shards)
        base.mkdir()
        named = "" if ids is None else corpora.write_ids(base, ids, shards)
        corpus = corpora.opened(base, indexes.Source(corpora.write_npy(base, vectors, shards), named))
        for count in (1, 500, 5000):
            rows = sample.sample(corpus, count, 7, dropped, L2)
            assert len(rows) == min(count, 2000 - len(dropped))
            assert every_row(rows) <= every_row(np.delete(vectors, dropped, axis=0))
            assert len(every_row(rows)) == len(rows)
        found.append(sample.sample(corpus, 500, 7, dropped, L2))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    other = sample.sample(corpus, 500, 8, dropped, L2)
    shared = len(every_row(other) & every_row(found[0]))
    assert 80 < shared < 190  # 500 of 1882: 133 by chance
    if kind == "numbers":  # another order of the rows is no other sample
        order = np.random.default_rng(4).permutation(2000)
        shuffled = corpora.of(tmp_path, vectors[order], numbers[order])
        again = sample.sample(shuffled, 500, 7, np.sort(np.flatnonzero(np.isin(order, dropped))), L2)
        np.testing.assert_array_equal(again, found[0])
    lengths = np.linalg.norm(sample.sample(corpus, 500, 7, dropped, COSINE), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)


@pytest.mark.parametrize("form", ["npy", "json", "parquet"])
@pytest.mark.parametrize("asks", ["ids", "rows"])
def test_single_rows_in_any_order_are_read_in_the_order_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, asks: str
) -> None:
    vectors, numbers = corpora.clustered(2000, 8), np.random.default_rng(1).permutation(2000)
    if form == "parquet":
        for part, (first, end) in enumerate(corpora.cut(2000, 2)):
            table = corpora.table(corpora.fixed(vectors[first:end]), id=numbers[first:end])
            corpora.written(tmp_path, table, 100, f"{part}.parquet")
        corpus = corpora.opened(tmp_path, indexes.Source(("*.parquet",), "id"))
    else:
        ids = corpora.write_ids(tmp_path, numbers, 2)
        if form == "json":
            for path in tmp_path.glob("i-*.npy"):
                path.with_suffix(".json").write_text(json.dumps(np.load(path).tolist()))
            ids = "i-*.json"
        corpus = corpora.opened(tmp_path, indexes.Source(corpora.write_npy(tmp_path, vectors, 2), ids))
    at = np.random.default_rng(2).integers(0, 2000, 500)
    corpus.take(at[:1])
    assert corpus.id_kind == "number"
    reads: list[str] = []
    read_into = places.OnDisk.read_into

    def counted(self: places.OnDisk, start: int, target: memoryview) -> None:
        reads.append(self.place.uri)
        read_into(self, start, target)

    monkeypatch.setattr(places.OnDisk, "read_into", counted)
    if asks == "ids":
        np.testing.assert_array_equal(corpus.labels_at(at), numbers[at])
    else:
        np.testing.assert_array_equal(corpus.take(at), vectors[at])
    print(f"{len(reads)} reads")
    assert len(reads) <= 50
    assert corpus.labels_at(at[:0]).dtype == np.int64


MEMORY = """
import sys
from pathlib import Path
import numpy as np
from ddr.domain import indexes
from ddr.index import exact
from ddr.index.sources import corpus, opening, sample, scan
base, what = Path(sys.argv[1]), sys.argv[2]
source = indexes.Source(("v.*",), ids="id" if (base / "v.parquet").exists() else "")
rows = corpus.opened(opening.find(source, base, None), source, base, None)
none = np.empty(0, np.int64)
low = indexes.Policies()
list(rows.batches(0, 10, 10, indexes.Metric.L2, low, none)); np.linalg.norm(np.ones((9, 9)) @ np.ones((9, 9)))
scan._BATCH_BYTES = sample._BLOCK_BYTES = corpus._RUN_BYTES = 1 << 20
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
before = peak()
if what == "scan":
    scan.scan(rows, low, lambda n: None)
elif what == "batches":
    for batch in rows.batches(0, rows.rows, 1024, indexes.Metric.COSINE, low, none):
        pass
elif what == "sample":
    sample.sample(rows, 1024, 1, none, indexes.Metric.L2)
else:
    queries = rows.vectors(0, 64)
    exact.neighbours(rows.batches(0, rows.rows, 1024, indexes.Metric.L2, low, none), queries, 10, indexes.Metric.L2)
print(peak() - before, rows.rows)
"""


def fill_npy(base: Path, rows: int) -> None:
    with (base / "v.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, 256)}
        np.lib.format.write_array_header_1_0(file, header)
        draw = np.random.default_rng(0)
        for first in range(0, rows, 8192):
            draw.standard_normal((min(8192, rows - first), 256), np.float32).tofile(file)


def fill_parquet(base: Path, rows: int) -> None:
    """One row group, which is never held whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = np.random.default_rng(0).standard_normal(rows * 256, np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(numbers), 256)
    pq.write_table(
        pa.table({"vector": vectors, "id": np.arange(rows)}),
        base / "v.parquet",
        row_group_size=rows,
        use_dictionary=False,
    )


@pytest.fixture(scope="module", params=[fill_npy, fill_parquet])
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 MiB of rows."""
    base = tmp_path_factory.mktemp("large")
    request.param(base, 64 << 10)
    return base


@pytest.mark.parametrize("what", ["scan", "batches", "sample", "exact"])
def test_memory_does_not_grow_with_the_corpus(large: Path, what: str) -> None:
    """64 batches of 1 MiB. The peak of a process of its own."""
    program = [sys.executable, "-c", MEMORY, str(large), what]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    peak_kib, seen = (int(word) for word in done.stdout.split())
    assert seen == 64 << 10
    print(f"{what}: {peak_kib >> 10} MiB more for 64 MiB of rows")
    assert peak_kib < 40 << 10
