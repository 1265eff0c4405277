"""Building an index: ddr beside a raw faiss script and autofaiss, on a clustered power-law corpus, interleaved.

Each round has a seed of its own (autofaiss takes none): the draw of the first centres alone moves the recall of a
million rows by 0.004, faiss's own too. The same parameters as the script (faiss's own defaults: 256 points a list, 25
rounds for codes): what do digests, gate, fsync and publishing cost (G1, G2)? With ddr's own training: how much sooner
is an index of the same recall there (G3, G4)? Then peak memory (G5), a build that is killed halfway and goes on (G6),
training and assignment against bare matrix products (G7), the check of digests against `sha256sum` (G9), the move of
the pointer (G10), and two workers against one (G11). `index-million` asks G1 to G5 and G9 of a million rows,
`index-sentences` G1 to G5 of real ones.

    python -m benchmarks index
    python -m benchmarks index-million
    python -m benchmarks index-sentences
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks import index_peers as peers

ROWS, DIMENSION, ROUNDS = 200_000, 128, 5
MILLION, MILLION_DIMENSION = 1_000_000, 64
CLUSTERS, QUERIES = 2_000, 1_000
SEED = 1_234
"""Of the first round: the one that faiss and ddr take by themselves."""
_MIB = 1 << 20
Vectors: TypeAlias = npt.NDArray[np.float32]
_PUBLISHED = ("--publish", "--force", "measured beside others")


def corpus(folder: Path, rows: int, dimension: int) -> None:
    """Clusters whose sizes follow a power law and whose rows have few directions; never uniform noise."""
    draw = np.random.default_rng(7)
    centres = draw.standard_normal((CLUSTERS, dimension)).astype(np.float32)
    directions = draw.standard_normal((64, 24, dimension)).astype(np.float32) / np.sqrt(dimension)
    sizes = 1 / np.arange(1, CLUSTERS + 1) ** 0.8
    which = draw.choice(CLUSTERS, rows + QUERIES, p=sizes / sizes.sum())
    vectors = np.empty((rows + QUERIES, dimension), np.float32)
    for first in range(0, len(vectors), 20_000):
        some = which[first : first + 20_000]
        spread = draw.standard_normal((len(some), 24)).astype(np.float32)
        vectors[first : first + 20_000] = centres[some] + 1.5 * np.einsum("nk,nkd->nd", spread, directions[some % 64])
    keep(folder, vectors[:rows], vectors[rows:])


def keep(folder: Path, vectors: Vectors, queries: Vectors) -> None:
    """Rows in four shards, and queries with their exact ten neighbours."""
    import faiss

    for number, piece in enumerate(np.array_split(vectors, 4)):
        np.save(folder / f"v{number}.npy", piece)
    np.save(folder / "queries.npy", queries)
    exact = faiss.IndexFlatL2(vectors.shape[1])
    exact.add(vectors)
    np.save(folder / "exact.npy", exact.search(queries, 10)[1])


def builds(folder: Path, rows: int, dimension: int, kinds: Sequence[tuple[str, str]]) -> None:
    from ddr.index import choosing

    lists = choosing.lists_for(rows)
    python = peers.autofaiss_python()
    print(f"medians of {ROUNDS} rounds of whole processes; recall at 10 with nprobe {peers.NPROBE}")
    names = ["ddr max", "ddr fast", "raw faiss", *(["autofaiss"] if python else [])]
    print(f"{'':<26}" + "".join(f"{name:>10}" for name in names))
    for kind, code in kinds:
        factory = f"IVF{lists},{code}"
        made: dict[str, Callable[[int], peers.Run]] = {
            "max": functools.partial(_of_ddr, folder, kind, "max"),
            "fast": functools.partial(_of_ddr, folder, kind, "fast"),
            "raw": functools.partial(peers.raw, folder, factory),
        }
        if python is not None:
            made["auto"] = functools.partial(_of_autofaiss, folder, factory, python)
        runs: dict[str, list[peers.Run]] = {name: [] for name in made}
        for seed in range(SEED, SEED + ROUNDS):
            for name, run_ in made.items():
                runs[name].append(run_(seed))
        _table(factory, runs, rows, dimension)


def _of_ddr(folder: Path, kind: str, quality: str, seed: int) -> peers.Run:
    return peers.ddr(peers.spec(folder, kind, quality, f"seed: {seed}\n"), *_PUBLISHED)


def _of_autofaiss(folder: Path, factory: str, python: Path, _: int) -> peers.Run:
    return peers.autofaiss(folder, factory, python)


def _table(factory: str, runs: dict[str, list[peers.Run]], rows: int, dimension: int) -> None:
    def row(title: str, one: Callable[[str], str]) -> None:
        print(f"{title:<26}" + "".join(f"{one(name):>10}" for name in runs))

    seconds = {name: peers.median(found, "seconds") for name, found in runs.items()}
    stages = {name: peers.median(found, "build_s") for name, found in runs.items()}
    row(f"{factory}, s", lambda name: f"{seconds[name]:.1f}")
    row("  against raw", lambda name: f"{seconds[name] / seconds['raw']:.2f}")
    if "auto" in runs:
        row("  against autofaiss", lambda name: f"{seconds[name] / seconds['auto']:.2f}")
    row("  its stages against raw", lambda name: f"{stages[name] / stages['raw']:.2f}")
    found = {name: [run_.recall for run_ in some] for name, some in runs.items()}
    row("  recall at 10, mean", lambda name: f"{statistics.fmean(found[name]):.4f}")
    row("  lowest", lambda name: f"{min(found[name]):.4f}")
    row("  highest", lambda name: f"{max(found[name]):.4f}")
    row("  peak MiB", lambda name: f"{max(run_.peak_mib for run_ in runs[name]):.0f}")
    row("  against the model", lambda name: _against_model(runs[name], rows, dimension))


def _against_model(runs: Sequence[peers.Run], rows: int, dimension: int) -> str:
    """Peak memory over index, sample, two batches and 300 MB (G5: at most 1); of ddr alone."""
    document = runs[0].document
    if not document:
        return "-"
    shape = document["manifest"]["plan"]["shape"]
    sample = min(rows, max(shape["lists"] * shape["points_per_list"], shape["code_points"])) * dimension * 4
    index = sum(file["size_bytes"] for file in document["manifest"]["files"])
    allowed = (index + sample + 2 * (64 << 20) + 300e6) / _MIB
    return f"{max(run_.peak_mib for run_ in runs) / allowed:.2f}"


def _killed(folder: Path) -> None:
    """Killed when half of the parts are made, then the same command; against a build that nobody disturbs."""
    spec = peers.spec(folder, "ivf-flat", "fast", "rowsPerPart: 12500\n", name="killed")
    whole, cut = [], []
    for _ in range(3):
        whole.append(peers.ddr(spec).seconds)
        shutil.rmtree(peers.home(spec), ignore_errors=True)
        began = time.perf_counter()
        command = [sys.executable, "-m", "ddr", "index", "build", str(spec), "--events"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert process.stderr
        for line in process.stderr:
            if b'"stage": "part-00008"' in line:
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
        process.stderr.close()
        subprocess.run(command, check=True, capture_output=True)
        cut.append(time.perf_counter() - began)
    ratio = statistics.median(cut) / statistics.median(whole)
    print(f"killed halfway and gone on with: {ratio:.2f} of an undisturbed build, both starts included")


def _check(folder: Path, spec: Path) -> None:
    version = (peers.home(spec) / "current").resolve()
    ours, theirs = [], []
    command = [sys.executable, "-m", "ddr", "index", "check", str(spec), "--level", "1"]
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        subprocess.run(["sha256sum", *map(str, version.glob("*.faiss"))], check=True, capture_output=True)
        theirs.append(time.perf_counter() - began)
    size = sum(path.stat().st_size for path in version.iterdir()) / _MIB
    ours_s, theirs_s = statistics.median(ours), statistics.median(theirs)
    print(
        f"check of every byte, {size:.0f} MiB: {ours_s:.2f} s, the process included; sha256sum {theirs_s:.2f} s: "
        f"{theirs_s / ours_s:.2f} of its rate"
    )


def _moves(spec: Path) -> None:
    from ddr.index.homes import folder as folders

    version = (peers.home(spec) / "current").resolve()
    home = folders.FolderHome(peers.home(spec), lambda: datetime.now(UTC))
    shutil.copytree(version, peers.home(spec) / "versions" / "other")
    moves = []
    for number in range(20):
        before, to = home.current(), "other" if number % 2 == 0 else version.name
        began = time.perf_counter()
        home.point(before, to)
        moves.append(time.perf_counter() - began)
    print(f"move of the pointer: {1000 * statistics.median(moves):.1f} ms, longest {1000 * max(moves):.1f} ms")


def _rates(rows: int = 65_536, lists: int = 1_024, dimension: int = DIMENSION) -> None:
    """Operations a second of k-means and of assigning, over those of one matrix product of the same shape (G7)."""
    from ddr.domain import indexes
    from ddr.index.engines import faiss_engine

    draw = np.random.default_rng(3)
    sample = draw.standard_normal((rows, dimension), dtype=np.float32)
    centres = np.ascontiguousarray(draw.standard_normal((dimension, lists), dtype=np.float32))
    shape = indexes.Shape(
        indexes.Kind.IVF_FLAT, dimension, indexes.Metric.L2, lists=lists, points_per_list=rows // lists, iterations=10
    )
    threads = len(os.sched_getaffinity(0))
    made = faiss_engine.FaissEngine()
    trained = made.train(sample, shape, threads)
    batch = _Batch(np.arange(rows), sample)
    steps = shape.points_per_list * lists * shape.iterations
    work: dict[str, tuple[float, Callable[[], object]]] = {
        "train": (2.0 * steps * lists * dimension, lambda: made.train(sample, shape, threads)),
        "assign and add": (2.0 * rows * lists * dimension, lambda: made.part(trained, shape, [batch], threads)),
        "product": (2.0 * rows * lists * dimension, lambda: sample @ centres),
    }
    rates: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, (flops, call) in work.items():
            began = time.perf_counter()
            call()
            rates[name].append(flops / (time.perf_counter() - began))
    bare = statistics.median(rates["product"])
    found = ", ".join(f"{name} {statistics.median(rates[name]) / bare:.2f}" for name in ("train", "assign and add"))
    print(f"of the rate of one matrix product ({bare / 1e9:.0f} GFLOP/s): {found}")


class _Batch:
    def __init__(self, labels: np.ndarray[Any, Any], vectors: np.ndarray[Any, Any]) -> None:
        self.labels, self.vectors = labels, vectors


def _workers(folder: Path, rows: int) -> None:
    """All parts by one process at a time and by two, each with one thread; the processes' starts included (G11)."""
    spec = peers.spec(folder, "ivf-flat", "fast", "rowsPerPart: 25000\n", name="spread")
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    ddr = [sys.executable, "-m", "ddr", "index"]
    took: dict[int, list[float]] = {1: [], 2: []}
    digests = set()
    for _ in range(3):
        for at_once, found in took.items():
            shutil.rmtree(peers.home(spec), ignore_errors=True)
            subprocess.run([*ddr, "prepare", str(spec)], check=True, capture_output=True, env=environ)
            plan = next(peers.home(spec).rglob("plan.json"))
            parts = -(-rows // 25_000)

            def make(part: int, plan: Path = plan) -> None:
                words = [*ddr, "worker", "--plan", str(plan), "--part", str(part)]
                subprocess.run(words, check=True, capture_output=True, env=environ)

            began = time.perf_counter()
            with futures.ThreadPoolExecutor(at_once) as pool:
                list(pool.map(make, range(parts)))
            found.append(time.perf_counter() - began)
            built = peers.ddr(spec, is_fresh=False).document
            digests.add(next(one["sha256"] for one in built["manifest"]["files"] if one["name"] == "index.faiss"))
    gain = statistics.median(took[1]) / statistics.median(took[2])
    same = "the same bytes" if len(digests) == 1 else f"{len(digests)} DIFFERENT RESULTS"
    print(f"two workers of one thread each are {gain:.2f} times as fast as one ({same})")


def run(rows: int = ROWS, dimension: int = DIMENSION) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus(folder, rows, dimension)
        print(f"\nindex builds, {rows:,} rows of {dimension}")
        builds(folder, rows, dimension, (("ivf-flat", "Flat"), ("ivf-pq", "PQ32")))
        spec = folder / "ivf-flat-fast.yaml"
        _check(folder, spec)
        _moves(spec)
        _killed(folder)
        _workers(folder, rows)
    _rates()


def million() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus(folder, MILLION, MILLION_DIMENSION)
        print(f"\nindex builds, {MILLION:,} rows of {MILLION_DIMENSION}")
        builds(folder, MILLION, MILLION_DIMENSION, (("ivf-flat", "Flat"),))
        _check(folder, folder / "ivf-flat-fast.yaml")
