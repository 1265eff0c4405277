"""What a restore changes in the rows on purpose: locations that move, and what must not come to life again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ddr.connectors.mlflow import locations
from ddr.lib import rowbatch

# Rows that speak of processes that are gone: leases, locks, and a queue that such a process was working on.
TRANSIENT = frozenset({"job_locks", "scheduler_leases", "sql_trace_rollup_rebuild_queue"})
_WAITING, _CANCELED = frozenset({0, 1, 6}), 5  # mlflow.entities JobStatus: pending, running, needs recovery; canceled
_JOB_ENDS = {"lease_expires_at": None, "next_attempt_at": None, "token_hash": None}


@dataclass(frozen=True)
class Relocation:
    """`rewrites` are {old beginning: new one}; `folder` or `remote` (s3://bucket/prefix), where given, takes everything
    that lies on disk or in S3.

    A rewrite that fits wins over these, and of two the longer one.
    """

    where: locations.Map
    rewrites: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    remote: str = ""

    @property
    def moves_all(self) -> bool:
        return self.folder is not None or bool(self.remote)

    def uri(self, uri: str) -> str:
        """Where what was there is now."""
        for old in sorted(self.rewrites, key=len, reverse=True):
            begin = old.rstrip("/")
            if uri == begin or uri.startswith(begin + "/"):
                return self.rewrites[old].rstrip("/") + uri[len(begin) :]
        if not (self.moves_all or self.rewrites) or uri.startswith("mlflow-artifacts:"):
            return uri
        place = self.where.place(uri)
        if place is None or place.kind not in ("local", "s3"):
            return uri
        tree = locations.LOCAL_TREE if place.kind == "local" else locations.S3_TREE
        after = self._rewritten_place(tree, place.path)
        if after is not None:  # the same place in other words: `file:///a` and `/a`, `s3a://` and `s3://`
            return after.uri
        if not self.moves_all:
            return uri
        if self.remote:
            return f"{self.remote.rstrip('/')}/{_inside(tree, place.path)}"
        path = self.inside(tree, place.path)
        return path.as_uri() if uri.startswith("file:") else str(path)

    def fits(self, old: str, uri: str) -> bool:
        """Whether the rewrite of `old` speaks of this location, in the same words or in others."""
        begin = old.rstrip("/")
        if uri == begin or uri.startswith(begin + "/"):
            return True
        place, before = self.where.place(uri), self.where.place(old)
        if place is None or before is None or place.kind != before.kind or uri.startswith("mlflow-artifacts:"):
            return False
        return place.kind in ("local", "s3") and f"{place.path}/".startswith(f"{before.path}/")

    def inside(self, tree: str, path: str) -> Path:
        """The place in the folder for a path of a tree."""
        assert self.folder is not None
        return self.folder / _inside(tree, path)

    def on_disk(self, tree: str, path: str) -> Path | None:
        """Where a file of a tree is written to; None when it does not belong on this machine's disk."""
        after = self._rewritten_place(tree, path)
        if after is not None:
            return self.where.on_disk(after.path) if after.kind == "local" else None
        if self.folder is not None:
            return self.inside(tree, path)
        if self.remote:
            return None
        return None if tree == locations.S3_TREE else Path(os.path.normpath(self.where.on_disk(path)))

    def in_bucket(self, tree: str, path: str) -> str | None:
        """`bucket/key` of a file of a tree; None when it does not belong into a bucket."""
        after = self._rewritten_place(tree, path)
        if after is not None:
            return after.path if after.kind == "s3" else None
        if self.remote:
            top = self.where.place(self.remote)
            return f"{top.path}/{_inside(tree, path)}" if top is not None else None
        return path if tree == locations.S3_TREE and self.folder is None else None

    def _rewritten_place(self, tree: str, path: str) -> locations.Place | None:
        """Where the rewrite that fits puts a path; None where none does."""
        for old in sorted(self.rewrites, key=len, reverse=True):
            before = self.where.place(old)
            if before is None or before.kind != ("s3" if tree == locations.S3_TREE else "local"):
                continue
            if path == before.path or path.startswith(before.path + "/"):
                new, rest = self.rewrites[old].rstrip("/"), path[len(before.path) :]
                after = self.where.place(new)
                if after is None:
                    return locations.Place("other", "", new + rest)
                return locations.Place(after.kind, after.path + rest, new + rest)
        return None

    def applied(self, table: str, batch: rowbatch.Batch) -> rowbatch.Batch:
        """The rows as they are written."""
        if table in TRANSIENT:
            return batch.slice(0, 0)
        if table == "jobs":
            return _ended(batch)
        if not self.rewrites and not self.moves_all:
            return batch
        for column in locations.COLUMNS.get(table, ()):
            if column in batch.names:
                batch = self._rewritten(batch, column, None)
        if table in locations.TAGS:
            batch = self._rewritten(batch, "value", locations.TAGS[table])
        return batch

    def why(self, table: str) -> str:
        """What `applied` does to a table, '' when nothing."""
        if table in TRANSIENT:
            return "emptied: it speaks of processes that are gone"
        if table == "jobs":
            return "waiting and running jobs canceled"
        return "locations rewritten" if self.is_moving(table) else ""

    def is_moving(self, table: str) -> bool:
        """Whether locations in a table may change."""
        moves = bool(self.rewrites) or self.moves_all
        return moves and (table in locations.COLUMNS or table in locations.TAGS)

    def _rewritten(self, batch: rowbatch.Batch, column: str, keys: object) -> rowbatch.Batch:
        old = batch.column(column).cells()
        known = {text: self.uri(text) for text in set(old) if isinstance(text, str)}
        if keys is None:
            new = [known.get(text, text) if isinstance(text, str) else text for text in old]
        else:
            assert isinstance(keys, tuple)
            said = batch.column("key").cells()
            new = [
                known[text] if isinstance(text, str) and key in keys else text
                for text, key in zip(old, said, strict=True)
            ]
        return batch if new == old else batch.with_cells(column, new)


def _inside(tree: str, path: str) -> str:
    """The place of a path of a tree below the folder or the address that takes everything."""
    return path.removeprefix("base/") if tree == locations.LOCAL_TREE else f"s3/{path}"


def _ended(batch: rowbatch.Batch) -> rowbatch.Batch:
    """Jobs that wait or run are canceled: a restored server must not begin to work by itself."""
    waits = [status in _WAITING for status in batch.column("status").cells()]
    if not any(waits):
        return batch
    for name, value in {"status": _CANCELED, **_JOB_ENDS}.items():
        if name in batch.names:
            cells = batch.column(name).cells()
            batch = batch.with_cells(name, [value if at else cell for at, cell in zip(waits, cells, strict=True)])
    return batch
