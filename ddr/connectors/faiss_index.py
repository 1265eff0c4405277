"""Versions of a FAISS index as folders with a link that says which one is current. FAISS itself is never loaded.

A version is `index.faiss`, `ids.json` and `card.json`; the card names the embedder whose space the vectors live in.
Two indexes of one size say nothing about that: only the embedder's fingerprint does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ddr.domain import changes, health, planes, revisions, signals
from ddr.errors import Damaged, DdrError
from ddr.lib import clock as clocks
from ddr.lib import jsonl, pointer

_PARTS = ("index.faiss", "ids.json")
_CARD = "card.json"
_FACTS = (revisions.EMBEDDER, "dim", "count")


@dataclass(frozen=True)
class Settings:
    """`root` holds the folder `versions`, the link `current` and the log `deployments`."""

    root: str
    versions: str = "versions"
    current: str = "current"
    deployments: str = "deployments.jsonl"


@dataclass(frozen=True)
class Binding:
    """A plane says nothing more: one root is one index."""


@dataclass(frozen=True)
class FaissIndex:
    root: Path
    settings: Settings

    def plane(self, binding: Binding, plane: planes.Plane) -> IndexPlane:
        del binding
        return IndexPlane(self.root, self.settings, plane)


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> FaissIndex:
    del clock
    return FaissIndex(base / settings.root, settings)


@dataclass(frozen=True)
class IndexPlane:
    """Implements Observable and Switchable. A revision's digest is that of the whole version folder."""

    root: Path
    settings: Settings
    which: planes.Plane

    @property
    def _pointer(self) -> pointer.Pointer:
        return pointer.Pointer(self.root / self.settings.current, self.root / self.settings.versions)

    def revision(self) -> revisions.Revision:
        return self.find(self._pointer.read())

    def find(self, name: str) -> revisions.Revision:
        """As the port says; Damaged when a part of the version is missing or empty, or its card cannot be read."""
        facts = _facts(self._pointer.path(name))
        return revisions.Revision(self.which, self.root.name, name, self._pointer.digest(name), facts)

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
        unlocked: tuple[str, ...] = (pointer.UNLOCKED,)
        try:
            live = self.revision()
        except DdrError as problem:
            return health.Health.of(problem, unlocked)
        why = f"{self._pointer.link} is at {live.name}"
        if revisions.EMBEDDER not in live.facts:
            unlocked = (*unlocked, f"tell whether {live.name} fits the embedder: its {_CARD} does not name one")
        return health.Health(signals.State.OK, why, (f"go to {', '.join(self._pointer.names())}",), unlocked)


def _facts(folder: Path) -> Mapping[str, str]:
    for part in _PARTS:
        path = folder / part
        if not path.is_file() or path.stat().st_size == 0:
            raise Damaged(f"{path} is not there or empty", hint="go back to another version, or publish this one again")
    said = jsonl.of_file(folder / _CARD)
    if said is None:
        raise Damaged(f"{folder} has no {_CARD}", hint="go back to another version, or publish this one again")
    return {name: str(said[name]) for name in _FACTS if said.get(name)}
