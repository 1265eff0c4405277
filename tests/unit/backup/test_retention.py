"""Which snapshots stay: restic's grammar by table, the guards by property."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddr.backup import retention
from ddr.domain import snapshots
from ddr.lib import decode, located

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def _snapshot(at: datetime, *, problem: str = "", rows: int = 100, tag: str = "") -> snapshots.Snapshot:
    tables = (snapshots.Table("experiments", (), rows, "", (), rows * 10),)
    component = snapshots.Component("mlflow", "mlflow", "sqlite", at, tables=tables, problem=problem)
    return snapshots.Snapshot(at, "host", "cron", "1", (component,), id=f"{at:%Y%m%dT%H%M%S}{tag}")


def _ago(text: str) -> datetime:
    """`3d2h` before now."""
    decoded = located.parse_yaml(f"keepWithin: {text}")
    policy = decode.decode(retention.Policy, decoded, [])
    assert policy is not None
    assert policy.keep_within is not None
    return NOW - policy.keep_within


def _kept(
    listed: Sequence[snapshots.Snapshot],
    policy: retention.Policy,
    verified: Sequence[str] = (),
    drilled: Sequence[str] = (),
    minimum: int | None = 1,
    accepted_at: datetime | None = None,
) -> list[str]:
    decided = retention.decide(listed, policy, NOW, verified, drilled, minimum, accepted_at)
    assert sorted(one.snapshot.id for one in decided) == sorted(one.id for one in listed)
    assert all(one.reasons for one in decided)
    return [one.snapshot.id for one in decided if isinstance(one, retention.Kept)]


# Dates as in restic's own table of snapshots (one a day, several an hour, years apart).
HOURLY = [NOW - timedelta(minutes=20 * number) for number in range(1, 200)]
DAILY = [NOW - timedelta(days=number) for number in range(400)]
YEARS = [datetime(year, month, 1, tzinfo=UTC) for year in range(2020, 2027) for month in (3, 9)]

TABLE: list[tuple[str, list[datetime], retention.Policy, list[datetime]]] = [
    ("last", DAILY, retention.Policy(keep_last=3), DAILY[:3]),
    ("last more than there are", DAILY[:4], retention.Policy(keep_last=10), DAILY[:4]),
    ("unlimited", DAILY, retention.Policy(keep_daily=-1), DAILY),
    ("no rule keeps all", DAILY, retention.Policy(), DAILY),
    ("hourly: the newest of each", HOURLY, retention.Policy(keep_hourly=3), [HOURLY[0], HOURLY[3], HOURLY[6]]),
    ("daily of hourly", HOURLY, retention.Policy(keep_daily=2), [HOURLY[0], HOURLY[36]]),
    ("the oldest too while some are left", HOURLY[:5], retention.Policy(keep_daily=5), [HOURLY[0], HOURLY[4]]),
    (
        "weekly: ISO weeks begin on Monday",
        DAILY[:30],
        retention.Policy(keep_weekly=3),
        [datetime(2026, 11, day, 12, tzinfo=UTC) for day in (21, 15, 8)],
    ),
    (
        "monthly",
        DAILY,
        retention.Policy(keep_monthly=3),
        [
            NOW,
            datetime(2026, 10, 31, 12, tzinfo=UTC),
            datetime(2026, 9, 30, 12, tzinfo=UTC),
        ],
    ),
    (
        "yearly, and the oldest",
        YEARS,
        retention.Policy(keep_yearly=10),
        [*(datetime(year, 9, 1, tzinfo=UTC) for year in range(2026, 2019, -1)), datetime(2020, 3, 1, tzinfo=UTC)],
    ),
    ("within, without its border", DAILY, retention.Policy(keep_within=timedelta(days=5)), DAILY[:5]),
    (
        "within counts from the newest, not from now",
        DAILY[100:],
        retention.Policy(keep_within=timedelta(days=5)),
        DAILY[100:105],
    ),
    (
        "within, the newest of each month",
        DAILY,
        retention.Policy(keep_within_monthly=timedelta(days=60)),
        [NOW, datetime(2026, 10, 31, 12, tzinfo=UTC), datetime(2026, 9, 30, 12, tzinfo=UTC)],
    ),
    (
        "rules add up",
        DAILY,
        retention.Policy(keep_last=2, keep_monthly=2),
        [*DAILY[:2], datetime(2026, 10, 31, 12, tzinfo=UTC)],
    ),
    (
        "the turn of a year lies inside an ISO week",
        [datetime(2025, 12, 28, tzinfo=UTC), datetime(2025, 12, 29, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)],
        retention.Policy(keep_weekly=2),
        [datetime(2026, 1, 2, tzinfo=UTC), datetime(2025, 12, 28, tzinfo=UTC)],
    ),
]


@pytest.mark.parametrize(("listed", "policy", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_grammar_is_that_of_restic(
    listed: list[datetime], policy: retention.Policy, expected: list[datetime]
) -> None:
    assert _kept([_snapshot(at) for at in listed], policy) == [_snapshot(at).id for at in expected]


def test_the_default_keeps_two_weeks_and_thins_out_a_year() -> None:
    kept = _kept([_snapshot(at) for at in DAILY], retention.DEFAULT, minimum=None)
    assert kept[:14] == [_snapshot(at).id for at in DAILY[:14]]
    assert len(kept) == 14 + 5 + 11  # days, weeks and months beyond them
    assert kept[-1] == "20251231T120000"


def test_a_policy_is_read_from_a_document_and_nonsense_is_refused() -> None:
    complaints: list[decode.Complaint] = []
    node = located.parse_yaml("keepWithin: 14d\nkeepDaily: 14\nkeepWeekly: 8\nkeepMonthly: 12\nminimum: 3")
    assert decode.decode(retention.Policy, node, complaints) == retention.DEFAULT
    for text, what in (
        ("keepDaily: -2", "keepDaily is -2"),
        ("minimum: 0", "at least 1"),
        ("keepDays: 3", "did you mean keepDaily"),
        ("keepWithin: 3", "no duration"),
    ):
        complaints.clear()
        assert decode.decode(retention.Policy, located.parse_yaml(text), complaints) is None
        assert what in complaints[0].what


def test_a_partial_one_stays_until_a_complete_one_is_newer_and_counts_for_no_rule() -> None:
    listed = [
        _snapshot(_ago("1h"), problem="no database"),
        _snapshot(_ago("2h")),
        _snapshot(_ago("3h"), problem="no database"),
        _snapshot(_ago("4h")),
    ]
    assert _kept(listed, retention.Policy(keep_last=2)) == [listed[0].id, listed[1].id, listed[3].id]
    only_partial = [listed[0], listed[2]]
    assert len(_kept(only_partial, retention.Policy(keep_last=1))) == 2


def test_one_from_the_future_is_kept_told_of_and_pushes_nothing_out() -> None:
    past = [_snapshot(at) for at in DAILY[1:10]]
    future = [_snapshot(NOW + timedelta(days=number)) for number in range(1, 20)]
    policy = retention.Policy(keep_last=3, keep_within=timedelta(days=2))
    alone = _kept(past, policy)
    decided = retention.decide([*past, *future], policy, NOW, (), (), 1)
    assert [one.snapshot.id for one in decided if isinstance(one, retention.Kept)][19:] == alone
    told = [one.warning for one in decided if isinstance(one, retention.Kept) and one.warning]
    assert len(told) == 19
    assert "wrong clock" in told[0]


def test_the_newest_verified_and_the_newest_drilled_stay() -> None:
    listed = [_snapshot(at) for at in DAILY[:20]]
    ids = [one.id for one in listed]
    kept = _kept(listed, retention.Policy(keep_last=1), verified=[ids[7], ids[9]], drilled=[ids[15], "unheard-of"])
    assert kept == [ids[0], ids[7], ids[15]]


def test_a_verified_partial_one_does_not_stand_in_for_a_complete_one() -> None:
    listed = [_snapshot(_ago("1h")), _snapshot(_ago("2h"), problem="gap"), _snapshot(_ago("3h")), _snapshot(_ago("4h"))]
    kept = _kept(listed, retention.Policy(keep_last=1), verified=[listed[1].id, listed[2].id])
    assert kept == [one.id for one in listed[:3]]


def test_empty_ones_do_not_push_out_the_last_good_one() -> None:
    empty = [_snapshot(at, rows=0) for at in DAILY[:30]]
    good = [_snapshot(at, rows=40) for at in DAILY[30:40]]
    policy = retention.Policy(keep_last=5)
    decided = retention.decide([*good, *empty], policy, NOW, [one.id for one in empty], [])
    last_good = next(one for one in decided if one.snapshot is good[0])
    assert isinstance(last_good, retention.Kept)
    assert last_good.reasons == ("the last before mlflow 40 -> 0 rows",)
    assert isinstance(decided[-1], retention.Forgotten)
    assert good[0].id not in _kept([*good, *empty], policy, accepted_at=DAILY[20])
    back = _snapshot(NOW - timedelta(minutes=1), rows=41)
    assert good[0].id not in _kept([*good, *empty, back], policy)


def test_forgetting_a_step_in_between_takes_no_guard_away() -> None:
    listed = [_snapshot(at, rows=rows) for at, rows in zip(DAILY, (0, 0, 35, 60, 100), strict=False)]
    policy = retention.Policy(keep_last=1)
    assert _kept(listed, policy) == [listed[0].id, listed[2].id]
    assert _kept([listed[0], listed[2], listed[4]], policy) == [listed[0].id, listed[2].id, listed[4].id]


@st.composite
def _histories(draw: st.DrawFn) -> list[snapshots.Snapshot]:
    offsets = draw(st.lists(st.integers(-72, 24 * 500), max_size=40))
    return [
        _snapshot(
            NOW - timedelta(hours=offset),
            problem=draw(st.sampled_from(["", "", "", "gap"])),
            rows=draw(st.sampled_from([0, 20, 40, 100, 120, 130])),
            tag=f"-{number}",
        )
        for number, offset in enumerate(offsets)
    ]


_COUNTS = st.sampled_from([0, 0, 1, 2, 5, -1])
_SPANS = st.sampled_from([None, None, timedelta(days=1), timedelta(days=30), timedelta(days=400)])
_POLICIES = st.builds(
    retention.Policy,
    keep_last=_COUNTS,
    keep_hourly=_COUNTS,
    keep_daily=_COUNTS,
    keep_weekly=_COUNTS,
    keep_monthly=_COUNTS,
    keep_yearly=_COUNTS,
    keep_within=_SPANS,
    keep_within_daily=_SPANS,
    keep_within_monthly=_SPANS,
    minimum=st.integers(1, 5),
).filter(lambda policy: not policy.is_empty)


def _some(listed: Sequence[snapshots.Snapshot], draw: st.DataObject) -> list[str]:
    return draw.draw(st.lists(st.sampled_from([one.id for one in listed]), max_size=5)) if listed else []


@settings(max_examples=250, deadline=None)
@given(_histories(), _POLICIES, st.data())
def test_the_guards_hold_and_a_second_time_forgets_nothing(
    listed: list[snapshots.Snapshot], policy: retention.Policy, data: st.DataObject
) -> None:
    verified, drilled = _some(listed, data), _some(listed, data)
    kept = set(_kept(listed, policy, verified, drilled, None))
    past = sorted((one for one in listed if one.at <= NOW), key=lambda one: (one.at, one.id), reverse=True)
    complete = [one for one in past if one.status is snapshots.Status.COMPLETE]
    assert {one.id for one in listed if one.at > NOW} <= kept
    assert {one.id for one in complete[: policy.minimum]} <= kept
    assert len(kept) >= min(policy.minimum, len(listed))
    for ids in (verified, drilled):
        assert {one.id for one in [*past, *complete] if one.id in ids and one in past} == set() or (
            next(one.id for one in past if one.id in ids) in kept
        )
    for number, one in enumerate(complete):
        if number and all(later.components[0].rows == 0 for later in complete[:number]) and one.components[0].rows:
            assert one.id in kept
            break
    again = _kept([one for one in listed if one.id in kept], policy, verified, drilled, None)
    assert set(again) == kept


@settings(max_examples=250, deadline=None)
@given(_histories(), _POLICIES, st.data())
def test_who_asks_for_more_keeps_at_least_the_same(
    listed: list[snapshots.Snapshot], policy: retention.Policy, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from([field.name for field in dataclasses.fields(policy)]))
    value = getattr(policy, name)
    if isinstance(value, int):
        more: Any = value + data.draw(st.integers(0, 5)) if value >= 0 else value
    else:
        more = (value or timedelta()) + timedelta(days=data.draw(st.integers(1, 300)))
    wider = dataclasses.replace(policy, **{name: more})
    assert set(_kept(listed, policy, minimum=None)) <= set(_kept(listed, wider, minimum=None))


@settings(max_examples=100, deadline=None)
@given(_histories(), _POLICIES, st.data())
def test_the_order_of_the_list_and_new_future_ones_change_nothing(
    listed: list[snapshots.Snapshot], policy: retention.Policy, data: st.DataObject
) -> None:
    kept = _kept(listed, policy)
    shuffled = data.draw(st.permutations(listed))
    assert _kept(shuffled, policy) == kept
    future = [_snapshot(NOW + timedelta(hours=number), tag="f") for number in range(1, 4)]
    assert [one for one in _kept([*future, *listed], policy) if not one.endswith("f")] == kept


def test_what_a_known_good_release_needs_stays_with_its_reason() -> None:
    """Each one of them in turn, under a policy that keeps the newest alone."""
    listed = [_snapshot(at) for at in DAILY[:20]]
    policy = retention.Policy(keep_last=1)
    for one in listed[1:]:
        decided = retention.decide(listed, policy, NOW, (), (), 1, needed={one.id: "r-7", "another": "r-8"})
        kept = {each.snapshot.id: each.reasons for each in decided if isinstance(each, retention.Kept)}
        assert kept.keys() == {listed[0].id, one.id}
        assert kept[one.id] == ("release r-7 needs it",)
