"""Where a row of yes and no turned worse: the one point that explains it best, with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

CERTAIN = 10.0
"""Gain in log-likelihood from which on there is a turn at all: by chance less than once in 1,000 rows of 5,000."""

MARGIN = 20
"""Observations on each side of a turn: three bad ones at the very end are no new rate."""

AS_GOOD = 5.0
"""Splits whose log-likelihood is at most this much below the best belong to the interval: it holds 99 % of turns."""


def turning_point(bad: Sequence[bool]) -> tuple[int, int] | None:
    """(first, last): `bad` turned worse at an index in [first, last]; None when it did not.

    Compares, for each split, one rate before and a higher one after with one rate throughout (likelihood ratio of
    Bernoulli trials, as in D. V. Hinkley, "Inference about the change-point in a sequence of binomial variables",
    Biometrika 1970). Linear in the length.
    """
    n, hits = len(bad), sum(bad)
    whole = _log_likelihood(hits, n)
    gains: list[float] = []
    before = 0
    for split in range(1, n):
        before += bad[split - 1]
        after = hits - before
        worse = after * split > before * (n - split) and MARGIN <= split <= n - MARGIN
        gain = _log_likelihood(before, split) + _log_likelihood(after, n - split) - whole if worse else 0.0
        gains.append(gain)
    best = max(gains, default=0.0)
    if best < CERTAIN:
        return None
    near = [split for split, gain in enumerate(gains, start=1) if gain >= best - AS_GOOD]
    return near[0], near[-1]


def newest_turn(bad: Sequence[bool]) -> tuple[int, int] | None:
    """As `turning_point`, of what came after the last recovery: an incident that is over explains nothing."""
    offset = 0
    turn = turning_point(bad)
    while turn is not None:
        recovery = turning_point([not one for one in bad[offset + turn[0] :]])
        if recovery is None:
            return offset + turn[0], offset + turn[1]
        offset += turn[0] + recovery[0]
        turn = turning_point(bad[offset:])
    return None


def _log_likelihood(hits: int, n: int) -> float:
    """Of the best rate: hits / n."""
    if hits in (0, n):
        return 0.0
    return hits * math.log(hits / n) + (n - hits) * math.log1p(-hits / n)
