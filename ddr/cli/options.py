"""Kinds of arguments that more than one command takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

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


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """`key=value` texts as a mapping. Raises UsageError."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{text!r} is no KEY=VALUE")
        found[key] = value
    return found
