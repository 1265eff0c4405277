"""What one look at a feature table in SQLite says: shares of zeros and of nothing, and the newest event."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ddr.domain import signals
from ddr.lib import sqlitefile

_COLUMNS_AT_ONCE = 400  # SQLite returns 2,000 columns at most, and two are asked for each


def shares(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    series: str,
    condition: str,
    values: Sequence[float],
) -> signals.ColumnShares | None:
    """For each column the share of rows with a zero, or without a value; None without rows."""
    found: dict[str, signals.Share] = {}
    test = "= 0" if series == "zero-shares" else "IS NULL"
    for start in range(0, len(columns), _COLUMNS_AT_ONCE):
        part = columns[start : start + _COLUMNS_AT_ONCE]
        sums = ", ".join(f"SUM({sqlitefile.quoted(name)} {test})" for name in part)
        query = f"SELECT COUNT(*), {sums} FROM {sqlitefile.quoted(table)} WHERE {condition}"  # noqa: S608
        n, *hits = connection.execute(query, values).fetchone()
        if not n:
            return None
        found |= {name: signals.Share(int(hit or 0), n) for name, hit in zip(part, hits, strict=True)}
    return signals.ColumnShares(found)


def newest(path: Path, table: str, event_time: str) -> datetime | None:
    """None without rows, or without such a column."""
    with sqlitefile.opened(path) as online:
        if event_time not in dict(sqlitefile.columns(online, table)):
            return None
        at, quoted = sqlitefile.quoted(event_time), sqlitefile.quoted(table)
        (found,) = online.execute(f"SELECT MAX({at}) FROM {quoted}").fetchone()  # noqa: S608
        return datetime.fromtimestamp(found, UTC) if isinstance(found, int | float) else None
