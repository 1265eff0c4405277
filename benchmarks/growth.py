"""Peak memory of backup, verify and restore as the data grow ten times: 0.2 GiB and 2 GiB of the same kind of files."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import backup

SIZES_BYTES = (backup.GIB // 5, 2 * backup.GIB)
STEPS = {
    "first backup": ("backup", "run"),
    "unchanged": ("backup", "run"),
    "verify": ("backup", "verify"),
    "restore": ("restore", "artifacts", "--to", "out", "--apply"),
}


def _peak_bytes(words: list[str], folder: Path, environ: dict[str, str]) -> int:
    """Of this one process, as the kernel counted it."""
    running = subprocess.Popen(words, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(running.pid, 0)
    running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {running.returncode}")
    return used.ru_maxrss << 10


def _peaks(folder: Path, size_bytes: int) -> dict[str, int]:
    source = folder / "source"
    seeding = multiprocessing.get_context("spawn").Process(target=backup.seed, args=(source, size_bytes))
    seeding.start()  # the kernel counts to a child what its parent had: this process stays small
    seeding.join()
    (folder / "ddr.yaml").write_text(backup._YAML.replace("SOURCE", str(source)))
    (folder / "key").write_text("0f" * 32)
    environ = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "DDR_ACTOR": "bench"}
    return {step: _peak_bytes([sys.executable, "-m", "ddr", *words], folder, environ) for step, words in STEPS.items()}


def run() -> None:
    found = {}
    for size_bytes in SIZES_BYTES:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
            found[size_bytes] = _peaks(Path(name), size_bytes)
    small, large = (found[size] for size in SIZES_BYTES)
    sizes = " and ".join(f"{size / backup.GIB:.1f} GiB" for size in SIZES_BYTES)
    print(f"\npeak memory with {sizes}")
    for step in STEPS:
        one, other = small[step] >> 20, large[step] >> 20
        print(f"  {step:14} {one:5} MiB {other:5} MiB   {other / one:.2f} times, goal 400 MiB")
