"""What a step returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNDONE = "undone"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Outcome:
    """`evidence` are lines with number, threshold and n; `values` are what later steps may refer to."""

    status: Status
    summary: str
    evidence: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
