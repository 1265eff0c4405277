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
