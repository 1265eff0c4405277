"""Exact tail probabilities and the chi-squared quantile, in plain Python.

They are the whole statistics that detection needs, and `ddr status` waits for them: numpy alone costs 0.1 to 0.2 s
to import and scipy.special twice that, a tail here costs microseconds. The tests hold each function against
scipy.special to nine digits.
"""

from __future__ import annotations

import functools
import math

_NEGLIGIBLE = 1e-17  # a term this much below the sum no longer changes a double


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def binomial_upper(hits: int, n: int, rate: float) -> float:
    """P(X >= hits) for X ~ Binomial(n, rate). Exact sum; 0 <= hits <= n, 0 <= rate <= 1."""
    if hits <= 0:
        return 1.0
    if hits > n or rate <= 0.0:
        return 0.0
    if rate >= 1.0:
        return 1.0
    odds = rate / (1.0 - rate)
    if hits > n * rate:
        term = math.exp(_log_choose(n, hits) + hits * math.log(rate) + (n - hits) * math.log1p(-rate))
        total = 0.0
        for k in range(hits, n + 1):
            total += term
            term *= odds * (n - k) / (k + 1)
            if term <= total * _NEGLIGIBLE:
                break
        return min(total, 1.0)
    below = hits - 1
    term = math.exp(_log_choose(n, below) + below * math.log(rate) + (n - below) * math.log1p(-rate))
    total = 0.0
    for k in range(below, -1, -1):
        total += term
        term *= k / (odds * (n - k + 1))
        if term <= total * _NEGLIGIBLE:
            break
    return max(0.0, 1.0 - total)


def conditional_upper(hits: int, n: int, reference_hits: int, m: int) -> float:
    """P(X >= hits) where the n + m observations and all their hits are given and only chance shares them out.

    Fisher's exact test, one-sided (R. A. Fisher, 1935): X is hypergeometric. Unlike a binomial test against the
    reference's rate it counts the sampling error of both sides, so that it holds its level for every m.
    """
    drawn, total_hits, everything = n, hits + reference_hits, n + m
    lowest, highest = max(0, total_hits - m), min(drawn, total_hits)
    if hits <= lowest:
        return 1.0

    def log_mass(k: int) -> float:
        return (
            _log_choose(total_hits, k)
            + _log_choose(everything - total_hits, drawn - k)
            - _log_choose(everything, drawn)
        )

    missing = everything - total_hits - drawn
    if hits * everything > drawn * total_hits:
        term, total = math.exp(log_mass(hits)), 0.0
        for k in range(hits, highest + 1):
            total += term
            term *= (total_hits - k) * (drawn - k) / ((k + 1) * (missing + k + 1))
            if term <= total * _NEGLIGIBLE:
                break
        return min(total, 1.0)
    term, total = math.exp(log_mass(hits - 1)), 0.0
    for k in range(hits - 1, lowest - 1, -1):
        total += term
        term *= k * (missing + k) / ((total_hits - k + 1) * (drawn - k + 1))
        if term <= total * _NEGLIGIBLE:
            break
    return max(0.0, 1.0 - total)


def chi2_upper(x: float, freedom: int) -> float:
    """P(X >= x) for chi-squared with a whole number of degrees of freedom.

    The closed forms for even and odd degrees: Abramowitz and Stegun 26.4.4 and 26.4.5.
    """
    if x <= 0.0:
        return 1.0
    half = x / 2.0
    if freedom % 2 == 0:
        term, total = math.exp(-half), 0.0
        for j in range(freedom // 2):
            total += term
            term *= half / (j + 1)
        return min(total, 1.0)
    total = math.erfc(math.sqrt(half))
    term = math.exp(-half) * math.sqrt(half) / math.gamma(1.5)
    for j in range(1, (freedom - 1) // 2 + 1):
        total += term
        term *= half / (j + 0.5)
    return min(total, 1.0)


@functools.cache
def chi2_quantile(alpha: float, freedom: int) -> float:
    """The x that a chi-squared variable exceeds with probability `alpha`, to 1e-12 relative."""
    low, high = 0.0, float(freedom)
    while chi2_upper(high, freedom) > alpha:
        low, high = high, high * 2.0
    while high - low > 1e-12 * high:
        middle = (low + high) / 2.0
        if chi2_upper(middle, freedom) > alpha:
            low = middle
        else:
            high = middle
    return high
