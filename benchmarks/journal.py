"""Durable appends and folding, against what one would write by hand: SQLite with full sync, an fsynced JSONL file."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import measure
from ddr.domain import records
from ddr.journal import log, views
from ddr.lib import clock
from ddr.stores import local

APPENDS = 300
EVENTS = 100_000


def _open(folder: Path) -> log.Log:
    return log.Log(
        local.LocalStore(folder / "store"),
        spool=folder / "spool",
        state=folder / "state",
        actor="bench",
        host="here",
        clock=clock.SystemClock(),
        warn=print,
    )


def _record(number: int) -> records.IncidentNoted:
    return records.IncidentNoted("inc-20261121-01", f"note {number}: golden bad: 0.32 (limit 0.06), n=300")


def _sqlite(path: Path) -> Callable[[], object]:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("pragma journal_mode=wal")
    database.execute("pragma synchronous=full")
    database.execute("create table if not exists events (seq integer primary key, body text)")

    def work() -> None:
        for number in range(APPENDS):
            database.execute("insert into events (body) values (?)", (json.dumps(_record(number).__dict__),))

    return work


def _jsonl(path: Path) -> Callable[[], object]:
    def work() -> None:
        with path.open("ab", buffering=0) as file:
            for number in range(APPENDS):
                file.write(json.dumps(_record(number).__dict__).encode() + b"\n")
                os.fsync(file.fileno())

    return work


def run() -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        journal = _open(folder)

        def append() -> None:
            for number in range(APPENDS):
                journal.append(_record(number))

        timings = measure.interleave(
            {
                f"ddr journal, local store: {APPENDS} appends": append,
                f"SQLite WAL synchronous=full: {APPENDS} inserts": _sqlite(folder / "peer.db"),
                f"JSONL file + fsync: {APPENDS} lines": _jsonl(folder / "peer.jsonl"),
            },
            rounds=5,
        )
        measure.show("durable appends", timings, against=f"JSONL file + fsync: {APPENDS} lines")
        print(f"  ddr: {APPENDS / timings[0].median_s:.0f} durable appends/s   goal: 300")
        _fold(folder)


def _fold(folder: Path) -> None:
    from tests.unit.journal import bulk

    bulk.fill(folder / "bulk", EVENTS, datetime(2026, 11, 2, tzinfo=UTC))
    journal = _open(folder / "bulk")
    timings = measure.interleave(
        {
            f"fold {EVENTS:,} events, chain verified": lambda: views.fold(journal.events()),
            f"json.loads of {EVENTS:,} lines, no checks": lambda: bulk.load_naively(folder / "bulk"),
        },
        rounds=5,
    )
    measure.show("fold", timings, against=f"json.loads of {EVENTS:,} lines, no checks")
    print(f"  ddr: {timings[0].median_s:.2f} s   goal: 2 s")
