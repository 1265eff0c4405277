"""The torch engine: its files are faiss's, its recall is that of the faiss engine, and no row is lost for memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ddr.domain import indexes
from ddr.errors import Unavailable
from ddr.index.engines import engine, faiss_engine, files, kmeans, library, torch_engine
from tests.unit.index import clustered

pytest.importorskip("torch")

Kind, Metric = indexes.Kind, indexes.Metric
COUNT, DIMENSION, SEEDS = 6000, 16, 6


def shape_of(kind: indexes.Kind, metric: indexes.Metric = Metric.L2, seed: int = 1234) -> indexes.Shape:
    numbers = {"lists": 48, "code_bytes": 8, "code_points": 4096, "code_iterations": 6}
    return indexes.Shape(kind, DIMENSION, metric, seed=seed, **numbers)  # type: ignore[arg-type]


def made(by: engine.Engine, shape: indexes.Shape, vectors: engine.Vectors) -> engine.Index:
    labels = np.arange(len(vectors), dtype=np.int64)
    trained = by.train(vectors, shape, 1)
    return files.loads(files.serialize(by.part(trained, shape, clustered.batches(labels, vectors, 1700), 1)))


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP])
@pytest.mark.parametrize("kind", [Kind.IVF_FLAT, Kind.IVF_SQ8, Kind.IVF_PQ])
def test_recall_is_that_of_the_faiss_engine(kind: indexes.Kind, metric: indexes.Metric) -> None:
    """Over several seeds, as one training differs from the next by more than engines do."""
    vectors = clustered.rows(COUNT, DIMENSION)
    queries = vectors[:: COUNT // 1000] + 0.05 * np.random.default_rng(1).standard_normal((1000, DIMENSION))
    recalls: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        for by in (faiss_engine.FaissEngine(), torch_engine.TorchEngine()):
            index = made(by, shape_of(kind, metric, seed), vectors)
            recalls.setdefault(by.name, []).append(clustered.recall(index, vectors, queries.astype(np.float32), 24))
    means = {name: float(np.mean(found)) for name, found in recalls.items()}
    print(kind, metric, {name: round(mean, 4) for name, mean in means.items()})
    assert means["torch"] >= means["faiss"] - 0.005


@pytest.mark.parametrize("kind", [Kind.IVF_FLAT, Kind.IVF_SQ8, Kind.IVF_PQ])
def test_the_same_bytes_twice_and_merged_as_faiss_parts_are(kind: indexes.Kind, tmp_path: Path) -> None:
    vectors = clustered.rows(2000, DIMENSION)
    where, by, shape = (np.arange(2000, dtype=np.int64) * 3, vectors), torch_engine.TorchEngine(), shape_of(kind)
    twice = []
    for cuts in ((0, 2000), (0, 700, 2000)):
        trained, paths = clustered.parts(by, shape, where, cuts, tmp_path)
        again, _ = clustered.parts(by, shape, where, cuts, tmp_path)
        assert again == trained
        twice.append(files.loads(clustered.merged(trained, paths, shape)))
    assert sorted(files.labels(twice[0]).tolist()) == sorted(files.labels(twice[1]).tolist()) == where[0].tolist()
    assert np.array_equal(files.list_sizes(twice[0]), files.list_sizes(twice[1]))


def test_codes_are_those_of_faiss() -> None:
    """Encoded by torch and by faiss from the same trained index, row by row."""
    vectors = clustered.rows(2000, DIMENSION)
    shape, labels = shape_of(Kind.IVF_PQ), np.arange(2000, dtype=np.int64)
    trained = torch_engine.TorchEngine().train(vectors, shape, 1)
    ours, theirs = (
        by.part(trained, shape, [clustered.Batch(labels, vectors)], 1)
        for by in (torch_engine.TorchEngine(), faiss_engine.FaissEngine())
    )
    same = np.all(files.reconstruct(ours, labels) == files.reconstruct(theirs, labels), axis=1)
    assert same.mean() > 0.999


def test_flat_and_graphs_are_faiss_alone() -> None:
    vectors = clustered.rows(300, DIMENSION)
    for kind in (Kind.FLAT, Kind.HNSW):
        shape = indexes.Shape(kind, DIMENSION, Metric.L2, links=8, ef_construction=40)
        ours, theirs = (
            files.serialize(made(by, shape, vectors)) for by in (torch_engine.TorchEngine(), faiss_engine.FaissEngine())
        )
        assert ours == theirs


def test_a_block_that_does_not_fit_is_halved_and_no_row_is_left_out() -> None:
    torch = library.torch()
    seen: list[int] = []

    def narrow(start: int, stop: int) -> None:
        if stop - start > 37:
            raise torch.OutOfMemoryError("CUDA out of memory")
        seen.extend(range(start, stop))

    blocks = kmeans.Blocks(1 << 20)
    blocks.over(1000, 16, narrow)
    assert seen == list(range(1000))
    assert blocks.products <= 37 * 16

    def never(start: int, stop: int) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    with pytest.raises(Unavailable, match="no memory"):
        kmeans.Blocks(1 << 20).over(10, 4, never)
    with pytest.raises(RuntimeError, match="other"):
        kmeans.Blocks(16).over(10, 4, lambda start, stop: (_ for _ in ()).throw(RuntimeError("other")))


_NARROW = """
import resource, sys
import numpy as np
import torch
from ddr.index.engines import kmeans
torch.set_num_threads(1)
rows, centres = torch.randn(60_000, 8), torch.randn(4096, 8)
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
wide = kmeans.assign(rows[:2000], centres, kmeans.Blocks(1 << 20), is_l2=True)
resource.setrlimit(resource.RLIMIT_AS, (held + (300 << 20), held + (300 << 20)))
blocks = kmeans.Blocks(1 << 30)  # 983 MiB of products at once
found = kmeans.assign(rows, centres, blocks, is_l2=True)
assert torch.equal(found[:2000], wide), "another answer"
print(blocks.products)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")
def test_a_process_that_may_not_have_the_memory_finishes_with_smaller_blocks() -> None:
    done = subprocess.run([sys.executable, "-c", _NARROW], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 1 << 28


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [Kind.IVF_FLAT, Kind.IVF_SQ8, Kind.IVF_PQ])
def test_on_a_gpu_recall_is_that_of_the_cpu(kind: indexes.Kind) -> None:
    if not library.torch().cuda.is_available():
        pytest.skip("needs a GPU that torch sees")
    vectors = clustered.rows(COUNT, DIMENSION)
    queries = vectors[:1000] + 0.05
    found = [
        clustered.recall(made(by, shape_of(kind), vectors), vectors, queries, 24)
        for by in (faiss_engine.FaissEngine(), torch_engine.TorchEngine("cuda"))
    ]
    assert found[1] >= found[0] - 0.01
