"""What is behind stdout and stderr fails: the sentence and the code that are left, and the work that goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.unit.index import corpora

_LOST = "ddr: stdout cannot be written: No space left on device"


def _said(root: Path, line: str) -> tuple[int, str]:
    """The exit code and stderr of `ddr` in a line of shell, its streams as most have them: buffered."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    line = f"set -o pipefail; {line.replace('ddr', f'{sys.executable} -m ddr', 1)}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=root, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    said = done.stderr.decode()
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    return done.returncode, said


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("ddr --help > /dev/full", 69, _LOST),
        ("ddr completion bash > /dev/full", 69, _LOST),
        ("ddr runbook list --json > /dev/full", 69, _LOST),
        ("ddr statsu --json > /dev/full", 64, _LOST),
        ("ddr statsu 2> /dev/full", 64, ""),
        ("ddr --help > /dev/full 2> /dev/full", 69, ""),
        ("ddr runbook list >&-", 0, ""),
        ("ddr statsu 2>&-", 64, ""),
        ("ddr --help | true", 0, ""),
        ("ddr statsu 2>&1 | true", 64, ""),
    ],
)
def test_streams_that_cannot_be_written(line: str, code: int, told: str, tmp_path: Path) -> None:
    found, said = _said(tmp_path, line)
    assert found == code, said
    assert said.startswith(told)
    assert bool(said) == bool(told)


@pytest.mark.parametrize(("fd", "is_whole"), [(1, True), (2, False)])
def test_a_full_pipe_that_does_not_wait(fd: int, is_whole: bool) -> None:
    """Some who start others hand them such pipes. A result is waited for, what stderr has too much is left out."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    streams = {1: subprocess.DEVNULL, 2: subprocess.DEVNULL, fd: writing}
    name = "stdout" if fd == 1 else "stderr"
    lines = (
        "import sys",
        "from ddr.cli import streams",
        f"stream = streams.Stream(sys.{name}, is_result={is_whole})",
        "print('x' * 200_000, file=stream)",
        "stream.close()",
    )
    running = subprocess.Popen([sys.executable, "-c", "\n".join(lines)], stdout=streams[1], stderr=streams[2])
    os.close(writing)
    if not is_whole:
        assert running.wait(60) == 0, "nobody read"
    with open(reading, "rb") as pipe:
        said = pipe.read()
    assert running.wait(60) == 0
    assert (len(said) == 200_001) is is_whole
    assert said.startswith(b"xxx")


@pytest.mark.parametrize("stderr", ["2> /dev/full", "--events 2>&-"])
def test_a_build_outlasts_its_log(stderr: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", corpora.clustered(300, 8))
    (tmp_path / "own.yaml").write_text("home: home\nvectors: [a.npy]\n")
    code, _ = _said(tmp_path, f"ddr index build own.yaml --publish {stderr}")
    assert code == 0
    assert (tmp_path / "home" / "current").is_symlink()
