"""Numbers the way their detector means them, the same in the terminal, in a diagnosis and in a report."""

from __future__ import annotations

from ddr.domain import signals
from ddr.lib import timetext

SHARES = ("share", "shift", "columns")
"""Detectors whose values are shares."""


def percent(rate: float) -> str:
    """`4.1 %`; more digits where it is small."""
    hundred = 100 * rate
    if hundred and abs(hundred) < 0.1:
        return f"{hundred:.2g} %"
    return f"{hundred:.1f} %"


def value(number: float | None, detector: str, unit: str) -> str:
    """A reading the way its detector means it: a share in per cent, seconds as a duration, the rest as it is."""
    if number is None:
        return "none"
    if detector in SHARES and not unit:
        return percent(number)
    if unit == "s":
        return f"{1000 * number:.3g} ms" if abs(number) < 1 else timetext.format_duration(number)
    return f"{number:.3g}" + (f" {unit}" if unit else "")


def measured(judgement: signals.Judgement, detector: str) -> str:
    """`39.3 % (limit 11.0 %), n=300`."""
    limit = ""
    if judgement.threshold is not None:
        limit = f" (limit {value(judgement.threshold, detector, judgement.unit)})"
    return f"{value(judgement.value, detector, judgement.unit)}{limit}, n={judgement.n}"


def judged(judgement: signals.Judgement, detector: str) -> str:
    """`golden bad: 39.3 % (limit 11.0 %), n=300: why`."""
    if judgement.value is None:
        return f"{judgement.signal} {judgement.state}: {judgement.why}"
    tail = f": {judgement.why}" if judgement.why else ""
    return f"{judgement.signal} {judgement.state}: {measured(judgement, detector)}{tail}"
