"""What `benchmarks.index` compares with: whole processes of ddr, of a raw faiss script, and of autofaiss in its own
environment, each with its seconds, its recall at 10 and its peak memory.

autofaiss wants an older pyarrow and numpy than ddr, so it gets an environment of its own in the user's cache
(`DDR_BENCHMARK_PEERS` names another place), made at the first call and kept.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

NPROBE = 16
"""Where all are compared: ddr's own choice of it depends on the recall that was asked for."""

_AUTOFAISS = ("autofaiss==2.18.0", "pyarrow<21", "faiss-cpu==1.15.1")

# Not ru_maxrss: it survives an exec and starts at what the process held that forked.
_PEAK = """
def peak_kib():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
"""

_RECALL = """
faiss.extract_index_ivf(index).nprobe = int(sys.argv[3])
queries, exact = np.load(f"{folder}/queries.npy"), np.load(f"{folder}/exact.npy")
found = index.search(queries, 10)[1]
hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist()))
print(json.dumps({"recall": hits / exact.size, "peak_mib": peak_mib, "seconds": seconds}))
"""

_RAW = f"""{_PEAK}
import time
began = time.perf_counter()
import faiss, json, numpy as np, sys
folder, factory = sys.argv[1], sys.argv[2]
seed = int(sys.argv[4])
rows = np.concatenate([np.load(f"{{folder}}/v{{n}}.npy") for n in range(4)])
index = faiss.index_factory(rows.shape[1], factory)
faiss.extract_index_ivf(index).cp.seed = seed
index.train(rows)
index.add_with_ids(rows, np.arange(len(rows)))
faiss.write_index(index, f"{{folder}}/raw.faiss")
seconds, peak_mib = time.perf_counter() - began, peak_kib() / 1024
{_RECALL}"""

_AUTO = f"""{_PEAK}
import time
began = time.perf_counter()
import faiss, json, logging, numpy as np, os, sys
from autofaiss import build_index
folder, factory = sys.argv[1], sys.argv[2]
index, _ = build_index(
    embeddings=f"{{folder}}/shards", index_path=f"{{folder}}/auto.faiss", index_infos_path=f"{{folder}}/auto.json",
    index_key=factory, metric_type="l2", nb_cores=len(os.sched_getaffinity(0)), current_memory_available="16G",
    max_index_memory_usage="8G", verbose=logging.ERROR,
)
seconds, peak_mib = time.perf_counter() - began, peak_kib() / 1024
{_RECALL}"""

_DDR = f"""{_PEAK}
import sys
from ddr.cli.main import run
code = run(sys.argv[1:])
sys.stderr.write("PEAK %d\\n" % peak_kib())
sys.exit(code)
"""


@dataclass(frozen=True)
class Run:
    """One whole process. `build_s`: without what only one of them does (ddr: scan, gate, publishing)."""

    seconds: float
    recall: float
    peak_mib: float
    build_s: float
    document: dict[str, Any] = field(default_factory=dict)


def median(runs: Iterable[Run], what: str) -> float:
    return statistics.median(float(getattr(run, what)) for run in runs)


def spec(folder: Path, kind: str, quality: str, more: str = "", name: str = "") -> Path:
    """A YAML for `ddr index` over the four shards of `folder`. Its gate is low: recall is measured here."""
    name = name or f"{kind}-{quality}"
    path = folder / f"{name}.yaml"
    text = f"home: home-{name}\nvectors: [v0.npy, v1.npy, v2.npy, v3.npy]\nkind: {kind}\nrecall: 0.5\n"
    path.write_text(f"{text}quality: {quality}\nqueries: queries.npy\n{more}")
    return path


def home(spec_: Path) -> Path:
    return spec_.parent / f"home-{spec_.stem}"


def ddr(spec_: Path, *words: str, is_fresh: bool = True) -> Run:
    """`ddr index build`, from nothing where `is_fresh`; the recall only where it published."""
    if is_fresh:
        shutil.rmtree(home(spec_), ignore_errors=True)
    command = [sys.executable, "-c", _DDR, "index", "build", str(spec_), *words, "--events", "--json"]
    began = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"ddr index build ended with {done.returncode}: {done.stderr[-2000:]}")
    lines = done.stderr.splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("PEAK "))
    stages = _seconds_of([json.loads(line) for line in lines if line.startswith("{")])
    build_s = sum(stage_s for name, stage_s in stages.items() if name.startswith(("sample", "train", "part", "merge")))
    recall = recall_at(spec_) if "--publish" in words else 0.0
    return Run(seconds, recall, peak / 1024, build_s, json.loads(done.stdout))


def _seconds_of(told: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of each stage, by the rate that it told last."""
    found = {}
    for event in told:
        if event["done"] and event.get("rows_per_s"):
            found[event["stage"]] = event["done"] / event["rows_per_s"]
    return found


def recall_at(spec_: Path, nprobe: int = NPROBE) -> float:
    import faiss

    index: Any = faiss.read_index(str(home(spec_) / "current" / "index.faiss"))
    index.nprobe = nprobe
    found = index.search(np.load(spec_.parent / "queries.npy"), 10)[1]
    exact = np.load(spec_.parent / "exact.npy")
    hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist(), strict=True))
    return float(hits / exact.size)


def raw(folder: Path, factory: str, seed: int) -> Run:
    """Load, train with faiss's defaults, add, write."""
    return _program([sys.executable, "-c", _RAW], folder, factory, str(seed))


def autofaiss(folder: Path, factory: str, python: Path) -> Run:
    """`build_index` with the same factory string; it tunes nprobe too. It knows PQ behind OPQ alone."""
    lists, _, code = factory.partition(",PQ")
    if code:
        factory = f"OPQ{code}_{np.load(folder / 'v0.npy', mmap_mode='r').shape[1]},{lists},PQ{code}x8"
    if not (folder / "shards").exists():
        (folder / "shards").mkdir()
        for number in range(4):
            os.link(folder / f"v{number}.npy", folder / "shards" / f"v{number}.npy")
    return _program([str(python), "-c", _AUTO], folder, factory)


def _program(command: list[str], folder: Path, factory: str, *words: str) -> Run:
    began = time.perf_counter()
    done = subprocess.run(
        [*command, str(folder), factory, str(NPROBE), *words], check=False, capture_output=True, text=True, cwd=folder
    )
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr[-2000:]}")
    whole = time.perf_counter() - began
    said = json.loads(done.stdout.splitlines()[-1])
    # The recall is asked by the same process afterwards; that is no part of building.
    return Run(min(whole, said["seconds"] + _START_S), said["recall"], said["peak_mib"], said["seconds"])


_START_S = 0.03
"""Python's own start, before the clock of a program runs."""


def kept() -> Path:
    """Where what takes long to make is kept from one run to the next."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("DDR_BENCHMARK_PEERS") or cache / "ddr-benchmarks")


def autofaiss_python() -> Path | None:
    """The interpreter of autofaiss's environment, made where it is not there; None where it cannot be had."""
    place = kept() / "autofaiss"
    python = place / "bin" / "python"
    if (place / ".ready").exists():
        return python
    shutil.rmtree(place, ignore_errors=True)
    for command in (
        [sys.executable, "-m", "venv", str(place)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_AUTOFAISS],
    ):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"autofaiss is left out: {done.stderr.strip().splitlines()[-1:] or command}")
            return None
    (place / ".ready").touch()
    return python
