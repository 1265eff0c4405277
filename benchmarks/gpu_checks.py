"""What must hold on a GPU, each as a check that runs on any device: on the CPU, small, it is a test of its own.

A check gives a line; where something it needs is not here (a GPU build of faiss, cuVS) it says so: skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddr.domain import indexes
from ddr.index import preflight
from ddr.index.engines import cagra, cards, engine, faiss_engine, files, kmeans, library, picking, torch_engine

Kind, Metric = indexes.Kind, indexes.Metric
KINDS = (Kind.IVF_FLAT, Kind.IVF_SQ8, Kind.IVF_PQ)
LOSS = 0.005
"""Of recall, that two engines may differ in."""
ALIKE = 0.999


@dataclass(frozen=True)
class Size:
    """Rows and dimensions of the corpus, lists of the index, bytes of a code, trainings whose recall is averaged."""

    rows: int = 100_000
    dimension: int = 96
    lists: int = 512
    code_bytes: int = 24
    seeds: int = 2
    queries: int = 1000


SMALL = Size(rows=3000, dimension=16, lists=24, code_bytes=8, seeds=3, queries=300)


@dataclass(frozen=True)
class Line:
    name: str
    verdict: str
    """`ok`, `BAD` or `skipped`."""
    said: str


@dataclass(frozen=True)
class Batch:
    labels: engine.Labels
    vectors: engine.Vectors


class Absent(Exception):
    """What a check needs is not here."""


@dataclass(frozen=True)
class Bench:
    """A corpus of clusters whose sizes follow a power law, and the exact neighbours of some queries."""

    device: str
    size: Size
    vectors: engine.Vectors
    queries: engine.Vectors
    threads: int

    @classmethod
    def of(cls, device: str, size: Size, threads: int = 0) -> Bench:
        draw = np.random.default_rng(7)
        clusters = max(8, size.lists // 2)
        weights = 1 / np.arange(1, clusters + 1) ** 0.8
        centres = draw.standard_normal((clusters, size.dimension), dtype=np.float32)
        rows = centres[draw.choice(clusters, size.rows, p=weights / weights.sum())]
        inner = draw.standard_normal((8, size.dimension), dtype=np.float32)
        rows += 0.4 * draw.standard_normal((size.rows, 8), dtype=np.float32) @ inner
        rows += 0.1 * draw.standard_normal(rows.shape, dtype=np.float32)
        chosen = rows[draw.choice(size.rows, size.queries, replace=False)]
        queries = chosen + 0.05 * draw.standard_normal(chosen.shape, dtype=np.float32)
        return cls(device, size, rows, queries, threads or len(os.sched_getaffinity(0)))

    def shape(self, kind: indexes.Kind, metric: indexes.Metric = Metric.L2, seed: int = 1234) -> indexes.Shape:
        size = self.size
        return indexes.Shape(
            kind,
            size.dimension,
            metric,
            lists=size.lists,
            links=16,
            ef_construction=80,
            code_bytes=size.code_bytes,
            code_points=16_384,
            code_iterations=8,
            seed=seed,
        )

    def batches(self) -> Iterator[Batch]:
        step = max(1, self.size.rows // 4)
        for start in range(0, self.size.rows, step):
            rows = self.vectors[start : start + step]
            yield Batch(np.arange(start, start + len(rows), dtype=np.int64), rows)

    def part(self, by: engine.Engine, shape: indexes.Shape) -> engine.Index:
        return by.part(by.train(self.vectors, shape, self.threads), shape, self.batches(), self.threads)

    def recall(self, index: engine.Index, parameter: int = 16) -> float:
        """Of the ten nearest."""
        faiss = library.faiss()
        measure = faiss.METRIC_L2 if files.describe(index).is_l2 else faiss.METRIC_INNER_PRODUCT
        flat = faiss.IndexFlat(self.size.dimension, measure)
        flat.add(self.vectors)
        exact = flat.search(self.queries, 10)[1]
        found, _ = files.search(index, self.queries, 10, parameter, threads=self.threads)
        return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), exact.tolist(), strict=True)]))

    def torch(self) -> torch_engine.TorchEngine:
        seen = picking.devices(with_torch=True).torch_gpus if self.device != "cpu" else 1
        if not seen:
            raise Absent("torch sees no GPU")
        return torch_engine.TorchEngine(self.device)

    def faiss(self) -> faiss_engine.FaissEngine:
        if self.device != "cpu" and not picking.devices(with_torch=False).faiss_gpus:
            raise Absent("this faiss has no GPU")
        return faiss_engine.FaissEngine(self.device)


CPU = faiss_engine.FaissEngine()


def _recalls(bench: Bench, by: engine.Engine) -> str:
    """Over several trainings, as one differs from the next by more than engines do."""
    worst, told = 0.0, []
    for kind in KINDS:
        for metric in (Metric.L2, Metric.IP):
            mean = [0.0, 0.0]
            for seed in range(bench.size.seeds):
                shape = bench.shape(kind, metric, seed)
                mean = [was + bench.recall(bench.part(one, shape)) for was, one in zip(mean, (by, CPU), strict=True)]
            loss = (mean[1] - mean[0]) / bench.size.seeds
            worst = max(worst, loss)
            told.append(f"{kind.value} {metric.value} {mean[0] / bench.size.seeds:.4f}")
            assert loss <= LOSS, f"{kind.value} {metric.value}: recall {loss:.4f} below that of faiss on the CPU"
    return f"at most {worst:.4f} below faiss on the CPU ({', '.join(told)})"


def torch_recall(bench: Bench) -> str:
    return _recalls(bench, bench.torch())


def faiss_recall(bench: Bench) -> str:
    return _recalls(bench, bench.faiss())


_PLAIN = """
import faiss, numpy as np, sys
index = faiss.read_index(sys.argv[1])
index.nprobe = 16
np.save(sys.argv[3], index.search(np.load(sys.argv[2]), 10)[1])
"""


def _plain(bench: Bench, by: engine.Engine) -> str:
    """In a process that sees no GPU."""
    with tempfile.TemporaryDirectory() as name:
        path, queries, answers = (Path(name) / one for one in ("index.faiss", "queries.npy", "answers.npy"))
        np.save(queries, bench.queries)
        for kind in KINDS:
            made = bench.part(by, bench.shape(kind))
            path.write_bytes(files.serialize(made))
            subprocess.run(
                [sys.executable, "-c", _PLAIN, str(path), str(queries), str(answers)],
                check=True,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            )
            ours, _ = files.search(made, bench.queries, 10, 16, threads=bench.threads)
            assert np.array_equal(np.load(answers), ours), f"{kind.value}: a process without a GPU answers otherwise"
    return f"{len(KINDS)} kinds load in plain faiss without a GPU and answer the same"


def torch_plain(bench: Bench) -> str:
    return _plain(bench, bench.torch())


def faiss_plain(bench: Bench) -> str:
    return _plain(bench, bench.faiss())


def torch_same_rows(bench: Bench) -> str:
    """From one trained index: each row into the list, and with the code, that faiss on the CPU gives it."""
    by, told = bench.torch(), []
    labels = np.arange(bench.size.rows, dtype=np.int64)
    for kind in (Kind.IVF_FLAT, Kind.IVF_PQ):
        shape = bench.shape(kind)
        trained = CPU.train(bench.vectors, shape, bench.threads)
        ours, theirs = (one.part(trained, shape, bench.batches(), bench.threads) for one in (by, CPU))
        assert sorted(files.labels(ours).tolist()) == labels.tolist(), "rows are missing, or there twice"
        lists = float(np.mean(_list_of(ours) == _list_of(theirs)))
        same = np.all(files.reconstruct(ours, labels) == files.reconstruct(theirs, labels), axis=1)
        assert min(lists, float(same.mean())) >= ALIKE, (
            f"{kind.value}: {lists:.5f} in its list, {same.mean():.5f} alike"
        )
        told.append(f"{kind.value} {lists:.5f}, {same.mean():.5f}")
    return f"in its list, and the same vector or code: {'; '.join(told)}"


def _list_of(index: engine.Index) -> engine.Labels:
    faiss = library.faiss()
    found = np.empty(index.ntotal, np.int64)
    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        if size:
            found[faiss.rev_swig_ptr(index.invlists.get_ids(number), size)] = number
    return found


def torch_twice(bench: Bench) -> str:
    """Sums on a GPU run in no fixed order: the recall is the same, not the bytes."""
    by, shape = bench.torch(), bench.shape(Kind.IVF_PQ)
    first, second = (bench.recall(bench.part(by, shape)) for _ in range(2))
    assert abs(first - second) <= LOSS, f"{first:.4f} and {second:.4f}"
    trained = by.train(bench.vectors, shape, bench.threads)
    parts = [files.serialize(by.part(trained, shape, bench.batches(), bench.threads)) for _ in range(2)]
    is_same = parts[0] == parts[1]
    assert is_same or bench.device != "cpu", "a part is not the same bytes from the same trained index"
    return f"recall {first:.4f} and {second:.4f}; a part made twice {'is' if is_same else 'is not'} the same bytes"


_NARROW = """
import json, resource, sys
import torch
from ddr.index.engines import kmeans
device, mib = sys.argv[1], 300
torch.set_num_threads(1)
torch.manual_seed(1)
rows, centres = torch.randn(60_000, 8), torch.randn(4096, 8)
rows, centres = rows.to(device), centres.to(device)
wide = kmeans.assign(rows[:2000], centres, kmeans.Blocks(1 << 20), is_l2=True)
if device == "cpu":
    held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + (mib << 20), held + (mib << 20)))
else:
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(((mib << 20) + torch.cuda.memory_reserved()) / total, device)
blocks = kmeans.Blocks(1 << 30)
with kmeans.precision(is_exact=True):
    found = kmeans.assign(rows, centres, blocks, is_l2=True)
assert torch.equal(found[:2000], wide), "another answer"
print(blocks.products)
"""


def torch_short_of_memory(bench: Bench) -> str:
    """983 MiB of products where 300 may be had, in a process of its own."""
    bench.torch()
    done = subprocess.run(
        [sys.executable, "-c", _NARROW, bench.device], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert int(done.stdout) < 1 << 28, f"blocks of {done.stdout.strip()} products"
    return f"blocks were halved to {int(done.stdout) >> 20} Mi products, and no row was lost"


def memory_model(bench: Bench) -> str:
    """What is held on the GPU at most, beside what the plan said."""
    if bench.device == "cpu":
        raise Absent("is of a GPU's memory")
    by, torch = bench.torch(), library.torch()
    free = cards.free_mib(bench.device)
    assert free is not None, "torch sees a GPU, and nobody says how much of it is free"
    told = []
    for kind in KINDS:
        shape = bench.shape(kind)
        torch.cuda.reset_peak_memory_stats()
        bench.part(by, shape)
        peak = torch.cuda.max_memory_allocated() >> 20
        said = preflight.on_gpu(shape, bench.size.rows, "torch").memory_mib
        # products take a share of what is free, with as much again beside them, and less when there is less
        assert peak <= said + 2 * kmeans.GPU_SHARE * free, f"{kind.value}: {peak} MiB held, {said} said"
        told.append(f"{kind.value} {peak:,} ({said:,} + products)")
    return f"{free:,} MiB free; held, and said: {', '.join(told)}"


def cagra_serves(bench: Bench) -> str:
    if bench.device == "cpu" or not cagra.is_there():
        raise Absent("needs a faiss with cuVS and a GPU")
    shape = bench.shape(Kind.CAGRA)
    labels = np.arange(bench.size.rows, dtype=np.int64)
    built = files.loads(files.serialize(cagra.build(shape, [(labels, bench.vectors)], bench.threads)))
    graph = bench.shape(Kind.HNSW)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "part"
        path.write_bytes(files.serialize(CPU.part(b"", graph, bench.batches(), bench.threads)))
        hnsw = files.merge(CPU.train(bench.vectors, graph, bench.threads), [path], graph, threads=bench.threads)
    ours, theirs = bench.recall(built, 64), bench.recall(hnsw, 64)
    assert ours >= theirs - LOSS, f"recall {ours:.4f}, of HNSW {theirs:.4f}"
    return f"recall {ours:.4f} on the CPU, HNSW {theirs:.4f}"


def command(bench: Bench) -> str:
    """`ddr index build --publish` with torch on the device, checked to level 3 by a process that sees no GPU."""
    bench.torch()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        np.save(base / "a.npy", bench.vectors)
        text = f"home: home\nvectors: [a.npy]\nkind: ivf-pq\nrecall: 0.3\nengine: torch\ndevice: {bench.device}\n"
        (base / "own.yaml").write_text(text)
        built = _ddr(base, {}, "build", "--publish")
        plan = built["manifest"]["plan"]
        assert (plan["engine"], plan["device"]) == ("torch", bench.device)
        checked = _ddr(base, {"CUDA_VISIBLE_DEVICES": ""}, "check", "--level", "3")
        assert not checked["findings"], checked["findings"]
    recall = next(one["share"] for one in built["manifest"]["quality"]["recalls"] if one["k"] == 10)
    return f"published with recall@10 {recall:.4f}, whole to level 3 where no GPU is"


def _ddr(base: Path, environ: dict[str, str], *words: str) -> Any:
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, "-m", "ddr", "index", words[0], "own.yaml", *words[1:], "--json"],
        cwd=base,
        env={**os.environ, "PYTHONPATH": root, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    return json.loads(done.stdout)


Check = Callable[[Bench], str]
ALL: tuple[Check, ...] = (
    torch_recall,
    torch_plain,
    torch_same_rows,
    torch_twice,
    torch_short_of_memory,
    memory_model,
    faiss_recall,
    faiss_plain,
    cagra_serves,
    command,
)


def lines(bench: Bench, checks: Sequence[Check] = ALL) -> Iterator[Line]:
    """Each check to its end, whatever became of the one before."""
    for check in checks:
        name = check.__name__.replace("_", " ")
        try:
            yield Line(name, "ok", check(bench))
        except Absent as problem:
            yield Line(name, "skipped", str(problem))
        except Exception as problem:  # noqa: BLE001 - of a device that nobody has seen anything may come
            yield Line(name, "BAD", f"{type(problem).__name__}: {str(problem)[-300:]}")
