"""How a service stands right now: what `ddr status` shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ddr.domain import incidents, planes, releases, revisions, signals


@dataclass(frozen=True)
class PlaneStatus:
    """One plane. `revision` is None where it could not be read, and `problem` says why.

    `known_good` compares with the newest known-good release; None where nothing was recorded to compare with.
    `overwritten`: it has that release's name and other bytes. `served` is what the server has in memory, where that
    is something else. `hint` is what to do about `problem`.
    """

    plane: planes.Plane
    connector: str
    revision: revisions.Revision | None
    known_good: bool | None = None
    frozen: str = ""
    problem: str = ""
    overwritten: bool = False
    served: revisions.Revision | None = None
    hint: str = ""


@dataclass(frozen=True)
class OpenRun:
    """A run without an end.

    `status` is running, paused, interrupted or waits for approval; `step` is the newest one, '' before the first.
    `next_command` brings it on.
    """

    id: str
    title: str
    status: str
    step: str
    next_command: str = ""


@dataclass(frozen=True)
class BackupStanding:
    """Backups against what was promised: texts that begin with ok, bad or unknown. `score` of five points 3-2-1-1-0.
    `gone` are snapshots that the journal tells of and the repository has no more, though nobody forgot them."""

    newest_at: datetime
    verified_at: datetime | None
    rpo: str
    rto: str
    score: int
    missing: tuple[str, ...] = ()
    is_ok: bool = False
    gone: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServiceStatus:
    """`backups` is None where there never was one.

    `reasons` say why `state` is not ok, `mend` what a person has to put right by hand, `next_command` what to type.
    """

    service: str
    at: datetime
    state: signals.State
    planes: tuple[PlaneStatus, ...]
    signals: tuple[signals.Judgement, ...]
    incidents: tuple[incidents.Incident, ...]
    runs: tuple[OpenRun, ...]
    last_good: releases.Release | None = None
    fallback: bool = False
    backups: BackupStanding | None = None
    reasons: tuple[str, ...] = ()
    mend: tuple[str, ...] = ()
    next_command: str = ""
