"""Times in the past as people say them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ddr.lib import timetext

NOW = datetime(2026, 11, 21, 10, 0, 30, tzinfo=UTC)  # a Saturday
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-17T14:05", "2026-11-17T14:05"),
        ("2026-11-17 14:05+01:00", "2026-11-17T13:05"),
        ("last tuesday 14:05", "2026-11-17T14:05"),
        ("Last Tuesday at 14:05", "2026-11-17T14:05"),
        ("tuesday, 14:05", "2026-11-17T14:05"),
        ("saturday 09:00", "2026-11-14T09:00"),
        ("09:59", "2026-11-21T09:59"),
        ("10:01", "2026-11-20T10:01"),
        ("today 09:59:59", "2026-11-21T09:59:59"),
        ("yesterday 23:00", "2026-11-20T23:00"),
        ("2h ago", "2026-11-21T08:00:30"),
        ("1d12h", "2026-11-19T22:00:30"),
        ("now", "2026-11-21T10:00:30"),
    ],
)
def test_said_and_meant(text: str, at: str) -> None:
    assert timetext.parse_moment(text, NOW) == timetext.parse_time(at)


@pytest.mark.parametrize(
    "text", ["tomorrow 10:00", "25:00", "soon", "2027-01-01", "today 10:01", "tuesday", "", "2h later"]
)
def test_what_is_no_time_in_the_past(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no time|has not come yet"):
        timetext.parse_moment(text, NOW)


def test_a_day_of_the_week_is_the_last_one_before_today() -> None:
    """On every day of two weeks, every name."""
    for back in range(14):
        now = NOW - timedelta(days=back)
        for number, name in enumerate(DAYS):
            at = timetext.parse_moment(f"{name} 10:00", now)
            assert at.weekday() == number
            assert timedelta(0) < now.date() - at.date() <= timedelta(days=7)
