"""The tails against scipy.special, which ddr does not import on this path."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy import special

from ddr.detect import tails


def test_binomial_tails_agree_with_the_incomplete_beta() -> None:
    worst, compared = 0.0, 0
    for n in (1, 2, 10, 50, 300, 1000, 5000, 20000):
        for rate in (1e-6, 0.002, 0.03, 0.06, 0.5, 0.97, 0.999):
            centre = round(n * rate)
            hits = {0, 1, 2, centre, centre + 1, centre - 3, centre + round(4 * math.sqrt(n * rate)), n - 1, n}
            for k in sorted(k for k in hits if 0 <= k <= n):
                expected = 1.0 if k == 0 else float(special.betainc(k, n - k + 1, rate))
                found = tails.binomial_upper(k, n, rate)
                compared += 1
                if expected > 1e-290:
                    worst = max(worst, abs(found / expected - 1))
                else:
                    assert found < 1e-280
    print(f"{compared} binomial tails, worst relative difference {worst:.1e}")
    assert worst < 1e-8


def test_binomial_tails_at_the_edges() -> None:
    assert tails.binomial_upper(0, 0, 0.5) == 1.0
    assert tails.binomial_upper(0, 10, 0.0) == 1.0
    assert tails.binomial_upper(1, 10, 0.0) == 0.0
    assert tails.binomial_upper(10, 10, 1.0) == 1.0
    assert tails.binomial_upper(11, 10, 0.5) == 0.0
    assert tails.binomial_upper(10, 10, 0.5) == pytest.approx(2**-10)


def _conditional(hits: int, n: int, reference_hits: int, m: int) -> float:
    """The definition, in whole numbers."""
    total = hits + reference_hits
    ways = sum(
        math.comb(total, k) * math.comb(n + m - total, n - k) for k in range(hits, min(n, total) + 1) if n - k >= 0
    )
    return ways / math.comb(n + m, n)


@given(data=some.data(), n=some.integers(1, 60), m=some.integers(1, 90))
def test_conditional_tails_agree_with_counting(data: some.DataObject, n: int, m: int) -> None:
    hits, reference_hits = data.draw(some.integers(0, n)), data.draw(some.integers(0, m))
    expected = _conditional(hits, n, reference_hits, m)
    assert tails.conditional_upper(hits, n, reference_hits, m) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_conditional_tails_of_large_tables() -> None:
    for hits, n, reference_hits, m in ((60, 1000, 50, 2000), (300, 5000, 400, 10000), (30, 300, 100, 10000)):
        expected = _conditional(hits, n, reference_hits, m)
        assert tails.conditional_upper(hits, n, reference_hits, m) == pytest.approx(expected, rel=1e-8)


def test_a_large_reference_turns_the_conditional_test_into_the_binomial_one() -> None:
    conditional = tails.conditional_upper(25, 300, 40_000, 1_000_000)
    assert conditional == pytest.approx(tails.binomial_upper(25, 300, 0.04), rel=0.02)


@given(freedom=some.integers(1, 60), x=some.floats(0.001, 300))
def test_chi2_tails_agree_with_chdtrc(freedom: int, x: float) -> None:
    expected = float(special.chdtrc(freedom, x))
    assert tails.chi2_upper(x, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.001, 1e-6])
def test_chi2_quantiles_agree_with_chdtri(alpha: float) -> None:
    for freedom in range(1, 50):
        assert tails.chi2_quantile(alpha, freedom) == pytest.approx(float(special.chdtri(freedom, alpha)), rel=1e-9)


@given(n=some.integers(1, 2000), rate=some.floats(0.0001, 0.9999), data=some.data())
def test_a_binomial_tail_falls_with_hits_and_rises_with_the_rate(n: int, rate: float, data: some.DataObject) -> None:
    hits = data.draw(some.integers(0, n))
    here = tails.binomial_upper(hits, n, rate)
    assert 0.0 <= here <= 1.0
    assert tails.binomial_upper(hits + 1, n, rate) <= here + 1e-9
    assert tails.binomial_upper(hits, n, min(rate * 1.1, 0.99999)) >= here - 1e-9
