"""From evidence to an order and a word: log-odds, normalised, and a verdict by rule."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from ddr.diagnose import evidence
from ddr.domain import changes, diagnoses, planes

UNKNOWN_PRIOR = 0.15
"""Something that is no plane at all: an upstream table, the world."""

PLANE_PRIOR = (1 - UNKNOWN_PRIOR) / len(planes.Plane)
"""Every plane alike, also those that are no candidate: one lone candidate does not inherit the others' share."""

LIKELY_FROM = 0.7
LIKELY_LEAD = 5.0

_PROOF = 99.0


def rank(
    found: Mapping[planes.Plane, tuple[diagnoses.Evidence, ...]],
    culprits: Mapping[planes.Plane, changes.Change | None],
    unknown: tuple[diagnoses.Evidence, ...] = (),
    together: Collection[planes.Plane] = (),
) -> tuple[diagnoses.Candidate, ...]:
    """Candidates and `unknown`, most probable first; evidence strongest first.

    Candidates exclude each other, but for those of `together`: each of them is weighed as if it alone were there.
    """
    odds: dict[planes.Plane | None, float] = {
        plane: math.log(PLANE_PRIOR) + _log_ratio(lines) for plane, lines in found.items()
    }
    odds[None] = math.log(UNKNOWN_PRIOR) + _log_ratio(unknown)
    most = max(odds.values())
    weights = {plane: math.exp(log_odds - most) for plane, log_odds in odds.items()}
    total = sum(weights.values())
    besides = sum(weight for plane, weight in weights.items() if plane not in together)
    ranked = [
        diagnoses.Candidate(
            plane=plane,
            probability=weight / (besides + weight if plane in together else total),
            evidence=_strongest_first(unknown if plane is None else found[plane]),
            change=None if plane is None else culprits.get(plane),
        )
        for plane, weight in weights.items()
    ]
    return tuple(sorted(ranked, key=lambda candidate: -weights[candidate.plane]))


def _log_ratio(lines: Sequence[diagnoses.Evidence]) -> float:
    return sum(math.log(line.ratio) for line in lines)


def _strongest_first(lines: Sequence[diagnoses.Evidence]) -> tuple[diagnoses.Evidence, ...]:
    return tuple(sorted(lines, key=lambda line: -abs(math.log(line.ratio))))


def is_proved(candidate: diagnoses.Candidate) -> bool:
    """An identity mismatch or a swap that restored."""
    return any(line.ratio >= _PROOF and line.test in (evidence.IDENTITY, evidence.SWAP) for line in candidate.evidence)


def verdict(ranked: Sequence[diagnoses.Candidate]) -> diagnoses.Verdict:
    """CONFIRMED is proved, LIKELY is p >= 0.7 and five times the next, POSSIBLE leads, INCONCLUSIVE does not."""
    leading = ranked[0]
    if leading.plane is None:
        return diagnoses.Verdict.INCONCLUSIVE
    if is_proved(leading):
        return diagnoses.Verdict.CONFIRMED
    next_best = ranked[1].probability if len(ranked) > 1 else 0.0
    if leading.probability >= LIKELY_FROM and leading.probability >= LIKELY_LEAD * next_best:
        return diagnoses.Verdict.LIKELY
    return diagnoses.Verdict.POSSIBLE
