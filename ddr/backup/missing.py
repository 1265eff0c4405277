"""Snapshots that the journal tells of and that are gone without anybody having said so.

Retention and `repair --drop` write down what they forget. A snapshot that is gone otherwise was deleted by hand, by a
disk or by somebody who means harm: until it is back, or a person says that it is meant, nothing it needs is buried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ddr.backup import layout
from ddr.journal import backup_view
from ddr.ports import store


@dataclass(frozen=True)
class Gone:
    """`is_sure` is False where the journal was put back or adopted after it was made, or knows less than the
    repository: then it may have been forgotten, and the journal lost the word of it."""

    id: str
    taken_at: datetime
    is_sure: bool

    def __str__(self) -> str:
        return f"{self.id[:8]} of {self.taken_at:%Y-%m-%d %H:%M} UTC"


def look(at: store.Store, known: backup_view.Backups) -> tuple[Gone, ...]:
    """Oldest first. Reads names alone, and needs no key. Only what was made in the place that is called so: a
    repository that was moved, and a copy, are none of its business."""
    told = [one for one in known.made.values() if one.repository == at.name]
    if not told:
        return ()
    there = {layout.hash_in(entry.key)[: layout.ID_DIGITS]: entry.key for entry in at.list(layout.SNAPSHOTS)}
    lacking = [one for one in told if one.snapshot not in there]
    if not lacking:
        return ()
    aside = {layout.hash_in(entry.key.rpartition("-")[0])[: layout.ID_DIGITS] for entry in at.list(layout.ASIDE)}
    newest_told = max(one.taken_at for one in told).replace(microsecond=0)
    is_behind = any(
        id_ not in known.made and id_ not in known.forgotten and _is_later(key, newest_told)
        for id_, key in there.items()
    )
    return tuple(
        Gone(one.snapshot, one.taken_at, not is_behind and one.snapshot not in known.doubtful)
        for one in sorted(lacking, key=lambda one: one.taken_at)
        if one.snapshot not in aside
    )


def surely(found: Sequence[Gone]) -> tuple[Gone, ...]:
    return tuple(one for one in found if one.is_sure)


def said(found: Sequence[Gone]) -> str:
    """All of them by name."""
    if len(found) == 1:
        return f"snapshot {found[0]}, which the journal tells of, is gone and nobody forgot it"
    return f"{len(found)} snapshots that the journal tells of are gone and nobody forgot them: " + ", ".join(
        str(one) for one in found
    )


def ways(copies: Sequence[str] = ()) -> str:
    """What a person can do."""
    back = f"bring them back from a copy ({', '.join(copies)}: `{layout.SNAPSHOTS}`)" if copies else "bring them back"
    return (
        f"{back}, in a bucket with versions by `ddr backup undelete`; their packs stay until then; where it is meant: "
        "`ddr backup prune --forget-missing`"
    )


def _is_later(key: str, than: datetime) -> bool:
    try:
        return layout.time_in(key) >= than  # a name has whole seconds
    except ValueError:
        return False
