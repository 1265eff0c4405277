"""Restoring pinned data, cut off at any of its writes, and by two at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors.files import trees
from ddr.lib import durable
from tests.unit.connectors.rigs_code_data import data_plane, data_with_link


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return data_with_link(tmp_path)


@pytest.mark.parametrize("how", ["raised", pytest.param("killed", marks=pytest.mark.long)])
def test_cut_off_anywhere_the_link_is_whole_and_it_goes_on(
    root: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every file, before and after the seal, and, when the tree is made, before the link moves."""
    plane = data_plane(root)
    target, live = plane.find("v1"), plane.revision()
    tried = 0
    for at in (*range(4 + 2), 0):
        if how == "killed":
            code = subprocess.run(
                [sys.executable, "-c", _KILLED, str(root), str(at)], cwd=Path.cwd(), check=False, capture_output=True
            ).returncode
            assert code == -9, at
        else:
            with monkeypatch.context() as patched:
                _cut(at, patched.setattr)
                with pytest.raises(KeyboardInterrupt):
                    plane.switch(target, live)
        assert plane.revision().is_same(live), at
        tried += 1
    assert plane.switch(target, live).is_same(target)
    assert (root / "current" / "model" / "weights.bin").read_bytes() == b"weights of v1"
    print(f"{tried} places, {how}")


def _end() -> None:
    raise KeyboardInterrupt


def _cut(at: int, put: Callable[[Any, str, Any], None], end: Callable[[], None] = _end) -> None:
    """Ends it at the `at`th of: each of four files, the seal, the seal just written, the link."""
    left = [at]
    write, seal, point = trees.Trees._write, durable.replace, durable.point

    def step() -> None:
        left[0] -= 1
        if left[0] == -1:
            end()

    def sealed(*args: Any, **more: Any) -> Any:
        step()
        done = seal(*args, **more)
        step()
        return done

    def stepping(do: Any) -> Any:
        def then(*args: Any, **more: Any) -> Any:
            step()
            return do(*args, **more)

        return then

    put(trees.Trees, "_write", stepping(write))
    put(durable, "replace", sealed)
    put(durable, "point", stepping(point))


_KILLED = """
import os, signal, sys
from pathlib import Path
from tests.unit.connectors import test_pinned_data as here
plane = here.data_plane(Path(sys.argv[1]))
here._cut(int(sys.argv[2]), setattr, lambda: os.kill(os.getpid(), signal.SIGKILL))
plane.switch(plane.find("v1"), plane.revision())
"""


def test_two_at_once_make_one_tree(root: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom tests.unit.connectors.rigs_code_data import data_plane\n"
        "plane = data_plane(Path(sys.argv[1]))\nlive = plane.revision()\nsys.stdin.read()\n"
        "print(plane.switch(plane.find('v1'), live).name)\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    ended = [process.communicate(timeout=60) for process in running]
    plane = data_plane(root)
    assert plane.revision().is_same(plane.find("v1"))
    assert any(said.decode().strip() == plane.revision().name for said, _ in ended)
    assert all(said or b"Conflict" in problem for said, problem in ended), ended
