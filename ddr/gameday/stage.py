"""What a scenario is played with, and the few things every part of it does: look, note, type a command."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ddr.diagnose import watch
from ddr.domain import accounts, records, services, signals
from ddr.gameday import commands, progress
from ddr.lib import redact
from ddr.ports import platform, verb
from ddr.release import ledger

STEP = timedelta(minutes=5)
"""How often the signals are looked at, on the platform's clock."""


@dataclass(frozen=True)
class Stage:
    """Everything by argument. `faults` are the verbs that break the platform, `state_digest` says what it is."""

    platform: platform.Platform
    faults: verb.Catalog
    state_digest: Callable[[], str]
    run_command: commands.RunCommand
    report: progress.Report = progress.nowhere
    redact: Callable[[str], str] = field(default_factory=redact.Redactor)

    def now(self) -> datetime:
        return self.platform.clock.now()

    def record(self, record: records.Record) -> None:
        self.platform.journal.append(record)

    def observe(self, service: str, moment: str) -> accounts.View:
        """Write down what the planes have live."""
        seen = ledger.observe(self.platform, service)
        revisions = tuple(seen.revisions.values())
        self.record(records.PlanesObserved(service, moment, revisions))
        return accounts.View(moment, seen.at, revisions)

    def type(self, actor: str, words: Sequence[str]) -> commands.CommandResult:
        """Run a command as `actor` and write down how it went."""
        self.report(progress.CommandBegan(actor, tuple(words)))
        result = self.run_command(words, actor)
        told = self.redact(commands.spoken(result))
        ended = records.CommandEnded(tuple(words), actor, result.exit_code, result.wall_s, told)
        self.record(ended)
        stamp = accounts.Stamp(self.now(), time.monotonic())
        self.report(
            progress.CommandEnded(accounts.Command(stamp, actor, tuple(words), result.exit_code, result.wall_s, told))
        )
        return result


class Lookout:
    """Looks at all signals of one service and keeps what it saw. One reference for the whole scenario."""

    def __init__(self, stage: Stage, service: services.Service) -> None:
        self._stage = stage
        self._service = service
        good = watch.last_good(stage.platform, service.name)
        self._watcher = watch.Watcher(stage.platform, service.name, good)
        self._seen: dict[str, list[signals.Judgement]] = {spec.name: [] for spec in service.signals}
        self._looked: datetime | None = None

    def look(self) -> tuple[signals.Judgement, ...]:
        """Judge every signal now and write it down. At one platform time only once."""
        now = self._stage.now()
        if self._looked == now:
            return tuple(series[-1] for series in self._seen.values())
        found = tuple(self._watcher.judge(spec, now - spec.window, now) for spec in self._service.signals)
        for judgement in found:
            self._seen[judgement.signal].append(judgement)
        self._looked = now
        self._stage.record(records.SignalsJudged(self._service.name, found))
        self._stage.report(progress.Judged(now, found))
        return found

    def pass_time(self, until: datetime, step: timedelta = STEP) -> tuple[signals.Judgement, ...]:
        """One step towards `until`, and a look."""
        span = min(step, until - self._stage.now())
        if span > timedelta(0):
            self._stage.platform.clock.sleep(span / timedelta(seconds=1))
        return self.look()

    def series(self) -> tuple[accounts.Series, ...]:
        """All that was seen so far."""
        return tuple(
            accounts.Series(spec.name, spec.plane, tuple(self._seen[spec.name]), spec.detector)
            for spec in self._service.signals
        )
