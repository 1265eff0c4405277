"""What the journal records of backups. Part of `records`; apart from it only because there is much of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True)
class BackupMade:
    """`taken_at` is the moment that the snapshot shows, `status` complete or partial."""

    kind: ClassVar[str] = "backup.made"
    snapshot: str
    taken_at: datetime
    status: str
    repository: str
    components: tuple[str, ...] = ()
    size_bytes: int = 0
    added_bytes: int = 0
    took_s: float = 0.0


@dataclass(frozen=True)
class BackupVerified:
    """`whole` are the snapshots of which every needed byte was read (`is_all`) or found, `damaged` the packs with bytes
    that cannot be read. `is_copy`: it was a second repository that was looked at."""

    kind: ClassVar[str] = "backup.verified"
    repository: str
    level: str
    is_all: bool
    whole: tuple[str, ...]
    findings: int
    took_s: float = 0.0
    damaged: tuple[str, ...] = ()
    is_copy: bool = False


@dataclass(frozen=True)
class BackupDrilled:
    """A rehearsal: `phases` are the seconds of each phase, `why` what did not hold."""

    kind: ClassVar[str] = "backup.drilled"
    snapshot: str
    passed: bool
    taken_at: datetime
    phases: Mapping[str, float]
    took_s: float
    compared: int = 0
    why: str = ""


@dataclass(frozen=True)
class BackupsForgotten:
    kind: ClassVar[str] = "backup.forgotten"
    snapshots: tuple[str, ...]
    deleted_bytes: int = 0
    buried_bytes: int = 0


@dataclass(frozen=True)
class BackupCopied:
    """`newest` is the newest snapshot that the copy has now."""

    kind: ClassVar[str] = "backup.copied"
    to: str
    newest: str
    objects: int
    size_bytes: int


@dataclass(frozen=True)
class BackupLocked:
    """How long everything that `snapshot` needs cannot be deleted in `repository`; `until` is None where something of
    it is not locked."""

    kind: ClassVar[str] = "backup.locked"
    repository: str
    snapshot: str
    mode: str
    until: datetime | None
    objects: int = 0
    extended: int = 0


@dataclass(frozen=True)
class BackupRestored:
    kind: ClassVar[str] = "backup.restored"
    snapshot: str
    component: str
    target: str
    compared: int
    unequal: tuple[str, ...] = ()
    took_s: float = 0.0
