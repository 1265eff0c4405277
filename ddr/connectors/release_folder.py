"""Releases as folders with a link that says which one is current: `releases/1.4.0`, `current -> releases/1.4.0`.

The link is moved under the lock file beside it, which ddr and every deployer that asks for it obey; a deployer that
does not ask can still move it in the millisecond between ddr's look and ddr's move, and is seen when the link is
read back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ddr.domain import changes, health, planes, revisions, signals
from ddr.errors import DdrError
from ddr.lib import clock as clocks
from ddr.lib import jsonl, pointer

_FACTS = ("version", "commit", "built_at", revisions.INPUTS_SCHEMA)


@dataclass(frozen=True)
class Settings:
    """`root` holds the folder `releases`, the link `current` and the log `deployments`."""

    root: str
    releases: str = "releases"
    current: str = "current"
    deployments: str = "deployments.jsonl"
    card: str = "release.json"


@dataclass(frozen=True)
class Binding:
    """A plane says nothing more: one root is one plane."""


@dataclass(frozen=True)
class ReleaseFolder:
    root: Path
    settings: Settings

    def plane(self, binding: Binding, plane: planes.Plane) -> ReleasePlane:
        del binding
        return ReleasePlane(self.root, self.settings, plane)


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> ReleaseFolder:
    del clock
    return ReleaseFolder(base / settings.root, settings)


@dataclass(frozen=True)
class ReleasePlane:
    """Implements Observable and Switchable. A revision's digest is that of the whole release folder."""

    root: Path
    settings: Settings
    which: planes.Plane

    @property
    def _pointer(self) -> pointer.Pointer:
        return pointer.Pointer(self.root / self.settings.current, self.root / self.settings.releases)

    def revision(self) -> revisions.Revision:
        return self.find(self._pointer.read())

    def find(self, name: str) -> revisions.Revision:
        card = self._pointer.path(name) / self.settings.card
        return revisions.Revision(self.which, self.root.name, name, self._pointer.digest(name), _facts(card))

    def switch(self, to: revisions.Revision, expect: revisions.Revision) -> revisions.Revision:
        live = self.revision()
        if not revisions.must_move(live=live, to=to, expect=expect):
            return live
        revisions.must_be(self.find(to.name), to)
        self._pointer.swap(expect=expect.name, to=to.name)
        return self.revision()

    def changes(self, since: datetime) -> Sequence[changes.Change]:
        path = self.root / self.settings.deployments
        return changes.of_deployments(jsonl.read(path).objects, since, self.which, self.root.name, str(path))

    def health(self) -> health.Health:
        log = self.root / self.settings.deployments
        try:
            live = self.revision()
            written = jsonl.read(log)
        except DdrError as problem:
            return health.Health.of(problem, (pointer.UNLOCKED,))
        why = f"{self._pointer.link} is at {live.name}"
        if written.objects and written.objects[-1].get("to") != live.name:
            why += f"; {log.name} ends with {written.objects[-1].get('to')}: moved since, outside of that log"
        if written.bad:
            why += f"; {log}: {written.bad} lines cannot be read"
        return health.Health(signals.State.OK, why, (f"go to {', '.join(self._pointer.names())}",), (pointer.UNLOCKED,))


def _facts(card: Path) -> Mapping[str, str]:
    """What the release says of itself; a release without a card says nothing."""
    said = jsonl.of_file(card) or {}
    return {name: str(said[name]) for name in _FACTS if said.get(name)}
