"""An incident and the way it goes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

Severity = Literal["SEV1", "SEV2", "SEV3", "SEV4"]


class Status(StrEnum):
    DECLARED = "declared"
    MITIGATING = "mitigating"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"


# Where an incident may go from each status. Nothing goes back from resolved: that is a new incident.
NEXT: dict[Status, tuple[Status, ...]] = {
    Status.DECLARED: (Status.MITIGATING, Status.MITIGATED, Status.RESOLVED),
    Status.MITIGATING: (Status.MITIGATED, Status.RESOLVED),
    Status.MITIGATED: (Status.MITIGATING, Status.RESOLVED),
    Status.RESOLVED: (),
}


@dataclass(frozen=True)
class Note:
    """One line of the timeline."""

    at: datetime
    actor: str
    text: str


@dataclass(frozen=True)
class Incident:
    id: str
    service: str
    severity: Severity
    title: str
    status: Status
    declared_at: datetime
    declared_by: str
    first_bad: datetime | None = None
    diagnosed_at: datetime | None = None
    mitigated_at: datetime | None = None
    resolved_at: datetime | None = None
    runs: tuple[str, ...] = ()
    timeline: tuple[Note, ...] = ()

    @property
    def is_open(self) -> bool:
        return self.status is not Status.RESOLVED
