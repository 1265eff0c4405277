"""Backups as the journal tells of them: which snapshots were made, which were read back, which were rehearsed."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from ddr.domain import backup_records, events, journal_records


@dataclass(frozen=True)
class Backups:
    """Snapshots by id, in the order in which they were made; times are real ones, also in a sandbox.

    `verified` has when each was last found whole by a full reading, `copied` by place when it was last brought up to
    date and the newest snapshot there, `locked` by place how the locks stood at the last look, `forgotten` what is
    gone. `doubtful` were made before the journal was put back from a backup or adopted: what it has lost may be the
    word that they were forgotten. `damaged` are packs by repository that the last looks found to be damaged.
    """

    made: dict[str, backup_records.BackupMade]
    verified: dict[str, datetime]
    drills: tuple[tuple[datetime, backup_records.BackupDrilled], ...] = ()
    copied: dict[str, tuple[datetime, str]] | None = None
    verified_at: datetime | None = None
    forgotten: frozenset[str] = frozenset()
    locked: dict[str, backup_records.BackupLocked] = field(default_factory=dict)
    doubtful: frozenset[str] = frozenset()
    damaged: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def newest_verified(self) -> backup_records.BackupMade | None:
        """The newest complete snapshot that was read back whole."""
        found = [one for name, one in self.made.items() if name in self.verified and one.status == "complete"]
        return max(found, key=lambda one: one.taken_at, default=None)

    def without(self, gone: Collection[str]) -> Backups:
        """As if these had never been made: they cannot be had back."""
        return dataclasses.replace(
            self,
            made={name: one for name, one in self.made.items() if name not in gone},
            verified={name: at for name, at in self.verified.items() if name not in gone},
        )


class BackupFold:
    """Takes backup records, in order."""

    def __init__(self) -> None:
        self._made: dict[str, backup_records.BackupMade] = {}
        self._verified: dict[str, datetime] = {}
        self._drills: list[tuple[datetime, backup_records.BackupDrilled]] = []
        self._copied: dict[str, tuple[datetime, str]] = {}
        self._verified_at: datetime | None = None
        self._forgotten: set[str] = set()
        self._locked: dict[str, backup_records.BackupLocked] = {}
        self._doubtful: set[str] = set()
        self._damaged: dict[str, frozenset[str]] = {}

    def take(self, event: events.Event) -> None:
        match event.record:
            case backup_records.BackupMade() as record:
                self._made[record.snapshot] = record
            case backup_records.BackupVerified(is_copy=True):
                return
            case backup_records.BackupVerified() as record if record.level != "full" or not record.is_all:
                known = self._damaged.get(record.repository, frozenset())
                self._damaged[record.repository] = known | frozenset(record.damaged)
            case backup_records.BackupVerified() as record:
                self._damaged[record.repository] = frozenset(record.damaged)
                self._doubtful.difference_update(record.whole)
                self._verified = {
                    **{name: at for name, at in self._verified.items() if name in record.whole},
                    **dict.fromkeys(record.whole, event.wall),
                }
                self._verified_at = event.wall
            case backup_records.BackupDrilled() as record:
                self._drills.append((event.wall, record))
                if record.passed:
                    self._verified.setdefault(record.snapshot, event.wall)
            case backup_records.BackupCopied() as record:
                self._copied[record.to] = (event.wall, record.newest)
            case backup_records.BackupLocked() as record:
                self._locked[record.repository] = record
            case backup_records.BackupsForgotten() as record:
                self._forgotten.update(record.snapshots)
            case backup_records.BackupRestored(component="journal") | journal_records.JournalAdopted():
                self._doubtful.update(self._made)
            case _:
                return

    def backups(self) -> Backups:
        return Backups(
            {name: one for name, one in self._made.items() if name not in self._forgotten},
            {name: at for name, at in self._verified.items() if name not in self._forgotten},
            tuple(self._drills),
            dict(self._copied),
            self._verified_at,
            frozenset(self._forgotten),
            dict(self._locked),
            frozenset(self._doubtful),
            dict(self._damaged),
        )
