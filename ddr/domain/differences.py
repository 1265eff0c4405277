"""What is different between two revisions, or two releases, inside: facts, what they were made of, numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from ddr.domain import planes, releases, revisions
from ddr.lib import digest

NOT_CONTENT = frozenset({revisions.BLOCKED, "built_at"})
"""Facts that say nothing about what a revision does: marks, and when it was made."""

SETTING = "set."
"""Facts with this prefix are settings of a configuration, masked where they may be secrets."""

_SHOWN = 6


@dataclass(frozen=True)
class Difference:
    """`before` or `after` is '' where that side does not say it."""

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.name} {_spoken(self.before)} → {_spoken(self.after)}"


@dataclass(frozen=True)
class PlaneDifference:
    """One plane of two releases. `before` or `after` is None where that release does not have it."""

    plane: planes.Plane
    before: revisions.Revision | None
    after: revisions.Revision | None
    is_same: bool
    facts: tuple[Difference, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Two releases, plane by plane; `lineage` also has the numbers of their evaluations."""

    planes: tuple[PlaneDifference, ...]
    lineage: tuple[Difference, ...]

    @property
    def is_same(self) -> bool:
        return not self.lineage and all(plane.is_same for plane in self.planes)


def of_facts(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Difference, ...]:
    """Facts that differ. Of packages and of data only those that do, by their own names."""
    found: list[Difference] = []
    for name in dict.fromkeys([*before, *after]):
        first, second = before.get(name, ""), after.get(name, "")
        if first == second or name in NOT_CONTENT:
            continue
        if name in (revisions.PACKAGES, revisions.DATA) and first and second:
            found += _of_lists(first, second)
        else:
            found.append(Difference(name.removeprefix(SETTING), first, second))
    return tuple(found)


def _of_lists(before: str, after: str) -> list[Difference]:
    """`numpy==1.26,scipy==1.11` or `train@sha256:…`: entry by entry."""
    first, second = _entries(before), _entries(after)
    return [
        Difference(name, first.get(name, ""), second.get(name, ""))
        for name in sorted({*first, *second})
        if first.get(name) != second.get(name)
    ]


def _entries(text: str) -> dict[str, str]:
    pairs = (entry.strip().partition("==" if "==" in entry else "@") for entry in text.split(",") if entry.strip())
    return {name: value or "there" for name, _, value in pairs}


def between(one: releases.Release, other: releases.Release, *, is_live: bool = False) -> Comparison:
    """From `one` to `other`, every plane that either has. With `is_live` one of them is no release but what is live:
    then what it does not say it was made of is no difference."""
    found = []
    for plane in planes.Plane:
        before, after = one.revisions.get(plane), other.revisions.get(plane)
        if before is None and after is None:
            continue
        same = before is not None and after is not None and before.is_same(after)
        facts = of_facts(before.facts if before else {}, after.facts if after else {}) if before and after else ()
        found.append(PlaneDifference(plane, before, after, same, facts))
    made_of = _of_lineage(one.lineage, other.lineage)
    return Comparison(tuple(found), tuple(each for each in made_of if not is_live or (each.before and each.after)))


def _of_lineage(one: releases.Lineage, other: releases.Lineage) -> tuple[Difference, ...]:
    names = [field.name for field in dataclasses.fields(releases.Lineage) if field.name != "evaluation"]
    pairs = [(name, getattr(one, name), getattr(other, name)) for name in names]
    for name in dict.fromkeys([*one.evaluation, *other.evaluation]):
        pairs.append((name, _number(one.evaluation.get(name)), _number(other.evaluation.get(name))))
    return tuple(Difference(name, before, after) for name, before, after in pairs if before != after)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def line(found: tuple[Difference, ...]) -> str:
    """On one line, the first few and how many more."""
    more = len(found) - _SHOWN
    shown = "; ".join(str(one) for one in found[:_SHOWN])
    return shown + (f"; {more} more" if more > 0 else "")


def _spoken(text: str) -> str:
    if not text:
        return "(not said)"
    if text.startswith(digest.PREFIX):
        return digest.short(text)
    return text if len(text) <= 60 else f"{text[:57]}…"
