"""An incident as all events tell it that name it: itself, its runs, what was diagnosed, decided and said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ddr.domain import events, incidents, records
from ddr.journal import spoken

_TIMES = {incidents.Status.MITIGATED: "mitigated_at", incidents.Status.RESOLVED: "resolved_at"}


class IncidentFold:
    """Keeps the events of one incident until its state is asked for."""

    def __init__(self, event: events.Event, record: records.IncidentDeclared) -> None:
        self._declared = record
        self._events = [event]
        self.take: Callable[[events.Event], None] = self._events.append
        """Any event that belongs to the incident, in order."""

    def incident(self) -> incidents.Incident:
        """As it stands now. The timeline is in order of time: an event that waited in a spool is joined late."""
        declared, first = self._declared, self._events[0]
        status = incidents.Status.DECLARED
        times: dict[str, datetime] = {}
        runs: list[str] = []
        for event in self._events:
            match event.record:
                case records.IncidentMoved(status=to) if to in incidents.NEXT[status]:
                    status = to  # of two who move it at once, the second may change nothing
                    if to in _TIMES:
                        times[_TIMES[to]] = event.at
                case records.DiagnosisMade():
                    times.setdefault("diagnosed_at", event.at)
                case records.RunStarted(run=run):
                    runs.append(run)
        notes = [incidents.Note(event.at, event.actor, spoken.of(event.record)) for event in self._events]
        return incidents.Incident(
            id=declared.incident,
            service=declared.service,
            severity=declared.severity,
            title=declared.title,
            status=status,
            declared_at=first.at,
            declared_by=first.actor,
            first_bad=declared.first_bad,
            runs=tuple(runs),
            timeline=tuple(sorted(notes, key=lambda note: note.at)),
            **times,
        )
