"""Calling `ddr` as a user does: a process, an exit code, what it printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def ddr(root: Path, *words: str, actor: str = "oncall-ml", state: Path | None = None, timeout_s: float = 240) -> Done:
    """`ddr WORDS` on the configuration in `root`; what this machine remembers lies in `root` too."""
    environ = {**os.environ, "XDG_STATE_HOME": str(state or root / ".state")}
    done = subprocess.run(
        [sys.executable, "-m", "ddr", "--config", str(root / "ddr.yaml"), "--as", actor, *words],
        capture_output=True,
        text=True,
        check=False,
        env=environ,
        timeout=timeout_s,
    )
    return Done(done.returncode, done.stdout, done.stderr)
