"""Feast's SQLite online store: one table a view, `<project>_<view>`, one row for each entity and feature.

Written blindly by Feast: older events overwrite newer ones. Times are whole seconds; Feast writes them by the local
time of its machine, which is right where that is UTC.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from ddr.connectors.feast.online import definition, stores
from ddr.domain import signals, snapshots
from ddr.errors import Missing, Unavailable
from ddr.lib import durable, redact, rowbatch, sqlitefile, sqlitetable

_COMPARED = ("entity_key", "feature_name", "value", "event_ts")
_FAMILIES: Mapping[str, snapshots.Family] = {
    "entity_key": "bytes", "feature_name": "text", "value": "bytes", "value_text": "text", "value_num": "float",
    "vector_value": "bytes", "event_ts": "int", "created_ts": "int",
}  # fmt: skip


@dataclass
class SqliteOnline:
    """Implements stores.Online."""

    path: Path
    table: str
    label: str = ""
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, repr=False)
    _open: list[sqlite3.Connection] = field(default_factory=list, repr=False)
    _look: sqlitetable.Look | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.label = self.label or f"{self.path}: {self.table}"

    def __enter__(self) -> SqliteOnline:
        self._open.append(self._stack.enter_context(sqlitefile.opened(self.path)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.clear()
        self._look = None
        self._stack.__exit__(kind, problem, trace)

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._open[-1]

    @property
    def _quoted(self) -> str:
        return sqlitefile.quoted(self.table)

    def _columns(self) -> tuple[snapshots.Column, ...]:
        found = sqlitefile.columns(self._connection, self.table)
        if not found:
            raise Missing(
                f"{self.path} has no table {self.table}", hint="`feast apply` makes it; or correct `project` and `view`"
            )
        return tuple(snapshots.Column(name, _FAMILIES.get(name, "text")) for name, _ in found)

    def rows(self, view: definition.Definition) -> stores.Rows:
        columns = self._columns()
        self._look = sqlitetable.began(self._connection)
        batches = sqlitetable.batches(self._connection, self.table, stores.family(columns))
        return stores.Rows(columns, _COMPARED, batches)

    def knows(self, digest: str) -> None:
        if self._look is not None:
            self._look = dataclasses.replace(self._look, digest=digest)

    def counter(self) -> Counted:
        return Counted()

    def exchange(self, before: stores.Opened, target: stores.Opened, expected: str, wanted: str) -> None:
        """In one transaction: all of it or nothing, and nobody writes meanwhile."""
        del before  # the digest says it
        columns = stores.family(self._columns())
        look = self._look if self._look is not None and self._look.digest else None
        sqlitetable.exchange(
            self._connection, self.table, columns, _COMPARED, target, expected=expected, wanted=wanted, look=look
        )

    def replaced(self, batch: rowbatch.Batch, values: Mapping[str, tuple[bytes, str | None]]) -> rowbatch.Batch:
        features = [str(name) for name in batch.column("feature_name").cells()]
        old: dict[str, list[Any]] = {
            name: list(batch.column(name).cells()) for name in ("value", "value_text") if name in batch.names
        }
        for at, feature in enumerate(features):
            if feature in values:
                for name, cell in zip(old, values[feature], strict=False):
                    old[name][at] = cell
        for name, cells in old.items():
            batch = batch.with_cells(name, cells)
        return batch

    def sample(self, view: definition.Definition, limit: int) -> stores.Sample:
        """Of the whole table where it is not larger than `limit` entities, else of its first ones by key."""
        run = self._connection.execute
        found = run(
            f"SELECT MAX(event_ts) FROM {self._quoted} GROUP BY entity_key LIMIT ?",  # noqa: S608
            (limit + 1,),
        ).fetchall()
        times = tuple(float(at) for (at,) in found[:limit] if isinstance(at, int | float))
        rows = len(view.names) * limit
        nulls: dict[str, list[int]] = {name: [0, 0] for name in view.names}
        for name, size, count in run(
            f"SELECT feature_name, COALESCE(length(value), 0) = 0, COUNT(*) "  # noqa: S608
            f"FROM (SELECT feature_name, value FROM {self._quoted} LIMIT ?) GROUP BY 1, 2",
            (rows,),
        ):
            if name in nulls:
                nulls[name][0] += count if size else 0
                nulls[name][1] += count
        shares = {name: signals.Share(hits, n) for name, (hits, n) in nulls.items() if n}
        return stores.Sample(times, shares, len(found) <= limit)

    def count(self, view: definition.Definition) -> int:
        del view
        (count,) = self._connection.execute(
            f"SELECT COUNT(DISTINCT entity_key) FROM {self._quoted}"  # noqa: S608
        ).fetchone()
        return int(count)

    def _note(self, name: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{self.table}.{name}")

    def mark(self, name: str) -> str:
        try:
            return self._note(name).read_text(errors="replace") or name
        except FileNotFoundError:
            return ""
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def set_mark(self, name: str, text: str) -> bool:
        try:
            durable.create(self._note(name), text.encode())
        except FileExistsError:
            return False
        except OSError as problem:
            raise self._unwritable(problem) from problem
        return True

    def drop_mark(self, name: str) -> None:
        try:
            self._note(name).unlink(missing_ok=True)
            durable.sync_folder(self.path.parent)
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def generation(self) -> str:
        return ""

    def passed(self) -> None:
        """The transaction looks for itself."""

    def _unwritable(self, problem: OSError) -> Unavailable:
        return Unavailable(
            f"{self.path.parent}: {redact.foreign(problem)}", hint="look at the folder's rights and its disk"
        )


class Counted:
    """Implements stores.Counter."""

    def __init__(self) -> None:
        self._range: list[float] = []
        self._per_feature: dict[str, int] = {}

    def add(self, batch: rowbatch.Batch) -> None:
        times = [at for at in set(batch.column("event_ts").cells()) if isinstance(at, int | float)]
        if times:
            self._range = [min([*self._range, *times]), max([*self._range, *times])]
        names = batch.column("feature_name")
        if names.words is not None and names.absent is None:
            import numpy as np

            entries, codes = names.used()
            for entry, count in zip(entries, np.bincount(codes, minlength=len(entries)).tolist(), strict=True):
                key = entry.decode() if isinstance(entry, bytes) else str(entry)
                self._per_feature[key] = self._per_feature.get(key, 0) + count

    @property
    def times(self) -> stores.Times:
        """Each entity has one row for a feature: the feature that most have counts them."""
        entities = max(self._per_feature.values(), default=0)
        if not self._range:
            return stores.Times(entities=entities)
        return stores.Times(self._range[0], self._range[1], entities)
