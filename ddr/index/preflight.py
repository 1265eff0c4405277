"""What each stage of a build takes, before anything is started: memory by a model, seconds by rates measured here.

The model counts what ddr itself holds. Pages of files that are mapped or read are the kernel's and come on top where
there is room; they are never needed.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddr.domain import indexes
from ddr.index import choosing
from ddr.index.engines import engine, library, nearby

BASE_MIB = 120
"""Python, numpy, faiss and what ddr imports; measured as 60 without the command line."""
BATCHES_MIB = 192
"""Batches that are read, waiting and being added: 64 MiB each."""
GROWTH = 1.6
"""Lists grow by doubling, each by itself: between 1 and 2 of what is in them, and 1.5 on average."""
WRITE_MIB = 130
"""Two blocks of the merge and a chunk that is being digested."""
SCAN_ROW_BYTES = 48
"""Hashes of vectors and of ids, while they are sorted."""

MEASURE = "measure"
"""The stage whose child, a Python of its own, loads the whole file as a reader does; so does the proof of a version."""
GPU = "gpu"
"""The estimate that is of the GPU's memory, not of the machine's."""
DISK = "disk"
"""The estimate that is of the disk with the work folder, and with the version where the home is a folder on it."""
GPU_SHARE = 0.6
"""Of a GPU's free memory, what a build may count on: its libraries cut it into pieces, and others may take some."""
GPU_BASE_MIB = 600
"""Context and handles of the libraries."""
FAISS_GPU_MIB = 1536
"""What faiss takes for its own use as soon as it touches a GPU of 8 GiB and more."""
GPU_BATCH_MIB = 64

_MIB = 1 << 20
_ROUNDS_S = 0.15
_SMALL_PRODUCTS = 2.5  # a comparison of a list with its neighbours, copies included, over one of all with all
_PROBE_ROWS, _PROBE_LISTS, _PROBE_GRAPH = 4096, 512, 2000
_UNSEEN = Path("/nowhere")


@dataclass(frozen=True)
class TooLarge:
    """`what` does not fit, and what would."""

    what: str
    fits: str


def available_mib(root: Path = Path("/")) -> int:
    """Memory that this process may still take: of the machine, or of its control group where that is less."""
    free = [_of_machine(root / "proc/meminfo")]
    group = root / "sys/fs/cgroup"
    for most, used in (
        (group / "memory.max", group / "memory.current"),
        (group / "memory/memory.limit_in_bytes", group / "memory/memory.usage_in_bytes"),
    ):
        limit, taken = _number(most), _number(used)
        if limit is not None and taken is not None:
            free.append(max(0, limit - taken + _reclaimable(most.parent / "memory.stat")))
    return max(1, min(free) // _MIB)


def _of_machine(path: Path) -> int:
    for line in path.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 1 << 40  # a kernel that does not say


def _number(path: Path) -> int | None:
    """None where there is no limit, or no such file."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _reclaimable(path: Path) -> int:
    """Pages of files that the control group counts as used, and gives up when they are wanted."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def estimates(shape: indexes.Shape, rows: int, parts: int, rates: Mapping[str, float]) -> tuple[indexes.Estimate, ...]:
    """Each stage's most memory, and its seconds where `rates` has what it depends on."""
    each = -(-rows // max(parts, 1))
    flops, disk = rates.get("flops_per_s", 0.0), rates.get("bytes_per_s", 0.0)
    read = rows * shape.dimension * 4
    found = [
        _estimate("scan", rows * SCAN_ROW_BYTES, _per(read, disk)),
        _estimate("train", _training_bytes(shape, rows), _per(_training_flops(shape, rows), flops)),
        _estimate("parts", _part_bytes(shape, each), _per(read, disk) + _per(_adding_flops(shape, rows), flops)),
    ]
    merge_s = _per(2 * rows * choosing.bytes_per_vector(shape), disk)
    if shape.kind in engine.GRAPHS:
        merge_s += _per(rows * shape.ef_construction, rates.get("graph_steps_per_s", 0.0))
    size = _file_bytes(shape, rows)
    return (*found, _estimate("merge", _merge_bytes(shape, rows), merge_s), _estimate(MEASURE, size, _per(size, disk)))


def answers_bytes(queries: int, neighbours: int) -> int:
    """What a part keeps beside itself: label and distance of each exact neighbour."""
    return queries * neighbours * 16


def on_disk(shape: indexes.Shape, rows: int, parts: int, answers: int, *, has_version: bool) -> indexes.Estimate:
    """What a work folder holds when all is built: parts, each with what was trained and its answers, and their merge.
    `has_version`: a copy of that is published beside it. Texts that are ids come on top."""
    each = 4 * shape.dimension + 8 if shape.kind in engine.GRAPHS else choosing.bytes_per_vector(shape)
    trained = shape.lists * shape.dimension * 4
    size = rows * each + (parts + 1) * (trained + answers) + _file_bytes(shape, rows)
    size += _version_bytes(shape, rows) * has_version
    return indexes.Estimate(DISK, -(-int(size) // _MIB), 0.0)


def _version_bytes(shape: indexes.Shape, rows: int) -> float:
    return _file_bytes(shape, rows) + shape.lists * shape.dimension * 4


def _file_bytes(shape: indexes.Shape, rows: int) -> float:
    return rows * choosing.bytes_per_vector(shape) + shape.lists * shape.dimension * 4


def too_large_for_disk(
    stage: indexes.Estimate, free_mib: int | None, parts: int, *, has_version: bool
) -> TooLarge | None:
    """None where it fits, and where nobody knows what is free."""
    if free_mib is None or stage.memory_mib <= free_mib:
        return None
    return TooLarge(
        f"{'work folder and version take' if has_version else 'the work folder takes'} about {stage.memory_mib:,} MiB "
        f"in {parts:,} parts, {free_mib:,} MiB are free",
        "make room, name another folder as `work:`, or take a larger rowsPerPart",
    )


def too_large_for_home(shape: indexes.Shape, rows: int, home: str, free_mib: int | None) -> TooLarge | None:
    """Of a version on a disk of its own. None where it fits, and where nobody knows what is free."""
    size_mib = -(-int(_version_bytes(shape, rows)) // _MIB)
    if free_mib is None or size_mib <= free_mib:
        return None
    return TooLarge(
        f"the version takes about {size_mib:,} MiB in {home}, {free_mib:,} MiB are free there",
        "make room there (`ddr index gc` takes old versions away), or name a folder on another disk as `home:`",
    )


def free_mib(folder: Path) -> int | None:
    """Of the disk that `folder` is or would be on; None where nobody says."""
    try:
        found = shutil.disk_usage(_there(folder))
    except OSError:
        return None
    return found.free // _MIB if found.total else None  # such as /proc


def is_one_disk(one: Path, other: Path) -> bool:
    """Whether both are or would be on the same; yes where nobody says."""
    try:
        return _there(one).stat().st_dev == _there(other).stat().st_dev
    except OSError:
        return True


def _there(folder: Path) -> Path:
    """It, or the nearest above that is there. OSError."""
    return next((place for place in (folder, *folder.parents) if place.is_dir()), folder)


def _estimate(stage: str, size: float, seconds: float) -> indexes.Estimate:
    beside = {"scan": BATCHES_MIB, "parts": BATCHES_MIB, "merge": WRITE_MIB, MEASURE: BASE_MIB}.get(stage, 0)
    return indexes.Estimate(stage, BASE_MIB + beside + int(size / _MIB), round(seconds, 1))


def _per(amount: float, rate: float) -> float:
    return amount / rate if rate else 0.0


def on_gpu(shape: indexes.Shape, rows: int, engine_name: str) -> indexes.Estimate:
    """What a GPU must hold at once. Lists lie in the machine's memory, and products of rows and centres take what is
    left; of CAGRA everything is on the GPU."""
    vector = shape.dimension * 4
    if shape.kind is indexes.Kind.CAGRA:
        degree = 2 * (shape.links or 32)
        # vectors, their codes while neighbours are looked for, and two graphs of numbers, one twice as wide
        size = rows * (vector + vector // 4 + 3 * degree * 4)
        return indexes.Estimate(GPU, GPU_BASE_MIB + FAISS_GPU_MIB + int(size / _MIB), 0.0)
    if shape.kind not in engine.IVF:
        return indexes.Estimate(GPU, 0, 0.0)
    centres = 3 * shape.lists * vector
    if engine_name == "faiss":  # rows come and go in pages
        return indexes.Estimate(GPU, GPU_BASE_MIB + FAISS_GPU_MIB + GPU_BATCH_MIB + int(centres / _MIB), 0.0)
    held = min(rows, shape.lists * shape.points_per_list) * vector
    if shape.kind is indexes.Kind.IVF_PQ:  # residuals, what is taken from them, and both by places
        held = max(held, 3 * min(shape.code_points or engine.CODE_POINTS, _trained(shape, rows)) * vector)
    batches = 3 * GPU_BATCH_MIB
    return indexes.Estimate(GPU, GPU_BASE_MIB + batches + int((centres + held) / _MIB), 0.0)


def too_large_for_gpu(stage: indexes.Estimate, device: str, free_mib: int | None) -> TooLarge | None:
    """None where it fits, and where nobody knows what is free."""
    if free_mib is None or stage.memory_mib <= GPU_SHARE * free_mib:
        return None
    return TooLarge(
        f"the build holds about {stage.memory_mib:,} MiB on {device}, of whose {free_mib:,} MiB that are free it may "
        f"count on {int(GPU_SHARE * free_mib):,}",
        "end what else runs on that GPU, or take device cpu; quality fast and fewer lists need less, kind cagra most",
    )


def _trained(shape: indexes.Shape, rows: int) -> int:
    return min(rows, engine.sample_rows(shape))


def _training_bytes(shape: indexes.Shape, rows: int) -> float:
    """The sample, the centres three times, and for codes their residuals and a copy of them by places."""
    if shape.kind not in engine.IVF:
        return 0
    sample = _trained(shape, rows) * shape.dimension * 4
    centres = 3 * shape.lists * shape.dimension * 4
    graph = shape.lists * 4 * 64 * 1.1 if shape.is_coarse_graph else 0
    # faiss copies a sample that is larger than the lists want, and looks at residuals of the codes' share of it
    copied = sample if shape.kind is not indexes.Kind.IVF_FLAT else 0
    codes = 3 * min(shape.code_points or engine.CODE_POINTS, _trained(shape, rows)) * shape.dimension * 4
    return sample + centres + graph + copied + (codes if shape.kind is indexes.Kind.IVF_PQ else 0)


def _part_bytes(shape: indexes.Shape, rows: int) -> float:
    if shape.kind in engine.IVF:
        centres = 2 * shape.lists * shape.dimension * 4
        return rows * choosing.bytes_per_vector(shape) * GROWTH + centres + shape.lists * 48
    return rows * (4 * shape.dimension + 8) * 2  # one vector that doubles when it is full


def _merge_bytes(shape: indexes.Shape, rows: int) -> float:
    """Lists are copied block by block. A graph is held whole, and its vector of vectors doubles."""
    if shape.kind in engine.GRAPHS:
        return rows * (choosing.bytes_per_vector(shape) + 4 * shape.dimension)
    return rows * 8 if shape.kind is indexes.Kind.FLAT else 2 * shape.lists * shape.dimension * 4


def _training_flops(shape: indexes.Shape, rows: int) -> float:
    if shape.kind not in engine.IVF:
        return 0
    points = min(rows, shape.lists * shape.points_per_list)
    full = min(shape.iterations, nearby.FULL_ROUNDS) if shape.neighbours else shape.iterations
    later = (shape.iterations - full) * _SMALL_PRODUCTS * (shape.neighbours or 0)
    coarse = 2.0 * points * shape.dimension * (full * shape.lists + later)
    if shape.kind is not indexes.Kind.IVF_PQ:
        return coarse
    points = min(shape.code_points or engine.CODE_POINTS, _trained(shape, rows))
    slow = 12  # places of a few dimensions do not fill the units that multiply
    return coarse + slow * 2.0 * points * engine.CODEWORDS * shape.dimension * (shape.code_iterations or 25)


def _adding_flops(shape: indexes.Shape, rows: int) -> float:
    if shape.kind not in engine.IVF:
        return 0
    looked = shape.lists if not shape.is_coarse_graph else 2_000  # centres that a graph compares
    encoded = 6 * engine.CODEWORDS if shape.kind is indexes.Kind.IVF_PQ else 0
    return 2.0 * rows * (looked + encoded) * shape.dimension


def too_large(stages: Iterable[indexes.Estimate], memory_mib: int) -> TooLarge | None:
    """The stage that is furthest over the memory, and what to change; None where all fit."""
    worst = max(stages, key=lambda stage: stage.memory_mib, default=None)
    if worst is None or worst.memory_mib <= memory_mib:
        return None
    moves = {
        "scan": "more memory: the scan holds the hashes of all rows",
        "train": "quality fast, or fewer rows for each list",
        "parts": "a smaller rowsPerPart where that is most of it",
        "merge": "kind ivf-flat, ivf-sq8 or ivf-pq: their parts are merged block by block, a graph is held whole",
        MEASURE: "kind ivf-sq8 or ivf-pq, or fewer bytesPerVector: who proves or serves an index loads the whole file",
    }
    return TooLarge(
        f"stage {worst.stage} takes about {worst.memory_mib:,} MiB, and {memory_mib:,} MiB are there",
        f"{moves[worst.stage]}; or {worst.memory_mib:,} MiB of memory",
    )


def rates(shape: indexes.Shape, threads: int) -> dict[str, float]:
    """What this machine does in half a second: comparisons, bytes digested, steps of a graph's build."""
    faiss = library.faiss()
    random = np.random.default_rng(shape.seed)
    rows = random.standard_normal((_PROBE_ROWS, shape.dimension), dtype=np.float32)
    with engine.threads_of_faiss(threads):
        flat = faiss.IndexFlatL2(shape.dimension)
        flat.add(rows[:_PROBE_LISTS])
        rounds, seconds = _repeated(lambda: flat.search(rows, 1))
        found = {"flops_per_s": rounds * 2.0 * _PROBE_ROWS * _PROBE_LISTS * shape.dimension / seconds}
        if shape.kind in engine.GRAPHS:
            found["graph_steps_per_s"] = _graph_rate(shape, rows[:_PROBE_GRAPH])
    found["bytes_per_s"] = _digest_rate(rows)
    return found


def _repeated(work: object) -> tuple[int, float]:
    assert callable(work)
    work()
    rounds, start = 0, time.perf_counter()
    while (seconds := time.perf_counter() - start) < _ROUNDS_S or not rounds:
        work()
        rounds += 1
    return rounds, max(seconds, 1e-9)


def _graph_rate(shape: indexes.Shape, rows: engine.Vectors) -> float:
    """Candidates looked at in a second; a large graph misses the caches that this one fits in, hence the half."""
    faiss = library.faiss()
    graph = faiss.IndexHNSWFlat(shape.dimension, shape.links or 32)
    graph.hnsw.efConstruction = shape.ef_construction or 100
    start = time.perf_counter()
    graph.add(rows)
    seconds = max(time.perf_counter() - start, 1e-9)
    return 0.5 * len(rows) * int(graph.hnsw.efConstruction) / seconds


def _digest_rate(rows: engine.Vectors) -> float:
    import hashlib

    content = rows.data.cast("B")
    rounds, seconds = _repeated(lambda: hashlib.sha256(content).digest())
    return rounds * len(content) / seconds
