"""Kinds of arguments that more than one command takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import click

from ddr.lib import timetext


class Duration(click.ParamType[timedelta]):
    """`24h`, `90m`, `7d`."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return timetext.parse_duration(str(value))
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


class Moment(click.ParamType[str]):
    """What `moment` understands; said wrong it is told before anything is read."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            timetext.parse_moment(str(value), _END)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)
        return str(value)


_END = datetime(9999, 1, 1, tzinfo=UTC)


def moment(text: str, now: datetime, option: str) -> datetime:
    """`24h`, `2h ago`, `last tuesday 14:05` as a time. Raises UsageError."""
    try:
        return timetext.parse_moment(text, now)
    except ValueError as problem:
        raise click.UsageError(f"{option}: {problem}") from None


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """`key=value` texts as a mapping. Raises UsageError."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{text!r} is no KEY=VALUE")
        found[key] = value
    return found
