"""Where the pointer of a home has been: what may be gone to without being named.

The record of moves may have lost lines, and others may move the pointer. So only what is known to have served may be
gone to by itself, and where a move does not begin where the one before it ended, there was one between them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from ddr.index.homes import home, naming


@dataclass(frozen=True)
class History:
    """`ways`: versions that served and were not gone back from, the last first. `others`: the rest, those first that
    nobody went back from, then newer ones; a person goes there by name. Of both, what is there and ddr's own."""

    ways: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    left: frozenset[str] = frozenset()
    """From which, or over which, the pointer went back to an older one, and never forward to them again: whoever did
    that did not want them. A version that others put there is neither older nor newer."""

    def before(self, current: str | None) -> tuple[str, ...]:
        """Versions to go back to, the best first."""
        return tuple(name for name in self.ways if name != current)

    def doubt(self, version: str) -> str:
        """Why it is not gone to by itself, as a predicate; "" where it is."""
        if version in self.left:
            return "was gone back from"
        return "" if version in self.ways else "is not known to have served"


def of(shelf: home.Home) -> History:
    """By the record of moves and the pointer of now; where the record is lost, nothing is known to have served."""
    places = list(_places(shelf))
    number = naming.number
    left: set[str] = set()
    ours = [place for place in places if naming.is_ours(place[0])]
    for (before, _), (after, is_new) in itertools.pairwise(ours):
        left.discard(after)
        if not is_new:
            left |= {name for name, _ in places if number(after) < number(name) <= number(before)}
    there = [name for name in shelf.versions() if naming.is_ours(name)]
    served = dict.fromkeys(name for name, _ in reversed(places))
    ways = tuple(name for name in served if name in there and name not in left)
    others = sorted(set(there) - set(ways), key=lambda name: (name in left, -number(name)))
    return History(ways, tuple(others), frozenset(left))


def _places(shelf: home.Home) -> Iterator[tuple[str, bool]]:
    """Versions that the pointer named, one after the other; whether it was published then."""
    last = ""
    for name, is_new in _said(shelf):
        if name != last and _is_version(name):
            yield name, is_new
            last = name


def _said(shelf: home.Home) -> Iterator[tuple[str, bool]]:
    try:
        for move in shelf.moves():
            yield move.before, False
            yield move.after, move.published is not None
        yield shelf.current() or "", False
    except home.LostPointer:
        return


def _is_version(name: str) -> bool:
    """Of a lost pointer the record names nothing, or a path."""
    return bool(name) and "/" not in name
