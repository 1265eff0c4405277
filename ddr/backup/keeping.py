"""Kept states of planes in the backup repository: sealed, deduplicated and scanned as backups are, and apart from them.

A kept state is a snapshot of one component under `backup/kept/`: `latest`, restores, drills, the guard against sudden
shrinking and the parent of a backup know only what lies under `backup/snapshots/`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ddr.backup import capture, layout, reading, scanner, source
from ddr.backup import repository as repositories
from ddr.domain import snapshots
from ddr.errors import Damaged, DdrError, Missing
from ddr.lib import digest
from ddr.ports import keeping, restorable

KIND = "kept-state"
_WHY = "why"


@dataclass(frozen=True)
class Found:
    """A kept state with the snapshot it is, and the name of that object."""

    head: repositories.Head
    snapshot: snapshots.Snapshot
    kept: keeping.Kept


@dataclass
class BackupShelf:
    """Implements ports.keeping.Shelf. `opened` raises Missing where there is no repository yet, `made` makes it."""

    opened: Callable[[], repositories.Repository]
    made: Callable[[], repositories.Repository]
    maker: Callable[[], capture.Maker]
    scan: Callable[[repositories.Repository], scanner.Scanner | None] = lambda _: None
    report: capture.Report = lambda _: None
    _repository: list[repositories.Repository] = field(default_factory=list, repr=False)
    _read: dict[str, Found] = field(default_factory=dict, repr=False)
    """Manifests by key: written once, so what was read stays true."""

    def keep(self, object_: str, capture: Callable[[restorable.Sink], None], why: str = "") -> keeping.Kept:
        origin = _Origin(capture, why)
        repository = self._open(self.made)
        try:
            snapshot = _run(repository, object_, origin, self.maker(), self.scan(repository), self.report)
        except DdrError as problem:
            if origin.problem is not None:
                raise origin.problem from None  # what the connector said, in its own words and kind
            raise problem
        return _kept_of(snapshot)

    def kept(self, object_: str = "") -> Sequence[keeping.Kept]:
        try:
            found = states(self._open(self.opened), self._read)
        except Missing:
            return ()
        return tuple(one.kept for one in found if not object_ or one.kept.object == object_)

    def open(self, object_: str, name: str) -> restorable.Source:
        repository = self._open(self.opened)
        for head in repository.heads(layout.KEPT):
            if head.id == name:
                found = repository.read(head)
                if found.components[0].name == object_:
                    index = repository.index()
                    return source.ChunkSource(repository, reading.Reader(repository, index), found.components[0])
        raise Missing(
            f"no state {name!r} of {object_} is kept (any more)", hint="`ddr features list` shows those that are"
        )

    def _open(self, how: Callable[[], repositories.Repository]) -> repositories.Repository:
        if not self._repository:
            self._repository.append(how())
        return self._repository[0]


@dataclass
class _Origin:
    """Implements Capturable, and remembers what went wrong."""

    put: Callable[[restorable.Sink], None]
    why: str
    problem: DdrError | None = None

    def capture(self, sink: restorable.Sink) -> None:
        try:
            self.put(sink)
        except DdrError as problem:
            self.problem = problem
            raise
        sink.fact(_WHY, self.why)


def _run(
    repository: repositories.Repository, object_: str, origin: _Origin, maker: capture.Maker,
    scan: scanner.Scanner | None, report: capture.Report,
) -> snapshots.Snapshot:  # fmt: skip
    origins = {object_: capture.Origin(object_, KIND, object_, origin)}
    return capture.run(repository, origins, maker, scan=scan, report=report, among=layout.KEPT)


def states(repository: repositories.Repository, known: dict[str, Found] | None = None) -> tuple[Found, ...]:
    """Every kept state that can be read, oldest first. Those that cannot are told by `ddr backup verify`."""
    known = {} if known is None else known
    found = []
    for head in repository.heads(layout.KEPT):
        if head.key not in known:
            try:
                snapshot = repository.read(head)
            except (Damaged, Missing):
                continue
            known[head.key] = Found(head, snapshot, _kept_of(snapshot))
        found.append(known[head.key])
    return tuple(sorted(found, key=lambda one: one.kept.at))


def _kept_of(snapshot: snapshots.Snapshot) -> keeping.Kept:
    one = snapshot.components[0]
    facts = {name: value for name, value in one.facts.items() if name != _WHY}
    return keeping.Kept(
        snapshot.id, one.name, snapshot.at, _digest(one), one.rows, one.size_bytes, one.facts.get(_WHY, ""), facts
    )


def _digest(component: snapshots.Component) -> str:
    """Of what was captured, however it was cut and whenever."""
    parts = {f"table {table.name}": table.digest for table in component.tables}
    parts |= {f"stream {stream.name}": stream.digest for stream in component.streams}
    parts |= {f"tree {tree.name}": "".join(tree.root) for tree in component.trees}
    return digest.of_value(parts) if parts else ""


@dataclass(frozen=True)
class Aged:
    """A kept state that nothing holds any more, or why it stays."""

    head: repositories.Head
    kept: keeping.Kept
    reason: str
    is_forgotten: bool


def decide(
    found: Sequence[Found], now: datetime, window: timedelta, named: Collection[str] = frozenset()
) -> tuple[Aged, ...]:
    """What stays, the newest first. Pure. Kept are

    - those of the recovery window, and the one before it: it is what was live as the window began;
    - the newest of each object, and one dated after `now`, whose clock nobody can judge;
    - those whose revision is in `named`: known-good releases in the window need them.
    """
    decided: list[Aged] = []
    newest: set[str] = set()
    begun: set[str] = set()
    for one in sorted(found, key=lambda one: (one.kept.at, one.head.id), reverse=True):
        reason = ""
        if one.kept.at > now:
            reason = "dated in the future"
        elif one.kept.at >= now - window:
            reason = "in the recovery window"
        elif one.kept.object not in begun:
            begun.add(one.kept.object)
            reason = "the last before the recovery window" if one.kept.object in newest else "the newest"
        elif one.kept.facts.get(keeping.REVISION, "") in named:
            reason = "a known-good release names it"
        newest.add(one.kept.object)
        decided.append(Aged(one.head, one.kept, reason or "older than the recovery window", not reason))
    return tuple(decided)
