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


@pytest.mark.parametrize("stderr", ["2> /dev/full", "--events 2>&-"])
def test_a_build_outlasts_its_log(stderr: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", corpora.clustered(300, 8))
    (tmp_path / "own.yaml").write_text("home: home\nvectors: [a.npy]\n")
    code, _ = _said(tmp_path, f"ddr index build own.yaml --publish {stderr}")
    assert code == 0
    assert (tmp_path / "home" / "current").is_symlink()
