"""A folder in which `ddr index` is called on a file of its own, as a person would call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpus import harms, story

SPEC = "glosses.index.yaml"


@dataclass(frozen=True)
class Shop:
    """The folder with `texts/`, `model/`, the spec, and `index/` that is built of them."""

    base: Path

    @property
    def place(self) -> harms.Place:
        return harms.Place(self.base / "index")

    @property
    def spec(self) -> Path:
        return self.base / SPEC

    def command(self, name: str, *words: str) -> list[str]:
        return [sys.executable, "-m", "ddr", "index", name, str(self.spec), *words]

    def say(self, name: str, *words: str, before: Callable[[], object] | None = None) -> story.Done:
        """`before` runs in the child: limits of what it may do."""
        done = subprocess.run(
            self.command(name, *words, "--json"),
            capture_output=True,
            text=True,
            check=False,
            env=environ(),
            preexec_fn=before,
        )
        return story.Done(done.returncode, done.stdout, done.stderr)

    def work(self, pattern: str) -> list[Path]:
        return sorted((self.place.home / ".work").glob(pattern))

    def words(self, ids: Sequence[str]) -> list[str]:
        """What stands before the colon of these texts."""
        found = {}
        for path in (self.base / "texts").glob("*.jsonl"):
            for line in path.read_text().splitlines():
                said = json.loads(line)
                found[said["id"]] = str(said["text"]).partition(":")[0]
        return [found[one] for one in ids]


def environ() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


def well(done: story.Done) -> story.Done:
    """story.Wrong where the command did not end with 0."""
    if done.code:
        raise story.Wrong(f"exit code {done.code}\n{done.out[-1000:]}{done.err[-2000:]}")
    return done
