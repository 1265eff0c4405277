"""What was deleted or overwritten in a bucket that keeps versions, found again.

Whoever has the writer's keys can hide every object behind a delete marker and put other bytes on top; what was locked
is still there beneath. Objects are named by the hash of their bytes, so the right version of each proves itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ddr.backup import layout
from ddr.errors import DdrError, Unavailable, Unsupported
from ddr.ports import store

_KINDS = (layout.KEYS, layout.PACKS, layout.INDEX, layout.KEPT, layout.SNAPSHOTS)
"""What is named by its hash, in the order in which it comes back: snapshots last."""

_AT_ONCE = 8

Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Lost:
    """A key whose newest version is not what was written: since `at` it is deleted or has other bytes.

    `found` is the version that has the right bytes, None where none is left.
    """

    key: str
    how: Literal["deleted", "overwritten"]
    at: datetime
    found: store.Version | None

    @property
    def kind(self) -> str:
        return self.key.removeprefix(layout.ROOT).partition("/")[0]


def look(at: store.Versioned, since: datetime | None = None, told: Told | None = None) -> tuple[Lost, ...]:
    """Everything that was hidden (`since` then), in the order in which it has to come back. Changes nothing.

    A key with several versions is read until the bytes fit its name. What a prune has deleted is found, too, as long as
    the bucket keeps it: to bring that back does no harm, the next prune takes it away again.
    """
    found = []
    for count, (key, versions) in enumerate(_by_key(at), 1):
        newest, rest = versions[0], [one for one in versions if not one.is_marker]
        hidden_at = _hidden_at(versions)
        if since is not None and hidden_at < since:
            continue
        if newest.is_marker:
            found.append(Lost(key, "deleted", hidden_at, _right(at, key, rest)))
        elif len(rest) > 1:
            right = _right(at, key, rest)
            if right != newest:
                found.append(Lost(key, "overwritten", newest.at, right))
        if told:
            told("versions", count, 0)
    return tuple(found)


def bring_back(at: store.Versioned, lost: Sequence[Lost], told: Told | None = None) -> tuple[str, ...]:
    """Put the right version of each on top; what failed, one line each. Repeatable, deletes nothing.

    One kind after the other, snapshots last: cut off, no snapshot is there without what it needs.
    """
    problems: list[str] = []
    todo = [one for one in lost if one.found is not None]
    done = 0

    def back(one: Lost) -> str:
        assert one.found is not None
        try:
            at.bring_back(one.found)
        except DdrError as problem:
            return f"{one.key}: {problem.message}" + (f" ({problem.hint})" if problem.hint else "")
        return ""

    with futures.ThreadPoolExecutor(_AT_ONCE, "ddr-undelete") as pool:
        for _, group in itertools.groupby(todo, key=lambda one: one.kind):
            for problem in pool.map(back, list(group)):
                done += 1
                problems += [problem] if problem else []
                if told:
                    told("objects", done, len(todo))
    return tuple(problems)


def begun_before(at: store.Versioned) -> datetime | None:
    """When the repository was hidden that was here once; None where there never was one, or nothing says so."""
    try:
        versions = list(at.versions(layout.CONFIG))
    except (Unavailable, Unsupported):
        return None  # no versions are kept, or these credentials may not list them
    return _hidden_at(versions) if versions and versions[0].is_marker else None


def _by_key(at: store.Versioned) -> Iterator[tuple[str, list[store.Version]]]:
    for prefix in (layout.CONFIG, *_KINDS):
        for key, versions in itertools.groupby(at.versions(prefix), key=lambda one: one.key):
            yield key, list(versions)


def _hidden_at(versions: Sequence[store.Version]) -> datetime:
    """When the markers on top began: a second deletion does not make the first one younger."""
    on_top = list(itertools.takewhile(lambda one: one.is_marker, versions))
    return (on_top or versions)[-1 if on_top else 0].at


def _right(at: store.Versioned, key: str, versions: Sequence[store.Version]) -> store.Version | None:
    """The newest version that has the bytes it should. A single one is taken as it is: `verify` reads it anyway.

    No hash names the configuration. Nobody can put anything beneath the first one, so that is it: in its place there
    may be another repository, begun by a backup that found nothing.
    """
    if len(versions) <= 1:
        return versions[0] if versions else None
    if key == layout.CONFIG:
        first = at.get_version(versions[-1])
        return next(one for one in versions if at.get_version(one) == first)
    return next((one for one in versions if layout.name_of(at.get_version(one)) == layout.hash_in(key)), None)
