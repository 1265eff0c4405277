"""`python -m benchmarks NAME...`, or all of them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import (
    backup,
    changes,
    features,
    gameday,
    gpu,
    growth,
    index,
    index_sentences,
    journal,
    metadata,
    rollback,
    startup,
)
from benchmarks.corpus import __main__ as corpus


def _startup() -> None:
    with tempfile.TemporaryDirectory() as name:
        sandbox = Path(name) / "demo"
        ddr = [sys.executable, "-m", "ddr"]
        subprocess.run([*ddr, "sandbox", "up", str(sandbox)], check=True)
        try:
            startup.run(sandbox)
        finally:
            subprocess.run([*ddr, "sandbox", "down", str(sandbox)], check=True)


RUNS: Mapping[str, Callable[[], int | None]] = {
    "startup": _startup,
    "journal": journal.run,
    "changes": changes.run,
    "gameday": gameday.run,
    "backup": backup.run,
    "growth": growth.run,
    "metadata": metadata.run,
    "rollback": rollback.run,
    "features": features.run,
    "index": index.run,
    "index-million": index.million,
    "index-sentences": index_sentences.run,
    "corpus": corpus.run,
    "gpu": gpu.run,
}


def main(names: list[str]) -> int:
    """The exit code: the highest of theirs; where all are run, what cannot be had here is no failure."""
    if unknown := sorted(set(names) - set(RUNS)):
        print(f"no benchmark is called {', '.join(unknown)}; there are: {', '.join(RUNS)}", file=sys.stderr)
        return 64
    codes = [run() or 0 for name, run in RUNS.items() if not names or name in names]
    return max((code for code in codes if names or code != gpu.EXIT_NO_GPU), default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
