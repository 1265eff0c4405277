"""What a game day needs around it: a sandbox to break, and the real `ddr` as a subprocess to answer with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from ddr.errors import Unavailable
from ddr.gameday import commands, progress, stage
from ddr.lib import process
from ddr.wiring import build, config, playground

COMMAND_TIMEOUT_S = 900.0

WARM_UP = timedelta(hours=3)


def open_sandbox(folder: Path, seed: int, report: Callable[[str], None]) -> tuple[Path, bool]:
    """The `ddr.yaml` of the sandbox in `folder`, and whether it was built for this; one that is there is taken."""
    path = folder / config.NAME
    if path.exists():
        return path, False
    folder.parent.mkdir(parents=True, exist_ok=True)
    playground.raise_up(folder, seed, WARM_UP, report)
    return path, True


def remove_sandbox(folder: Path) -> None:
    """Stop its server and delete it."""
    playground.stop(folder)
    shutil.rmtree(folder)


def set_up(wired: build.Wired, report: progress.Report) -> stage.Stage:
    """The stage of a sandbox. Raises Unsupported where `ddr.yaml` belongs to none."""
    wired.require_sandbox()
    return stage.Stage(
        platform=wired.platform,
        faults=wired.faults(),
        state_digest=wired.state_digest,
        run_command=runner(wired.config.path),
        report=report,
        redact=wired.config.redact,
    )


def runner(path: Path) -> commands.RunCommand:
    """Runs `ddr` on the configuration at `path`; each command is a process of its own that dies with this one."""

    def run(words: Sequence[str], actor: str) -> commands.CommandResult:
        command = [sys.executable, "-m", "ddr", "--config", str(path), "--as", actor, *words, "--json"]
        began = time.monotonic()
        try:
            done = process.run_bound(command, env=os.environ, timeout_s=COMMAND_TIMEOUT_S)
        except subprocess.TimeoutExpired as problem:
            raise Unavailable(f"`ddr {' '.join(words)}` did not end within {COMMAND_TIMEOUT_S:.0f} s") from problem
        return commands.CommandResult(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    return run
