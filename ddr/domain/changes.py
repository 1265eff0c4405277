"""Something that happened to a plane."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ddr.domain import planes


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
