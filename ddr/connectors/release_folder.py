"""Releases as folders with a link that says which one is current: `releases/1.4.0`, `current -> releases/1.4.0`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ddr.connectors import linked_folders
from ddr.domain import health, planes, revisions, signals
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
        link = pointer.Pointer(self.root / self.settings.current, self.root / self.settings.releases)
        return ReleasePlane(plane, self.root.name, link, self.root / self.settings.deployments, self.settings.card)


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> ReleaseFolder:
    del clock
    return ReleaseFolder(base / settings.root, settings)


@dataclass(frozen=True)
class ReleasePlane(linked_folders.LinkedPlane):
    """Implements Observable and Switchable. `card` is the file in which a release says what it is."""

    card: str

    def facts(self, folder: Path) -> Mapping[str, str]:
        return _facts(folder / self.card)

    def health(self) -> health.Health:
        try:
            live = self.revision()
            written = jsonl.read(self.deployments)
        except DdrError as problem:
            return health.Health.of(problem, (pointer.UNLOCKED,))
        why = f"{self.pointer.link} is at {live.name}"
        if written.objects and written.objects[-1].get("to") != live.name:
            last = written.objects[-1].get("to")
            why += f"; {self.deployments.name} ends with {last}: moved since, outside of that log"
        if written.bad:
            why += f"; {self.deployments}: {written.bad} lines cannot be read"
        return health.Health(signals.State.OK, why, self.can, (pointer.UNLOCKED,))


def _facts(card: Path) -> Mapping[str, str]:
    """What the release says of itself; a release without a card says nothing."""
    said = jsonl.of_file(card) or {}
    return {name: str(said[name]) for name in _FACTS if said.get(name)}
