"""The two shipped scenarios, from nothing to the report."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from benchmarks import measure


def run() -> None:
    with tempfile.TemporaryDirectory() as name:
        began = time.perf_counter()
        measure.command(
            [sys.executable, "-m", "ddr", "gameday", "run", "scenarios/bad-model-promotion.yaml",
             "scenarios/stale-online-features.yaml", "--report", str(Path(name) / "report")]
        )()  # fmt: skip
        print(
            f"\ngame day, two scenarios, sandbox built from nothing: {time.perf_counter() - began:.1f} s   goal: 60 s"
        )
