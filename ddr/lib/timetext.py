"""Times and durations as people write them: `2026-11-21T03:13:00Z`, `15m`, `1h30m`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")


def parse_duration(text: str) -> timedelta:
    """`90s`, `15m`, `1h30m`, `7d`. Raises ValueError with what is allowed."""
    compact = text.strip().replace(" ", "")
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(f"{text!r} is no duration; write a number and a unit: 90s, 15m, 1h30m, 7d")
    return timedelta(seconds=sum(float(number) * _UNITS_S[unit] for number, unit in parts))


def format_duration(span: timedelta | float) -> str:
    """The shortest exact-enough form: two units at most, seconds only below an hour."""
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    if seconds < 10:
        return f"{sign}{seconds:.1f}s".replace(".0s", "s")
    whole = round(seconds)
    if whole < 60:
        return f"{sign}{whole}s"
    if whole < 3600:
        return f"{sign}{whole // 60}m" + (f"{whole % 60}s" if whole % 60 else "")
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{sign}{minutes // 60}h" + (f"{minutes % 60}m" if minutes % 60 else "")
    hours = round(seconds / 3600)
    return f"{sign}{hours // 24}d" + (f"{hours % 24}h" if hours % 24 else "")


def parse_time(text: str) -> datetime:
    """An ISO 8601 time; without a zone it is UTC. Raises ValueError with what is allowed."""
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no time; write it like 2026-11-21T03:13:00Z") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CLOCK = re.compile(r"(?:(last )?(\w+?)(?: at)? )?(\d{1,2}):(\d{2})(?::(\d{2}))?z?")
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}")


def parse_moment(text: str, now: datetime) -> datetime:
    """A time in the past as a person says it: `2026-11-17T14:05`, `2h ago`, `90m`, `now`, `14:05`, `yesterday 14:05`,
    `tuesday 14:05`, `last tuesday 14:05`. UTC, never after `now`.

    A clock time alone is the last one that was. A day of the week is the last such day before today; `last` changes
    nothing. Raises ValueError with what is allowed.
    """
    plain = " ".join(text.lower().replace(",", " ").split())
    if plain == "now":
        return now
    if _ISO.match(plain):
        at = parse_time(text.strip())
    elif (clock := _CLOCK.fullmatch(plain)) is not None:
        at = _of_clock(text, clock, now)
    else:
        try:
            at = now - parse_duration(plain.removesuffix("ago"))
        except (ValueError, OverflowError):
            raise _no_moment(text) from None
    if at > now:
        raise ValueError(f"{text!r} is {format_clock(at)}, which has not come yet: it is {format_clock(now)}")
    return at


def _of_clock(text: str, clock: re.Match[str], now: datetime) -> datetime:
    _, day, hour, minute, second = clock.groups()
    today = now.astimezone(UTC)
    try:
        at = today.replace(hour=int(hour), minute=int(minute), second=int(second or 0), microsecond=0)
    except ValueError:
        raise _no_moment(text) from None
    if day in _DAYS:
        return at - timedelta(days=(today.weekday() - _DAYS.index(day)) % 7 or 7)
    if day == "yesterday":
        return at - timedelta(days=1)
    if day not in (None, "today"):
        raise _no_moment(text)
    return at - timedelta(days=1) if day is None and at > now else at


def _no_moment(text: str) -> ValueError:
    return ValueError(
        f"{text!r} is no time; write 2026-11-17T14:05, 2h ago, 14:05, yesterday 14:05 or last tuesday 14:05 (UTC)"
    )


def format_time(at: datetime) -> str:
    """`2026-11-21T03:13:00.123Z`: UTC, milliseconds; sorts as text."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def format_clock(at: datetime) -> str:
    """`2026-11-21 03:13:00Z`, for people."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
