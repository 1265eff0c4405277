"""A snapshot in memory: the sink and the source that connectors are tested with. Tables are kept encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ddr.domain import snapshots
from ddr.errors import Missing
from ddr.lib import rowbatch, rowdigest
from ddr.ports import restorable


@dataclass
class Capture:
    """Implements Sink; `source()` reads it back."""

    name: str = "registry"
    kind: str = "mlflow"
    parent: snapshots.Component | None = None
    facts: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    redactions: list[str] = field(default_factory=list)
    references: list[snapshots.Reference] = field(default_factory=list)
    tables: dict[str, snapshots.Table] = field(default_factory=dict)
    streams: dict[str, snapshots.Stream] = field(default_factory=dict)
    trees: dict[str, snapshots.Tree] = field(default_factory=dict)
    batches: dict[str, list[bytes]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, dict[str, tuple[restorable.FileStored, bytes]]] = field(default_factory=dict)

    def fact(self, name: str, value: str) -> None:
        self.facts[name] = value

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def redacted(self, what: str) -> None:
        self.redactions.append(what)

    def reference(self, reference: snapshots.Reference) -> None:
        self.references.append(reference)

    def table(
        self, name: str, columns: Sequence[snapshots.Column], batches: Iterable[rowbatch.Batch]
    ) -> snapshots.Table:
        assert name not in self.tables
        total, kept = rowdigest.Sum(), []
        for batch in rowbatch.recut(batches):
            assert batch.names == tuple(column.name for column in columns)
            assert batch.families == tuple(column.family for column in columns)
            total.add(batch)
            kept.append(rowbatch.encode(batch))
        self.batches[name] = kept
        chunks = tuple(hashlib.sha256(content).hexdigest() for content in kept)
        size_bytes = sum(map(len, kept))
        self.tables[name] = snapshots.Table(name, tuple(columns), total.rows, total.digest, chunks, size_bytes)
        return self.tables[name]

    def stream(self, name: str, pieces: Iterable[bytes]) -> snapshots.Stream:
        assert name not in self.streams
        content = self.contents[name] = b"".join(pieces)
        digest = hashlib.sha256(content).hexdigest()
        self.streams[name] = snapshots.Stream(name, len(content), digest, (digest,))
        return self.streams[name]

    def tree(self, name: str, files: restorable.FileTree) -> snapshots.Tree:
        assert name not in self.trees
        kept: dict[str, tuple[restorable.FileStored, bytes]] = {}
        order: list[list[str]] = []
        for seen in files.entries():
            order.append(seen.path.split("/"))
            content = b""
            if seen.kind == "file":
                try:
                    path = files.local(seen)
                    content = path.read_bytes() if path else b"".join(files.read(seen))
                except (Missing, FileNotFoundError):
                    self.warn(f"{seen.path} is gone")
                    continue
            stored = restorable.FileStored(seen.path, seen.kind, len(content), seen.mtime_ns, seen.mode, seen.target)
            assert seen.path not in kept, f"{seen.path} twice"
            kept[seen.path] = (stored, content)
        assert order == sorted(order), "entries come in the order of the parts of their path"
        for inside in kept:
            above = inside.rpartition("/")[0]
            assert not above or kept[above][0].kind == "folder", f"{inside} without its folder"
        self.files[name] = kept
        stored_files = [stored for stored, _ in kept.values() if stored.kind == "file"]
        self.trees[name] = snapshots.Tree(
            name, (), len(stored_files), len(kept) - len(stored_files), sum(one.size_bytes for one in stored_files)
        )
        return self.trees[name]

    def source(self) -> Stored:
        component = snapshots.Component(
            self.name, self.kind, "a test", datetime(2026, 11, 21, tzinfo=UTC), facts=dict(self.facts),
            tables=tuple(self.tables.values()), streams=tuple(self.streams.values()), trees=tuple(self.trees.values()),
            references=tuple(self.references), redactions=tuple(self.redactions), warnings=tuple(self.warnings),
        )  # fmt: skip
        return Stored(component, self)


@dataclass
class Stored:
    """Implements Source."""

    component: snapshots.Component
    capture: Capture

    def rows(self, table: str) -> Iterator[rowbatch.Batch]:
        return map(rowbatch.decode, self.capture.batches[table])

    def stream(self, name: str) -> Iterator[bytes]:
        return iter([self.capture.contents[name]])

    def files(self, tree: str) -> Iterator[restorable.FileStored]:
        return (stored for stored, _ in self.capture.files[tree].values())

    def read(self, tree: str, path: str) -> Iterator[bytes]:
        return iter([self.capture.files[tree][path][1]])

    def matcher(self, tree: str, path: str) -> Callable[[Iterable[bytes]], bool]:
        return lambda pieces: self.matches(tree, path, pieces)

    def matches(self, tree: str, path: str, pieces: Iterable[bytes]) -> bool:
        return b"".join(pieces) == self.capture.files[tree][path][1]

    def write(
        self, tree: str, to: Callable[[restorable.FileStored], Path | None],
        progress: restorable.Progress | None = None,
    ) -> int:  # fmt: skip
        written = 0
        for stored, content in self.capture.files[tree].values():
            path = to(stored)
            if path is None:
                continue
            if stored.kind == "folder":
                path.mkdir(parents=True, exist_ok=True)
                continue
            assert not path.exists()
            path.parent.mkdir(parents=True, exist_ok=True)
            if stored.kind == "link":
                path.symlink_to(stored.target)
            else:
                path.write_bytes(content)
            written += 1
            if progress:
                progress(stored.path, written, 0)
        return written
