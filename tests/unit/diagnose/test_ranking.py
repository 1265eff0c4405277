"""From evidence to an order and a word, by rule."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ddr.diagnose import evidence, ranking
from ddr.domain import diagnoses, planes

MODEL, CODE, FEATURES = planes.Plane.MODEL, planes.Plane.CODE, planes.Plane.FEATURES
Verdict = diagnoses.Verdict


def line(ratio: float, test: str = "signal") -> diagnoses.Evidence:
    return diagnoses.Evidence(test, "n=1", ratio)


def judged(
    found: Mapping[planes.Plane, tuple[diagnoses.Evidence, ...]], unknown: tuple[diagnoses.Evidence, ...] = ()
) -> tuple[diagnoses.Verdict, planes.Plane | None, float]:
    ranked = ranking.rank(found, {}, unknown)
    return ranking.verdict(ranked), ranked[0].plane, ranked[0].probability


@pytest.mark.parametrize(
    ("found", "verdict", "plane"),
    [
        ({MODEL: (line(100, evidence.IDENTITY),)}, Verdict.CONFIRMED, MODEL),
        ({MODEL: (line(100, evidence.SWAP),)}, Verdict.CONFIRMED, MODEL),
        ({MODEL: (line(100, "another test"),)}, Verdict.LIKELY, MODEL),  # strong, and no proof
        ({MODEL: (line(50), line(2, evidence.CO_TIMING))}, Verdict.LIKELY, MODEL),
        ({FEATURES: (line(20),)}, Verdict.LIKELY, FEATURES),
        ({FEATURES: (line(20),), CODE: (line(2, evidence.CO_TIMING),)}, Verdict.LIKELY, FEATURES),
        ({FEATURES: (line(20),), MODEL: (line(20),)}, Verdict.POSSIBLE, FEATURES),
        ({MODEL: (line(5),)}, Verdict.POSSIBLE, MODEL),
        ({CODE: (line(2, evidence.CO_TIMING),)}, Verdict.POSSIBLE, CODE),  # a change alone is never LIKELY
        ({CODE: (line(2, evidence.CO_TIMING), line(0.1, evidence.SWAP))}, Verdict.INCONCLUSIVE, None),
        ({CODE: (line(0.1, evidence.IDENTITY),)}, Verdict.INCONCLUSIVE, None),
        ({}, Verdict.INCONCLUSIVE, None),
    ],
)
def test_verdicts_by_rule(
    found: dict[planes.Plane, tuple[diagnoses.Evidence, ...]], verdict: Verdict, plane: planes.Plane | None
) -> None:
    assert judged(found)[:2] == (verdict, plane)


def test_evidence_for_something_else_counts() -> None:
    found = {CODE: (line(2, evidence.CO_TIMING),)}
    assert judged(found, (line(10, evidence.SWAP),))[:2] == (Verdict.INCONCLUSIVE, None)


_lines = some.lists(some.sampled_from([0.1, 1.0, 2.0, 5.0, 20.0, 100.0]).map(line), max_size=5).map(tuple)
_found = some.dictionaries(some.sampled_from(list(planes.Plane)), _lines)


@given(found=_found)
def test_probabilities_are_ordered_and_sum_to_one(found: dict[planes.Plane, tuple[diagnoses.Evidence, ...]]) -> None:
    ranked = ranking.rank(found, {})
    assert sum(candidate.probability for candidate in ranked) == pytest.approx(1.0)
    assert all(one.probability >= other.probability for one, other in itertools.pairwise(ranked))
    assert {candidate.plane for candidate in ranked} == {*found, None}


@given(found=_found)
def test_confirmed_is_never_said_without_proof(found: dict[planes.Plane, tuple[diagnoses.Evidence, ...]]) -> None:
    assert judged(found)[0] is not Verdict.CONFIRMED


@given(found=_found.filter(bool), more=some.sampled_from([2.0, 5.0, 100.0]), data=some.data())
def test_more_evidence_for_a_plane_never_lowers_it(
    found: dict[planes.Plane, tuple[diagnoses.Evidence, ...]], more: float, data: some.DataObject
) -> None:
    plane = data.draw(some.sampled_from(sorted(found)))

    def share(of: Mapping[planes.Plane, tuple[diagnoses.Evidence, ...]]) -> float:
        return next(one.probability for one in ranking.rank(of, {}) if one.plane is plane)

    assert share(found | {plane: (*found[plane], line(more))}) >= share(found) - 1e-12
