"""What one backup holds: everything that was captured at one time, and how to find its bytes again.

Chunk ids are 64 hex digits. A snapshot is full and stands alone: it names every chunk it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

Family = Literal["int", "float", "bool", "text", "bytes"]
"""What a column's values are, in any SQL dialect; NULL is a value of every family. Dates and JSON are text."""


class Status(StrEnum):
    """`partial`: a component is missing or has gaps; the others can be restored."""

    COMPLETE = "complete"
    PARTIAL = "partial"


@dataclass(frozen=True)
class Column:
    name: str
    family: Family


@dataclass(frozen=True)
class Table:
    """Rows in their natural order. `digest` is the same in every order and every dialect (`lib.rowdigest`)."""

    name: str
    columns: tuple[Column, ...]
    rows: int
    digest: str
    chunks: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True)
class Stream:
    """Bytes under a name; `digest` is their SHA-256."""

    name: str
    size_bytes: int
    digest: str
    chunks: tuple[str, ...]


@dataclass(frozen=True)
class Tree:
    """A folder with all below it. `root` are the chunks of its listing; listings name those of their folders."""

    name: str
    root: tuple[str, ...]
    files: int
    folders: int
    size_bytes: int


@dataclass(frozen=True)
class Reference:
    """A secret by what it is called, never by its value. `origin` says where a person finds it again."""

    name: str
    kind: str
    keys: tuple[str, ...] = ()
    origin: str = ""


@dataclass(frozen=True)
class Component:
    """What one connector gave. `source` is where it came from, for people; `facts` are versions and revisions.

    `redactions` say what was left out on purpose and has to be entered again after a restore, `warnings` what a
    restore may stumble over. `problem` is why nothing or not all could be captured, '' when all is there.
    """

    name: str
    kind: str
    source: str
    at: datetime
    took_s: float = 0.0
    facts: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    streams: tuple[Stream, ...] = ()
    trees: tuple[Tree, ...] = ()
    references: tuple[Reference, ...] = ()
    redactions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    problem: str = ""

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    @property
    def files(self) -> int:
        return sum(tree.files for tree in self.trees)

    @property
    def size_bytes(self) -> int:
        parts: tuple[Table | Stream | Tree, ...] = (*self.tables, *self.streams, *self.trees)
        return sum(part.size_bytes for part in parts)

    def table(self, name: str) -> Table | None:
        return next((table for table in self.tables if table.name == name), None)

    def tree(self, name: str) -> Tree | None:
        return next((tree for tree in self.trees if tree.name == name), None)


@dataclass(frozen=True)
class Snapshot:
    """`id` are the first 16 hex digits of its object's name; '' until it is committed.

    `added_bytes` are the stored bytes this backup brought, `size_bytes` what a restore of it would write.
    """

    at: datetime
    host: str
    actor: str
    version: str
    components: tuple[Component, ...]
    parent: str = ""
    took_s: float = 0.0
    added_bytes: int = 0
    id: str = ""

    @property
    def status(self) -> Status:
        return Status.PARTIAL if any(component.problem for component in self.components) else Status.COMPLETE

    @property
    def size_bytes(self) -> int:
        return sum(component.size_bytes for component in self.components)

    def component(self, name: str) -> Component | None:
        return next((component for component in self.components if component.name == name), None)
