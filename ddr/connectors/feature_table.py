"""An online feature table in SQLite, and the released program that fills it: `current -> releases/v2`.

The table holds the newest row of each entity and no past. So a reading that ends now is taken from the table as it
is; one that ended earlier is a reference and is taken from the offline source over its window, where there is one.
A table is as fresh as its events are: that a program ran says nothing.
"""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

from ddr.domain import changes, health, outcomes, planes, revisions, signals
from ddr.errors import DdrError, InputError, Missing, Unavailable, Unsupported
from ddr.lib import clock as clocks
from ddr.lib import durable, jsonl, pointer, process, redact, sqlitefile, timetext
from ddr.ports import signal

LIVE_WITHIN = timedelta(minutes=1)  # a window that ended less than this ago means the table as it is now
_OLD_SHARE = 0.95
_COLUMNS_AT_ONCE = 400  # SQLite returns 2,000 columns at most, and two are asked for each
_TIMED_OUT = 124
_FACTS = ("version", "commit", "built_at", revisions.INPUTS_SCHEMA)

SERIES: Mapping[str, signal.SampleKind] = {
    "event-age-p95": "gauge",
    "zero-shares": "columns",
    "null-shares": "columns",
    "rows": "gauge",
}


@dataclass(frozen=True)
class Settings:
    """`root` holds everything else. `refresh_window` is how far back a refresh reads the source."""

    root: str
    table: str
    entity: str
    online: str = "online.db"
    event_time: str = "event_ts"
    written_time: str = "created_ts"
    source: str = "source.db"
    source_table: str = "scans"
    source_time: str = "scanned_at"
    releases: str = "releases"
    current: str = "current"
    program: str = "materialize.py"
    deployments: str = "deployments.jsonl"
    runs: str = "runs.jsonl"
    suspended: str = "suspended"
    refresh_window: timedelta = timedelta(hours=24)
    timeout_s: float = 120.0


@dataclass(frozen=True)
class Binding:
    """A plane says nothing more: one root is one table."""


@dataclass(frozen=True)
class Freshness:
    """How many entities have their newest event online, and which do not."""

    fresh: int
    stale: tuple[str, ...]


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> FeatureTable:
    return FeatureTable(base / settings.root, settings, clock)


@dataclass(frozen=True)
class FeatureTable:
    """Implements Signal. Shares count rows; an age is in seconds, of the row's event, by the platform's clock."""

    root: Path
    settings: Settings
    clock: clocks.Clock
    series: ClassVar[Mapping[str, signal.SampleKind]] = SERIES

    def plane(self, binding: Binding, plane: planes.Plane) -> FeaturePlane:
        del binding
        return FeaturePlane(self, plane)

    def read(self, series: str, since: datetime, until: datetime) -> signals.Reading:
        """As the port says; also Missing when the table or one of its columns is not there."""
        if series not in SERIES:
            raise InputError(f"a feature table has no series {series!r}", hint=f"it has: {', '.join(SERIES)}")
        now = self.clock.now()
        is_live = until >= now - LIVE_WITHIN
        sample, why = self._live(series, now) if is_live else self._reference(series, since, until)
        return signals.Reading(series, since, until, sample, why)

    def columns(self) -> tuple[tuple[str, str], ...]:
        """The feature columns of the online table with their types. Missing when there is no such table."""
        own = (self.settings.entity, self.settings.event_time, self.settings.written_time)
        with sqlitefile.opened(self.root / self.settings.online) as online:
            found = sqlitefile.columns(online, self.settings.table)
        if not found:
            raise Missing(f"{self._online} has no table {self.settings.table}", hint="look at `table` in ddr.yaml")
        return tuple((name, kind) for name, kind in found if name not in own)

    def freshness(self, since: datetime, until: datetime) -> Freshness:
        """Of the entities with an event in (since, until): whether the online table has the newest one."""
        entity, at = sqlitefile.quoted(self.settings.entity), sqlitefile.quoted(self.settings.source_time)
        newest = (
            f"SELECT {entity}, MAX({at}) FROM {sqlitefile.quoted(self.settings.source_table)} "  # noqa: S608
            f"WHERE {at} > ? AND {at} < ? GROUP BY {entity}"
        )
        with sqlitefile.opened(self.root / self.settings.source) as source:
            wanted = dict(source.execute(newest, (since.timestamp(), until.timestamp())).fetchall())
        have = (
            f"SELECT {entity}, {sqlitefile.quoted(self.settings.event_time)} "  # noqa: S608
            f"FROM {sqlitefile.quoted(self.settings.table)}"
        )
        with sqlitefile.opened(self._online) as online:
            there = dict(online.execute(have).fetchall())
        stale = tuple(sorted(str(name) for name, at in wanted.items() if (there.get(name) or -math.inf) < at))
        return Freshness(len(wanted) - len(stale), stale)

    @property
    def _online(self) -> Path:
        return self.root / self.settings.online

    def _live(self, series: str, now: datetime) -> tuple[signals.Sample | None, str]:
        if series == "event-age-p95":
            return self._age(now)
        columns = [name for name, _ in self.columns()]
        with sqlitefile.opened(self._online) as online:
            if series == "rows":
                table = sqlitefile.quoted(self.settings.table)
                (count,) = online.execute(f"SELECT COUNT(*) FROM {table}").fetchone()  # noqa: S608
                return (signals.Gauge(float(count), count), "") if count else (None, f"{self._online}: no rows")
            shares = _shares(online, self.settings.table, columns, series, "1", ())
        return (shares, "") if shares else (None, f"{self._online}: {self.settings.table} has no rows")

    def _age(self, now: datetime) -> tuple[signals.Sample | None, str]:
        at, table = sqlitefile.quoted(self.settings.event_time), sqlitefile.quoted(self.settings.table)
        self._check_column(self.settings.event_time)
        with sqlitefile.opened(self._online) as online:
            times = [at for (at,) in online.execute(f"SELECT {at} FROM {table}")]  # noqa: S608
        ages = sorted(now.timestamp() - at for at in times if isinstance(at, int | float))
        ages = [age for age in ages if age >= -LIVE_WITHIN.total_seconds()]
        left = len(times) - len(ages)
        why = f"{left} of {len(times)} rows have no event time, or one in the future" if left else ""
        if not ages:
            return None, why or f"{self._online}: {self.settings.table} has no rows"
        return signals.Gauge(ages[math.ceil(_OLD_SHARE * len(ages)) - 1], len(ages)), why

    def _check_column(self, name: str) -> None:
        with sqlitefile.opened(self._online) as online:
            known = [found for found, _ in sqlitefile.columns(online, self.settings.table)]
        if name not in known:
            raise Missing(
                f"{self._online}: {self.settings.table} has no column {name!r}",
                hint=f"it has: {', '.join(known[:8]) or 'nothing'}",
            )

    def _reference(self, series: str, since: datetime, until: datetime) -> tuple[signals.Sample | None, str]:
        path = self.root / self.settings.source
        if series in ("event-age-p95", "rows"):
            return None, f"{self.settings.table} keeps no past: {series} is known for now only"
        if not path.is_file():
            return None, f"{self.settings.table} keeps no past, and there is no {path} to take a reference from"
        with sqlitefile.opened(path) as source:
            known = {name for name, _ in sqlitefile.columns(source, self.settings.source_table)}
            columns = [name for name, _ in self.columns() if name in known]
            if self.settings.source_time not in known or not columns:
                return None, f"{path}: {self.settings.source_table} has not the columns of {self.settings.table}"
            at = sqlitefile.quoted(self.settings.source_time)
            window = (since.timestamp(), until.timestamp())
            shares = _shares(source, self.settings.source_table, columns, series, f"{at} >= ? AND {at} < ?", window)
        return (shares, "") if shares else (None, f"{path}: nothing between the two times")


def _shares(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    series: str,
    condition: str,
    values: Sequence[float],
) -> signals.ColumnShares | None:
    """For each column the share of rows with a zero, or without a value; None without rows."""
    found: dict[str, signals.Share] = {}
    test = "= 0" if series == "zero-shares" else "IS NULL"
    for start in range(0, len(columns), _COLUMNS_AT_ONCE):
        part = columns[start : start + _COLUMNS_AT_ONCE]
        sums = ", ".join(f"SUM({sqlitefile.quoted(name)} {test})" for name in part)
        query = f"SELECT COUNT(*), {sums} FROM {sqlitefile.quoted(table)} WHERE {condition}"  # noqa: S608
        n, *hits = connection.execute(query, values).fetchone()
        if not n:
            return None
        found |= {name: signals.Share(int(hit or 0), n) for name, hit in zip(part, hits, strict=True)}
    return signals.ColumnShares(found)


@dataclass(frozen=True)
class FeaturePlane:
    """Implements Observable, Switchable, Freezable and Refreshable. A revision is a release of the program.

    Switching the program back leaves the values it wrote: a refresh writes them again.
    """

    table: FeatureTable
    which: planes.Plane

    @property
    def _settings(self) -> Settings:
        return self.table.settings

    @property
    def _pointer(self) -> pointer.Pointer:
        root = self.table.root
        return pointer.Pointer(root / self._settings.current, root / self._settings.releases)

    def revision(self) -> revisions.Revision:
        live = self.find(self._pointer.read())
        if revisions.INPUTS_SCHEMA in live.facts:
            return live
        schema = revisions.schema_digest(self.table.columns())
        return revisions.Revision(
            live.plane, live.object, live.name, live.digest, {**live.facts, revisions.INPUTS_SCHEMA: schema}
        )

    def find(self, name: str) -> revisions.Revision:
        """As the port says. What the columns of a release were is known from its `release.json` alone."""
        said = jsonl.of_file(self._pointer.path(name) / "release.json") or {}
        facts = {fact: str(said[fact]) for fact in _FACTS if said.get(fact)}
        return revisions.Revision(self.which, self._settings.table, name, self._pointer.digest(name), facts)

    def write(self, to: revisions.Revision, expect: revisions.Revision) -> str:
        return f"move the link {self._pointer.link} from {expect.name} to {to.name}, under its lock"

    def switch(self, to: revisions.Revision, expect: revisions.Revision) -> revisions.Revision:
        live = self.revision()
        if not revisions.must_move(live=live, to=to, expect=expect):
            return live
        revisions.must_be(self.find(to.name), to)
        self._pointer.swap(expect=expect.name, to=to.name)
        return self.revision()

    def changes(self, since: datetime) -> Sequence[changes.Change]:
        path = self.table.root / self._settings.deployments
        return changes.of_deployments(jsonl.read(path).objects, since, self.which, self._settings.table, str(path))

    def freeze(self, why: str) -> None:
        try:
            durable.create(self._suspended, (why or "frozen").encode())
        except FileExistsError:
            return
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def thaw(self) -> None:
        try:
            self._suspended.unlink(missing_ok=True)
            durable.sync_folder(self._suspended.parent)
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def frozen(self) -> str:
        try:
            return self._suspended.read_text(errors="replace").strip() or "suspended"
        except FileNotFoundError:
            return ""
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def refresh(self) -> outcomes.Outcome:
        """As the port says. FAILED too when some entity stays without its newest event."""
        now = self.table.clock.now()
        since = now - self._settings.refresh_window
        if not (self.table.root / self._settings.source).is_file():
            raise Unsupported(
                f"there is no {self.table.root / self._settings.source} to refresh {self._settings.table} from",
                hint="set `source`, or run the materialization where it usually runs",
            )
        name = self._pointer.read()
        ran = self._run(self._pointer.path(name) / self._settings.program, since, now)
        self._record(now, name, ran)
        return _judged(name, ran, self.table.freshness(since, now))

    def health(self) -> health.Health:
        cannot: tuple[str, ...] = (
            pointer.UNLOCKED,
            "bring back earlier values: the table keeps the newest row of each entity alone",
        )
        if not (self.table.root / self._settings.source).is_file():
            cannot = (*cannot, "refresh the table or compare it with its past: there is no offline source")
        try:
            live = self.revision()
            rows = self.table.read("rows", self.table.clock.now(), self.table.clock.now())
            frozen = self.frozen()
        except DdrError as problem:
            return health.Health.of(problem, cannot)
        why = f"{self._pointer.link} is at {live.name}" + (f"; suspended: {frozen}" if frozen else "")
        if rows.sample is None:
            return health.Health(signals.State.BAD, f"{why}; {rows.why}", (), cannot)
        return health.Health(signals.State.OK, why, (f"go to {', '.join(self._pointer.names())}",), cannot)

    @property
    def _suspended(self) -> Path:
        return self.table.root / self._settings.suspended

    def _run(self, program: Path, since: datetime, until: datetime) -> _Ran:
        """Run it as the scheduler does, in a process that ends with this one."""
        root = self.table.root
        command = [sys.executable, "-B", str(program.absolute())]
        command += ["--source", str((root / self._settings.source).absolute())]
        command += ["--online", str((root / self._settings.online).absolute())]
        command += ["--since", timetext.format_time(since), "--until", timetext.format_time(until)]
        try:
            ended = process.run_bound(command, cwd=root, timeout_s=self._settings.timeout_s)
        except subprocess.TimeoutExpired:
            return _Ran(_TIMED_OUT, -1, f"no end within {self._settings.timeout_s:g} s")
        except OSError as problem:
            raise Unavailable(
                f"{program} cannot be started: {redact.foreign(problem)}",
                hint="look at the machine's memory and rights",
            ) from problem
        reported = jsonl.parse((ended.stdout.strip().splitlines() or [""])[-1].encode()) or {}
        rows = reported.get("rows")
        last_words = redact.foreign((ended.stderr.strip().splitlines() or [""])[-1])
        return _Ran(ended.returncode, rows if isinstance(rows, int) else -1, last_words)

    def _record(self, at: datetime, name: str, ran: _Ran) -> None:
        line = {
            "at": timetext.format_time(at),
            "revision": name,
            "exit_code": ran.exit_code,
            "rows_reported": ran.reported,
        }
        path = self.table.root / self._settings.runs
        try:
            with path.open("ab") as file:
                file.write(json.dumps(line).encode() + b"\n")
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def _unwritable(self, problem: OSError) -> Unavailable:
        return Unavailable(
            f"{self.table.root}: {redact.foreign(problem)}", hint="look at the folder's rights and its disk"
        )


@dataclass(frozen=True)
class _Ran:
    """`reported` is the number of rows the program says it wrote, -1 when it says none."""

    exit_code: int
    reported: int
    last_words: str


def _judged(name: str, ran: _Ran, found: Freshness) -> outcomes.Outcome:
    total = found.fresh + len(found.stale)
    said = f"{ran.reported} rows reported" if ran.reported >= 0 else "no rows reported"
    evidence = [f"{name}: exit code {ran.exit_code}, {said}, {found.fresh} of {total} entities fresh"]
    if found.stale:
        evidence.append(f"stale: {', '.join(found.stale[:5])}" + (" and more" if len(found.stale) > 5 else ""))
    values = {"rows": str(found.fresh), "entities": str(total), "exit_code": str(ran.exit_code), "revision": name}
    if ran.exit_code != 0:
        why = f"{name} ended with exit code {ran.exit_code}: {ran.last_words or 'it said nothing'}"
    elif total == 0:
        why = f"{name} ended well, and the source has no event in the window: look upstream"
    elif found.fresh == 0:
        why = f"{name} ended well and no row is fresh"
    elif found.stale:
        why = f"{name} ended well and left {len(found.stale)} of {total} entities stale"
    else:
        summary = f"{name} wrote the newest event of all {total} entities"
        return outcomes.Outcome(outcomes.Status.OK, summary, tuple(evidence), values)
    return outcomes.Outcome(outcomes.Status.FAILED, why, tuple(evidence), values)
