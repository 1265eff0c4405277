"""What a scenario expected against what was seen: points for each expectation, all of them or none. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from ddr.domain import accounts, changes, diagnoses, gamedays, scenarios, services, signals
from ddr.gameday import rules
from ddr.lib import timetext

Standing = gamedays.Standing

BEFORE_RESPONSE = "before the response"
AFTER_RESPONSE = "after the response"


def after_injection(name: str) -> str:
    """The moment at which the planes were observed once that injection was in force."""
    return f"after {name}"


def score(
    scenario: scenarios.Scenario, service: services.Service, account: accounts.Account | None
) -> tuple[gamedays.Expectation, ...]:
    """Four expectations in the order of `gamedays.EXPECTATIONS`. Without an account nothing was run: 0 points."""
    checks: Mapping[str, Sequence[gamedays.Check]]
    if account is None:
        checks = {}
    else:
        checks = {
            "detect": _detect(scenario, service, account),
            "diagnose": _diagnose(scenario, account),
            "affected": _affected(scenario, account),
            "recover": _recover(scenario, service, account),
        }
    return tuple(_total(name, scenario.scoring[name], checks.get(name, ())) for name in gamedays.EXPECTATIONS)


def none_run(possible: Mapping[str, int]) -> tuple[gamedays.Expectation, ...]:
    """The score of a scenario that was not run: nothing of everything."""
    return tuple(_total(name, possible.get(name, 0), ()) for name in gamedays.EXPECTATIONS)


def _total(name: str, possible: int, checks: Sequence[gamedays.Check]) -> gamedays.Expectation:
    all_met = bool(checks) and all(check.standing is Standing.MET for check in checks)
    return gamedays.Expectation(name, possible if all_met else 0, possible, tuple(checks))


def _check(what: str, expected: str, found: str, *, met: bool | None) -> gamedays.Check:
    """`met` None means that it could not be looked at."""
    standing = Standing.NOT_RUN if met is None else Standing.MET if met else Standing.MISSED
    return gamedays.Check(what, standing, expected, found)


def _within(what: str, limit: timedelta, since: accounts.Stamp | None, until: accounts.Stamp | None) -> gamedays.Check:
    expected = f"at most {timetext.format_duration(limit)}"
    if since is None or until is None:
        return _check(what, expected, "it did not come so far", met=None)
    took = until.at - since.at
    return _check(what, expected, timetext.format_duration(took), met=took <= limit)


def _detect(
    scenario: scenarios.Scenario, service: services.Service, account: accounts.Account
) -> Sequence[gamedays.Check]:
    expect = scenario.expect.detect
    wanted = f"{', '.join(expect.signals)}; any one is enough"
    first_bad = account.times.first_bad
    if first_bad is None:
        return [_check("a signal goes bad", wanted, "no fault was injected", met=None)]
    detection = rules.find_detection(account.series, service, expect.signals, first_bad.at)
    if detection is None:
        return [_check("a signal goes bad", wanted, "none of them did", met=False)]
    judgement = detection.judgement
    took = judgement.at - first_bad.at
    return [
        _check("a signal goes bad", wanted, str(judgement), met=True),
        _check(
            "in time after the first bad",
            f"at most {timetext.format_duration(expect.within)}",
            timetext.format_duration(took),
            met=took <= expect.within,
        ),
    ]


def _diagnose(scenario: scenarios.Scenario, account: accounts.Account) -> Sequence[gamedays.Check]:
    expect = scenario.expect.diagnose
    ranked = f"{expect.plane} at rank {expect.rank}" + (" or better" if expect.rank > 1 else "")
    diagnosis = account.diagnosis
    if diagnosis is None:
        return [_check("the plane is found", ranked, "there was no diagnosis", met=None)]
    places = [candidate.plane for candidate in diagnosis.candidates]
    is_named = diagnosis.verdict not in (diagnoses.Verdict.HEALTHY, diagnoses.Verdict.INCONCLUSIVE)
    found = is_named and expect.plane in places[: expect.rank]
    checks = [_check("the plane is found", ranked, f"{diagnosis.verdict}: {_ranking(diagnosis)}", met=found)]
    culprit = diagnosis.leading.change if diagnosis.leading else None
    for name in expect.not_named:
        checks.append(_not_named(name, culprit, account))
    return checks


def _ranking(diagnosis: diagnoses.Diagnosis) -> str:
    named = [f"{candidate.plane or 'unknown'} {candidate.probability:.1%}" for candidate in diagnosis.candidates[:3]]
    return ", ".join(named) or "nobody"


def _not_named(name: str, culprit: changes.Change | None, account: accounts.Account) -> gamedays.Check:
    """The decoy's change is what the planes showed before and after it, so no fault needs to describe itself."""
    what = f"the decoy {name} is not blamed"
    made = _change_made(name, account)
    if made is None:
        return _check(what, "not the culprit", "it was not injected", met=None)
    if culprit is None:
        return _check(what, "not the culprit", "no change was called the culprit", met=True)
    blamed = (culprit.plane, culprit.after) in made
    return _check(what, "not the culprit", f"the culprit is {culprit.name}", met=not blamed)


def _change_made(name: str, account: accounts.Account) -> list[tuple[str, str]] | None:
    moments = [view.moment for view in account.views]
    if after_injection(name) not in moments:
        return None
    at = moments.index(after_injection(name))
    changed = rules.changed_planes(account.views[at - 1] if at else None, account.views[at])
    return None if changed is None else [(revision.plane, revision.name) for revision in changed]


def _affected(scenario: scenarios.Scenario, account: accounts.Account) -> Sequence[gamedays.Check]:
    wanted = set(scenario.expect.affected.services)
    expected = ", ".join(sorted(wanted)) or "none"
    diagnosis = account.diagnosis
    what = "exactly these are impaired or exposed"
    if diagnosis is None:
        return [_check(what, expected, "there was no diagnosis", met=None)]
    named = {_name(entry) for entry in (*diagnosis.impaired, *diagnosis.exposed)}
    found = [f"impaired {', '.join(diagnosis.impaired) or 'none'}", f"exposed {', '.join(diagnosis.exposed) or 'none'}"]
    return [_check(what, expected, "; ".join(found), met=named == wanted)]


def _name(entry: str) -> str:
    """`postcode` of `postcode (golden 0.43, limit 0.06, n=300)`."""
    return entry.partition(" (")[0]


def _recover(
    scenario: scenarios.Scenario, service: services.Service, account: accounts.Account
) -> Sequence[gamedays.Check]:
    expect = scenario.expect.recover
    responses = [run for run in account.runs if run.purpose == "runbook"]
    if not responses:
        return [_check("the runbook that is followed", expect.runbook, "no runbook was started", met=None)]
    last = responses[-1]
    ended = f"{last.status}: {last.why}" if last.why else last.status
    changed = rules.changed_planes(account.view(BEFORE_RESPONSE), account.view(AFTER_RESPONSE))
    only, times = set(expect.only), account.times
    goal, reached = ("proof", times.verified) if expect.ends == "recovered" else ("containment", times.contained)
    checks = [
        _check("the runbook that is followed", expect.runbook, last.name, met=last.name == expect.runbook),
        _check("how the run ends", expect.ends, ended, met=last.status == expect.ends),
        _within("from detection to containment (the RTO)", service.objectives.rto, times.detected, times.contained),
        _within(f"from detection to {goal}", expect.within, times.detected, reached),
        _check(
            "the incident is closed",
            "resolved",
            account.incident_status or "none was declared",
            met=account.incident_status == "resolved",
        ),
    ]
    if only:
        spoken = None if changed is None else ", ".join(str(revision) for revision in changed) or "none"
        checks.append(
            _check(
                "no other plane is touched",
                f"only {rules.spoken(expect.only)}",
                "not observed" if spoken is None else f"changed: {spoken}",
                met=None if changed is None else {revision.plane for revision in changed} <= only,
            )
        )
    return checks


def find_invariants(names: Sequence[str], account: accounts.Account | None) -> tuple[gamedays.Invariant, ...]:
    """How often each was looked at, and where it was not green; unknown is not green."""
    series = {one.signal: one.judgements for one in account.series} if account else {}
    found = []
    for name in names:
        judged = series.get(name, ())
        broken = tuple(entry for entry in judged if entry.state is not signals.State.OK)
        found.append(gamedays.Invariant(name, len(judged), broken))
    return tuple(found)
