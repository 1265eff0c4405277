"""A backup, a verify and a restore need the same memory for 100 MB and for 400 MB."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

FEW, MANY = 100, 400
MOST_MB, MOST_GROWTH_MB = 400, 60

PROGRAM = """
import sys
from pathlib import Path
from ddr.backup import repository, verify
from ddr.stores import local
from tests.unit.backup import house
root, base = Path(sys.argv[1]), Path(sys.argv[2])
made = repository.create(local.LocalStore(base / "store"), house.OPEN, house.NOW)
house.backup(made, {"shop": house.Shop(root)})
assert verify.verify(made, "full").findings == ()
from ddr.backup import reading, source
read = source.ChunkSource(made, reading.Reader(made, made.index()), made.newest().components[0])
(base / "out").mkdir()
read.write("files", lambda one: base / "out" / one.path.replace("/", "-"))
# Of this program alone: ru_maxrss survives an exec and starts at what the forking process held.
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.long
def test_memory_does_not_grow_with_what_is_backed_up(tmp_path: Path) -> None:
    peaks = {}
    for size_mb in (FEW, MANY):
        base = tmp_path / str(size_mb)
        root = base / "shop"
        root.mkdir(parents=True)
        chance = random.Random(size_mb)
        for number in range(size_mb // 10):  # of ten: one of 8 MB, two of 1 MB
            for part, part_mb in enumerate((8, 1, 1)):
                (root / f"{number}-{part}").write_bytes(chance.randbytes(part_mb << 20))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, root, base], capture_output=True, text=True, check=True, timeout=250
        )
        peaks[size_mb] = int(done.stdout)
    print(f"peak of {FEW} MB: {peaks[FEW]} MB, of {MANY} MB: {peaks[MANY]} MB")
    assert peaks[MANY] <= MOST_MB
    assert peaks[MANY] - peaks[FEW] <= MOST_GROWTH_MB
