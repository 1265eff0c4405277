"""Everything the journal knows, folded from its events in one pass. No second copy of the truth: fold it again."""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ddr.domain import backup_records, journal_records, planes, records
from ddr.domain import changes as changes_
from ddr.domain import diagnoses as diagnoses_
from ddr.domain import events as events_
from ddr.domain import incidents as incidents_
from ddr.domain import releases as releases_
from ddr.domain import revisions as revisions_
from ddr.journal import backup_view, gameday_view, incident_view, release_view, run_view

Alive = run_view.Alive
Run = run_view.Run
Step = run_view.Step
Claim = run_view.Claim
Approval = run_view.Approval
GameDay = gameday_view.GameDay


@dataclass(frozen=True)
class Board:
    """The state after the events that were folded. Mappings are in order of first mention.

    `spooled` counts events that only this machine has; `foreign` those a newer ddr wrote, which are not understood.
    """

    incidents: dict[str, incidents_.Incident] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    releases: dict[str, list[releases_.Release]] = field(default_factory=dict)
    changes: dict[str, list[changes_.Change]] = field(default_factory=dict)
    diagnoses: dict[str, list[diagnoses_.Diagnosis]] = field(default_factory=dict)
    messages: dict[str, records.MessagePosted] = field(default_factory=dict)
    gamedays: dict[str, GameDay] = field(default_factory=dict)
    sighted: dict[str, list[releases_.Sighting]] = field(default_factory=dict)
    bad: dict[tuple[str, planes.Plane, str], dict[release_view.Name, str]] = field(default_factory=dict)
    backups: backup_view.Backups = field(default_factory=lambda: backup_view.BackupFold().backups())
    newest: events_.Event | None = None
    events: int = 0
    spooled: int = 0
    foreign: int = 0

    def sightings(self, service: str) -> list[releases_.Sighting]:
        """Releases and observations, oldest first; those of one instant in the order of the journal."""
        return list(self.sighted.get(service, []))

    def last_good(self, service: str) -> releases_.Release | None:
        """The newest release recorded known good, none of whose revisions was marked bad since."""
        return release_view.last_good(self.releases.get(service, []), self.bad)

    def needed(self, since: datetime) -> dict[str, str]:
        """Names that known-good releases of any service that served from `since` on go by, with the release that needs
        each: revisions, kept states, snapshots. Whoever deletes leaves them be."""
        found: dict[str, str] = {}
        for recorded in self.releases.values():
            for release in releases_.in_window(recorded, since):
                found |= dict.fromkeys(releases_.names(release), release.id)
        return found

    def blocked(self, service: str, plane: planes.Plane) -> dict[release_view.Name, str]:
        """(name, digest) of revisions that nothing may bring back, with the reason."""
        return {
            name: why
            for (of, on, _), marks in self.bad.items()
            if (of, on) == (service, plane)
            for name, why in marks.items()
        }

    def blocked_why(self, service: str, revision: revisions_.Revision) -> str:
        """Why nothing may bring it back, '' where nothing is against it."""
        marks = self.bad.get((service, revision.plane, revision.object), {})
        found = (why for name, why in marks.items() if release_view.is_bad(revision, {name: why}))
        return next((why or "blocked" for why in found), "")

    def open_incidents(self, service: str) -> Sequence[incidents_.Incident]:
        """Those not resolved, oldest first."""
        return [each for each in self.incidents.values() if each.service == service and each.is_open]

    def interrupted_runs(self, now: datetime, alive: Alive) -> Sequence[Run]:
        """Runs without an end that nobody works on and that wait for nobody, oldest first.

        `alive(pid, process_started, boot)` says whether that process runs; None when it cannot know (another
        machine, another boot): then the run's lease decides, by `now`.
        """
        return [run for run in self.runs.values() if run.is_interrupted(now, alive)]

    @property
    def unsettled(self) -> int | None:
        """The number of the first event of the oldest run that has no end, or belongs to a game day that has none.
        None where there is no such run: then nothing can have been interrupted. 0 where it is in the spool alone."""
        played = {name for day in self.interrupted_gamedays() for name in day.runs}
        open_ = [run for run in self.runs.values() if run.end is None or run.half_undone or run.id in played]
        return min((run.seq for run in open_), default=None)

    def interrupted_gamedays(self) -> Sequence[GameDay]:
        """Game days that were started and have no end."""
        return [day for day in self.gamedays.values() if day.ended is None]


class Fold:
    """Takes events one after the other, each once; `board` may be asked for in between."""

    def __init__(self) -> None:
        self._incidents: dict[str, incident_view.IncidentFold] = {}
        self._runs: dict[str, run_view.RunFold] = {}
        self._incident_of: dict[str, incident_view.IncidentFold] = {}
        self._releases = release_view.ReleaseFold()
        self._gamedays = gameday_view.GameDayFold()
        self._backups = backup_view.BackupFold()
        self._changes: dict[str, list[changes_.Change]] = {}
        self._diagnoses: dict[str, list[diagnoses_.Diagnosis]] = {}
        self._messages: dict[str, records.MessagePosted] = {}
        self._newest: events_.Event | None = None
        self._counts = Counter[type[records.Record]]()
        self._spooled = 0

    def take(self, event: events_.Event) -> None:
        """The next event, in the order of the journal."""
        kind = type(event.record)
        self._counts[kind] += 1
        if event.seq:
            self._newest = event
        else:
            self._spooled += 1
        taker = _TAKERS.get(kind)
        if taker is not None:
            taker(self, event, event.record)

    def start(self, event: events_.Event, record: records.RunStarted) -> None:
        if record.run in self._runs:
            return  # a second start under a taken name is none
        self._runs[record.run] = run_view.RunFold(event, record)
        self._gamedays.take(event)
        if record.incident in self._incidents:
            self._incident_of[record.run] = self._incidents[record.incident]
            self._incident_of[record.run].take(event)

    def of_run(self, event: events_.Event, record: Any) -> None:
        if record.run in self._runs:
            self._runs[record.run].take(event)

    def of_run_and_incident(self, event: events_.Event, record: Any) -> None:
        self.of_run(event, record)
        if record.run in self._incident_of:
            self._incident_of[record.run].take(event)

    def declare(self, event: events_.Event, record: records.IncidentDeclared) -> None:
        if record.incident not in self._incidents:  # of two that took one number, the first has it
            self._incidents[record.incident] = incident_view.IncidentFold(event, record)

    def of_incident(self, event: events_.Event, record: Any) -> None:
        if record.incident in self._incidents:
            self._incidents[record.incident].take(event)

    def diagnose(self, event: events_.Event, record: records.DiagnosisMade) -> None:
        self._diagnoses.setdefault(record.service, []).append(record.diagnosis)
        self.of_incident(event, record)

    def release(self, _event: events_.Event, record: records.ReleaseRecorded) -> None:
        self._releases.record(record.release)

    def mark(self, _event: events_.Event, record: records.RevisionMarked) -> None:
        self._releases.mark(record)

    def observe(self, event: events_.Event, record: records.PlanesObserved) -> None:
        self._releases.observe(event, record)

    def change(self, _event: events_.Event, record: records.ChangeRecorded) -> None:
        self._changes.setdefault(record.service, []).append(record.change)

    def of_gameday(self, event: events_.Event, _record: records.Record) -> None:
        self._gamedays.take(event)

    def of_backup(self, event: events_.Event, _record: records.Record) -> None:
        self._backups.take(event)

    def message(self, event: events_.Event, record: records.MessagePosted) -> None:
        """A message belongs to the incident of the run whose step posted it, or to the one it names."""
        known = self._messages.get(record.key)
        if known is None or not known.delivered:
            self._messages[record.key] = record
        of_run = self._incident_of.get(record.key.partition("/")[0])
        if of_run is not None:
            of_run.take(event)
            return
        for name, incident in self._incidents.items():
            if name in record.key or name in record.text:
                incident.take(event)

    def board(self) -> Board:
        """The state after all events taken so far."""
        return Board(
            incidents={name: fold.incident() for name, fold in self._incidents.items()},
            runs={name: fold.run() for name, fold in self._runs.items()},
            releases=self._releases.releases(),
            changes={service: list(found) for service, found in self._changes.items()},
            diagnoses={service: list(found) for service, found in self._diagnoses.items()},
            messages=dict(self._messages),
            gamedays=self._gamedays.days(),
            sighted=self._releases.sighted(),
            bad=self._releases.bad(),
            backups=self._backups.backups(),
            newest=self._newest,
            events=self._counts.total(),
            spooled=self._spooled,
            foreign=self._counts[records.Foreign],
        )


_TAKERS: dict[type[records.Record], Callable[[Fold, events_.Event, Any], None]] = {
    records.RunStarted: Fold.start,
    records.RunClaimed: Fold.of_run,
    records.StepIntended: Fold.of_run,
    records.StepEnded: Fold.of_run_and_incident,
    records.UndoIntended: Fold.of_run,
    records.UndoEnded: Fold.of_run_and_incident,
    records.ApprovalRequested: Fold.of_run_and_incident,
    records.ApprovalDecided: Fold.of_run_and_incident,
    records.RunPaused: Fold.of_run_and_incident,
    records.RunEnded: Fold.of_run_and_incident,
    records.IncidentDeclared: Fold.declare,
    records.IncidentMoved: Fold.of_incident,
    records.IncidentNoted: Fold.of_incident,
    records.DiagnosisMade: Fold.diagnose,
    records.ReleaseRecorded: Fold.release,
    records.RevisionMarked: Fold.mark,
    records.ChangeRecorded: Fold.change,
    records.PlanesObserved: Fold.observe,
    records.MessagePosted: Fold.message,
    records.GameDayStarted: Fold.of_gameday,
    records.ScenarioStarted: Fold.of_gameday,
    records.ScenarioReached: Fold.of_gameday,
    records.ScenarioScored: Fold.of_gameday,
    records.GameDayEnded: Fold.of_gameday,
    **dict.fromkeys(
        (
            backup_records.BackupMade,
            backup_records.BackupVerified,
            backup_records.BackupDrilled,
            backup_records.BackupsForgotten,
            backup_records.BackupCopied,
            backup_records.BackupLocked,
            backup_records.BackupRestored,
            journal_records.JournalAdopted,
        ),
        Fold.of_backup,
    ),
}


LEDGER: tuple[type[records.Record], ...] = (
    records.ReleaseRecorded,
    records.RevisionMarked,
    records.ChangeRecorded,
    records.PlanesObserved,
)
"""What `releases`, `sighted`, `changes` and `bad` of a Board are folded from: for a reader who wants only these."""

ENDS: tuple[type[records.Record], ...] = (
    records.RunStarted,
    records.RunClaimed,
    records.RunEnded,
    records.UndoIntended,
    records.UndoEnded,
    records.GameDayStarted,
    records.GameDayEnded,
)
"""What `unsettled` needs: a fifth of what runs write."""

RUNS: tuple[type[records.Record], ...] = (
    *ENDS,
    records.StepIntended,
    records.StepEnded,
    records.ApprovalRequested,
    records.ApprovalDecided,
    records.RunPaused,
)
"""What `runs` is folded from."""


def fold(of: Iterable[events_.Event]) -> Board:
    """The board after these events."""
    folding = Fold()
    with _uncollected():
        for event in of:
            folding.take(event)
        return folding.board()


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without looking for garbage: events make none, and looking through them all again takes half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
