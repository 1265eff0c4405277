"""Whether a distribution moved: the population stability index with a threshold computed from both sample sizes.

A fixed threshold measures the sample size instead: PSI > 0.1 fires on a third of all unchanged samples of 100.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from datetime import datetime

from ddr.detect import shares, spoken, tails
from ddr.domain import services, signals

BINS = 10
SMALLEST_BIN = 10
"""Live observations a bin is made for: below that the chi-squared tail no longer fits."""

EFFECT = 0.1
"""PSI from which on a drift matters: at n >= 1000 even a harmless one is significant."""

_EMPTY = 0.5  # added to every count, so that an empty bin has a logarithm (Jeffreys)


def psi_threshold(n: int, m: int, bins: int, alpha: float = shares.ALPHA) -> float:
    """The PSI that two samples (n, m) of one distribution exceed with probability `alpha`.

    Without a change PSI ~ (1/n + 1/m) chi-squared(bins - 1): B. Yurdakul and J. Naranjo, "Statistical properties
    of the population stability index", Journal of Risk Model Validation 2020.
    """
    if bins < 2:
        return 0.0
    return tails.chi2_quantile(alpha, bins - 1) * (1 / n + 1 / m)


def cut_points(reference: Sequence[float], bins: int) -> tuple[float, ...]:
    """Borders between bins of equal mass; a value v is in bin `bisect_left(cuts, v)`.

    A value that holds more than one bin's mass (zeros, a constant) gets a bin to itself.
    """
    ordered = sorted(reference)
    quantiles = [ordered[rank * len(ordered) // bins] for rank in range(1, bins)]
    cuts: set[float] = set()
    for at, cut in enumerate(quantiles):
        cuts.add(cut)
        if at and quantiles[at - 1] == cut:
            cuts.add(math.nextafter(cut, -math.inf))
    return tuple(sorted(cuts))


def _counts(values: Sequence[float], cuts: Sequence[float]) -> list[int]:
    """Observations a bin; the last bin holds what is no finite number."""
    counts = [0] * (len(cuts) + 2)
    for value in values:
        counts[bisect.bisect_left(cuts, value) if math.isfinite(value) else -1] += 1
    return counts


def psi(live: Sequence[float], reference: Sequence[float], bins: int = BINS) -> tuple[float, int]:
    """The index between two samples, and how many bins any of them fell in.

    Bins come from the reference's quantiles; NaN and infinities share one of their own. Needs a finite reference.
    """
    cuts = cut_points([value for value in reference if math.isfinite(value)], bins)
    pairs = [pair for pair in zip(_counts(live, cuts), _counts(reference, cuts), strict=True) if any(pair)]
    if len(pairs) < 2:
        return 0.0, len(pairs)
    live_total = len(live) + _EMPTY * len(pairs)
    reference_total = len(reference) + _EMPTY * len(pairs)
    index = 0.0
    for live_count, reference_count in pairs:
        p = (live_count + _EMPTY) / live_total
        q = (reference_count + _EMPTY) / reference_total
        index += (p - q) * math.log(p / q)
    return index, len(pairs)


def of_values(
    spec: services.SignalSpec, live: Sequence[float], reference: Sequence[float], at: datetime
) -> signals.Judgement:
    """`distribution`: bad when PSI > max(`psi_threshold`, EFFECT or `limit`)."""
    n, m = len(live), len(reference)
    if not any(math.isfinite(value) for value in reference):
        return spoken.unknown(spec, at, f"none of the {m} reference values is a finite number", n)
    wanted = max(2, min(BINS, n // SMALLEST_BIN))
    index, bins = psi(live, reference, wanted)
    effect = EFFECT if spec.limit is None else spec.limit
    threshold = max(psi_threshold(n, m, bins), effect)
    broken = sum(not math.isfinite(value) for value in live)
    why = f"PSI over {bins} bins against {m} in the reference"
    if broken:
        why += f"; {broken} of {n} are no finite number"
    return spoken.decided(spec, at, bad=index > threshold, value=index, threshold=threshold, n=n, why=why)
