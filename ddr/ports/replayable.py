"""Answering logged requests with chosen revisions: the swap test. Read-only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from ddr.domain import planes


@dataclass(frozen=True)
class Logged:
    """One request as it was answered. `truth` is the right answer where it has become known, else ''."""

    id: str
    at: datetime
    entity: str
    answer: str
    truth: str
    revisions: Mapping[planes.Plane, str] = field(default_factory=dict)


Swap = Literal["as-logged", "recomputed"] | str
"""For `model`, `code`, `index` a revision's name; for `features` 'as-logged' or 'recomputed' from the source."""


@runtime_checkable
class RequestLog(Protocol):
    def logged(self, since: datetime, until: datetime, limit: int) -> Sequence[Logged]:
        """The newest `limit` requests of [since, until) whose truth is known, oldest first. Unavailable."""
        ...


@runtime_checkable
class Replayable(Protocol):
    def replay(self, requests: Sequence[str], swaps: Mapping[planes.Plane, Swap]) -> Mapping[str, str]:
        """Answers by request id, everything as logged but for `swaps`. Missing ids could not be replayed.

        Missing when a swap names a revision that is not there; Unavailable when nobody answers.
        """
        ...
