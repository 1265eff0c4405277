"""Sudden shrinking: a source that was nearly emptied between two backups, by accident, by attack or by a wrong setting.

An empty export that calls itself a success is the classic way to lose everything: the good backups age out one by
one, pushed by empty ones. So a backup compares itself with its parent (alarm, exit 2), and retention keeps the last
snapshot before a drop (`retention`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ddr.domain import snapshots

Unit = Literal["rows", "files", "bytes"]

SHARE_LEFT = 0.5
"""Less than this is left: sudden. Half is no law of nature: a retention job of the source that runs between two daily
backups takes a few percent, `mlflow gc` after a clean-up seldom half of a table; a wrong namespace takes all."""

FEWEST: Mapping[Unit, int] = {"rows": 10, "files": 10, "bytes": 4096}
"""Below this a loss of half is one person's ordinary clean-up (3 aliases -> 1). A fall to zero counts from 1 on."""

_TRANSIENT = re.compile(r"(?i)(^|_)(locks?|leases?|queue|jobs?|sessions?|cache|heartbeats?|tmp|temp)$")
"""Tables that are empty whenever nothing is going on (MLflow: job_locks, scheduler_leases, jobs, ..._rebuild_queue)."""


_COLLECTED = ("records", "versions")
"""Trees of versions, of which `ddr index gc` takes many at once: only that none is left is sudden."""


@dataclass(frozen=True)
class Shrink:
    """`part` is a table, tree or stream of the component; '' is the whole component."""

    component: str
    part: str
    unit: Unit
    before: int
    after: int

    def __str__(self) -> str:
        where = f"{self.component}: {self.part}" if self.part else self.component
        return f"{where} {self.before:,} -> {self.after:,} {self.unit}"


def of_component(now: snapshots.Component | None, before: snapshots.Component) -> tuple[Shrink, ...]:
    """The parts of `before` of which less than half is left in `now` (None: the component is gone).

    A table, tree or stream that is gone counts as empty. One line stands for all when nothing at all is left.
    """
    had = _sizes(before)
    has = {} if now is None else _sizes(now)
    if any(had.values()) and not any(has.values()):
        unit: Unit = "rows" if before.rows else "files" if before.files else "bytes"
        total = sum(size for (_, kind), size in had.items() if kind == unit)
        return (Shrink(before.name, "", unit, total, 0),)
    return tuple(
        Shrink(before.name, part, unit, size, has.get((part, unit), 0))
        for (part, unit), size in had.items()
        if _is_sudden(part, unit, size, has.get((part, unit), 0))
    )


def _is_sudden(part: str, unit: Unit, before: int, after: int) -> bool:
    if unit == "rows" and _TRANSIENT.search(part):
        return False
    if unit == "files" and part in _COLLECTED:
        return before > 0 and after == 0
    return (before > 0 and after == 0) or (before >= FEWEST[unit] and after < before * SHARE_LEFT)


def _sizes(component: snapshots.Component) -> dict[tuple[str, Unit], int]:
    sizes: dict[tuple[str, Unit], int] = {}
    for table in component.tables:
        sizes[table.name, "rows"] = table.rows
    for tree in component.trees:
        sizes[tree.name, "files"] = tree.files
    for stream in component.streams:
        sizes[stream.name, "bytes"] = stream.size_bytes
    return sizes
