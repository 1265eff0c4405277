"""Typed readings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from ddr.domain import signals

SampleKind = Literal["share", "values", "gauge", "columns", "identity"]


@runtime_checkable
class Signal(Protocol):
    """A source of one or more series."""

    series: Mapping[str, SampleKind]
    """What can be read here, and what kind of sample it gives."""

    def read(self, series: str, since: datetime, until: datetime) -> signals.Reading:
        """The observations of [since, until). Without any, `sample` is None and `why` says why.

        Raises Unavailable when the source does not answer.
        """
        ...


@runtime_checkable
class Counting(Protocol):
    """A source that only counts since its program's start. What was counted at a time has to be kept by who asks."""

    def count(self) -> str:
        """What is counted now, as text to keep. Raises Unavailable when the source does not answer."""
        ...

    def read_since(self, series: str, counted: str, since: datetime, until: datetime) -> signals.Reading:
        """As `read`, of what came after `counted`. A program that was started anew since counts from there."""
        ...
