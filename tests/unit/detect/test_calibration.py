"""False alarms on unchanged data and power on broken data, by simulation with fixed seeds. Run with -s for the tables.

An exact test may be false less often than ALPHA, never more often: the bound asserted is ALPHA plus four standard
errors of the simulation.
"""

from __future__ import annotations

import functools
import math

import numpy
import pytest

from ddr.detect import drift, shares, tails
from ddr.domain import services, signals
from tests.unit.detect import specs

SIZES = (100, 300, 1000, 5000)
RATES = (0.0, 0.002, 0.01, 0.03, 0.1, 0.5)
ROUNDS = 40_000


def _most(rounds: int) -> float:
    return shares.ALPHA + 4 * math.sqrt(shares.ALPHA * (1 - shares.ALPHA) / rounds)


@functools.cache
def _p(hits: int, n: int, reference_hits: int, m: int) -> float:
    return shares.shift_p(signals.Share(hits, n), signals.Share(reference_hits, m))


@functools.cache
def _naive_p(hits: int, n: int, rate: float) -> float:
    return tails.binomial_upper(hits, n, max(rate, shares.FLOOR_RATE))


@pytest.mark.parametrize("ratio", [1, 2, 10])
def test_a_shift_alarms_falsely_at_most_at_its_level(ratio: int) -> None:
    """Without the effect floor, which only lowers it. The plain binomial test is shown beside it, and is wrong."""
    generator = numpy.random.default_rng(20261121 + ratio)
    worst = worst_naive = 0.0
    for n in SIZES[:3]:
        for rate in RATES:
            m = n * ratio
            live = generator.binomial(n, rate, ROUNDS).tolist()
            reference = generator.binomial(m, rate, ROUNDS).tolist()
            pairs = list(zip(live, reference, strict=True))
            false = sum(_p(k, n, r, m) < shares.ALPHA for k, r in pairs) / ROUNDS
            naive = sum(_naive_p(k, n, r / m) < shares.ALPHA for k, r in pairs) / ROUNDS
            worst, worst_naive = max(worst, false), max(worst_naive, naive)
            assert false <= _most(ROUNDS), (n, m, rate)
    print(f"shift, m = {ratio} n: worst false alarm rate {worst:.3%}; binomial against the rate {worst_naive:.3%}")
    if ratio == 1:
        assert worst_naive > 10 * shares.ALPHA, "then the simpler test would do"


@pytest.mark.parametrize("n", SIZES)
def test_a_share_at_its_limit_alarms_falsely_at_most_at_its_level(n: int) -> None:
    generator = numpy.random.default_rng(n)
    spec = specs.spec("share", limit=0.06)
    first = specs.judged(spec, specs.share(0, n)).threshold
    assert first is not None
    false = float((generator.binomial(n, 0.06, 400_000) >= round(first * n)).mean())
    print(f"share at its limit of 6 %, n={n}: bad from {first:.3f} on, false alarm rate {false:.3%}")
    assert false <= _most(400_000)


@pytest.mark.parametrize("n", [100, 300, 1000])
def test_columns_alarm_falsely_at_most_at_their_level(n: int) -> None:
    """64 independent columns, 2,000 tables: the rate for the whole table, not for one column."""
    generator = numpy.random.default_rng(n)
    rounds, m, rates = 2000, 2 * n, generator.uniform(0.0, 0.6, 64)
    live = generator.binomial(n, rates, (rounds, 64)).tolist()
    reference = generator.binomial(m, rates, (rounds, 64)).tolist()
    false = 0
    for k, r in zip(live, reference, strict=True):
        p_values = {str(at): _p(k[at], n, r[at], m) for at in range(64)}
        false += bool(shares.rejected(p_values)[0])
    print(f"64 columns, n={n}: {false} false alarms in {rounds} tables")
    assert false / rounds <= _most(rounds)


def test_the_psi_threshold_is_the_one_that_was_computed_before() -> None:
    """Alpha 0.001, reference of 10,000, for 10 and 20 bins; the table of the design."""
    table = {100: (0.282, 0.443), 200: (0.142, 0.224), 300: (0.096, 0.150), 500: (0.059, 0.092)}
    table |= {1000: (0.031, 0.048), 5000: (0.008, 0.013)}
    for n, (ten, twenty) in table.items():
        assert drift.psi_threshold(n, 10_000, 10) == pytest.approx(ten, abs=0.0006)
        assert drift.psi_threshold(n, 10_000, 20) == pytest.approx(twenty, abs=0.0006)


@pytest.mark.parametrize(("n", "m", "rounds"), [(100, 200, 8000), (300, 600, 4000), (1000, 10_000, 600)])
def test_psi_alarms_falsely_about_as_often_as_it_should(n: int, m: int, rounds: int) -> None:
    """PSI's chi-squared law is a limit: at n=100 its tail is a little heavier, so twice ALPHA is allowed."""
    generator = numpy.random.default_rng(n)
    calibrated, fixed = 0, 0
    for _ in range(rounds):
        live, reference = generator.normal(size=n).tolist(), generator.normal(size=m).tolist()
        index, bins = drift.psi(live, reference, max(2, min(drift.BINS, n // drift.SMALLEST_BIN)))
        calibrated += index > drift.psi_threshold(n, m, bins)
        fixed += index > drift.EFFECT
    print(f"PSI, n={n}, m={m}: false alarm rate {calibrated / rounds:.3%}; with a fixed 0.1 {fixed / rounds:.2%}")
    assert calibrated / rounds <= 2 * shares.ALPHA + 4 * math.sqrt(shares.ALPHA / rounds)


@pytest.mark.parametrize("n", [100, 300, 1000])
def test_psi_of_scores_that_pile_up_at_one(n: int) -> None:
    """What a good classifier gives: half of the scores are exactly 1. Ties must not make false alarms."""
    generator = numpy.random.default_rng(n)

    def scores(size: int) -> list[float]:
        raw = generator.beta(8, 0.7, size)
        return [round(score, 4) if score < 0.97 else 1.0 for score in raw.tolist()]

    rounds, spec = 1500, specs.spec("distribution")
    false = sum(
        specs.judged(spec, specs.values(scores(n)), specs.values(scores(2 * n))).state is signals.State.BAD
        for _ in range(rounds)
    )
    print(f"scores with ties, n={n}: {false} false alarms of {rounds}")
    assert false / rounds <= 2 * shares.ALPHA + 4 * math.sqrt(shares.ALPHA / rounds)


def _power_of_shift(before: float, after: float, n: int, *, effect: bool) -> float:
    generator = numpy.random.default_rng(n)
    m, rounds = 10_000, 4000
    live = generator.binomial(n, after, rounds).tolist()
    reference = generator.binomial(m, before, rounds).tolist()
    floor = shares.EFFECT if effect else -1.0
    found = sum(_p(k, n, r, m) < shares.ALPHA and k / n > r / m + floor for k, r in zip(live, reference, strict=True))
    return float(found / rounds)


def test_power_of_the_exact_test_on_zeros() -> None:
    """The design's table: 1 % to 20 % is seen with n=50, 1 % to 5 % with 300, nothing to 2 % with 500."""
    print("\nnulls and zeros          n   power  with +2 points")
    for before, after, n, expected in ((0.01, 0.20, 50, 0.98), (0.01, 0.05, 300, 0.89), (0.0, 0.02, 500, 0.94)):
        plain = _power_of_shift(before, after, n, effect=False)
        full = _power_of_shift(before, after, n, effect=True)
        print(f"{before:5.0%} -> {after:4.0%} {n:14d} {plain:7.2f} {full:11.2f}   (the table says {expected})")
        assert plain == pytest.approx(expected, abs=0.04)


_KINDS: dict[str, tuple[float, float]] = {"mean +0.25 sd": (0.39, 0.99), "mean +0.5 sd": (1.0, 1.0)}
_KINDS |= {"10 % become 0": (0.67, 1.0), "scale x1.25": (0.47, 1.0), "unit x100": (1.0, 1.0)}


def _broken(kind: str, sound: list[float]) -> list[float]:
    if kind == "10 % become 0":
        return [0.0] * (len(sound) // 10) + sound[len(sound) // 10 :]
    shift, scale = {"mean +0.25 sd": (0.25, 1.0), "mean +0.5 sd": (0.5, 1.0)}.get(kind, (0.0, 1.0))
    scale = {"scale x1.25": 1.25, "unit x100": 100.0}.get(kind, scale)
    return [value * scale + shift for value in sound]


def test_power_of_psi() -> None:
    """The design's table at n = 300 / 1000, against the calibrated threshold alone."""
    generator = numpy.random.default_rng(7)
    reference = generator.normal(size=10_000).tolist()
    print("\nPSI, alpha 0.001     n=300         n=1000")
    for kind, expected in _KINDS.items():
        row = []
        for n in (300, 1000):
            rounds = 60 if n == 1000 else 150
            found = 0
            for _ in range(rounds):
                index, bins = drift.psi(_broken(kind, generator.normal(size=n).tolist()), reference)
                found += index > drift.psi_threshold(n, len(reference), bins)
            row.append(found / rounds)
        print(f"{kind:16s} {row[0]:5.2f} ({expected[0]:.2f})  {row[1]:5.2f} ({expected[1]:.2f})")
        assert row[0] == pytest.approx(expected[0], abs=0.25)  # the table does not say of what distribution
        assert row[1] == pytest.approx(expected[1], abs=0.06)


_DETECTORS: tuple[services.DetectorKind, ...] = ("shift", "distribution")


@pytest.mark.parametrize("detector", _DETECTORS)
def test_a_real_break_is_found_at_every_size(detector: services.DetectorKind) -> None:
    generator = numpy.random.default_rng(11)
    for n in SIZES:
        if detector == "shift":
            live, reference = specs.share(int(0.45 * n), n), specs.share(int(0.06 * n), 2 * n)
        else:
            live = specs.values(generator.normal(1.5, size=n).tolist())
            reference = specs.values(generator.normal(size=2 * n).tolist())
        assert specs.judged(specs.spec(detector), live, reference).state is signals.State.BAD
