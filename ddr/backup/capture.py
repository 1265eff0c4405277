"""One backup: every connector's state into chunks, then the commit. Until the commit nothing exists; after it all does.

packs -> index -> look again at what was reused -> snapshot
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ddr.backup import chunk_index, fallen, graves, layout, leases, planting, reading, scanner, scanning, sink, writing
from ddr.backup import repository as repositories
from ddr.domain import snapshots
from ddr.errors import Conflict, DdrError, Refused
from ddr.lib import timetext
from ddr.ports import restorable, store

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps."""


@dataclass(frozen=True)
class Origin:
    """One thing to back up: a connector, its name and type in ddr.yaml, and where it reads, for people."""

    name: str
    kind: str
    source: str
    made: restorable.Capturable


@dataclass(frozen=True)
class Maker:
    """Who makes the snapshot, as its record says. `clock` gives the time of the platform."""

    host: str
    actor: str
    version: str
    now: Callable[[], datetime]


@dataclass(frozen=True)
class Progress:
    """Told while a backup works: a component begins, something in it moves on, it ends."""

    component: str
    what: str = ""
    done: int = 0
    of: int = 0
    ended: snapshots.Component | None = None


Report = Callable[[Progress], None]


def _nowhere(_: Progress) -> None:
    """Reports to nobody."""


def _scan_of(component: str, scan: scanning.Scanning | None) -> planting.Scan:
    """What looks at new bytes of a component before they are sealed."""

    def look(where: str, content: bytes) -> None:
        if scan is not None:
            scan.feed(f"{component}/{where}", content)

    return look


class SecretFound(Refused):
    """Values that must not be in a backup were about to be in it. `findings` say where, never what."""

    def __init__(self, findings: Sequence[scanner.Finding]) -> None:
        shown = "; ".join(str(finding) for finding in findings[:5])
        more = f"; and {len(findings) - 5} more" if len(findings) > 5 else ""
        super().__init__(
            f"{_counted(len(findings))} would have been in the backup: {shown}{more}; no snapshot was made, and what "
            "had been stored for it is deleted again",
            hint="take the value out of its source and refer to it by name; what is no secret goes under "
            "`backup.allow` with its fingerprint",
        )
        self.findings = tuple(findings)


def _counted(count: int) -> str:
    return "a secret value" if count == 1 else f"{count} secret values"


def _refuse_secrets(scan: scanning.Scanning | None) -> None:
    found = scan.finish() if scan is not None else ()
    if found:
        raise SecretFound(found)


@contextlib.contextmanager
def _scanned(writer: writing.Writer, scan: scanning.Scanning | None) -> Iterator[None]:
    """Whatever ends the backup: with a secret in it, what it stored does not stay."""
    try:
        yield
    except BaseException:
        if scan is not None and scan.is_unclean():
            writer.discard()
        raise


def run(
    repository: repositories.Repository,
    origins: Mapping[str, Origin],
    maker: Maker,
    *,
    scan: scanner.Scanner | None = None,
    report: Report = _nowhere,
    workers: int = 0,
    among: str = layout.SNAPSHOTS,
    full: Mapping[str, fallen.Full] | None = None,
    damaged: Collection[str] = (),
) -> snapshots.Snapshot:
    """Capture everything and commit one snapshot. A component that fails is kept as far as it came, with its problem.

    One that has shrunk suddenly, held against `full`, is marked.

    On packs that were found `damaged` and still are it does not build: what lies in them is stored again.

    Among `layout.KEPT` it becomes a kept state of a plane: without a parent, and nobody's newest backup.

    Raises Refused when nothing at all could be captured or a secret was found, Unavailable and Damaged of the store;
    nothing was committed then.
    """
    began = time.monotonic()
    at, warning = _dated(repository, maker.now())
    parent = repository.newest() if among == layout.SNAPSHOTS else None
    index = _usable_index(repository, damaged)
    reader = reading.Reader(repository, index)
    with (
        _full_told(),
        writing.Writer(repository, index, workers=workers) as writer,
        scanning.beside(scan) as beside,
        _scanned(writer, beside),
    ):
        found = []
        for origin in origins.values():
            report(Progress(origin.name))
            before = parent.component(origin.name) if parent else None
            made = _component(origin, writer, reader, before, _scan_of(origin.name, beside), maker, report)
            made = fallen.marked(made, (full or {}).get(origin.name))
            found.append(dataclasses.replace(made, warnings=(*made.warnings, warning)) if warning else made)
            warning = ""
            report(Progress(origin.name, ended=found[-1]))
        if all(one.problem for one in found):
            problems = "; ".join(f"{one.name}: {one.problem}" for one in found) or "there is nothing to back up"
            raise Refused(
                f"nothing could be captured, so no snapshot was made: {problems}",
                hint="`ddr doctor` says which connectors answer; name what to back up in ddr.yaml",
            )
        _refuse_secrets(beside)
        writer.finish()
        used = frozenset(writer.used)
        looked = maker.now(), time.clock_gettime(_BOOTTIME)
        graves.revive(repository, index, used, writer)
        snapshot = snapshots.Snapshot(
            at=at,
            host=maker.host,
            actor=maker.actor,
            version=maker.version,
            components=tuple(found),
            parent=parent.id if parent else "",
            took_s=round(time.monotonic() - began, 3),
            added_bytes=writer.added_bytes,
        )
        committed = repository.commit(snapshot, among)
    slept = max(maker.now() - looked[0], timedelta(seconds=time.clock_gettime(_BOOTTIME) - looked[1]))
    try:
        graves.recheck(repository, index, used, slept)
    except Conflict:
        mine = [head for head in repository.heads(among) if head.id == committed.id]
        for head in mine:  # it slept between its last look and the commit
            repository.forget(head)
        raise
    return committed


def _dated(repository: repositories.Repository, now: datetime) -> tuple[datetime, str]:
    """When this snapshot is, and what to warn of: the names of snapshots are their order, and clocks jump.

    A little behind the newest one (a clock was set back) is dated right behind it; for more than that somebody's clock
    is wrong, and nobody can say whose.
    """
    newest = max((head.at for head in repository.heads()), default=now)
    behind = newest - now
    if behind <= timedelta(0):
        return now, ""
    if behind <= leases.SKEW:
        return newest + timedelta(seconds=1), ""
    return now, (
        f"the newest snapshot is dated {timetext.format_duration(behind)} ahead of this one: the clock here is wrong, "
        "or that of who wrote it; until then `latest` means that one"
    )


@contextlib.contextmanager
def _full_told() -> Iterator[None]:
    try:
        yield
    except store.Full as problem:
        raise store.Full(
            f"{problem.message}; no snapshot was made, and what this backup had stored is deleted again",
            hint=f"{problem.hint}; `ddr backup prune` gives back what no snapshot needs",
        ) from problem


def _usable_index(repository: repositories.Repository, damaged: Collection[str]) -> chunk_index.ChunkIndex:
    """What is stored and really there: what lies in a pack that is gone or has another size is stored anew, and what
    lies in one that was found damaged, unless somebody has put it right."""
    index, _ = repository.index_with_problems()
    repository.drop_absent(index)
    index.drop(pack for pack in damaged if index.knows(pack) and not repository.is_whole(pack))
    return index


def _component(
    origin: Origin,
    writer: writing.Writer,
    reader: reading.Reader,
    before: snapshots.Component | None,
    scan: planting.Scan,
    maker: Maker,
    report: Report,
) -> snapshots.Component:
    began, at, problem = time.monotonic(), maker.now(), ""

    def told(what: str, done: int, of: int) -> None:
        report(Progress(origin.name, what, done, of))

    into = sink.ChunkSink(writer, reader, before, scan, told)
    try:
        origin.made.capture(into)
    except DdrError as failed:
        writer.check()
        problem = failed.message
    took_s = round(time.monotonic() - began, 3)
    return into.component(origin.name, origin.kind, origin.source, at, took_s, problem)


def without_chunks(snapshot: snapshots.Snapshot) -> snapshots.Snapshot:
    """For people and `--json`: everything but the names of chunks."""
    components = tuple(
        dataclasses.replace(
            one,
            tables=tuple(dataclasses.replace(table, chunks=()) for table in one.tables),
            streams=tuple(dataclasses.replace(stream, chunks=()) for stream in one.streams),
            trees=tuple(dataclasses.replace(tree, root=()) for tree in one.trees),
        )
        for one in snapshot.components
    )
    return dataclasses.replace(snapshot, components=components)
