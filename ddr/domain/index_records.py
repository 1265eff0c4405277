"""What the journal records of vector indexes. Part of `records`; apart from it only because there is much of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class IndexBuilt:
    """`rows` that went in, `recall` at `k` with its lower bound; nothing serves it yet."""

    kind: ClassVar[str] = "index.built"
    index: str
    plan: str
    shape: str
    rows: int
    k: int
    recall: float
    recall_low: float
    took_s: float = 0.0


@dataclass(frozen=True)
class IndexIntended:
    """Written before the pointer of `home` goes from `before` to `after`, or before versions are `removed`. Where no
    event behind it says that it was done, the home does."""

    kind: ClassVar[str] = "index.intended"
    index: str
    home: str
    before: str = ""
    after: str = ""
    removed: tuple[str, ...] = ()


@dataclass(frozen=True)
class IndexMoved:
    """The pointer of `home` went from `before` ("": from nothing) to `after`. `forced`: why below the gate."""

    kind: ClassVar[str] = "index.moved"
    index: str
    home: str
    before: str
    after: str
    what: str
    forced: str = ""


@dataclass(frozen=True)
class IndexChecked:
    """`levels` that were looked at, `findings` as they were told, at most the first ten."""

    kind: ClassVar[str] = "index.checked"
    index: str
    version: str
    levels: tuple[int, ...]
    exit_code: int
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class IndexRemoved:
    """Versions that were old enough."""

    kind: ClassVar[str] = "index.removed"
    index: str
    home: str
    versions: tuple[str, ...]
