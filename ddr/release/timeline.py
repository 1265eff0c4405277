"""What changed: the planes' own memories, the logs beside them, the journal and the ledger as one timeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ddr.domain import changes as changes_
from ddr.domain import releases, timelines
from ddr.errors import DdrError
from ddr.journal import views
from ddr.ports import connector
from ddr.ports import platform as platforms
from ddr.release import ledger


@dataclass(frozen=True)
class Look:
    """A timeline, and what it was made from: `told` is what each source says, `sighted` are all sightings, oldest
    first, the last one of now."""

    timeline: timelines.Timeline
    told: tuple[changes_.Change, ...]
    sighted: tuple[releases.Sighting, ...]
    live: releases.Release | None


def changes(
    platform: platforms.Platform, service: str, since: datetime, known: views.Board | None = None
) -> timelines.Timeline:
    """Every change of the service from `since` on, each once, the recorded telling before the found one.

    A source that fails is named in `silent`; the others go on. Differences between sightings (releases, observations,
    what is live now) that no source knows of are changes that nobody recorded. `known` is the journal, where the
    caller has folded it; `views.LEDGER` is enough.
    """
    return look(platform, service, since, known).timeline


def look(platform: platforms.Platform, service: str, since: datetime, known: views.Board | None = None) -> Look:
    """As `changes`, with what it was made from."""
    silent: list[str] = []
    board = known or _board(platform, silent)
    recorded = board.releases.get(service, [])
    sighted = board.sightings(service)
    live = None
    try:
        live = ledger.observe(platform, service)
        sighted.append(live)
    except DdrError as problem:
        silent.append(f"what is live: {problem.message}")
    # The sources are asked as far back as the comparison goes: a move they recorded is then not taken for a silent one.
    asked = min([since, *(step.not_before for step in timelines.steps(sighted) if step.seen.at >= since)])
    found = [change for change in board.changes.get(service, ()) if change.at >= asked]
    for name, source in _sources(platform, service, silent):
        try:
            found.extend(source.changes(asked))
        except DdrError as problem:
            silent.append(f"{name}: {problem.message}")
    objects = {plane: one.object for sighting in sighted for plane, one in sighting.revisions.items()}
    named = [
        change if change.object else dataclasses.replace(change, object=objects.get(change.plane, ""))
        for change in [*found, *timelines.of_layers(recorded)]
    ]
    kept = [change for change in timelines.completed(named, sighted) if change.at >= since]
    told = timelines.Timeline(timelines.described(kept, sighted), tuple(silent))
    return Look(told, tuple(named), tuple(sighted), live)


def _sources(platform: platforms.Platform, service: str, silent: list[str]) -> Sequence[tuple[str, connector.History]]:
    named: list[tuple[str, connector.History]] = []
    for plane in platform.service(service).planes:
        try:
            named.append((f"{plane} plane", platform.plane(service, plane)))
        except DdrError as problem:
            silent.append(f"{plane} plane: {problem.message}")
    named += [(type(history).__name__, history) for history in platform.histories.get(service, ())]
    return named


def _board(platform: platforms.Platform, silent: list[str]) -> views.Board:
    try:
        return ledger.board(platform)
    except DdrError as problem:
        silent.append(f"journal: {problem.message}")
        return views.Board()
