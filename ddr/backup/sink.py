"""Where a connector puts what it captures: rows, streams and trees become chunks, the rest becomes the component."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from ddr.backup import chunks, packs, planting, reading, scanner, writing
from ddr.domain import snapshots
from ddr.lib import digest, legible, rowbatch, rowdigest
from ddr.ports import restorable

_TOLD_EVERY = 8


class ChunkSink:
    """Implements ports.restorable.Sink. `component` is what has come in so far."""

    def __init__(
        self,
        writer: writing.Writer,
        reader: reading.Reader,
        parent: snapshots.Component | None,
        scan: planting.Scan,
        progress: restorable.Progress | None = None,
    ) -> None:
        self.parent = parent
        self._writer = writer
        self._scan = scan
        self._progress = progress
        self._planter = planting.Planter(writer, reader, self.warn, scan, progress)
        self._facts: dict[str, str] = {}
        self._warnings: list[str] = []
        self._redactions: list[str] = []
        self._references: list[snapshots.Reference] = []
        self._tables: list[snapshots.Table] = []
        self._streams: list[snapshots.Stream] = []
        self._trees: list[snapshots.Tree] = []

    def fact(self, name: str, value: str) -> None:
        self._facts[name] = value

    def warn(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.append(text)

    def redacted(self, what: str) -> None:
        self._redactions.append(what)

    def reference(self, reference: snapshots.Reference) -> None:
        self._references.append(reference)

    def table(
        self, name: str, columns: Sequence[snapshots.Column], batches: Iterable[rowbatch.Batch]
    ) -> snapshots.Table:
        seen, ids, size_bytes, rows = rowdigest.Sum(), [], 0, 0
        before = self.parent.table(name) if self.parent else None
        for at, batch in enumerate(rowbatch.recut(batches)):
            seen.add(batch)
            new = self._writer.new_chunks_added
            for content in _fitting(batch):
                ids.append(self._writer.add(content, packs.DATA))
                size_bytes += len(content)
            if self._writer.new_chunks_added != new:
                self._scan(f"table {name}", _readable(batch))
            rows += batch.size
            if self._progress and at % _TOLD_EVERY == 0:
                self._progress(f"table {name}", rows, before.rows if before else 0)
        hexed = tuple(one.hex() for one in ids)
        made = snapshots.Table(name, tuple(columns), rows, seen.digest, hexed, size_bytes)
        self._tables.append(made)
        return made

    def stream(self, name: str, pieces: Iterable[bytes]) -> snapshots.Stream:
        seen, ids, size_bytes = hashlib.sha256(), [], 0
        for piece in chunks.cut_stream(pieces):
            seen.update(piece)
            new = self._writer.new_chunks_added
            ids.append(self._writer.add(piece, packs.DATA))
            if self._writer.new_chunks_added != new:
                self._scan(f"stream {name}", piece)
            size_bytes += len(piece)
        made = snapshots.Stream(name, size_bytes, digest.PREFIX + seen.hexdigest(), tuple(one.hex() for one in ids))
        self._streams.append(made)
        return made

    def tree(self, name: str, files: restorable.FileTree) -> snapshots.Tree:
        made = self._planter.plant(name, files, self.parent.tree(name) if self.parent else None)
        self._trees.append(made)
        return made

    def component(
        self, name: str, kind: str, source: str, at: datetime, took_s: float, problem: str
    ) -> snapshots.Component:
        """What came in, under this name. Whoever tells of a file may name it: that need not be text."""
        return snapshots.Component(
            name,
            kind,
            legible.text(source),
            at,
            took_s,
            {fact: legible.text(value) for fact, value in self._facts.items()},
            tuple(self._tables),
            tuple(self._streams),
            tuple(self._trees),
            tuple(self._references),
            tuple(legible.text(one) for one in self._redactions),
            tuple(legible.text(one) for one in self._warnings),
            legible.text(problem),
        )


def _readable(batch: rowbatch.Batch) -> bytes:
    """The texts of a batch as a person would read them, one a line: encoded, cells touch and have no end.

    In a table of names and values (params, tags) a secret is told by its name, so these are put side by side.
    """
    lines = [column.readable() for column in batch.columns]
    families = dict(zip(batch.names, batch.families, strict=True))
    if families.get("key") == families.get("value") == "text":
        cells = (batch.column(name).cells() for name in ("key", "value"))
        keys, values = ([cell if isinstance(cell, str) else None for cell in column] for column in cells)
        lines.append(scanner.pairs(keys, values))
    return b"\n".join([*lines, b""])


def _fitting(batch: rowbatch.Batch) -> Iterator[bytes]:
    """The batch as one chunk; in halves, by rows, while it is larger than a chunk may be."""
    content = rowbatch.encode(batch)
    if len(content) <= chunks.MOST or batch.size == 1:
        yield content
        return
    half = batch.size // 2
    yield from _fitting(batch.slice(0, half))
    yield from _fitting(batch.slice(half, batch.size))
