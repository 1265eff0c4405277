"""Versions of a FAISS index as folders with a link that says which one is current. FAISS itself is never loaded.

A version is `index.faiss`, `ids.json` and `card.json`; the card names the embedder whose space the vectors live in.
Two indexes of one size say nothing about that: only the embedder's fingerprint does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ddr.connectors import linked_folders
from ddr.domain import health, planes, revisions, signals
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
        link = pointer.Pointer(self.root / self.settings.current, self.root / self.settings.versions)
        return IndexPlane(plane, self.root.name, link, self.root / self.settings.deployments)


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> FaissIndex:
    del clock
    return FaissIndex(base / settings.root, settings)


@dataclass(frozen=True)
class IndexPlane(linked_folders.LinkedPlane):
    """Implements Observable and Switchable; a version with a part missing or empty, or without its card, is Damaged."""

    def facts(self, folder: Path) -> Mapping[str, str]:
        return _facts(folder)

    def health(self) -> health.Health:
        cannot: tuple[str, ...] = (pointer.UNLOCKED,)
        try:
            live = self.revision()
        except DdrError as problem:
            return health.Health.of(problem, cannot)
        if revisions.EMBEDDER not in live.facts:
            cannot = (*cannot, f"tell whether {live.name} fits the embedder: its {_CARD} does not name one")
        return health.Health(signals.State.OK, f"{self.pointer.link} is at {live.name}", self.can, cannot)


def _facts(folder: Path) -> Mapping[str, str]:
    for part in _PARTS:
        path = folder / part
        if not path.is_file() or path.stat().st_size == 0:
            raise Damaged(f"{path} is not there or empty", hint="go back to another version, or publish this one again")
    said = jsonl.of_file(folder / _CARD)
    if said is None:
        raise Damaged(f"{folder} has no {_CARD}", hint="go back to another version, or publish this one again")
    return {name: str(said[name]) for name in _FACTS if said.get(name)}
