"""What changed: the planes' own memories, the logs beside them, the journal and the ledger as one timeline."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime

from ddr.domain import changes as changes_
from ddr.domain import records, releases, timelines
from ddr.errors import DdrError
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
    told = timelines.merged(found)
    compared = [release for release in ledgered if release.at >= asked]
    nobody = [
        change for before, after in itertools.pairwise(compared) for change in timelines.unrecorded(before, after, told)
    ]
    kept = timelines.merged([*told, *nobody])
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
    """The changes and the releases recorded in the journal, oldest first; what could be read before it failed."""
    told: list[changes_.Change] = []
    ledgered: list[releases.Release] = []
    try:
        for event in platform.journal.events():
            match event.record:
                case records.ChangeRecorded(service=name, change=change) if name == service:
                    told.append(change)
                case records.ReleaseRecorded(release=release) if release.service == service:
                    ledgered.append(release)
    except DdrError as problem:
        silent.append(f"journal: {problem.message}")
    return told, ledgered
