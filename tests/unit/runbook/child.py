"""One command of the engine as a process of its own, over files: cells with compare-and-set, a real journal.

    python -m tests.unit.runbook.child ROOT COMMAND DIE_AT

COMMAND is start, resume or undo. With DIE_AT `7-before` the process sends itself SIGKILL in front of its seventh
journal write, with `7-after` behind it, with `-` never. The end is printed.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import signal
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from ddr.domain import events, records
from ddr.journal import log
from ddr.lib import durable
from ddr.ports import journal as journal_port
from ddr.runbook import engine
from ddr.stores import local
from tests import recovery
from tests.unit.runbook import toys

FIRST = {"a": "bad", "wanted": "good"}


class FileCells(toys.Cells):
    """The values lie in a file; each effect appends a line to another."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.values = json.loads((root / "cells.json").read_text()) if (root / "cells.json").exists() else dict(FIRST)

    def set(self, cell: str, was: str, to: str) -> None:
        with (self.root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = sum(self.effects.values())
            super().set(cell, was, to)
            if sum(self.effects.values()) > before:
                with (self.root / "effects").open("a") as effects:
                    effects.write(f"{cell}: {was} -> {to}\n")
                durable.replace(self.root / "cells.json", json.dumps(self.values, sort_keys=True).encode())


def open_log(root: Path) -> log.Log:
    clock = recovery.World().clock
    return log.Log(local.LocalStore(root / "repository"), root / "spool", root / "state", "anna", "laptop", clock)


class DyingLog:
    """The real journal, in a process that dies at one of its writes."""

    def __init__(self, inner: log.Log, die_at: str) -> None:
        self._inner = inner
        self._number, _, self._when = die_at.partition("-")
        self._writes = 0

    def append(self, record: records.Record, unless: journal_port.Unless | None = None) -> events.Event:
        self._writes += 1
        self._maybe_die("before")
        event = self._inner.append(record, unless)
        self._maybe_die("after")
        return event

    def _maybe_die(self, when: str) -> None:
        if when == self._when and str(self._writes) == self._number:
            os.kill(os.getpid(), signal.SIGKILL)

    def events(self, after: int = 0, kinds: Collection[type[records.Record]] = ()) -> Iterator[events.Event]:
        return self._inner.events(after, kinds)


def main(root: Path, command: str, die_at: str) -> str:
    cells = FileCells(root)
    on = dataclasses.replace(recovery.World().platform(), journal=DyingLog(open_log(root), die_at))
    made = engine.Engine(on, toys.catalog(cells))
    if command == "start":
        return made.start(toys.document(toys.PLAIN), "postcode", run="r1").status
    return (made.undo("r1") if command == "undo" else made.resume("r1")).status


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
