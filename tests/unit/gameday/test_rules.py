"""Detection, steadiness and what changed: pure, on every short history there is."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from ddr.domain import accounts, planes, revisions, services, signals
from ddr.gameday import rules

BEGIN = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
STEP = timedelta(minutes=5)
STATES = tuple(signals.State)


def service(detector: services.DetectorKind) -> services.Service:
    spec = services.SignalSpec("one", "source", "series", detector)
    objectives = services.Objectives(STEP, STEP)
    return services.Service("postcode", {}, (spec,), objectives, services.Owners("team", "a", "b"))


def series(*states: signals.State) -> accounts.Series:
    judgements = [signals.Judgement("one", None, state, BEGIN + at * STEP) for at, state in enumerate(states)]
    return accounts.Series("one", None, tuple(judgements))


@pytest.mark.parametrize("detector", ["share", "shift", "distribution", "columns"])
def test_a_sampled_signal_needs_two_in_a_row(detector: services.DetectorKind) -> None:
    """Every history of five looks, and every moment from which it counts."""
    tried = 0
    for states in itertools.product(STATES, repeat=5):
        for begin in range(-1, 5):
            since = BEGIN + begin * STEP
            found = rules.find_detection([series(*states)], service(detector), ["one"], since)
            pairs = [at for at in range(begin + 2, 5) if states[at] is states[at - 1] is signals.State.BAD]
            assert (found.judgement.at if found else None) == (BEGIN + pairs[0] * STEP if pairs else None)
            tried += 1
    print(f"{tried} histories")


@pytest.mark.parametrize("detector", sorted(rules.EXACT))
def test_one_look_at_a_measured_fact_is_proof(detector: services.DetectorKind) -> None:
    for states in itertools.product(STATES, repeat=4):
        found = rules.find_detection([series(*states)], service(detector), ["one"], BEGIN - STEP)
        first = next((at for at, state in enumerate(states) if state is signals.State.BAD), None)
        assert (found.judgement.at if found else None) == (None if first is None else BEGIN + first * STEP)


def test_unknown_detects_nothing_and_breaks_a_row() -> None:
    bad, unknown = signals.State.BAD, signals.State.UNKNOWN
    assert rules.find_detection([series(bad, unknown, bad)], service("share"), ["one"], BEGIN - STEP) is None


def test_only_a_wanted_signal_detects() -> None:
    bad = signals.State.BAD
    assert rules.find_detection([series(bad, bad)], service("share"), ["other"], BEGIN - STEP) is None


def test_steady_means_every_wanted_signal_ok() -> None:
    for states in itertools.product([*STATES, None], repeat=3):
        judged = [
            signals.Judgement(str(at), None, state, BEGIN) for at, state in enumerate(states) if state is not None
        ]
        steady = all(state is signals.State.OK for state in states)
        assert rules.is_steady(judged, ["0", "1", "2"]) is steady
        assert (rules.not_ok(judged, ["0", "1", "2"]) == ()) is steady
    assert not rules.is_steady([], []), "nothing wanted is nothing proved"


def revision(name: str, bytes_: str = "a") -> revisions.Revision:
    return revisions.Revision(planes.Plane.MODEL, "digit", name, f"sha256:{bytes_ * 64}")


def view(*live: revisions.Revision) -> accounts.View:
    return accounts.View("then", BEGIN, live)


def test_other_bytes_under_the_same_name_are_a_change() -> None:
    assert rules.changed_planes(view(revision("2")), view(revision("2"))) == ()
    changed = rules.changed_planes(view(revision("2")), view(revision("2", "b")))
    assert changed == (revision("2", "b"),)


def test_what_was_not_observed_is_not_unchanged() -> None:
    assert rules.changed_planes(None, view()) is None
    assert rules.changed_planes(view(), None) is None
