"""An incident as all events tell it that name it: itself, its runs, what was diagnosed, decided and said."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ddr.domain import events, incidents, records
from ddr.journal import spoken


class IncidentFold:
    """Takes the events of one incident, one after the other."""

    def __init__(self, event: events.Event, record: records.IncidentDeclared) -> None:
        self._incident = incidents.Incident(
            id=record.incident,
            service=record.service,
            severity=record.severity,
            title=record.title,
            status=incidents.Status.DECLARED,
            declared_at=event.at,
            declared_by=event.actor,
            first_bad=record.first_bad,
        )
        self._runs: list[str] = []
        self._notes: list[incidents.Note] = [incidents.Note(event.at, event.actor, spoken.of(record))]

    @property
    def runs(self) -> list[str]:
        return self._runs

    def take(self, event: events.Event) -> None:
        """Any event that belongs to the incident."""
        record = event.record
        if isinstance(record, records.IncidentMoved):
            self._move(record.status, event.at)
        elif isinstance(record, records.DiagnosisMade) and self._incident.diagnosed_at is None:
            self._incident = replace(self._incident, diagnosed_at=event.at)
        elif isinstance(record, records.RunStarted):
            self._runs.append(record.run)
        self._notes.append(incidents.Note(event.at, event.actor, spoken.of(record)))

    def _move(self, status: incidents.Status, at: datetime) -> None:
        """Two who move it at once may both have been allowed to; the second changes nothing."""
        if status not in incidents.NEXT[self._incident.status]:
            return
        self._incident = replace(self._incident, status=status)
        if status is incidents.Status.MITIGATED:
            self._incident = replace(self._incident, mitigated_at=at)
        elif status is incidents.Status.RESOLVED:
            self._incident = replace(self._incident, resolved_at=at)

    def incident(self) -> incidents.Incident:
        """As it stands now. The timeline is in order of time: an event that waited in a spool is joined late."""
        timeline = tuple(sorted(self._notes, key=lambda note: note.at))
        return replace(self._incident, runs=tuple(self._runs), timeline=timeline)
