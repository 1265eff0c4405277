"""A sink that takes a glance: the first rows, the names of some files. So a source shows that it answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ddr.domain import snapshots
from ddr.lib import rowbatch
from ddr.ports import restorable

_MOST_FILES = 10_000


class _Enough(Exception):
    """Ends a glance; nothing went wrong."""


@dataclass
class _Glance:
    """Implements Sink. `seen` is what was found, for people; '' so far nothing."""

    parent: snapshots.Component | None = None
    seen: str = ""
    references: int = 0

    def fact(self, name: str, value: str) -> None:
        del name, value

    def warn(self, text: str) -> None:
        del text

    def redacted(self, what: str) -> None:
        del what

    def reference(self, reference: snapshots.Reference) -> None:
        del reference
        self.references += 1

    def table(
        self, name: str, columns: Sequence[snapshots.Column], batches: Iterable[rowbatch.Batch]
    ) -> snapshots.Table:
        """Ends it: a source that gives rows of one table is there."""
        del columns
        next(iter(batches), None)
        self.seen = f"table {name} can be read"
        raise _Enough

    def stream(self, name: str, pieces: Iterable[bytes]) -> snapshots.Stream:
        size_bytes = sum(map(len, pieces))
        return snapshots.Stream(name, size_bytes, "", ())

    def tree(self, name: str, files: restorable.FileTree) -> snapshots.Tree:
        """Ends it, with the files counted and none of them read."""
        del name
        counted = [one for one in itertools.islice(files.entries(), _MOST_FILES) if one.kind != "folder"]
        more = " or more" if len(counted) == _MOST_FILES else ""
        self.seen = f"{len(counted)}{more} files" if len(counted) != 1 else "1 file"
        if not counted:
            self.seen = ""
        raise _Enough


def at(made: restorable.Capturable) -> str:
    """What there is to back up, for people; '' where there is nothing. Raises what `capture` raises."""
    sink = _Glance()
    try:
        made.capture(sink)
    except _Enough:
        return sink.seen
    return f"{sink.references} references to secrets"
