"""An online feature table in SQLite, and the released program that fills it: `current -> releases/v2`.

The table holds the newest row of each entity and no past. So a reading that ends now is taken from the table as it
is; one that ended earlier is a reference and is taken from the offline source over its window, where there is one.
A table is as fresh as its events are: that a program ran says nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

from ddr.connectors import table_isolation, table_looks, table_runs, table_states
from ddr.domain import changes, health, outcomes, planes, revisions, signals
from ddr.errors import DdrError, InputError, Missing, Unavailable, Unsupported
from ddr.lib import clock as clocks
from ddr.lib import digest, durable, jsonl, pointer, redact, sqlitefile, timetext
from ddr.ports import keeping, signal

LIVE_WITHIN = timedelta(minutes=1)  # a window that ended less than this ago means the table as it is now
_OLD_SHARE = 0.95
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
    """`root` holds everything else. `refresh_window` is how far back a refresh reads the source.

    `fallback` is a value for each feature that stands in while the table is isolated, `*` for those not named.
    """

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
    restored: str = "restored.json"
    isolated: str = "isolated.json"
    fallback: Mapping[str, int | float | str | bool | None] = field(default_factory=dict)
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
    root = base / settings.root
    kept_as = f"{settings.root}/{settings.table}"

    def facts() -> Mapping[str, str]:
        newest = table_looks.newest(root / settings.online, settings.table, settings.event_time)
        said = {keeping.EVENT_NEWEST: timetext.format_time(newest)} if newest else {}
        return {keeping.PLATFORM_AT: timetext.format_time(clock.now()), **said}

    states = table_states.TableStates(root / settings.online, settings.table, kept_as, root / settings.restored, facts)
    return FeatureTable(root, settings, clock, states)


@dataclass(frozen=True)
class FeatureTable:
    """Implements Signal and Keepable. Shares count rows; an age is in seconds, of the row's event, by the platform's
    clock."""

    root: Path
    settings: Settings
    clock: clocks.Clock
    states: table_states.TableStates
    series: ClassVar[Mapping[str, signal.SampleKind]] = SERIES

    def plane(self, binding: Binding, plane: planes.Plane) -> FeaturePlane:
        del binding
        return FeaturePlane(self, plane)

    @property
    def keeps(self) -> str:
        return self.states.kept_as

    def shelved(self, shelf: keeping.Shelf) -> None:
        self.states.put_on(shelf)

    def keep(self, why: str) -> keeping.Kept:
        return self.states.keep(self.pointer.read(), why)

    @property
    def pointer(self) -> pointer.Pointer:
        return pointer.Pointer(self.root / self.settings.current, self.root / self.settings.releases)

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
            shares = table_looks.shares(online, self.settings.table, columns, series, "1", ())
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
            shares = table_looks.shares(
                source, self.settings.source_table, columns, series, f"{at} >= ? AND {at} < ?", window
            )
        return (shares, "") if shares else (None, f"{path}: nothing between the two times")


@dataclass(frozen=True)
class FeaturePlane:
    """Implements Observable, Switchable, Freezable, Isolatable and Refreshable. A revision is a release of the program,
    or such a release with the values of a kept state (`v2+1f2e3d4c5b6a`).

    Switching to a release alone leaves the values it wrote: a refresh writes them again.
    """

    table: FeatureTable
    which: planes.Plane

    @property
    def _settings(self) -> Settings:
        return self.table.settings

    @property
    def _pointer(self) -> pointer.Pointer:
        return self.table.pointer

    def revision(self) -> revisions.Revision:
        live = self.find(self._restored() or self._pointer.read())
        if revisions.INPUTS_SCHEMA in live.facts:
            return live
        schema = revisions.schema_digest(self.table.columns())
        return revisions.Revision(
            live.plane, live.object, live.name, live.digest, {**live.facts, revisions.INPUTS_SCHEMA: schema}
        )

    def find(self, name: str) -> revisions.Revision:
        """As the port says. What the columns of a release were is known from its `release.json` alone."""
        release = _release(name)
        said = jsonl.of_file(self._pointer.path(release) / "release.json") or {}
        facts = {fact: str(said[fact]) for fact in _FACTS if said.get(fact)}
        bytes_ = self._pointer.digest(release)
        if release != name:
            kept = self.table.states.find(name)
            bytes_ = digest.of_value({"release": bytes_, "values": kept.facts[table_states.DIGEST]})
            facts |= {"release": release, "rows": str(kept.rows), "kept_at": timetext.format_time(kept.at)}
        return revisions.Revision(self.which, self._settings.table, name, bytes_, facts)

    def write(self, to: revisions.Revision, expect: revisions.Revision) -> str:
        release, before = _release(to.name), _release(expect.name)
        moved = f"move the link {self._pointer.link} from {before} to {release}, under its lock"
        if release == to.name and before == expect.name:
            return moved
        put = f"put the values of {to.name} into {self._settings.table}, in one transaction; those there are kept"
        return put if release == before else f"{put}; then {moved}"

    def switch(self, to: revisions.Revision, expect: revisions.Revision) -> revisions.Revision:
        """As the port says. Before the values of a state come those that are there are kept; going to the release
        that was there before brings them back."""
        live = self.revision()
        if not revisions.must_move(live=live, to=to, expect=expect):
            return live
        revisions.must_be(self.find(to.name), to)
        states, note = self.table.states, self.table.states.note()
        if _release(to.name) != to.name:
            states.put_back(to.name, self._pointer.read())
        elif note is not None and note.name == live.name and _release(note.before) == to.name:
            states.put(states.find(note.before), states.digest())
        if _release(to.name) != self._pointer.read():
            self._pointer.swap(expect=_release(expect.name), to=_release(to.name))
        if _release(to.name) == to.name:
            states.drop_note()
        return self.revision()

    def _restored(self) -> str:
        """The state that was put back, where it is still what is there; '' else."""
        note = self.table.states.note()
        if note is None or _release(note.name) != self._pointer.read():
            return ""
        return note.name if self.table.states.is_there(note.name) else ""

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

    def isolate(self, why: str) -> None:
        """As the port says. A materialization writes over the stand-in: freeze the table, too."""
        columns = [name for name, _ in self.table.columns()]
        self._isolation.isolate(self._pointer.read(), columns, why)

    def join(self) -> None:
        self._isolation.join()

    def isolated(self) -> str:
        return self._isolation.why()

    @property
    def _isolation(self) -> table_isolation.Isolation:
        place = self.table.root / self._settings.isolated
        return table_isolation.Isolation(self.table.states, self._settings.fallback, place)

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
        found = self.table.freshness(since, now)
        return table_runs.judged(name, ran, found.fresh, found.stale)

    def health(self) -> health.Health:
        kept = self.table.states.count()
        cannot: tuple[str, ...] = (pointer.UNLOCKED,)
        if not kept:
            cannot = (*cannot, "bring back earlier values: no state is kept (`ddr features snapshot`)")
        if not (self.table.root / self._settings.source).is_file():
            cannot = (*cannot, "refresh the table or compare it with its past: there is no offline source")
        try:
            live = self.revision()
            rows = self.table.read("rows", self.table.clock.now(), self.table.clock.now())
            frozen, isolated = self.frozen(), self.isolated()
        except DdrError as problem:
            return health.Health.of(problem, cannot)
        why = f"{self._pointer.link} is at {live.name}" + (f"; suspended: {frozen}" if frozen else "")
        why += f"; isolated: {isolated}" if isolated else ""
        if rows.sample is None:
            return health.Health(signals.State.BAD, f"{why}; {rows.why}", (), cannot)
        can = (f"go to {', '.join(self._pointer.names())}", *([f"bring back {kept} kept states"] if kept else []))
        return health.Health(signals.State.OK, why, can, cannot)

    @property
    def _suspended(self) -> Path:
        return self.table.root / self._settings.suspended

    def _run(self, program: Path, since: datetime, until: datetime) -> table_runs.Ran:
        places = table_runs.Places(self.table.root, self._settings.source, self._settings.online)
        return table_runs.run(program, places, since, until, self._settings.timeout_s)

    def _record(self, at: datetime, name: str, ran: table_runs.Ran) -> None:
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


def _release(name: str) -> str:
    """The release of a state's name, or the name itself."""
    return name.partition(table_states.SEPARATOR)[0]
