"""Building an index: ddr beside a raw faiss script, on a clustered power-law corpus, the same cores, interleaved.

Two questions. The same parameters as the script (faiss's own defaults: 256 points a list, 25 rounds for codes): what do
digests, gate, fsync and publishing cost (G1)? With ddr's own training: how much sooner is an index of the same recall
there (G3)? Beside them: the peak memory of both, a build that is killed halfway and goes on (G6), the check of digests
against `sha256sum` (G9), and the move of the pointer (G10).

    python -m benchmarks index [ROWS] [DIMENSION]
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROWS, DIMENSION, CLUSTERS, ROUNDS = 200_000, 128, 2_000, 5

_RAW = """
import faiss, json, numpy as np, sys, time
folder, factory, nprobe = sys.argv[1], sys.argv[2], int(sys.argv[3])
rows = np.concatenate([np.load(f"{folder}/v{n}.npy") for n in range(4)])
index = faiss.index_factory(rows.shape[1], factory)
index.train(rows)
index.add_with_ids(rows, np.arange(len(rows)))
faiss.write_index(index, f"{folder}/raw.faiss")
index.nprobe = nprobe
queries, exact = np.load(f"{folder}/queries.npy"), np.load(f"{folder}/exact.npy")
found = index.search(queries, 10)[1]
hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist()))
print(json.dumps({"recall": hits / exact.size, "rss_mib": peak_kib() / 1024}))
"""
# Not ru_maxrss: it survives an exec and starts at what the process held that forked.
_PEAK = """
def peak_kib():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
"""


@dataclass(frozen=True)
class Run:
    seconds: float
    recall: float
    rss_mib: float


def corpus(folder: Path, rows: int, dimension: int) -> None:
    """Clusters whose sizes follow a power law and whose rows have few directions; never uniform noise."""
    draw = np.random.default_rng(7)
    centres = draw.standard_normal((CLUSTERS, dimension)).astype(np.float32)
    directions = draw.standard_normal((64, 24, dimension)).astype(np.float32) / np.sqrt(dimension)
    sizes = 1 / np.arange(1, CLUSTERS + 1) ** 0.8
    which = draw.choice(CLUSTERS, rows + 1000, p=sizes / sizes.sum())
    vectors = np.empty((rows + 1000, dimension), np.float32)
    for first in range(0, len(vectors), 20_000):
        some = which[first : first + 20_000]
        spread = draw.standard_normal((len(some), 24)).astype(np.float32)
        vectors[first : first + 20_000] = centres[some] + 1.5 * np.einsum("nk,nkd->nd", spread, directions[some % 64])
    for number, piece in enumerate(np.array_split(vectors[:rows], 4)):
        np.save(folder / f"v{number}.npy", piece)
    queries = vectors[rows:]
    np.save(folder / "queries.npy", queries)
    import faiss

    exact = faiss.IndexFlatL2(dimension)
    exact.add(vectors[:rows])
    np.save(folder / "exact.npy", exact.search(queries, 10)[1])


def _raw(folder: Path, factory: str, nprobe: int) -> Run:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _PEAK + _RAW, str(folder), factory, str(nprobe)],
        check=True,
        capture_output=True,
        text=True,
    )
    said = json.loads(done.stdout)
    return Run(time.perf_counter() - began, said["recall"], said["rss_mib"])


def _spec(folder: Path, kind: str, quality: str, more: str = "") -> Path:
    path = folder / f"{kind}-{quality}.yaml"
    text = f"home: home-{kind}-{quality}\nvectors: [v0.npy, v1.npy, v2.npy, v3.npy]\nkind: {kind}\nrecall: 0.5\n"
    path.write_text(f"{text}quality: {quality}\nqueries: queries.npy\n{more}")
    return path


def _ddr(spec: Path, *words: str) -> tuple[float, dict[str, object], float]:
    """Seconds, the document, peak MiB of the process and its children."""
    shutil.rmtree(spec.parent / f"home-{spec.stem}", ignore_errors=True)
    code = (
        f"{_PEAK}import sys\nfrom ddr.cli.main import run\ncode = run(sys.argv[1:])\n"
        "sys.stderr.write('RSS %d\\n' % peak_kib())\nsys.exit(code)"
    )
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, "index", "build", str(spec), *words, "--json"],
        check=False,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    rss = next(int(line.split()[1]) for line in done.stderr.splitlines() if line.startswith("RSS "))
    return seconds, json.loads(done.stdout), rss / 1024


def _recall_at(folder: Path, spec: Path, nprobe: int) -> float:
    import faiss

    index: Any = faiss.read_index(str(folder / f"home-{spec.stem}" / "current" / "index.faiss"))
    index.nprobe = nprobe
    found = index.search(np.load(folder / "queries.npy"), 10)[1]
    exact = np.load(folder / "exact.npy")
    hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist(), strict=True))
    return float(hits / exact.size)


def _builds(folder: Path, rows: int) -> None:
    lists = 1 << round(np.log2(4 * np.sqrt(rows)))
    print(f"{'':<34}{'ddr max':>10}{'ddr fast':>10}{'raw':>10}   whole processes, medians of {ROUNDS} rounds")
    for kind, factory in (("ivf-flat", f"IVF{lists},Flat"), ("ivf-pq", f"IVF{lists},PQ32")):
        specs = {quality: _spec(folder, kind, quality) for quality in ("max", "fast")}
        runs: dict[str, list[Run]] = {"max": [], "fast": [], "raw": []}
        for _ in range(ROUNDS):
            for quality, spec in specs.items():
                seconds, said, rss = _ddr(spec, "--publish", "--force", "measured below")
                shape = said["manifest"]["plan"]["shape"]  # type: ignore[index]
                assert shape["lists"] == lists, shape
                runs[quality].append(Run(seconds, _recall_at(folder, spec, 16), rss))
            runs["raw"].append(_raw(folder, factory, 16))
        names = ("max", "fast", "raw")
        seconds_of = {name: statistics.median(run.seconds for run in runs[name]) for name in names}
        print(f"{factory:<34}" + "".join(f"{seconds_of[name]:>9.1f}s" for name in names))
        print(f"{'  against raw':<34}" + "".join(f"{seconds_of[name] / seconds_of['raw']:>10.2f}" for name in names))
        recalls = "".join(f"{statistics.median(run.recall for run in runs[name]):>10.4f}" for name in names)
        print(f"{'  recall@10, nprobe 16':<34}{recalls}")
        peaks = "".join(f"{max(run.rss_mib for run in runs[name]):>10.0f}" for name in names)
        print(f"{'  peak MiB':<34}{peaks}")


def _killed(folder: Path) -> None:
    """Killed when half of the parts are made, then the same command; against a build that nobody disturbs."""
    whole, cut = [], []
    spec = _spec(folder, "ivf-flat", "fast", "rowsPerPart: 12500\n")
    for _ in range(3):
        whole.append(_ddr(spec)[0])
        shutil.rmtree(folder / f"home-{spec.stem}", ignore_errors=True)
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


def _check(folder: Path) -> None:
    home = folder / "home-ivf-flat-fast"
    spec = folder / "ivf-flat-fast.yaml"
    _ddr(spec, "--publish", "--force", "measured below")
    version = (home / "current").resolve()
    ours, peers, moves = [], [], []
    command = [sys.executable, "-m", "ddr", "index", "check", str(spec), "--level", "1"]
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        subprocess.run(["sha256sum", *map(str, version.glob("*.faiss"))], check=True, capture_output=True)
        peers.append(time.perf_counter() - began)
    size = sum(path.stat().st_size for path in version.iterdir()) / (1 << 20)
    ours_s, peers_s = statistics.median(ours), statistics.median(peers)
    print(f"check of every byte, {size:.0f} MiB: {ours_s:.2f} s, the process included; sha256sum {peers_s:.2f} s")
    from datetime import UTC, datetime

    from ddr.index.homes import folder as folders

    made = folders.FolderHome(home, lambda: datetime.now(UTC))
    shutil.copytree(version, home / "versions" / "other")
    for number in range(20):
        before, to = made.current(), "other" if number % 2 == 0 else version.name
        began = time.perf_counter()
        made.point(before, to)
        moves.append(time.perf_counter() - began)
    print(f"move of the pointer: {1000 * statistics.median(moves):.1f} ms, longest {1000 * max(moves):.1f} ms")


def run(rows: int = ROWS, dimension: int = DIMENSION) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus(folder, rows, dimension)
        print(f"\nindex builds, {rows:,} rows of {dimension}")
        _builds(folder, rows)
        _killed(folder)
        _check(folder)
