"""A reading and its reference become a judgement. Too little to judge by is UNKNOWN with the reason, never OK."""

from __future__ import annotations

import dataclasses
import math
from datetime import datetime

from ddr.detect import drift, shares, spoken
from ddr.domain import services, signals
from ddr.lib import timetext

NEEDS_REFERENCE = frozenset({"shift", "distribution", "columns"})
"""Detector kinds that compare with readings from before."""

NEEDS_LIMIT = frozenset({"share", "ceiling", "floor"})

_TAKES: dict[str, type[signals.Sample]] = {
    "share": signals.Share,
    "shift": signals.Share,
    "distribution": signals.Values,
    "columns": signals.ColumnShares,
    "ceiling": signals.Gauge,
    "floor": signals.Gauge,
    "identity": signals.Identity,
}


def size(sample: signals.Sample) -> int:
    """How many observations a sample stands for; the thinnest column of a table counts."""
    match sample:
        case signals.Values(values):
            return len(values)
        case signals.ColumnShares(columns):
            return min((share.n for share in columns.values()), default=0)
        case signals.Share() | signals.Gauge() | signals.Identity():
            return sample.n


def _unusable(spec: services.SignalSpec, reading: signals.Reading, whose: str) -> str:
    """Why this reading cannot be judged by, '' when it can."""
    sample = reading.sample
    between = f"between {timetext.format_clock(reading.since)} and {timetext.format_clock(reading.until)}"
    if sample is None:
        return f"no {whose} sample {between}: {reading.why or 'the source gives no reason'}"
    wanted = _TAKES[spec.detector]
    if not isinstance(sample, wanted):
        return f"{spec.series} gives {type(sample).__name__}, the detector {spec.detector} takes {wanted.__name__}"
    needed, n = max(spec.min_samples, 1), size(sample)
    if n < needed:
        return f"{n} {whose} observations {between}, {needed} are needed"
    counted = {"": sample} if isinstance(sample, signals.Share) else {}
    if isinstance(sample, signals.ColumnShares):
        counted = dict(sample.columns)
    for name, share in counted.items():
        if wrong := shares.impossible(share):
            return f"{whose} {name or spec.series}: {wrong}"
    return ""


def judge(
    spec: services.SignalSpec, live: signals.Reading, reference: signals.Reading | None, at: datetime
) -> signals.Judgement:
    """What the detector named by `spec` says of `live`. `reference` is used by NEEDS_REFERENCE kinds only."""
    if spec.detector in NEEDS_LIMIT and spec.limit is None:
        return spoken.unknown(spec, at, f"the detector {spec.detector} needs a limit and none is set")
    known = 0 if live.sample is None else size(live.sample)
    if why := _unusable(spec, live, "live"):
        return spoken.unknown(spec, at, why, known)
    if spec.detector in NEEDS_REFERENCE:
        if reference is None:
            return spoken.unknown(spec, at, "there is no reference: no release is recorded as known good", known)
        if why := _unusable(spec, reference, "reference"):
            return spoken.unknown(spec, at, why, known)
    decided = _decide(spec, live.sample, None if reference is None else reference.sample, at)
    told = "; ".join(text for text in (decided.why, live.why) if text)  # what the source says of its sample is heard
    return dataclasses.replace(decided, why=told) if live.why else decided


def _decide(
    spec: services.SignalSpec, live: signals.Sample | None, reference: signals.Sample | None, at: datetime
) -> signals.Judgement:
    match spec.detector, live, reference:
        case "share", signals.Share(), _:
            return shares.against_limit(spec, live, at)
        case "shift", signals.Share(), signals.Share():
            return shares.against_reference(spec, live, reference, at)
        case "distribution", signals.Values(), signals.Values():
            return drift.of_values(spec, live.values, reference.values, at)
        case "columns", signals.ColumnShares(), signals.ColumnShares():
            if not live.columns.keys() & reference.columns.keys():
                return spoken.unknown(spec, at, "live and reference share no column", size(live))
            return shares.of_columns(spec, live.columns, reference.columns, at)
        case "ceiling" | "floor", signals.Gauge(), _:
            return _against_bound(spec, live, at)
        case "identity", signals.Identity(), _:
            return _same(spec, live, at)
    raise AssertionError(f"{spec.detector} was checked to fit its sample")


def _against_bound(spec: services.SignalSpec, live: signals.Gauge, at: datetime) -> signals.Judgement:
    """`ceiling`: bad above `limit`. `floor`: bad below it. On the limit is ok."""
    assert spec.limit is not None
    if math.isnan(live.value):
        return spoken.unknown(spec, at, f"{spec.series} is no number", live.n)
    bad = live.value > spec.limit if spec.detector == "ceiling" else live.value < spec.limit
    return spoken.decided(spec, at, bad=bad, value=live.value, threshold=spec.limit, n=live.n)


def _same(spec: services.SignalSpec, live: signals.Identity, at: datetime) -> signals.Judgement:
    """`identity`: bad when what is there is not what should be. `value` counts the difference: 0 or 1."""
    if not live.expected or not live.found:
        return spoken.unknown(spec, at, f"nothing to compare: expected {live.expected!r}, found {live.found!r}", live.n)
    bad = live.expected != live.found
    why = f"expected {live.expected}, found {live.found}" if bad else f"it is {live.found}"
    return spoken.decided(spec, at, bad=bad, value=float(bad), threshold=0.0, n=live.n, why=why)
