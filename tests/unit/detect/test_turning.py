"""Finding the moment a row of answers turned worse."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as some

from ddr.detect import turning


@pytest.mark.parametrize(("before", "after"), [(0.02, 0.3), (0.03, 0.9), (0.03, 0.15), (0.0, 0.2)])
@pytest.mark.parametrize("share_after", [0.1, 0.5, 0.9])
def test_the_interval_holds_the_turn(before: float, after: float, share_after: float) -> None:
    generator = numpy.random.default_rng(20261121)
    n, rounds, held, found, widths = 1500, 60, 0, 0, []
    turn = round(n * (1 - share_after))
    for _ in range(rounds):
        rates = numpy.where(numpy.arange(n) < turn, before, after)
        point = turning.turning_point((generator.random(n) < rates).tolist())
        if point is not None:
            found += 1
            held += point[0] <= turn <= point[1]
            widths.append(point[1] - point[0])
    print(f"{before} -> {after}, {share_after:.0%} after: found {found}, held {held} of {rounds}, width {max(widths)}")
    assert found == rounds or after - before < 0.15
    assert held >= 0.95 * found


def test_an_unchanged_row_has_no_turn() -> None:
    generator = numpy.random.default_rng(1)
    found = rounds = 0
    for n in (100, 1000, 5000):
        for rate in (0.0, 0.03, 0.3, 1.0):
            for _ in range(50):
                rounds += 1
                found += turning.turning_point((generator.random(n) < rate).tolist()) is not None
    print(f"{found} turns in {rounds} unchanged rows")
    assert found <= 0.001 * rounds + 1


def test_a_recovery_is_no_turn_for_the_worse() -> None:
    assert turning.turning_point([True] * 200 + [False] * 200) is None


def test_a_sharp_turn_is_found_to_the_request() -> None:
    assert turning.turning_point([False] * 200 + [True] * 100) == (200, 200)


@given(bad=some.lists(some.booleans(), max_size=60))
def test_any_row_is_answered(bad: list[bool]) -> None:
    point = turning.turning_point(bad)
    assert point is None or 1 <= point[0] <= point[1] < len(bad)


def test_an_incident_that_is_over_is_not_the_one_that_is_on() -> None:
    generator = numpy.random.default_rng(3)
    for _ in range(30):
        rates = [0.03] * 300 + [0.5] * 200 + [0.03] * 400 + [0.4] * 100
        row = (generator.random(1000) < rates).tolist()
        first, last = turning.newest_turn(row) or (0, 0)
        assert first <= 900 <= last
        assert last - first < 120
    over = [0.03] * 300 + [0.5] * 200 + [0.03] * 400
    assert turning.newest_turn((generator.random(900) < over).tolist()) is None
