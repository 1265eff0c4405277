"""How a service stands right now: what `ddr status` shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ddr.domain import incidents, planes, releases, revisions, signals


@dataclass(frozen=True)
class PlaneStatus:
    """One plane. `revision` is None where it could not be read, and `problem` says why.

    `known_good` compares with the newest known-good release; None where nothing was recorded to compare with.
    `overwritten`: it has that release's name and other bytes.
    """

    plane: planes.Plane
    connector: str
    revision: revisions.Revision | None
    known_good: bool | None = None
    frozen: str = ""
    problem: str = ""
    overwritten: bool = False


@dataclass(frozen=True)
class OpenRun:
    """A run without an end.

    `status` is running, paused, interrupted or waits for approval; `step` is the newest one, '' before the first.
    """

    id: str
    title: str
    status: str
    step: str


@dataclass(frozen=True)
class ServiceStatus:
    """`backup_at` is the newest backup that was verified; None means there is none."""

    service: str
    at: datetime
    state: signals.State
    planes: tuple[PlaneStatus, ...]
    signals: tuple[signals.Judgement, ...]
    incidents: tuple[incidents.Incident, ...]
    runs: tuple[OpenRun, ...]
    last_good: releases.Release | None = None
    fallback: bool = False
    backup_at: datetime | None = None
