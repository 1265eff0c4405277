"""Files survive: old or new, never a part; and children end with their parent."""

from __future__ import annotations

import errno
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddr.lib import digest, durable, process

CHILD = """
import os, signal, sys
from pathlib import Path
from ddr.lib import durable
count, stop = 0, int(sys.argv[3])
def counted(call):
    def wrapper(*arguments, **named):
        global count
        count += 1
        if count == stop:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **named)
    return wrapper
for name in ("open", "write", "fsync", "link", "close"):
    setattr(os, name, counted(getattr(os, name)))
Path.replace, Path.unlink = counted(Path.replace), counted(Path.unlink)
getattr(durable, sys.argv[1])(Path(sys.argv[2]), b"new" * 1000)
print(count)
"""


def _kill_everywhere(tmp_path: Path, function: str, old: bytes | None) -> int:
    """Kill the child before each system call in turn; returns how many points there were."""
    for stop in range(1, 100):
        path = tmp_path / f"{function}{stop}"
        if old is not None:
            path.write_bytes(old)
        command = [sys.executable, "-c", CHILD, function, str(path), str(stop)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        content = path.read_bytes() if path.exists() else None
        assert content in (old, b"new" * 1000)
        if done.returncode == 0:
            assert content == b"new" * 1000
            return stop - 1
        assert done.returncode == -signal.SIGKILL
    raise AssertionError("never finished")


def test_a_kill_at_any_point_leaves_old_or_new(tmp_path: Path) -> None:
    replaced = _kill_everywhere(tmp_path, "replace", b"old")
    created = _kill_everywhere(tmp_path, "create", None)
    print(f"kill points: replace {replaced}, create {created}")
    assert replaced >= 6
    assert created >= 6


def test_create_refuses_what_is_there_and_leaves_nothing_beside(tmp_path: Path) -> None:
    durable.create(tmp_path / "a", b"1")
    with pytest.raises(FileExistsError):
        durable.create(tmp_path / "a", b"2")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_link_is_moved_in_one_step(tmp_path: Path) -> None:
    durable.make_folder(tmp_path / "releases" / "v1")
    durable.make_folder(tmp_path / "releases" / "v2")
    for target in ("releases/v1", "releases/v2", "releases/v1"):
        durable.point(tmp_path / "current", target)
        assert str((tmp_path / "current").readlink()) == target


def test_tree_digest_sees_names_contents_and_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    seen = {digest.of_tree(tmp_path)}
    (tmp_path / "a").write_text("2")
    seen.add(digest.of_tree(tmp_path))
    (tmp_path / "a").rename(tmp_path / "b")
    seen.add(digest.of_tree(tmp_path))
    (tmp_path / "l").symlink_to("b")
    seen.add(digest.of_tree(tmp_path))
    assert len(seen) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel flag exists on Linux")
def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    child = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    start = f"import sys; from ddr.lib import process; process.run_bound([sys.executable, '-c', {child!r}])"
    parent = subprocess.Popen([sys.executable, "-c", start])
    for _ in range(200):
        if pid_file.exists() and pid_file.read_text():
            break
        time.sleep(0.05)
    pid = int(pid_file.read_text())
    assert process.is_alive(pid)
    started = process.started_at(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    for _ in range(100):
        if process.started_at(pid) != started:
            return
        time.sleep(0.05)
    raise AssertionError("the child outlived its parent")


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("home/file", "home"),
        ("home/.v000001-290eb72b95fe.1-abcdef01.tmp/index.faiss", "home"),
        ("home/not/made/yet", "home"),
        ("my home/file", "my home"),
    ],
)
def test_room_is_looked_for_in_a_folder_that_stays(tmp_path: Path, path: str, named: str) -> None:
    for folder in ("home/.v000001-290eb72b95fe.1-abcdef01.tmp", "my home"):
        (tmp_path / folder).mkdir(parents=True)
    told = durable.advice(OSError(errno.ENOSPC, ""), tmp_path / path)
    (command,) = re.findall(r"`(df -h [^`;]*); df -i [^`]*`", told)
    assert shlex.split(command) == ["df", "-h", str(tmp_path / named)]
