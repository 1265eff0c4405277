"""A game day as its journal events tell it. The result is a view, like all else: nothing is kept beside the journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ddr.domain import accounts, diagnoses, events, gamedays, incidents, outcomes, records, scenarios, services, signals
from ddr.errors import Missing
from ddr.gameday import happenings, parse, score
from ddr.journal import views

CONTAINING = frozenset({"plane.switch", "serving.roll", "serving.fallback", "features.refresh"})
"""Verbs that end what customers see. The last of them that succeeded in the response is when it was contained."""


def gameday(
    journal: Iterable[events.Event],
    name: str,
    known: Mapping[str, services.Service],
    facts: Mapping[str, str] | None = None,
) -> gamedays.GameDay:
    """The game day `name`, also one that is still going on or was cut off. Missing when the journal has none."""
    mine = list(_slice(journal, name))
    if not mine:
        raise Missing(f"there is no game day {name!r} in the journal")
    begun, last = mine[0], mine[-1]
    assert isinstance(begun.record, records.GameDayStarted)
    end = last.record if isinstance(last.record, records.GameDayEnded) else None
    done = [played(chunk, known) for chunk in _chunks(mine, name)]
    names = {entry.name for entry in done}
    waiting = [
        gamedays.Played(
            scenario, expectations=score.none_run(begun.record.possible.get(scenario, {})), why_not="not begun"
        )
        for scenario in begun.record.scenarios
        if scenario not in names
    ]
    return gamedays.GameDay(
        id=name,
        at=begun.at,
        wall=begun.wall,
        actor=begun.actor,
        host=begun.host,
        played=(*done, *waiting),
        head=gamedays.Head(last.seq, last.digest),
        wall_s=(last.wall - begun.wall).total_seconds(),
        ended=end is not None and not waiting,
        why=end.why if end else "it has no end in the journal",
        facts={"seed": str(begun.record.seed), **(facts or {})},
    )


def names(journal: Iterable[events.Event]) -> list[str]:
    """Every game day in the journal, oldest first."""
    return [event.record.gameday for event in journal if isinstance(event.record, records.GameDayStarted)]


def _slice(journal: Iterable[events.Event], name: str) -> Iterable[events.Event]:
    is_inside = False
    for event in journal:
        record = event.record
        if isinstance(record, records.GameDayStarted) and record.gameday == name:
            is_inside = True
        if is_inside:
            yield event
        if isinstance(record, records.GameDayEnded) and record.gameday == name:
            return


def _chunks(mine: Sequence[events.Event], name: str) -> list[list[events.Event]]:
    """The events of each scenario, its start first."""
    chunks: list[list[events.Event]] = []
    for event in mine:
        if isinstance(event.record, records.ScenarioStarted) and event.record.gameday == name:
            chunks.append([])
        if chunks and not isinstance(event.record, records.GameDayEnded):
            chunks[-1].append(event)
    return chunks


CUT_OFF = "cut off"
"""Why a scenario without a score was not run to its end, where nothing else is known."""


@dataclass
class _Tally:
    """What one pass over a scenario's events collects."""

    judged: list[tuple[signals.Judgement, ...]] = field(default_factory=list)
    judged_steady: tuple[signals.Judgement, ...] = ()
    judged_after: tuple[signals.Judgement, ...] = ()
    views: list[accounts.View] = field(default_factory=list)
    commands: list[accounts.Command] = field(default_factory=list)
    reached: dict[str, events.Event] = field(default_factory=dict)
    whys: dict[str, str] = field(default_factory=dict)
    diagnosed: tuple[events.Event, diagnoses.Diagnosis] | None = None
    impact: accounts.Impact | None = None
    incident: str = ""
    incident_status: str = ""
    scored: records.ScenarioScored | None = None


def played(chunk: Sequence[events.Event], known: Mapping[str, services.Service]) -> gamedays.Played:
    """One scenario from its events, the first of which is its start."""
    begun = chunk[0]
    assert isinstance(begun.record, records.ScenarioStarted)
    scenario = parse.read_text(begun.record.document, begun.record.scenario).scenario
    tally = _collect(chunk, scenario.service)
    account = _account(chunk, scenario, known.get(scenario.service), tally)
    scored = tally.scored
    wanted = scenario.steady_state.signals
    return gamedays.Played(
        name=scenario.name,
        title=scenario.title,
        story=scenario.story,
        document=begun.record.document,
        account=account,
        expectations=scored.expectations if scored else score.none_run(scenario.scoring),
        invariants=score.find_invariants(scenario.invariants, account),
        steady=gamedays.Steady(_only(tally.judged_steady, wanted), _only(tally.judged_after, wanted)),
        state_before=begun.record.state_digest,
        state_after=scored.state_digest if scored else "",
        fault_run=next((run.id for run in account.runs if run.purpose == "faults"), ""),
        response_run=next((run.id for run in reversed(account.runs) if run.purpose == "runbook"), ""),
        why_not=tally.whys.get("not-run") or tally.whys.get("broken-off") or ("" if scored else CUT_OFF),
        wall_s=(chunk[-1].wall - begun.wall).total_seconds(),
    )


def _only(judgements: Iterable[signals.Judgement], wanted: Sequence[str]) -> tuple[signals.Judgement, ...]:
    return tuple(judgement for judgement in judgements if judgement.signal in wanted)


def stamp(event: events.Event, begun: events.Event) -> accounts.Stamp:
    return accounts.Stamp(event.at, (event.wall - begun.wall).total_seconds(), event.seq)


def _collect(chunk: Sequence[events.Event], service: str) -> _Tally:
    tally = _Tally()
    for event in chunk:
        match event.record:
            case records.SignalsJudged(named, judgements) if named == service:
                tally.judged.append(judgements)
                if "steady" not in tally.reached:
                    tally.judged_steady = judgements
                if "undone" in tally.reached:
                    tally.judged_after = judgements
            case records.PlanesObserved(named, moment, revisions) if named == service:
                tally.views.append(accounts.View(moment, event.at, revisions))
            case records.CommandEnded(words, by, exit_code, wall_s, output):
                ended = stamp(event, chunk[0])
                tally.commands.append(accounts.Command(ended, by, words, exit_code, wall_s, output))
            case records.ScenarioReached(_, _, phase, why):
                tally.reached.setdefault(phase, event)
                tally.whys.setdefault(phase, why or phase)
            case records.DiagnosisMade(named, diagnosis) if named == service:
                tally.diagnosed = (event, diagnosis)
            case records.ImpactMeasured(named, impact) if named == service:
                tally.impact = impact
            case records.IncidentDeclared(incident, named) if named == service:
                tally.incident, tally.incident_status = incident, incidents.Status.DECLARED.value
            case records.IncidentMoved(incident, status) if incident == tally.incident:
                tally.incident_status = status.value
            case records.ScenarioScored() as scored:
                tally.scored = scored
    return tally


def _account(
    chunk: Sequence[events.Event],
    scenario: scenarios.Scenario,
    service: services.Service | None,
    tally: _Tally,
) -> accounts.Account:
    begun = chunk[0]
    runs = views.fold(chunk).runs
    series = _series(tally.judged, service)
    return accounts.Account(
        service=scenario.service,
        since=begun.at,
        until=chunk[-1].at,
        times=_times(chunk, scenario, tally),
        customers=service.customers if service else "",
        impact=tally.impact,
        diagnosis=tally.diagnosed[1] if tally.diagnosed else None,
        series=series,
        happenings=happenings.collect(chunk, scenario, series, tally.views),
        commands=tuple(tally.commands),
        views=tuple(tally.views),
        incident=tally.incident,
        incident_status=tally.incident_status,
        runs=tuple(_run(run) for run in runs.values() if run.started.service == scenario.service),
    )


def _run(run: views.Run) -> accounts.Run:
    started = run.started
    why = run.end.why if run.end else run.paused
    return accounts.Run(run.id, started.title, started.purpose, run.status, why)


def _series(
    judged: Iterable[Sequence[signals.Judgement]], service: services.Service | None
) -> tuple[accounts.Series, ...]:
    kinds = {spec.name: spec.detector for spec in service.signals} if service else {}
    found: dict[str, list[signals.Judgement]] = {}
    for judgements in judged:
        for judgement in judgements:
            found.setdefault(judgement.signal, []).append(judgement)
    return tuple(
        accounts.Series(name, entries[0].plane, tuple(entries), kinds.get(name, "")) for name, entries in found.items()
    )


def _times(chunk: Sequence[events.Event], scenario: scenarios.Scenario, tally: _Tally) -> accounts.Times:
    begun = chunk[0]
    faults = {injection.name for injection in scenario.method if not injection.decoy}
    purposes: dict[str, str] = {}
    verbs: dict[tuple[str, str], str] = {}
    first_bad = contained = verified = None
    for event in chunk:
        match event.record:
            case records.RunStarted() as started if started.service == scenario.service:
                purposes[started.run] = started.purpose
            case records.StepIntended() as intended:
                verbs[intended.run, intended.step] = intended.verb
            case records.StepEnded() as ended if ended.outcome.status is outcomes.Status.OK:
                purpose = purposes.get(ended.run)
                if purpose == "faults" and ended.step in faults and first_bad is None:
                    first_bad = stamp(event, begun)
                if purpose == "runbook" and verbs.get((ended.run, ended.step)) in CONTAINING and verified is None:
                    contained = stamp(event, begun)
            case records.RunEnded(run, status) if purposes.get(run) == "runbook":
                verified = stamp(event, begun) if status == "recovered" else None
                if status not in ("recovered", "contained"):
                    contained = None
    detected = tally.reached.get("detected")
    return accounts.Times(
        first_bad=first_bad,
        detected=stamp(detected, begun) if detected else None,
        diagnosed=stamp(tally.diagnosed[0], begun) if tally.diagnosed else None,
        contained=contained,
        verified=verified,
    )
