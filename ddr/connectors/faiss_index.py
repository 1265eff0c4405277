"""Versions of a FAISS index as folders with a link that says which one is current. FAISS itself is never loaded.

A version is `index.faiss`, `ids.json` and `card.json`; the card names the embedder whose space the vectors live in.
Two indexes of one size say nothing about that: only the embedder's fingerprint does. FAISS has no checksum and loads
most damaged files without a word, so a version whose files are not those of its digests is not gone to; they stand in
the card (`files: {name: sha256:…}`) or in a `manifest.json` (`files: [{name, sha256}]`).

The manifest that `ddr index` writes says all that a card does, and lists no `ids.json` where ids are whole numbers. It
is held to the name of its version before anything in it is believed, and a card beside it says nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ddr.connectors import linked_folders
from ddr.domain import changes, health, index_versions, planes, revisions, signals
from ddr.errors import Damaged, DdrError, Unavailable
from ddr.lib import clock as clocks
from ddr.lib import digest, jsonl, pointer, redact

_INDEX, _NAMES = _PARTS = ("index.faiss", "ids.json")
_CARD, _MANIFEST = "card.json", "manifest.json"
_PUBLISHED = "plan_digest"
"""What only a manifest of `ddr index` says."""
_EMPTY = digest.of_bytes(b"")
_DIGITS = 64
_NEXT = "go back to another version, or publish this one again"
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
    clock: clocks.Clock

    def plane(self, binding: Binding, plane: planes.Plane) -> IndexPlane:
        del binding
        link = pointer.Pointer(self.root / self.settings.current, self.root / self.settings.versions)
        return IndexPlane(plane, self.root.name, link, self.root / self.settings.deployments, self.clock)


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> FaissIndex:
    return FaissIndex(base / settings.root, settings, clock)


@dataclass(frozen=True)
class IndexPlane(linked_folders.LinkedPlane):
    """Implements Observable and Switchable; a version with a part missing, empty or other than its digest, or without
    its card, is Damaged."""

    clock: clocks.Clock

    def find(self, name: str) -> revisions.Revision:
        """Each file is read once: for its own digest and for that of the whole."""
        folder = self.pointer.path(name)
        try:
            entries = digest.tree(folder)
        except OSError as problem:
            raise Unavailable(
                f"{folder} cannot be read: {redact.foreign(problem)}", hint="look at its rights and its disk"
            ) from problem
        facts = _facts(folder, entries)
        return revisions.Revision(self.which, self.object, name, digest.of_entries(entries), facts)

    def moved(self, before: str, after: str) -> None:
        """In a home of `ddr index`, whose collector asks this log what served lately. The journal says who moved it."""
        if index_versions.is_ours(before) or index_versions.is_ours(after):
            with contextlib.suppress(OSError):
                said = changes.deployment(self.clock.now(), before, after, "", "ddr rollback")
                jsonl.append(self.deployments, said)

    def health(self) -> health.Health:
        cannot: tuple[str, ...] = (pointer.UNLOCKED,)
        try:
            live = self.revision()
        except DdrError as problem:
            return health.Health.of(problem, cannot)
        if revisions.EMBEDDER not in live.facts:
            cannot = (*cannot, f"tell whether {live.name} fits the embedder: its {_CARD} does not name one")
        if not _digests(self.pointer.path(live.name)):
            cannot = (*cannot, f"tell whether the files of {live.name} are whole: its {_CARD} has no digests")
        return health.Health(signals.State.OK, f"{self.pointer.link} is at {live.name}", self.can, cannot)


def _facts(folder: Path, entries: Mapping[str, str]) -> Mapping[str, str]:
    said = _said(folder)
    wanted = _digests(folder)
    has_card = _CARD in entries and not index_versions.is_ours(folder.name)
    parts = _PARTS if has_card or _NAMES in wanted or not wanted else (_INDEX,)
    for part in parts:
        if entries.get(part, _EMPTY) == _EMPTY or not (folder / part).is_file():
            raise Damaged(f"{folder / part} is not there or empty", hint=_NEXT)
    for part in (*parts, *wanted) if wanted else ():
        if part not in wanted:
            raise Damaged(f"{folder} has digests, and none of {part}", hint=_NEXT)
        if entries.get(part) != wanted[part]:
            what = "has other bytes than were published" if part in entries else "is not there"
            raise Damaged(f"{folder / part} {what}", hint=_NEXT)
    return {name: str(said[name]) for name in _FACTS if said.get(name)}


def _said(folder: Path) -> Mapping[str, object]:
    """What the card says, or the manifest of `ddr index` where there is none. Damaged without either."""
    manifest, card = _manifest(folder), _card(folder)
    if card is not None:
        return card
    if _PUBLISHED not in manifest:
        raise Damaged(f"{folder} has no {_CARD}", hint=_NEXT)
    shape = _inner(_inner(manifest, "plan"), "shape")
    return {
        revisions.EMBEDDER: _inner(manifest, "embedder").get("fingerprint"),
        "dim": shape.get("dimension"),
        "count": _inner(manifest, "scan").get("kept"),
    }


def _manifest(folder: Path) -> Mapping[str, object]:
    """What it says, nothing where there is none. Damaged when that of `ddr index` is not what it was, or is gone."""
    path = folder / _MANIFEST
    if not index_versions.is_ours(folder.name):
        return jsonl.of_file(path) or {}
    content = jsonl.content(path)
    if content is None:
        raise Damaged(f"{path} is not there", hint=_NEXT)
    return index_versions.proved(content, folder.name, str(path), _NEXT)


def _card(folder: Path) -> Mapping[str, object] | None:
    """None where there is none, and beside a manifest of `ddr index`."""
    return None if index_versions.is_ours(folder.name) else jsonl.of_file(folder / _CARD)


def _inner(of: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = of.get(name)
    return found if isinstance(found, dict) else {}


def _digests(folder: Path) -> Mapping[str, str]:
    """Each file's digest as it was published; nothing where nobody wrote them down. Damaged when they are none."""
    found: dict[str, str] = {}
    for name, said in ((_CARD, _card(folder) or {}), (_MANIFEST, _manifest(folder))):
        files = said.get("files") or {}
        listed = files.items() if isinstance(files, dict) else _named(files)
        for part, one in listed:
            plain = str(one).removeprefix(digest.PREFIX)
            if len(plain) != _DIGITS or not set(plain) <= set("0123456789abcdef"):
                raise Damaged(f"{folder / name}: {part} has no SHA-256 digest", hint=_NEXT)
            found[str(part)] = digest.PREFIX + plain
    return found


def _named(files: object) -> Iterator[tuple[object, object]]:
    for entry in files if isinstance(files, list) else ():
        yield (entry.get("name"), entry.get("sha256")) if isinstance(entry, dict) else (entry, None)
