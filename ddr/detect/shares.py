"""Shares: of n observations, how many were wrong, zero, failed. Exact tests, never an approximation.

A share is bad when chance does not explain it (one-sided p below ALPHA) and it is large enough to matter. Only an
increase is bad: every share a service names counts something unwanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from ddr.detect import spoken, tails
from ddr.domain import services, signals

ALPHA = 0.001
"""Level of one test. At 8 signals a look, 0.8 % of the looks at a healthy service would show one, at most."""

FLOOR_RATE = 0.002
"""A reference without a single hit is taken for 0.2 %: one hit after a clean week proves nothing."""

EFFECT = 0.02
"""A shift matters from +2 points on: with enough observations every harmless difference becomes significant."""


def impossible(share: signals.Share) -> str:
    """Why the counts cannot be, '' when they can."""
    if 0 <= share.hits <= share.n:
        return ""
    return f"{share.hits} hits of {share.n} observations cannot be"


def _first_bad(n: int, is_bad: Callable[[int], bool]) -> int:
    """The smallest number of hits that is bad, n + 1 where even n hits are not. `is_bad` never turns back."""
    low, high = 0, n + 1
    while low < high:
        middle = (low + high) // 2
        if is_bad(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _powerless(spec: services.SignalSpec, n: int, at: datetime) -> signals.Judgement:
    return spoken.unknown(spec, at, f"{n} observations are too few: even {n} hits would not be significant", n)


def against_limit(spec: services.SignalSpec, live: signals.Share, at: datetime) -> signals.Judgement:
    """`share`: bad when above `limit` and P(X >= hits | n, limit) < ALPHA, exact binomial."""
    assert spec.limit is not None
    limit = spec.limit

    def is_bad(hits: int) -> bool:
        return hits > limit * live.n and tails.binomial_upper(hits, live.n, limit) < ALPHA

    first = _first_bad(live.n, is_bad)
    if first > live.n:
        return _powerless(spec, live.n, at)
    bad = is_bad(live.hits)
    why = ""
    if live.rate > limit:
        p = tails.binomial_upper(live.hits, live.n, limit)
        told = "" if bad else ", which chance explains"
        why = f"{live.hits} of {live.n} above {spoken.percent(limit)}, p={p:.1g}{told}"
    return spoken.decided(spec, at, bad=bad, value=live.rate, threshold=first / live.n, n=live.n, why=why)


def shift_p(live: signals.Share, reference: signals.Share) -> float:
    """p of "the rate is no higher than the reference's, nor than FLOOR_RATE".

    Both must be rejected, so the larger p counts (intersection-union test, R. L. Berger 1982: it holds the level
    without a correction). The first is conditional on the hits of both sides, because a reference of two hours is
    a sample too: a binomial test against its rate alone is wrong up to 3 % of the time at equal sizes.
    """
    floor_p = tails.binomial_upper(live.hits, live.n, FLOOR_RATE)
    return max(floor_p, tails.conditional_upper(live.hits, live.n, reference.hits, reference.n))


def _shift_is_bad(live: signals.Share, reference: signals.Share, effect: float, alpha: float) -> bool:
    return live.rate > reference.rate + effect and shift_p(live, reference) < alpha


def _first_shift(n: int, reference: signals.Share, effect: float, alpha: float) -> int:
    return _first_bad(n, lambda hits: _shift_is_bad(signals.Share(hits, n), reference, effect, alpha))


def against_reference(
    spec: services.SignalSpec, live: signals.Share, reference: signals.Share, at: datetime
) -> signals.Judgement:
    """`shift`: bad when more than EFFECT (or `limit`) above the reference's rate and `shift_p` < ALPHA."""
    effect = EFFECT if spec.limit is None else spec.limit
    first = _first_shift(live.n, reference, effect, ALPHA)
    if first > live.n:
        return _powerless(spec, live.n, at)
    bad = _shift_is_bad(live, reference, effect, ALPHA)
    why = f"{spoken.percent(reference.rate)} of {reference.n} in the reference"
    if bad:
        why += f", p={shift_p(live, reference):.1g}"
    return spoken.decided(spec, at, bad=bad, value=live.rate, threshold=first / live.n, n=live.n, why=why)


def rejected(p_values: Mapping[str, float], alpha: float = ALPHA) -> tuple[frozenset[str], float]:
    """The names whose test is rejected, and the level each was held against.

    Benjamini and Hochberg 1995: the expected share of false ones among the rejected is at most `alpha`.
    """
    ordered = sorted(p_values.items(), key=lambda named: named[1])
    passing = 0
    for rank, (_, p) in enumerate(ordered, start=1):
        if p < alpha * rank / len(ordered):
            passing = rank
    level = alpha * max(passing, 1) / max(len(ordered), 1)
    return frozenset(name for name, _ in ordered[:passing]), level


def of_columns(
    spec: services.SignalSpec,
    live: Mapping[str, signals.Share],
    reference: Mapping[str, signals.Share],
    at: datetime,
) -> signals.Judgement:
    """`columns`: a shift test for each column both sides have, Benjamini-Hochberg over them.

    Bad when a rejected column is more than EFFECT (or `limit`) above its reference. `value`, `threshold` and `n`
    are those of the column that rose most; `why` names the worst three. A column that could not be bad at this n,
    or that is full of hits in the reference already, is left out and counted.
    """
    effect = EFFECT if spec.limit is None else spec.limit
    shared = [name for name in live if name in reference]
    tested = [
        name
        for name in shared
        if _shift_is_bad(signals.Share(live[name].n, live[name].n), reference[name], effect, ALPHA / len(shared))
    ]
    if not tested:
        return _powerless(spec, min(live[name].n for name in shared), at)
    found, level = rejected({name: shift_p(live[name], reference[name]) for name in tested})
    rise = {name: live[name].rate - reference[name].rate for name in tested}
    worst = sorted((name for name in found if rise[name] > effect), key=lambda name: -rise[name])
    shown = worst[0] if worst else max(tested, key=lambda name: rise[name])
    why = f"{len(worst)} of {len(tested)} columns rose"
    if worst:
        why += ": " + ", ".join(_rise(name, live[name], reference[name]) for name in worst[:3])
    if len(tested) < len(live):
        why += f"; {len(live) - len(tested)} cannot be tested"
    return spoken.decided(
        spec,
        at,
        bad=bool(worst),
        value=live[shown].rate,
        threshold=_first_shift(live[shown].n, reference[shown], effect, level) / live[shown].n,
        n=live[shown].n,
        why=why,
    )


def _rise(name: str, live: signals.Share, reference: signals.Share) -> str:
    return f"{name} {spoken.percent(live.rate)} (was {spoken.percent(reference.rate)})"
