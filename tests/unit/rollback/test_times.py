"""`--to TIME`: what is a time, and what was live then."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ddr.domain import changes
from ddr.errors import InputError, Missing, Refused, UnknownName
from ddr.rollback import when
from tests import recovery
from tests.unit.rollback import runs

MODEL = runs.MODEL
NOW = recovery.START + timedelta(hours=30)


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("2h ago", 28),
        ("90m ago", 28.5),
        ("yesterday 14:05", 8 + 5 / 60),
        ("2026-11-02T08:00Z", 2),
        ("today 1:30", 19.5),
        ("last monday 06:00", 0),
    ],
)
def test_times(text: str, hours: float) -> None:
    assert when.parse(text, NOW) == recovery.START + timedelta(hours=hours)


@pytest.mark.parametrize("text", ["2026-13-45", "soonish ago", "yesterday", "2027-01-01T00:00Z", "today 29:00"])
def test_times_that_cannot_be(text: str) -> None:
    with pytest.raises(InputError):
        when.parse(text, NOW)


def test_names_are_no_times() -> None:
    assert [when.parse(text, NOW) for text in ("v2", "3", "1.4.0", "soon")] == [None] * 4


def test_back_to_what_was_live_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = runs.promoted()
    with pytest.raises(Refused, match="model was at 1 or at 2"):
        runs.propose(world, {MODEL: "90m ago"})
    log = [
        changes.Change(MODEL, "digit", recovery.START + timedelta(hours=at), was, now, "ci", source="registry")
        for at, was, now in ((1, "1", "2"), (2, "2", "3"))
    ]
    monkeypatch.setattr(world.model, "changes", lambda since: [one for one in log if one.at >= since])
    assert runs.propose(world, {MODEL: "90m ago"}).plan.moves[0].target.name == "1"
    assert runs.propose(world, {MODEL: "30m ago"}).plan.moves[0].target.name == "2"
    with pytest.raises(Missing, match="nobody can say what was live on model") as told:
        runs.propose(world, {MODEL: "2026-11-01T00:00Z"})
    assert "release list" in told.value.hint
    world.model.contents["1"] += b"!"
    then = runs.propose(world, {MODEL: "90m ago"})
    assert any("had other bytes then" in check.detail for check in then.plan.refusals)
    with pytest.raises(UnknownName):
        runs.propose(world, {MODEL: "77"})
