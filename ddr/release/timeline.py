"""What changed: the planes' own memories, the logs beside them, the journal and the ledger as one timeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime

from ddr.domain import changes as changes_
from ddr.domain import releases, timelines
from ddr.errors import DdrError
from ddr.journal import views
from ddr.ports import connector
from ddr.ports import platform as platforms
from ddr.release import ledger


def changes(platform: platforms.Platform, service: str, since: datetime) -> timelines.Timeline:
    """Every change of the service from `since` on, each once, the recorded telling before the found one.

    A source that fails is named in `silent`; the others go on. Differences between recorded releases, and between
    the newest of them and what is live now, that no source knows of are changes that nobody recorded.
    """
    silent: list[str] = []
    found, ledgered = _told_by_journal(platform, service, silent)
    # The sources are asked as far back as the comparison goes: a move they recorded is then not taken for a silent one.
    asked = min([since, *(release.at for release in ledgered[-1:])])
    for name, source in _sources(platform, service, silent):
        try:
            found.extend(source.changes(asked))
        except DdrError as problem:
            silent.append(f"{name}: {problem.message}")
    try:
        ledgered.append(ledger.observe(platform, service))
    except DdrError as problem:
        silent.append(f"what is live: {problem.message}")
    objects = {plane: one.object for release in ledgered for plane, one in release.revisions.items()}
    named = [
        change if change.object else dataclasses.replace(change, object=objects.get(change.plane, ""))
        for change in found
    ]
    kept = timelines.completed(named, [release for release in ledgered if release.at >= asked])
    return timelines.Timeline(tuple(change for change in kept if change.at >= since), tuple(silent))


def _sources(platform: platforms.Platform, service: str, silent: list[str]) -> Sequence[tuple[str, connector.History]]:
    named: list[tuple[str, connector.History]] = []
    for plane in platform.service(service).planes:
        try:
            named.append((f"{plane} plane", platform.plane(service, plane)))
        except DdrError as problem:
            silent.append(f"{plane} plane: {problem.message}")
    named += [(type(history).__name__, history) for history in platform.histories.get(service, ())]
    return named


def _told_by_journal(
    platform: platforms.Platform, service: str, silent: list[str]
) -> tuple[list[changes_.Change], list[releases.Release]]:
    """The changes and the releases recorded in the journal, oldest first."""
    try:
        board = views.fold(platform.journal.events())
    except DdrError as problem:
        silent.append(f"journal: {problem.message}")
        return [], []
    return list(board.changes.get(service, ())), list(board.releases.get(service, ()))
