"""`python -m benchmarks NAME...`, or all; a name is that of a module here with a `run`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import (
    backup,
    changes,
    corpus,
    features,
    gameday,
    gpu,
    growth,
    index,
    journal,
    metadata,
    rollback,
    startup,
)


def main(names: list[str]) -> int:
    """The exit code: that of a module which has one; where all are run, what cannot be had here is no failure."""
    codes = []
    if not names or "startup" in names:
        with tempfile.TemporaryDirectory() as name:
            sandbox = Path(name) / "demo"
            ddr = [sys.executable, "-m", "ddr"]
            subprocess.run([*ddr, "sandbox", "up", str(sandbox)], check=True)
            try:
                startup.run(sandbox)
            finally:
                subprocess.run([*ddr, "sandbox", "down", str(sandbox)], check=True)
    if not names or "journal" in names:
        journal.run()
    if not names or "changes" in names:
        changes.run()
    if not names or "gameday" in names:
        gameday.run()
    if not names or "backup" in names:
        backup.run()
    if not names or "growth" in names:
        growth.run()
    if not names or "metadata" in names:
        metadata.run()
    if not names or "rollback" in names:
        rollback.run()
    if not names or "features" in names:
        features.run()
    if not names or "index" in names:
        index.run()
    if not names or "index-million" in names:
        index.million()
    if not names or "corpus" in names:
        codes.append(corpus.run())
    if not names or "gpu" in names:
        codes.append(gpu.run())
    return max((code for code in codes if names or code != gpu.EXIT_NO_GPU), default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
