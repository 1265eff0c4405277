"""Real sandboxes for the tests: one is built for the whole session, tests get copies of it.

A copy takes milliseconds, because every path in a sandbox is relative; its own server takes about three seconds, so
share one among the tests of a module where you can (`running_sandbox`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ddr.lib import openfiles
from ddr.sandbox import build, process, traffic

SEED = 20261121
WARM_UP_S = 3 * 3600
BUILD_TIMEOUT_S = 600

MakeSandbox = Callable[[], Path]


def copy(source: Path, target: Path) -> Path:
    """The sandbox `source`, whose server is stopped, as a sandbox of its own."""
    shutil.copytree(source, target, symlinks=True)
    return target


def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all xdist workers of this session."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "sandboxes"
    folder.mkdir(exist_ok=True)
    return folder


def _made_once(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """`make` is called by the first worker that comes; the others wait. The server is stopped."""
    path, done = folder / name, folder / f"{name}.done"
    with openfiles.locked(folder / f"{name}.lock", timeout_s=BUILD_TIMEOUT_S):
        if not done.exists():
            make(path)
            process.stop(path)
            done.touch()
    return path


@pytest.fixture(scope="session")
def pristine_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `up` leaves it, at its first minute, server stopped. Copy it; never change it."""
    return _made_once(_shared(tmp_path_factory), "pristine", lambda path: build.up(path, SEED, lambda line: None))


@pytest.fixture(scope="session")
def warm_sandbox(tmp_path_factory: pytest.TempPathFactory, pristine_sandbox: Path) -> Path:
    """With three hours of traffic behind it, server stopped. Copy it; never change it."""

    def warm(path: Path) -> None:
        traffic.Driver(copy(pristine_sandbox, path)).advance(WARM_UP_S)

    return _made_once(_shared(tmp_path_factory), "warm", warm)


@pytest.fixture
def make_sandbox(warm_sandbox: Path, tmp_path: Path) -> Iterator[MakeSandbox]:
    """Call it for a copy of the warm sandbox; its server, if one gets started, is stopped in the end."""
    made: list[Path] = []

    def make() -> Path:
        made.append(copy(warm_sandbox, tmp_path / f"sandbox-{len(made)}"))
        return made[-1]

    yield make
    for root in made:
        process.stop(root)


@pytest.fixture
def sandbox(make_sandbox: MakeSandbox) -> Path:
    """A warm sandbox of this test's own, without a running server."""
    return make_sandbox()


@pytest.fixture(scope="module")
def running_sandbox(warm_sandbox: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A warm sandbox with a running server for all tests of a module: put back what you change."""
    root = copy(warm_sandbox, tmp_path_factory.mktemp("running") / "sandbox")
    process.start(root)
    yield root
    process.stop(root)
