"""Readings and specs in one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from ddr.detect import judge
from ddr.domain import planes, services, signals

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def spec(
    detector: services.DetectorKind, limit: float | None = None, min_samples: int = 1, unit: str = ""
) -> services.SignalSpec:
    return services.SignalSpec(
        "tested", "source", "series", detector, planes.Plane.MODEL, limit, min_samples=min_samples, unit=unit
    )


def reading(sample: signals.Sample | None, why: str = "") -> signals.Reading:
    return signals.Reading("series", NOON - HOUR, NOON, sample, why)


def share(hits: int, n: int) -> signals.Reading:
    return reading(signals.Share(hits, n))


def values(values: Sequence[float]) -> signals.Reading:
    return reading(signals.Values(tuple(values)))


def columns(shares: Mapping[str, tuple[int, int]]) -> signals.Reading:
    return reading(signals.ColumnShares({name: signals.Share(*counts) for name, counts in shares.items()}))


def judged(
    spec: services.SignalSpec, live: signals.Reading, reference: signals.Reading | None = None
) -> signals.Judgement:
    return judge.judge(spec, live, reference, NOON)
