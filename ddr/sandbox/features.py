"""The feature plane: scans arrive offline, a released program carries the newest of each lane online."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ddr.lib import process, sqlitefile, timetext
from ddr.sandbox import layout, releases

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BUSY_S = 5.0
RUN_TIMEOUT_S = 60.0
_COLUMNS = ", ".join(layout.COLUMNS)
_TYPED = ", ".join(f"{name} REAL" for name in layout.COLUMNS)


@dataclass(frozen=True)
class Run:
    """One run of the materialization as `runs.jsonl` keeps it. `rows` is what the program said, -1 if nothing."""

    at: datetime
    revision: str
    exit_code: int
    rows: int

    def line(self) -> str:
        told = {
            "at": timetext.format_time(self.at),
            "revision": self.revision,
            "exit_code": self.exit_code,
            "rows_reported": self.rows,
        }
        return json.dumps(told) + "\n"


def channel(root: Path) -> releases.Channel:
    return releases.Channel(layout.Layout(root).features)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The database in one transaction. Errors as `lib.sqlitefile` says."""
    with sqlitefile.opened(path) as connection, sqlitefile.transaction(connection):
        yield connection


def create(root: Path) -> None:
    """Both databases, empty."""
    where = layout.Layout(root)
    scans = f"lane TEXT, scanned_at REAL, {_TYPED}, row INTEGER, PRIMARY KEY (lane, scanned_at)"
    lanes = f"lane TEXT PRIMARY KEY, event_ts REAL, created_ts REAL, {_TYPED}"
    for path, table, columns in ((where.source, "scans", scans), (where.online, layout.TABLE, lanes)):
        path.touch()
        with opened(path) as connection:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")


def has_scans(root: Path, at_s: float) -> bool:
    with opened(layout.Layout(root).source) as source:
        query = "SELECT 1 FROM scans WHERE lane = ? AND scanned_at = ?"
        return source.execute(query, (layout.lane_name(0), at_s)).fetchone() is not None


def add_scans(root: Path, at_s: float, rows: Sequence[int], pixels: NDArray[np.float32]) -> None:
    """One scan of each lane: `rows[lane]` is what it shows. Repeatable."""
    scans = [(layout.lane_name(lane), at_s, *map(float, pixels[row]), int(row)) for lane, row in enumerate(rows)]
    marks = ", ".join("?" * (3 + len(layout.COLUMNS)))
    with opened(layout.Layout(root).source) as source:
        source.executemany(f"INSERT OR IGNORE INTO scans VALUES ({marks})", scans)  # noqa: S608 - only question marks


def newest_scan(root: Path, lane: str, at_s: float) -> tuple[float, list[float]] | None:
    """When the newest scan of the lane at that time was made, and its pixels, from the offline truth."""
    with opened(layout.Layout(root).source) as source:
        query = f"SELECT scanned_at, {_COLUMNS} FROM scans WHERE lane = ? AND scanned_at <= ?"  # noqa: S608
        query += " ORDER BY scanned_at DESC LIMIT 1"
        found = source.execute(query, (lane, at_s)).fetchone()
    return None if found is None else (found[0], list(found[1:]))


def materialize(root: Path, since: datetime, until: datetime) -> Run:
    """Run the released program over the scans of (since, until]. Whatever it does, it is only written down."""
    where = layout.Layout(root)
    revision = channel(root).live()
    program = where.features / "releases" / revision / "materialize.py"
    command = [sys.executable, "-I", "-S", str(program), "--source", str(where.source), "--online", str(where.online)]
    command += ["--since", timetext.format_time(since), "--until", timetext.format_time(until)]
    try:
        ended = process.run_bound(command, timeout_s=RUN_TIMEOUT_S)
        return Run(until, revision, ended.returncode, _rows_reported(ended.stdout))
    except subprocess.TimeoutExpired:
        return Run(until, revision, 124, -1)


def _rows_reported(printed: str) -> int:
    try:
        return int(json.loads(printed.strip().splitlines()[-1])["rows"])
    except (IndexError, ValueError, KeyError, TypeError):
        return -1


def rematerialize(root: Path, now: datetime) -> Run:
    """Everything again that the offline truth has, by the release that is live. Repeatable."""
    return materialize(root, layout.BEGINS - timedelta(days=1), now)


def wrong_rows(root: Path, now: datetime) -> int:
    """Online rows that differ from the newest scan of their lane, and lanes that are missing or too many."""
    where = layout.Layout(root)
    newest = f"SELECT lane, MAX(scanned_at), {_COLUMNS} FROM scans WHERE scanned_at <= ? GROUP BY lane ORDER BY lane"  # noqa: S608
    with opened(where.source) as source:
        should = {row[0]: row[1:] for row in source.execute(newest, (now.timestamp(),))}
    with opened(where.online) as online:
        there = {
            row[0]: row[1:]
            for row in online.execute(f"SELECT lane, event_ts, {_COLUMNS} FROM {layout.TABLE}")  # noqa: S608
        }
    return sum(should.get(lane) != there.get(lane) for lane in should.keys() | there.keys())
