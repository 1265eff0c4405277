"""RPO, RTO and 3-2-1-1-0: what is not known is never ok."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from ddr.backup import objectives
from ddr.domain import services

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PROMISED = {"search": services.Objectives(rpo=6 * HOUR, rto=timedelta(minutes=30))}
GOOD = objectives.Drill(NOW - timedelta(days=2), 600, is_passed=True)
HERE = objectives.Repository("here", "local disk", is_off_site=False, newest_at=NOW - HOUR)
AWAY = objectives.Repository("away", "s3 eu", is_off_site=True, newest_at=NOW - HOUR, locked_until=NOW + HOUR)
OK, BAD, UNKNOWN = objectives.Verdict.OK, objectives.Verdict.BAD, objectives.Verdict.UNKNOWN


def _judge(
    verified_at: datetime | None = NOW - HOUR,
    drills: tuple[objectives.Drill, ...] = (GOOD,),
    repositories: tuple[objectives.Repository, ...] = (HERE, AWAY),
) -> objectives.Readiness:
    return objectives.judge(PROMISED, NOW, verified_at, drills, repositories)


def test_everything_met_is_five_of_five() -> None:
    made = _judge()
    assert made.is_ok
    assert made.score == 5
    assert made.missing == ()
    assert (made.rto_p50_s, made.rto_p95_s, made.drills) == (600, 600, 1)


def test_nothing_known_is_never_ok() -> None:
    made = objectives.judge(PROMISED, NOW, None, (), ())
    assert (made.rpo["search"].verdict, made.rto["search"].verdict, made.score) == (UNKNOWN, UNKNOWN, 0)
    assert not made.is_ok
    assert len(made.missing) == 5
    unknown = dataclasses.replace(AWAY, newest_at=None)
    made = _judge(repositories=(HERE, unknown))
    assert [point.verdict for point in made.points] == [UNKNOWN, OK, UNKNOWN, UNKNOWN, OK]
    assert "nothing known of away" in made.missing[0]


@pytest.mark.parametrize(
    ("verified_at", "verdict"),
    [(NOW - 6 * HOUR, OK), (NOW - 6 * HOUR - timedelta(seconds=1), BAD), (NOW + HOUR, UNKNOWN), (None, UNKNOWN)],
)
def test_rpo_is_the_age_of_the_newest_verified_snapshot(
    verified_at: datetime | None, verdict: objectives.Verdict
) -> None:
    assert _judge(verified_at).rpo["search"].verdict is verdict


@pytest.mark.parametrize(
    ("drills", "verdict"),
    [
        ((), UNKNOWN),
        ((dataclasses.replace(GOOD, took_s=1800),), OK),
        ((dataclasses.replace(GOOD, took_s=1801),), BAD),
        ((GOOD, dataclasses.replace(GOOD, at=NOW - HOUR, is_passed=False)), BAD),
        ((dataclasses.replace(GOOD, at=NOW - HOUR), dataclasses.replace(GOOD, is_passed=False)), OK),
        ((dataclasses.replace(GOOD, at=NOW - timedelta(days=36)),), UNKNOWN),
        ((dataclasses.replace(GOOD, at=NOW + HOUR),), UNKNOWN),
    ],
)
def test_rto_is_measured_recent_and_of_drills_that_passed(
    drills: tuple[objectives.Drill, ...], verdict: objectives.Verdict
) -> None:
    made = _judge(drills=drills)
    assert made.rto["search"].verdict is verdict
    assert made.points[-1].verdict is (OK if verdict is OK or (drills and drills[0].took_s == 1801) else verdict)


def test_percentiles_are_of_the_last_twenty() -> None:
    drills = tuple(objectives.Drill(NOW - timedelta(days=day), 100 + day, is_passed=True) for day in range(1, 30))
    made = _judge(drills=drills)
    assert (made.drills, made.rto_p50_s, made.rto_p95_s) == (20, 110, 119)
    assert objectives.percentile([3, 1, 2], 0.95) == 3


@pytest.mark.parametrize(
    ("repositories", "verdicts"),
    [
        ((), [BAD, BAD, BAD, BAD, OK]),
        ((HERE,), [BAD, OK, BAD, BAD, OK]),
        ((AWAY,), [BAD, OK, OK, OK, OK]),
        ((HERE, dataclasses.replace(AWAY, locked_until=NOW)), [OK, OK, OK, BAD, OK]),
        ((HERE, dataclasses.replace(AWAY, newest_at=NOW - 7 * HOUR)), [BAD, OK, BAD, BAD, OK]),
        ((HERE, dataclasses.replace(AWAY, newest_at=NOW + HOUR)), [BAD, OK, BAD, BAD, OK]),
        ((HERE, dataclasses.replace(AWAY, is_off_site=None)), [OK, OK, UNKNOWN, OK, OK]),
    ],
)
def test_each_point_has_its_own_reason(
    repositories: tuple[objectives.Repository, ...], verdicts: list[objectives.Verdict]
) -> None:
    made = _judge(repositories=repositories)
    assert [point.verdict for point in made.points] == verdicts
    assert all(point.why for point in made.points)
    assert made.score == verdicts.count(OK)
    assert made.is_ok is (verdicts == [OK] * 5)


def test_two_buckets_of_one_server_are_one_site() -> None:
    """They burn together: the point says so, and they are one medium."""
    one, other = (objectives.Repository(name, "s3 eu-central-1", True, NOW) for name in ("repository", "second"))
    found = objectives.judge({}, NOW, NOW, [], [one, other])
    off_site = next(point for point in found.points if point.name == "off site")
    assert off_site.found == 1
    assert "repository and second (one site)" in off_site.why
    near = objectives.Repository("near", "s3 http://127.0.0.1:9000", False, NOW)
    (point,) = [one for one in objectives.judge({}, NOW, NOW, [], [near]).points if one.name == "off site"]
    assert point.verdict is objectives.Verdict.BAD
