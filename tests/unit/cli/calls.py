"""Calling `ddr` as a user does: a process, an exit code, what it printed."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
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


def on_terminal(root: Path, *words: str, columns: int) -> str:
    """What a person sees: stdout is a terminal of this width. Without colours."""
    here, there = pty.openpty()
    environ = {**os.environ, "XDG_STATE_HOME": str(root / ".state"), "COLUMNS": str(columns)}
    running = subprocess.Popen(
        [sys.executable, "-m", "ddr", "--config", str(root / "ddr.yaml"), "--as", "oncall-ml", *words],
        stdin=subprocess.DEVNULL,
        stdout=there,
        stderr=subprocess.DEVNULL,
        env=environ,
    )
    os.close(there)
    parts = []
    with contextlib.suppress(OSError):  # the other end is closed
        while part := os.read(here, 65536):
            parts.append(part)
    os.close(here)
    running.wait(240)
    return re.sub(r"\x1b\[[0-9;]*m", "", b"".join(parts).decode()).replace("\r\n", "\n")
