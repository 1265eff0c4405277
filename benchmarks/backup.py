"""Backup, verify and restore of 2 GiB against restic: same files, same disk, same cores, whole processes, interleaved.

Few large files and many small ones, half of the bytes compressible. Both keep the repository on the same disk and are
opened without a costly key derivation where they can be: ddr with a key file; restic has only a password (its scrypt is
calibrated when a repository is made), which is part of what its user waits for.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5
GIB = 1 << 30

_YAML = """apiVersion: ddr/v1
repository: {type: local, path: repo}
connectors:
  artifacts: {type: files, root: SOURCE}
services: {}
backup: {keyFile: key}
"""


def seed(root: Path, size_bytes: int) -> int:
    """Half of the bytes in files of 64 MiB, half in files of 1 to 200 KB; every second one compressible. The number."""
    numbers = random.Random(20261121)
    count = 0
    left = size_bytes // 2
    root.mkdir(parents=True)
    while left > 0:
        size = min(left, 64 << 20)
        _fill(root / f"weights-{count:03d}.bin", size, numbers, squeezable=bool(count % 2))
        left -= size
        count += 1
    left, folder = size_bytes // 2, root
    while left > 0:
        if count % 100 == 0:
            folder = root / f"run-{count:06d}" / "artifacts"
            folder.mkdir(parents=True)
        size = min(left, numbers.randint(1_000, 200_000))
        _fill(folder / f"part-{count}.dat", size, numbers, squeezable=bool(count % 2))
        left -= size
        count += 1
    return count


def _fill(path: Path, size: int, numbers: random.Random, *, squeezable: bool) -> None:
    if squeezable:
        line = (f'{{"run": {numbers.getrandbits(40)}, "loss": {numbers.random()}}}\n' * 64).encode()
        path.write_bytes((line * (size // len(line) + 1))[:size])
    else:
        path.write_bytes(numbers.randbytes(size))


def _timed(words: list[str], folder: Path, environ: dict[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-800:]}")
    return took


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _round(folder: Path, source: Path, number: int, times: dict[str, dict[str, list[float]]]) -> dict[str, int]:
    """One round of both, in a place of its own: ext4 is slow to make files for minutes after many were deleted.

    Which of the two goes first alternates.
    """
    environ = {**os.environ, "RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": str(folder / "cache")}
    environ |= {"XDG_STATE_HOME": str(folder / "state"), "DDR_ACTOR": "bench"}
    folder.mkdir()
    (folder / "ddr.yaml").write_text(_YAML.replace("SOURCE", str(source)))
    (folder / "key").write_text("0f" * 32)
    ddr = [sys.executable, "-m", "ddr"]
    subprocess.run(["restic", "init", "-r", "restic"], cwd=folder, env=environ, check=True, capture_output=True)
    restic = ["restic", "-q", "-r", "restic"]
    steps: dict[str, tuple[list[str], list[str]]] = {
        "first": ([*ddr, "backup", "run"], [*restic, "backup", str(source)]),
        "unchanged": ([*ddr, "backup", "run"], [*restic, "backup", str(source)]),
        "verify": ([*ddr, "backup", "verify"], [*restic, "check", "--read-data"]),
        "restore": (
            [*ddr, "restore", "artifacts", "--to", "out-ddr", "--apply"],
            [*restic, "restore", "latest", "--target", "out-restic"],
        ),
    }
    for step, (ours, theirs) in steps.items():
        both = [("ddr", ours), ("restic", theirs)]
        for who, words in both if number % 2 == 0 else reversed(both):
            subprocess.run(["sync"], check=True)
            times[step][who].append(_timed(words, folder, environ))
    return {"ddr": _size(folder / "repo"), "restic": _size(folder / "restic")}


def run(size_bytes: int = 2 * GIB) -> None:
    if shutil.which("restic") is None:
        print("backup: restic is not installed (Debian: apt-get install restic); nothing to compare with")
        return
    steps = ("first", "unchanged", "verify", "restore")
    times: dict[str, dict[str, list[float]]] = {step: {"ddr": [], "restic": []} for step in steps}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        source = folder / "source"
        files = seed(source, size_bytes)
        print(f"\nbackup of {size_bytes / GIB:.1f} GiB in {files:,} files   (median of {ROUNDS} rounds)")
        for number in range(ROUNDS):
            sizes = _round(folder / f"round-{number}", source, number, times)
    goals = {"first": 0.7, "unchanged": 0.5, "verify": 0.7, "restore": 0.8}
    for step in steps:
        ours, theirs = (statistics.median(times[step][who]) for who in ("ddr", "restic"))
        line = f"  {step:<10} ddr {ours:6.2f} s   restic {theirs:6.2f} s   {ours / theirs:5.2f} x   goal {goals[step]}"
        print(line)
    ratio = sizes["ddr"] / sizes["restic"]
    print(f"  size       ddr {sizes['ddr'] >> 20} MiB   restic {sizes['restic'] >> 20} MiB   {ratio:5.2f} x   goal 1.0")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    print(f"  peak memory of the largest child of either: {peak} MiB")
