"""PSI at its edges: ties, constants, what is no number."""

from __future__ import annotations

import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as some

from ddr.detect import drift
from ddr.domain import signals
from tests.unit.detect import specs

OK, BAD, UNKNOWN = signals.State.OK, signals.State.BAD, signals.State.UNKNOWN
_spec = specs.spec("distribution", min_samples=20)

_normal = numpy.random.default_rng(5).normal(size=1000).tolist()
_half_zero = [0.0] * 500 + _normal[:500]


@pytest.mark.parametrize(
    ("live", "reference", "state"),
    [
        ([0.0] * 100, [0.0] * 300, OK),  # constant and unchanged
        ([1.0] * 100, [0.0] * 300, BAD),  # constant, another constant
        ([-1.0] * 100, [0.0] * 300, BAD),
        ([0.0] * 100, _normal, BAD),
        (_normal[:100], [0.0] * 300, BAD),
        (_half_zero, _half_zero * 2, OK),
        ([-1e-12] * 500 + _normal[:500], _half_zero, BAD),  # beside the tie, not on it
        ([0.0, 1.0] * 100, [0.0, 1.0] * 300, OK),  # two values only
        ([0.0] * 150 + [1.0] * 50, [0.0, 1.0] * 300, BAD),
        ([math.nan] * 100, _normal, BAD),
        ([math.inf] * 100, _normal, BAD),
        ([math.nan] * 30 + _normal[:170], _normal, BAD),
        ([math.nan] * 100, [math.nan] * 300, UNKNOWN),
        (_normal[:200], [math.nan] * 100 + _normal[100:], OK),
        (_normal[:19], _normal, UNKNOWN),
        (_normal[:200], _normal[:19], UNKNOWN),
        ([], _normal, UNKNOWN),
    ],
)
def test_edges(live: list[float], reference: list[float], state: signals.State) -> None:
    if reference[:1] and math.isnan(reference[0]) and state is OK:
        live = [math.nan] * 22 + live[:178]
    found = specs.judged(_spec, specs.values(live), specs.values(reference))
    assert found.state is state, found


def test_what_is_no_number_is_counted() -> None:
    found = specs.judged(_spec, specs.values([math.nan] * 3 + _normal[:97]), specs.values(_normal))
    assert found.why == "PSI over 11 bins against 1000 in the reference; 3 of 100 are no finite number"


def test_bins_have_equal_mass_and_a_tie_has_its_own() -> None:
    cuts = drift.cut_points(_normal, 10)
    assert len(cuts) == 9
    counts = numpy.bincount(numpy.searchsorted(cuts, _normal, side="left"), minlength=10)
    assert set((counts - 100).tolist()) <= {-1, 0, 1}
    cuts = drift.cut_points(_half_zero, 10)
    inside = numpy.searchsorted(cuts, [0.0, math.nextafter(0, -1), math.nextafter(0, 1)], side="left")
    assert len(set(inside.tolist())) == 3


def test_few_observations_get_few_bins() -> None:
    """About ten of them a bin, so that the threshold's law still holds."""
    found = specs.judged(_spec, specs.values(_normal[:40]), specs.values(_normal))
    assert "over 4 bins" in found.why


_values = some.lists(some.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=60)


@given(live=_values, reference=_values.filter(lambda values: any(math.isfinite(value) for value in values)))
def test_psi_is_finite_never_negative_and_zero_against_itself(live: list[float], reference: list[float]) -> None:
    index, bins = drift.psi(live, reference)
    assert math.isfinite(index)
    assert index >= 0.0
    assert 1 <= bins <= 2 * drift.BINS + 1
    assert drift.psi(reference, reference)[0] == pytest.approx(0.0, abs=1e-12)


@given(n=some.integers(1, 10**6), m=some.integers(1, 10**6), bins=some.integers(2, 40))
def test_the_threshold_falls_with_samples_and_rises_with_bins(n: int, m: int, bins: int) -> None:
    here = drift.psi_threshold(n, m, bins)
    assert drift.psi_threshold(n + 1, m, bins) < here
    assert drift.psi_threshold(n, m + 1, bins) < here
    assert drift.psi_threshold(n, m, bins + 1) > here
