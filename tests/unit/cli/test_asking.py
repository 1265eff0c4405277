"""Secrets that are asked for: from a pipe, from a terminal, and not at all."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddr.backup import keys


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty platform with one backup."""
    folder = tmp_path_factory.mktemp("asking")
    assert _ddr(folder, "init", str(folder)).returncode == 0
    keys.new_key_file(folder / "backup.key")
    with (folder / "ddr.yaml").open("a") as file:
        file.write("\nbackup: {keyFile: backup.key}\n")
    assert _ddr(folder, "backup", "run").returncode == 0
    return folder


def _ddr(root: Path, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "XDG_STATE_HOME": str(root / "state")}
    where = [] if words[0] == "init" else ["--config", str(root / "ddr.yaml")]
    return subprocess.run(
        [sys.executable, "-m", "ddr", *where, *words],
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        env=environ,
        start_new_session=True,
    )


def test_a_piped_recovery_key_opens_without_a_word_on_hiding_it(root: Path) -> None:
    paper = _ddr(root, "backup", "key", "export").stdout
    for words in (["backup", "repair"], ["restore", "journal"], ["backup", "key", "add", "--key-file", "backup.key"]):
        given = [*words, "--recovery"] if "add" not in words else [*words[:-1], str(root / "backup.key"), "--recovery"]
        done = _ddr(root, *given, typed=paper)
        assert "recovery key" not in done.stderr, done.stderr
        assert "GetPassWarning" not in done.stderr
        assert done.returncode in (0, 1), (words, done)  # a plan may refuse; the key was taken


def test_recovery_key_and_new_passphrase_come_by_one_pipe(root: Path) -> None:
    paper = _ddr(root, "backup", "key", "export").stdout
    done = _ddr(root, "backup", "key", "add", "--passphrase", "--recovery", typed=f"{paper}a long new phrase\n")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("typed", ["", "\n"])
def test_no_key_at_all_is_bad_usage(root: Path, typed: str) -> None:
    for words in (["backup", "repair"], ["restore", "journal"], ["backup", "key", "add", "--passphrase"]):
        done = _ddr(root, *words, "--recovery", typed=typed)
        assert done.returncode == 64, (words, done)
        assert "no recovery key was given" in done.stderr
        assert "pipe it in" in done.stderr


def test_the_end_of_a_terminal_is_bad_usage_too(root: Path) -> None:
    """A person at a prompt types Ctrl-D; nothing of what is typed is shown."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ddr", "--config", str(root / "ddr.yaml"), "backup", "repair", "--recovery"],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "XDG_STATE_HOME": str(root / "state")},
        start_new_session=True,
    )
    os.close(terminal)
    assert process.stderr is not None
    asked = b""
    while b"recovery key" not in asked:
        asked += os.read(process.stderr.fileno(), 100)
    time.sleep(0.2)
    os.write(controller, b"\x04")
    _, told = process.communicate(timeout=60)
    os.close(controller)
    assert process.returncode == 64, told
    assert b"no recovery key was given" in told
