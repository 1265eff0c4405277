"""Declaring, moving, noting and resolving incidents. Every call may be repeated: nothing is written twice."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from datetime import datetime

from ddr.domain import incidents, records, signals
from ddr.errors import Missing, Refused, UnknownName
from ddr.journal import views
from ddr.ports import journal as journals


def declare(
    journal: journals.Journal,
    service: str,
    severity: incidents.Severity,
    title: str,
    *,
    at: datetime,
    first_bad: datetime | None = None,
    judgements: Sequence[signals.Judgement] = (),
) -> incidents.Incident:
    """The open incident of the service, or a new one named `inc-YYYYMMDD-NN` after the platform's day.

    Of two writers that take the same number at once, the one that the journal has second takes the next. With the
    store away the number is the next that this machine knows of.
    """
    known = _all(journal)
    for incident in known.values():
        if incident.service == service and incident.is_open:
            return incident
    name = _free(known, at)
    event = journal.append(records.IncidentDeclared(name, service, severity, title, first_bad, tuple(judgements)))
    if _is_first(journal, name, event.id):
        return find(journal, name)
    return declare(journal, service, severity, title, at=at, first_bad=first_bad, judgements=judgements)


def _free(known: Collection[str], at: datetime) -> str:
    numbered = (f"inc-{at:%Y%m%d}-{number:02d}" for number in itertools.count(1))
    return next(name for name in numbered if name not in known)


def _is_first(journal: journals.Journal, name: str, event: str) -> bool:
    """Whether our declaration is the one that has the name."""
    for other in journal.events():
        if isinstance(other.record, records.IncidentDeclared) and other.record.incident == name:
            return other.id == event
    raise Missing(f"incident {name} was declared and is not in the journal")


def find(journal: journals.Journal, name: str) -> incidents.Incident:
    """Raises UnknownName with the open incidents."""
    known = _all(journal)
    if name not in known:
        open_ = ", ".join(incident.id for incident in known.values() if incident.is_open) or "none"
        raise UnknownName(f"there is no incident {name!r}", hint=f"open: {open_}")
    return known[name]


def move(journal: journals.Journal, name: str, status: incidents.Status, why: str = "") -> incidents.Incident:
    """Raises Missing, Refused when the incident cannot go there from where it is."""
    incident = find(journal, name)
    if incident.status is status:
        return incident
    allowed = incidents.NEXT[incident.status]
    if status not in allowed:
        ways = ", ".join(allowed) or "nowhere; declare a new one"
        raise Refused(f"{name} is {incident.status}; it cannot become {status}", hint=f"from here it goes to: {ways}")
    journal.append(records.IncidentMoved(name, status, why))
    return find(journal, name)


def note(journal: journals.Journal, name: str, text: str) -> incidents.Incident:
    """One line of the timeline; a line that is there already is not written again. Raises Missing, Refused."""
    incident = find(journal, name)
    line = " ".join(text.split())
    if not line:
        raise Refused(f"{name}: an empty note says nothing")
    if all(known.text != line for known in incident.timeline):
        journal.append(records.IncidentNoted(name, line))
    return find(journal, name)


def resolve(journal: journals.Journal, name: str, why: str) -> incidents.Incident:
    """`move` to resolved."""
    return move(journal, name, incidents.Status.RESOLVED, why)


def _all(journal: journals.Journal) -> dict[str, incidents.Incident]:
    return views.fold(journal.events()).incidents
