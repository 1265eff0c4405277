"""The rules by which a game day is judged. Pure: what was seen goes in, a decision comes out.

Detection: a signal has detected a fault when it is BAD twice in a row, or once where its detector is exact. A share
or a distribution is a sample and may be wrong once in a thousand looks; an age, a bound or a digest is measured and
not sampled, so that one look is proof.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ddr.domain import accounts, planes, revisions, services, signals

EXACT: frozenset[services.DetectorKind] = frozenset({"ceiling", "floor", "identity"})
"""Detectors that compare a measured fact; the others judge a sample."""

CONFIRMED_AFTER = 2
"""How many BAD judgements in a row a sampled signal needs."""


@dataclass(frozen=True)
class Detection:
    """The judgement that completed the proof, and how many in a row it took."""

    judgement: signals.Judgement
    in_a_row: int


def find_detection(
    series: Iterable[accounts.Series],
    service: services.Service,
    wanted: Collection[str],
    since: datetime,
) -> Detection | None:
    """The earliest detection by one of the `wanted` signals, counting judgements after `since` only."""
    kinds = {spec.name: spec.detector for spec in service.signals}
    found = []
    for one in series:
        if one.signal not in wanted:
            continue
        needed = 1 if kinds.get(one.signal) in EXACT else CONFIRMED_AFTER
        detection = _first_in_a_row([entry for entry in one.judgements if entry.at > since], needed)
        if detection is not None:
            found.append(detection)
    return min(found, key=lambda detection: detection.judgement.at, default=None)


def _first_in_a_row(judgements: Sequence[signals.Judgement], needed: int) -> Detection | None:
    run = 0
    for judgement in judgements:
        run = run + 1 if judgement.state is signals.State.BAD else 0
        if run >= needed:
            return Detection(judgement, run)
    return None


def is_steady(judgements: Sequence[signals.Judgement], wanted: Collection[str]) -> bool:
    """Whether every wanted signal was judged and is OK; unknown is not ok."""
    states = {judgement.signal: judgement.state for judgement in judgements}
    return bool(wanted) and all(states.get(name) is signals.State.OK for name in wanted)


def not_ok(judgements: Sequence[signals.Judgement], wanted: Collection[str]) -> tuple[str, ...]:
    """Why it is not steady: one line for each wanted signal that is not OK."""
    by_name = {judgement.signal: judgement for judgement in judgements}
    lines = []
    for name in wanted:
        judgement = by_name.get(name)
        if judgement is None:
            lines.append(f"{name} was not judged")
        elif judgement.state is not signals.State.OK:
            lines.append(str(judgement))
    return tuple(lines)


def changed_planes(before: accounts.View | None, after: accounts.View | None) -> tuple[revisions.Revision, ...] | None:
    """The revisions of `after` that are not those of `before`; None when one of the views is missing."""
    if before is None or after is None:
        return None
    was = {revision.plane: revision for revision in before.revisions}
    return tuple(
        revision
        for revision in after.revisions
        if revision.plane not in was or not was[revision.plane].is_same(revision)
    )


def spoken(found: Iterable[planes.Plane]) -> str:
    """Planes in a sentence; `none` when there are none."""
    return ", ".join(found) or "none"
