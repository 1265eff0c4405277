"""The lines of a timeline, from journal events: what was injected, what went bad, what was done about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ddr.domain import accounts, events, outcomes, planes, records, scenarios, signals
from ddr.gameday import rules, score
from ddr.gameday import verbs as verbs_

Kind = accounts.Kind

OURS = "ddr"
"""The source of changes that a step of a run made; the step itself has its line."""

_TOLD_BY_THEMSELVES = frozenset({"comms.post", "incident.move"})
"""Verbs whose effect is a record of its own."""


def collect(
    chunk: Sequence[events.Event],
    scenario: scenarios.Scenario,
    series: Sequence[accounts.Series],
    views: Sequence[accounts.View],
) -> tuple[accounts.Happening, ...]:
    """Everything that deserves a line, in order of time; at one time what went bad first, then what was done."""
    teller = _Teller(scenario, views)
    found = [happening for one in series for happening in _bad_stretches(one)]
    found += [happening for event in chunk for happening in teller.tell(event)]
    return tuple(sorted(found, key=lambda happening: happening.at))


def _bad_stretches(series: accounts.Series) -> Iterator[accounts.Happening]:
    """From the first BAD look to the first that is not bad any more."""
    begun: signals.Judgement | None = None
    for judgement in series.judgements:
        if judgement.state is signals.State.BAD:
            begun = begun or judgement
        elif begun is not None:
            yield _stretch(series, begun, judgement)
            begun = None
    if begun is not None:
        yield _stretch(series, begun, series.judgements[-1])


def _stretch(series: accounts.Series, begun: signals.Judgement, end: signals.Judgement) -> accounts.Happening:
    detail = str(begun).removeprefix(f"{series.signal} ")
    return accounts.Happening(Kind.SIGNAL, begun.at, series.signal, series.plane, end.at, detail)


def injection_plane(name: str, fault: str, views: Sequence[accounts.View]) -> planes.Plane | None:
    """The plane an injection moved, as observed; where nothing moved, the plane its fault is named for."""
    moments = [view.moment for view in views]
    if score.after_injection(name) in moments:
        at = moments.index(score.after_injection(name))
        moved = rules.changed_planes(views[at - 1], views[at]) if at else None
        if moved:
            return moved[0].plane
    words = fault.replace(".", "-").split("-")
    return next((plane for plane in planes.Plane if plane.value in words), None)


class _Teller:
    """Goes through the events in order; remembers what later ones refer to."""

    def __init__(self, scenario: scenarios.Scenario, views: Sequence[accounts.View]) -> None:
        self._injections = {injection.name: injection for injection in scenario.method}
        self._planes = {
            injection.name: injection_plane(injection.name, injection.fault, views) for injection in scenario.method
        }
        self._service = scenario.service
        self._runs: dict[str, records.RunStarted] = {}
        self._intents: dict[tuple[str, str], records.StepIntended] = {}

    def tell(self, event: events.Event) -> Iterator[accounts.Happening]:
        record = event.record
        match record:
            case records.RunStarted():
                if record.service == self._service:
                    self._runs[record.run] = record
            case records.StepIntended():
                self._intents[record.run, record.step] = record
            case records.StepEnded():
                yield from self._step(event, record)
            case records.UndoEnded():
                yield from self._undo(event, record)
            case records.ChangeRecorded(service, change) if service == self._service and change.source != OURS:
                yield _make(event, Kind.CHANGE, change.name, change.plane, change.summary)
            case _:
                yield from self._response(event, record)

    def _step(self, event: events.Event, record: records.StepEnded) -> Iterator[accounts.Happening]:
        run = self._runs.get(record.run)
        intent = self._intents.get((record.run, record.step))
        if run is None or intent is None or intent.verb == verbs_.HOLD:
            return
        if run.purpose == "faults":
            injection = self._injections.get(record.step)
            kind = Kind.DECOY if injection and injection.decoy else Kind.FAULT
            yield _make(event, kind, record.step, self._planes.get(record.step), record.outcome.summary)
            return
        if intent.verb in _TOLD_BY_THEMSELVES:
            return
        failed = record.outcome.status in (outcomes.Status.FAILED, outcomes.Status.INCONCLUSIVE)
        title = f"{record.step} {record.outcome.status}" if failed else record.step
        yield _make(event, Kind.ACTION, title, _plane_of(intent), record.outcome.summary)

    def _undo(self, event: events.Event, record: records.UndoEnded) -> Iterator[accounts.Happening]:
        run = self._runs.get(record.run)
        intent = self._intents.get((record.run, record.step))
        if run is None or intent is None or record.outcome.status is outcomes.Status.SKIPPED:
            return
        plane = self._planes.get(record.step) or _plane_of(intent)
        title = "returned to the start" if intent.verb == verbs_.HOLD else f"{record.step} undone"
        if record.outcome.status is outcomes.Status.FAILED:
            title = f"{record.step} not undone"
        yield _make(event, Kind.UNDO, title, plane, record.outcome.summary)

    def _response(self, event: events.Event, record: records.Record) -> Iterator[accounts.Happening]:
        match record:
            case records.IncidentDeclared(incident, service, severity, title) if service == self._service:
                yield _make(event, Kind.INCIDENT, f"{incident} declared {severity}", None, title)
            case records.IncidentMoved(incident, status, why):
                yield _make(event, Kind.INCIDENT, f"{incident} {status}", None, why)
            case records.DiagnosisMade(service, diagnosis) if service == self._service:
                leading = diagnosis.leading
                who = (leading.plane or "unknown") if leading else "nobody"
                culprit = leading.change.name if leading and leading.change else ""
                yield _make(event, Kind.INCIDENT, f"diagnosed: {who} {diagnosis.verdict}", None, culprit)
            case records.ApprovalRequested(run, _, plan) if run in self._runs:
                yield _make(event, Kind.APPROVAL, "approval asked", None, f"plan {plan}")
            case records.ApprovalDecided(run, plan, granted, why) if run in self._runs:
                word = "approved" if granted else "denied"
                yield _make(event, Kind.APPROVAL, f"{word} by {event.actor}", None, why or f"plan {plan}")
            case records.MessagePosted(channel, text, _, delivered):
                told = f"{channel} told" if delivered else f"{channel} not reached"
                yield _make(event, Kind.COMMS, told, None, text)


def _plane_of(intent: records.StepIntended) -> planes.Plane | None:
    """The plane a step settled on, where it names one."""
    named = intent.settled.get("plane", "")
    return planes.Plane(named) if named in set(planes.Plane) else None


def _make(
    event: events.Event, kind: accounts.Kind, title: str, plane: planes.Plane | None, detail: str
) -> accounts.Happening:
    return accounts.Happening(kind, event.at, title, plane, None, detail, event.actor, event.seq)
