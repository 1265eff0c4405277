"""Kills this process with SIGKILL at its n-th durable step. A trick of the tests: the program knows nothing of it."""

from __future__ import annotations

import functools
import http.client
import os
import shutil
import signal
import sqlite3
import sqlite3.dbapi2
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_OF_OS = ("fsync", "replace", "rename", "link", "symlink", "unlink", "rmdir", "mkdir")


class Killer:
    """Counts the steps; before the one numbered `at` the process dies, and its parent first if `with_parent`."""

    def __init__(self, at: int, *, with_parent: bool = False) -> None:
        self.at = at
        self.with_parent = with_parent
        self.steps = 0
        self.paused = False

    def step(self) -> None:
        if self.paused:
            return
        self.steps += 1
        if self.steps == self.at:
            if self.with_parent:
                os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def counted(*arguments: Any, **named: Any) -> Any:
            self.step()
            return function(*arguments, **named)

        return counted

    @contextmanager
    def pause(self) -> Iterator[None]:
        self.paused = True
        yield
        self.paused = False


def arm(at: int, *, with_parent: bool = False) -> Killer:
    """From here on: file system changes, database connections and commits, calls of the server, child processes."""
    killer = Killer(at, with_parent=with_parent)

    class Connection(sqlite3.Connection):
        def commit(self) -> None:
            killer.step()
            super().commit()

    connect = sqlite3.connect

    def connected(*arguments: Any, **named: Any) -> sqlite3.Connection:
        killer.step()
        named.setdefault("factory", Connection)
        connection: sqlite3.Connection = connect(*arguments, **named)
        return connection

    for name in _OF_OS:
        setattr(os, name, killer.before(getattr(os, name)))
    sqlite3.connect = sqlite3.dbapi2.connect = connected  # type: ignore[assignment]
    http.client.HTTPConnection.request = killer.before(http.client.HTTPConnection.request)  # type: ignore[method-assign]
    subprocess.run = killer.before(subprocess.run)
    return killer


def replay_training(killer: Killer, recorded: Path) -> None:
    """Let trainings be what one training left in `recorded`, so that the steps around it can be tried quickly."""
    from ddr.sandbox import training

    def register(root: Path, *_: Any, **__: Any) -> tuple[training.Trained, ...]:
        with killer.pause():
            shutil.copytree(recorded / "mlflow", root / "mlflow", dirs_exist_ok=True)
        return (training.Trained("4", 0.5),)

    def save(root: Path, recipe: str, folder: Path, scratch_name: str) -> None:
        with killer.pause():
            shutil.copytree(recorded / "bad", folder, dirs_exist_ok=True)

    training.register = register
    training.save = save
