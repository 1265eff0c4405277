"""A GPU that is too small: refused before the build where that is known, else smaller pieces or a clear word.

No GPU is needed: what is free is told by a probe, and what does not fit raises as libraries do.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ddr.domain import indexes
from ddr.errors import Refused, Unavailable
from ddr.index import plans, preflight
from ddr.index.engines import cards, engine, faiss_engine, files, kmeans, picking
from tests.unit.index import clustered

Kind, Metric = indexes.Kind, indexes.Metric
HERE = plans.Machine(memory_mib=64_000, threads=1)


def look(free_mib: int | None, name: str = "torch", *, has_cuvs: bool = False, device: str = "cuda") -> plans.Look:
    picked = picking.Picked(name, device, is_gpu=device != "cpu", has_cuvs=has_cuvs, reasons=(), software={})
    asked: list[str] = []

    def free(of: str) -> int | None:
        asked.append(of)
        assert of == device, "asked only of the GPU that is used"
        return free_mib

    return plans.Look(lambda wanted: picked, free)


def plan(looked: plans.Look, rows: int = 4_000_000, dimension: int = 768, **wanted: Any) -> indexes.Plan:
    asked = indexes.Wanted("docs", "home", indexes.Source(("*.npy",)), **{"kind": Kind.IVF_PQ, **wanted})
    shard = indexes.Shard("a.npy", rows, dimension, "float32", rows * dimension * 4, "1")
    return plans.make(asked, [shard], HERE, is_measured=False, look=looked)


def test_what_does_not_fit_on_the_gpu_is_refused_with_what_would() -> None:
    found = plan(look(40_000))
    (said,) = [stage for stage in found.estimates if stage.stage == preflight.GPU]
    assert 1_000 < said.memory_mib < 20_000
    with pytest.raises(Refused, match=r"cuda, of whose 2,000 MiB that are free it may count on 1,200") as caught:
        plan(look(2_000))
    assert "device cpu" in caught.value.hint
    assert plan(look(int(said.memory_mib / preflight.GPU_SHARE) + 2)).shape == found.shape
    with pytest.raises(Refused):
        plan(look(int(said.memory_mib / preflight.GPU_SHARE) - 2))


def test_where_nobody_says_what_is_free_the_plan_says_that() -> None:
    found = plan(look(None))
    assert any("is free nobody says" in reason for reason in found.reasons)


def test_the_cpu_asks_no_gpu() -> None:
    stages = [stage.stage for stage in plan(look(0, device="cpu")).estimates]
    assert stages == ["scan", "train", "parts", "merge", "measure", "disk"]


def test_faiss_takes_memory_for_itself_before_the_first_row() -> None:
    lists = indexes.Shape(Kind.IVF_FLAT, 768, Metric.L2, lists=4096)
    of_faiss = preflight.on_gpu(lists, 1_000_000, "faiss").memory_mib
    assert of_faiss > preflight.FAISS_GPU_MIB
    assert of_faiss == preflight.on_gpu(lists, 100_000_000, "faiss").memory_mib, "lists lie in the machine's memory"
    with pytest.raises(Refused):
        plan(look(2_000, "faiss"))
    for kind in (Kind.FLAT, Kind.HNSW):
        assert preflight.on_gpu(indexes.Shape(kind, 768, Metric.L2), 10**9, "torch").memory_mib == 0


def test_a_graph_that_the_gpu_has_no_room_for_is_another_kind_unless_it_was_asked_for() -> None:
    roomy = plan(look(140_000, "faiss", has_cuvs=True), kind=None, recall=0.96)
    assert roomy.shape.kind is Kind.CAGRA
    small = plan(look(8_000, "faiss", has_cuvs=True), kind=None, recall=0.96)
    assert small.shape.kind is not Kind.CAGRA
    assert any(reason.startswith("no cagra:") for reason in small.reasons)
    with pytest.raises(Refused, match="cuda"):
        plan(look(8_000, "faiss", has_cuvs=True), kind=Kind.CAGRA)


@pytest.mark.parametrize(
    ("device", "environ", "named", "free"),
    [
        ("cuda", {}, "--id=0", 143_000),
        ("cuda:1", {}, "--id=1", 143_000),
        ("cuda", {"CUDA_VISIBLE_DEVICES": "3,1"}, "--id=3", 143_000),
        ("cuda:1", {"CUDA_VISIBLE_DEVICES": "3,GPU-7f"}, "--id=GPU-7f", 143_000),
        ("cuda:1", {"CUDA_VISIBLE_DEVICES": "3"}, "", None),
        ("cuda", {"CUDA_VISIBLE_DEVICES": ""}, "", None),
    ],
)
def test_the_driver_is_asked_of_the_gpu_that_the_process_sees(
    device: str, environ: dict[str, str], named: str, free: int | None
) -> None:
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> str:
        asked.append(command)
        return "143000\n"

    assert cards.of_driver(device, environ, run) == free
    assert [command[-1] for command in asked] == ([named] if named else [])


def test_a_driver_that_does_not_answer_is_no_error() -> None:
    def absent(command: Sequence[str]) -> str:
        raise FileNotFoundError(command[0])

    def late(command: Sequence[str]) -> str:
        raise subprocess.TimeoutExpired(command, 20)

    for run in (absent, late, lambda command: "", lambda command: "[N/A]\n"):
        assert cards.of_driver("cuda", {}, run) is None
    assert cards.free_mib("cpu") is None
    assert cards.free_mib("mps") is None


COUNT, DIMENSION = 1500, 16


def shape_of(kind: indexes.Kind) -> indexes.Shape:
    return indexes.Shape(kind, DIMENSION, Metric.L2, lists=16, code_bytes=4, code_points=1024, code_iterations=3)


def made(by: engine.Engine, kind: indexes.Kind, trained: bytes) -> bytes:
    labels, vectors = np.arange(COUNT, dtype=np.int64), clustered.rows(COUNT, DIMENSION)
    return files.serialize(by.part(trained, shape_of(kind), clustered.batches(labels, vectors, 700), 1))


@pytest.mark.parametrize("kind", [Kind.IVF_FLAT, Kind.IVF_SQ8, Kind.IVF_PQ])
def test_rows_that_do_not_fit_at_once_go_in_pieces_and_none_twice(
    kind: indexes.Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    from ddr.index.engines import torch_engine

    by = torch_engine.TorchEngine()
    trained = by.train(clustered.rows(COUNT, DIMENSION), shape_of(kind), 1)
    whole, real, sizes = made(by, kind, trained), kmeans.on_device, list[int]()

    def small(rows: engine.Vectors, device: str) -> Any:
        if len(rows) > 100:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        sizes.append(len(rows))
        return real(rows, device)

    monkeypatch.setattr(kmeans, "on_device", small)
    pieces = files.loads(made(by, kind, trained))
    assert max(sizes) <= 100
    assert sorted(files.labels(pieces).tolist()) == list(range(COUNT))
    labels = np.arange(COUNT, dtype=np.int64)
    same = np.all(files.reconstruct(pieces, labels) == files.reconstruct(files.loads(whole), labels), axis=1)
    assert same.mean() > 0.999
    with pytest.raises(Unavailable, match="no memory to train") as caught:
        by.train(clustered.rows(COUNT, DIMENSION), shape_of(kind), 1)
    assert "device cpu" in caught.value.hint


class Small:
    """A coarse index on a GPU that has room for few queries at once; faiss says it in these words."""

    def __init__(self, index: engine.Index, most: int) -> None:
        self._index, self._most = index, most
        self.sizes: list[int] = []

    def search(self, rows: engine.Vectors, k: int) -> Any:
        if len(rows) > self._most:
            raise RuntimeError("Error in virtual void* faiss::gpu::StandardGpuResourcesImpl::allocMemory: cudaMalloc "
                               "error out of memory [2]")  # fmt: skip
        self.sizes.append(len(rows))
        return self._index.search(rows, k)


def test_faiss_on_a_gpu_that_is_short_of_memory_gives_the_same_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    kind, cpu = Kind.IVF_PQ, faiss_engine.FaissEngine()
    trained = cpu.train(clustered.rows(COUNT, DIMENSION), shape_of(kind), 1)
    short: list[Small] = []

    def on_gpu(index: engine.Index, device: str) -> Any:
        short.append(Small(index, 90))
        return short[-1]

    monkeypatch.setattr(faiss_engine, "_on_gpu", on_gpu)
    assert made(faiss_engine.FaissEngine("cuda"), kind, trained) == made(cpu, kind, trained)
    assert max(short[0].sizes) <= 90

    def full(index: engine.Index, device: str) -> Any:
        raise RuntimeError("cudaMalloc error out of memory [2]")

    monkeypatch.setattr(faiss_engine, "_on_gpu", full)
    with pytest.raises(Unavailable, match="no memory to train"):
        faiss_engine.FaissEngine("cuda").train(clustered.rows(COUNT, DIMENSION), shape_of(kind), 1)
    with pytest.raises(Unavailable, match="no memory to hold"):
        made(faiss_engine.FaissEngine("cuda"), kind, trained)
