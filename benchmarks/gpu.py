"""All checks and measurements of a GPU in one call: correctness first, then speed, a short table last.

    python -m benchmarks.gpu [--rows N] [--rounds N] [--device cuda] [--checks-only | --speed-only] [--small]

Checks (`benchmarks/gpu_checks.py`, then the tests marked `gpu`): the torch engine's recall within 0.005 of faiss on
the CPU, its files in a plain faiss that sees no GPU, memory that is short, the same rows in the same lists, two builds
alike, the memory model against what was held; the same of faiss-gpu and CAGRA where they are installed; the command.

Speed: IVF-PQ of N rows of 768 that lie in shards on the disk, the torch engine and faiss-gpu on the same card and faiss
on all cores, each trained and all rows put into lists and codes; interleaved, medians. Beside them what each stage
takes alone (reading, to the card, lists and codes): the goal G8 is 1.15 of the longest. `--device cpu --small` tries
the script itself where there is no GPU.

Exit codes: 0 all as it must be, 1 a check failed, 69 no GPU here (or no faiss).
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks import gpu_checks
from ddr.domain import indexes
from ddr.index.engines import cagra, engine, faiss_engine, files, kmeans, library, picking, torch_engine

T = TypeVar("T")
EXIT_OK, EXIT_FAILED, EXIT_NO_GPU = 0, 1, 69
BATCH_ROWS = 1 << 17
CPU_SHARE = 10
"""Faiss on the CPU puts one row in so many into lists; the seconds for all follow, as each row takes the same."""
_SMALL_ROWS = 20_000


@dataclass(frozen=True)
class Speed:
    """What is built: on 768 dimensions 2 million rows are 6 GB, and take a card some seconds."""

    rows: int = 2_000_000
    dimension: int = 768
    lists: int = 8192
    code_bytes: int = 96
    shards: int = 16

    @property
    def shape(self) -> indexes.Shape:
        return indexes.Shape(
            indexes.Kind.IVF_PQ,
            self.dimension,
            indexes.Metric.L2,
            lists=self.lists,
            code_bytes=self.code_bytes,
            code_points=16_384,
            code_iterations=8,
        )


@dataclass(frozen=True)
class Measured:
    """`seconds` median of all rounds; `recall` of the ten nearest with 32 lists looked into."""

    name: str
    seconds: float
    train_s: float
    add_s: float
    recall: float = 0.0
    note: str = ""


def here() -> str:
    """What GPUs are seen, "" where none is."""
    if importlib.util.find_spec("faiss") is None:
        return ""
    has_torch = importlib.util.find_spec("torch") is not None
    found = picking.devices(with_torch=has_torch)
    told = []
    if found.torch_gpus:
        torch = library.torch()
        free, total = torch.cuda.mem_get_info()
        told.append(
            f"{torch.cuda.get_device_name()}, {free >> 20:,} of {total >> 20:,} MiB free, torch {torch.__version__}"
        )
    if found.faiss_gpus:
        told.append(f"faiss sees {found.faiss_gpus}{' with cuVS' if cagra.is_there() else ''}")
    return "; ".join(told)


def _shards(speed: Speed, folder: Path) -> list[Path]:
    """Clusters with a power law, written shard by shard: all of it is never held."""
    draw = np.random.default_rng(11)
    centres = draw.standard_normal((speed.lists // 2, speed.dimension), dtype=np.float32)
    weights = 1 / np.arange(1, len(centres) + 1) ** 0.8
    inner = draw.standard_normal((16, speed.dimension), dtype=np.float32)
    paths = []
    for number in range(speed.shards):
        rows = centres[draw.choice(len(centres), speed.rows // speed.shards, p=weights / weights.sum())]
        rows += 0.3 * draw.standard_normal((len(rows), 16), dtype=np.float32) @ inner
        paths.append(folder / f"rows-{number:03d}.npy")
        np.save(paths[-1], rows)
    return paths


def _batches(paths: Sequence[Path], every: int = 1) -> Iterator[gpu_checks.Batch]:
    """`every`: one row in so many."""
    at = 0
    for path in paths:
        rows = np.load(path, mmap_mode="r")[::every]
        for start in range(0, len(rows), BATCH_ROWS):
            some = np.ascontiguousarray(rows[start : start + BATCH_ROWS])
            yield gpu_checks.Batch(np.arange(at, at + len(some), dtype=np.int64), some)
            at += len(some)


def measured(speed: Speed, device: str, rounds: int, folder: Path) -> list[Measured]:
    """The engines in turn, then the stages of the first alone."""
    paths, threads = _shards(speed, folder), len(os.sched_getaffinity(0))
    sample = np.concatenate([np.load(path, mmap_mode="r")[:: _every(speed)] for path in paths])
    contenders: dict[str, tuple[engine.Engine, int]] = {f"torch on {device}": (torch_engine.TorchEngine(device), 1)}
    if device != "cpu" and picking.devices(with_torch=False).faiss_gpus:
        contenders[f"faiss on {device}"] = (faiss_engine.FaissEngine(device), 1)
    contenders["faiss on the CPU"] = (faiss_engine.FaissEngine(), CPU_SHARE if device != "cpu" else 1)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    recalls: dict[str, float] = {}
    for number in range(rounds + 1):  # the first is not counted: libraries load, cards wake up
        for name, (by, every) in contenders.items():
            if number == 0 and every > 1:
                continue
            train_s, trained = _timed(functools.partial(by.train, sample, speed.shape, threads))
            add_s, made = _timed(functools.partial(by.part, trained, speed.shape, _batches(paths, every), threads))
            if number:
                taken[name].append((train_s, add_s * every))
            if number == rounds:
                recalls[name] = _recall(files.loads(files.serialize(made)), paths, every, threads)
    found = []
    for name, (_, every) in contenders.items():
        train_s, add_s = (statistics.median(one[at] for one in taken[name]) for at in (0, 1))
        note = f"one row in {every}, times {every}; its recall is of those" if every > 1 else ""
        found.append(Measured(name, train_s + add_s, train_s, add_s, recalls[name], note))
    return [*found, *_stages(speed, paths, device)]


def _every(speed: Speed) -> int:
    return max(1, speed.rows // engine.sample_rows(speed.shape))


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.perf_counter()
    made = work()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began, made


def _recall(index: engine.Index, paths: Sequence[Path], every: int, threads: int) -> float:
    """Against exact search over the rows that are in it."""
    faiss = library.faiss()
    first = np.ascontiguousarray(np.load(paths[0], mmap_mode="r")[::every])
    queries = first[:200] + np.float32(0.01)
    flat = faiss.IndexFlatL2(first.shape[1])
    for batch in _batches(paths, every):
        flat.add(batch.vectors)
    exact = flat.search(queries, 10)[1]
    found, _ = files.search(index, queries, 10, 32, threads=threads)
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), exact.tolist(), strict=True)]))


def _stages(speed: Speed, paths: Sequence[Path], device: str) -> list[Measured]:
    """Each alone, over all rows: what the longest takes is what a build cannot be below."""
    torch = library.torch()

    def read() -> None:
        for batch in _batches(paths):
            del batch

    held = next(_batches(paths)).vectors
    times = speed.rows / len(held)

    def copied() -> None:
        kmeans.on_device(held, device)

    rows = kmeans.on_device(held, device)
    centres = rows[torch.randperm(len(rows), device=rows.device)[: speed.lists]].clone()
    books = torch.randn(speed.code_bytes, engine.CODEWORDS, speed.dimension // speed.code_bytes, device=device)
    blocks = kmeans.blocks_of(device)

    def computed() -> None:
        with torch.inference_mode(), kmeans.precision(is_exact=True):
            nearest = kmeans.assign(rows, centres, blocks, is_l2=True)
            kmeans.encode(rows - centres[nearest], books, blocks)

    read_s, _ = _timed(read)
    found = [Measured("  alone: rows from the disk", read_s, 0.0, read_s)]
    for name, work in (("  alone: rows to the device", copied), ("  alone: lists and codes", computed)):
        work()
        seconds = statistics.median(_timed(work)[0] for _ in range(3)) * times
        found.append(Measured(name, seconds, 0.0, seconds))
    return found


def table(found: Sequence[Measured]) -> str:
    """The last thing that is printed."""
    lines = [f"{'IVF-PQ':<30}{'train':>9}{'add':>9}{'both':>9}{'recall':>9}{'to the first':>14}"]
    for one in found:
        recall = f"{one.recall:.4f}" if one.recall else ""
        head = f"{one.name:<30}{one.train_s:>8.2f}s{one.add_s:>8.2f}s{one.seconds:>8.2f}s"
        lines.append(f"{head}{recall:>9}{one.seconds / found[0].seconds:>13.2f}x  {one.note}".rstrip())
    return "\n".join(lines)


def ratios(found: Sequence[Measured]) -> str:
    """The goal G8, and the other engines."""
    ours, cpu = found[0], next(one for one in found if one.name == "faiss on the CPU")
    longest = max(one.seconds for one in found if one.name.startswith("  "))
    told = [f"{ours.name}: {cpu.seconds / ours.seconds:.1f} times as fast as that of faiss on the CPU (goal: 10)"]
    told.append(f"adding takes {ours.add_s / longest:.2f} of its longest stage alone (goal G8: 1.15)")
    return "\n".join(told)


def _tests() -> gpu_checks.Line:
    """Those marked `gpu`, which are more than the checks here."""
    if importlib.util.find_spec("pytest") is None:
        return gpu_checks.Line("tests marked gpu", "skipped", "pytest is not installed")
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests/unit/index"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    said = (done.stdout.strip().splitlines() or ["no word"])[-1].strip("= ")
    return gpu_checks.Line("tests marked gpu", "ok" if done.returncode == 0 else "BAD", said)


def run() -> int:
    """As `python -m benchmarks gpu`."""
    return main([])


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=int, default=Speed.rows)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="some thousand rows: to try this script itself")
    parser.add_argument("--checks-only", action="store_true")
    parser.add_argument("--speed-only", action="store_true")
    asked = parser.parse_args(words)
    seen = here()
    if asked.device != "cpu" and not seen:
        print("no GPU here: neither torch nor faiss sees one (`--device cpu --small` tries what needs none)")
        return EXIT_NO_GPU
    print(seen if asked.device != "cpu" else "on the CPU", flush=True)
    lines: list[gpu_checks.Line] = []
    if not asked.speed_only:
        size = gpu_checks.SMALL if asked.small else gpu_checks.Size()
        for line in gpu_checks.lines(gpu_checks.Bench.of(asked.device, size)):
            lines.append(line)
            print(f"{line.verdict:<8}{line.name:<24}{line.said}", flush=True)
        if asked.device != "cpu":
            lines.append(_tests())
            print(f"{lines[-1].verdict:<8}{lines[-1].name:<24}{lines[-1].said}", flush=True)
    bad = [line.name for line in lines if line.verdict == "BAD"]
    if not asked.checks_only:
        _speeds(asked.device, asked.rows, asked.rounds, is_small=asked.small)
    if bad:
        print(f"BAD: {', '.join(bad)}")
    return EXIT_FAILED if bad else EXIT_OK


def _speeds(device: str, rows: int, rounds: int, *, is_small: bool) -> None:
    speed = replace(Speed(), rows=rows)
    if is_small:
        speed = Speed(_SMALL_ROWS, 32, 64, 8, 4)
    with tempfile.TemporaryDirectory() as name:
        need = speed.rows * speed.dimension * 4
        if shutil.disk_usage(name).free < 2 * need:
            print(f"speed: not measured, {need >> 30} GiB of rows do not fit in {name}; take fewer --rows")
            return
        found = measured(speed, device, rounds, Path(name))
    print(
        f"\n{speed.rows:,} rows of {speed.dimension}, {speed.lists} lists, medians of {rounds} rounds\n{table(found)}"
    )
    print(ratios(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
