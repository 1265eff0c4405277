"""Something that happened to a plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ddr.domain import planes
from ddr.lib import timetext


@dataclass(frozen=True)
class Change:
    """When, by whom, from what to what. `recorded` is false where no one announced it and ddr found it."""

    plane: planes.Plane
    object: str
    at: datetime
    before: str
    after: str
    actor: str = "unknown"
    summary: str = ""
    source: str = ""
    recorded: bool = True

    @property
    def name(self) -> str:
        """How evidence and verdicts call it: `model:digits 2 → 3`."""
        return f"{self.plane}:{self.object} {self.before or '?'} → {self.after or '?'}"


def of_deployment(record: Mapping[str, object], plane: planes.Plane, object_: str, source: str) -> Change:
    """A deployment log's record `{"at", "from", "to", "actor"?, "summary"?}`. Raises ValueError or KeyError."""
    return Change(
        plane,
        object_,
        at=timetext.parse_time(str(record["at"])),
        before=str(record.get("from") or ""),
        after=str(record["to"]),
        actor=str(record.get("actor") or "unknown"),
        summary=str(record.get("summary") or ""),
        source=source,
    )
