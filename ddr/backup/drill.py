"""A restore rehearsed for real: into a throwaway place, started, asked, compared, timed, and swept away.

What a drill measures is the recovery time that may be promised; what it proves is that the snapshot restores. It
must fail when the restored copy is damaged: everything is compared after the restore, by digests that the snapshot
has and the restored place does not know.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ddr.backup import reading, source
from ddr.backup import repository as repositories
from ddr.domain import snapshots
from ddr.errors import DdrError, Unavailable
from ddr.lib import redact
from ddr.ports import restorable

Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Part:
    """One component: seconds of each phase, how much was compared, and what did not hold."""

    component: str
    phases: Mapping[str, float]
    compared: int
    unequal: tuple[restorable.Comparison, ...] = ()
    problems: tuple[str, ...] = ()
    left_out: str = ""
    """Why it was not rehearsed, '' when it was."""

    @property
    def took_s(self) -> float:
        return sum(self.phases.values())

    @property
    def holds(self) -> bool:
        return not self.unequal and not self.problems and not self.left_out


@dataclass(frozen=True)
class Drill:
    """`took_s` from the first byte to the last proof: the measured recovery time."""

    snapshot: snapshots.Snapshot
    parts: tuple[Part, ...]
    took_s: float
    left_behind: str = field(default="")
    """The throwaway place, where it could not be swept away."""

    @property
    def passed(self) -> bool:
        return self._proves_something and all(part.holds for part in self.parts)

    @property
    def _proves_something(self) -> bool:
        return any(part.compared for part in self.parts)

    @property
    def phases(self) -> dict[str, float]:
        """`component phase`: seconds."""
        return {f"{part.component} {name}": took for part in self.parts for name, took in part.phases.items()}

    @property
    def why(self) -> str:
        """What did not hold, '' when all did."""
        told = [] if self._proves_something else ["nothing was compared, so nothing is proved"]
        for part in self.parts:
            told += [f"{part.component}: {problem}" for problem in part.problems]
            told += [f"{part.component}: {part.left_out}"] if part.left_out else []
            if part.unequal:
                first = part.unequal[0]
                told.append(
                    f"{part.component}: {len(part.unequal)} of {part.compared} differ, first {first.what}: "
                    f"{first.expected} expected, {first.found} found"
                )
        return "; ".join(told)


def rehearse(
    repository: repositories.Repository,
    snapshot: snapshots.Snapshot,
    connectors: Mapping[str, restorable.Restorable],
    place: Path | None = None,
    told: Told | None = None,
) -> Drill:
    """Rehearse every component of the snapshot. `connectors` are by component; one without is left out, which fails.

    `place` is a folder for the throwaway place; the system's own by default. Raises Unavailable when that is full or
    cannot be written.
    """
    began = time.monotonic()
    try:
        folder = Path(tempfile.mkdtemp(prefix="ddr-drill-", dir=place))
    except OSError as problem:
        raise Unavailable(f"no place for a drill: {redact.foreign(problem)}", hint="name one with --place") from problem
    try:
        reader = reading.Reader(repository, repository.index())
        parts = []
        for component in snapshot.components:
            origin = source.ChunkSource(repository, reader, component)
            parts.append(_part(component, origin, connectors.get(component.name), folder / component.name, told))
        took_s = round(time.monotonic() - began, 3)
    finally:
        left = _sweep(folder)
    return Drill(snapshot, tuple(parts), took_s, left)


def _part(
    component: snapshots.Component,
    origin: restorable.Source,
    connector: restorable.Restorable | None,
    folder: Path,
    told: Told | None,
) -> Part:
    name = component.name
    if connector is None:
        return Part(name, {}, 0, left_out="no connector of this ddr.yaml restores it")
    folder.mkdir()
    began = time.monotonic()
    try:
        if isinstance(connector, restorable.Rehearsable):
            found = connector.rehearse(origin, folder, told)
            return _held(component, found.phases, found.compared, found.problems)
        phases: dict[str, float] = {}
        plan = connector.plan_restore(origin, restorable.RestoreOptions(target=str(folder / "restored")))
        if plan.refusals:
            return Part(name, {}, 0, problems=plan.refusals)
        connector.restore(plan, origin, told)
        phases["restore"] = round(time.monotonic() - began, 3)
        compared = connector.compare(plan, origin)
        phases["compare"] = round(time.monotonic() - began - phases["restore"], 3)
        return _held(component, phases, compared, ())
    except DdrError as problem:
        return Part(name, {"until it failed": round(time.monotonic() - began, 3)}, 0, problems=(problem.message,))


def _held(
    component: snapshots.Component,
    phases: Mapping[str, float],
    compared: Sequence[restorable.Comparison],
    problems: Sequence[str],
) -> Part:
    """Where the component has something, something of it must have been compared."""
    unequal = tuple(one for one in compared if not one.is_equal)
    is_empty = not component.size_bytes and not component.rows and not component.files
    nothing = () if compared or problems or is_empty else ("nothing was compared, so nothing is proved",)
    return Part(component.name, dict(phases), len(compared), unequal, (*problems, *nothing))


def _sweep(folder: Path) -> str:
    try:
        shutil.rmtree(folder)
    except OSError as problem:
        return f"{folder} could not be removed: {redact.foreign(problem)}"
    return ""
