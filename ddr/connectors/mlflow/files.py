"""The files of a snapshot written to where the restored rows say they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddr.connectors.mlflow import locations, relocate
from ddr.errors import Conflict, Damaged, Unavailable
from ddr.lib import redact
from ddr.ports import restorable

_PART = ".ddr-part"
_PIECE_BYTES = 4 * 2**20
_NAMED = 10
NO_FILES = "0 whole files"


@dataclass(frozen=True)
class Counts:
    """Files of one tree: `elsewhere` belong neither on this machine's disk nor into a bucket; `links` belong into a
    bucket, which has none."""

    tree: str
    new: int = 0
    same: int = 0
    other: int = 0
    elsewhere: int = 0
    examples: tuple[str, ...] = ()
    links: int = 0


@dataclass(frozen=True)
class Files:
    """`wanted` says which paths of a tree are restored."""

    source: restorable.Source
    moves: relocate.Relocation
    wanted: Callable[[str, str], bool]

    @property
    def trees(self) -> Sequence[str]:
        known = (locations.LOCAL_TREE, locations.S3_TREE)
        return [tree.name for tree in self.source.component.trees if tree.name in known]

    def placed(self, tree: str) -> Iterator[tuple[restorable.FileStored, Path]]:
        """Files and links that go to this machine's disk."""
        for stored in self.source.files(tree):
            path = self._path(tree, stored)
            if path is not None:
                yield stored, path

    def count(self, tree: str) -> Counts:
        """What is there already, looked at byte by byte."""
        new = same = other = elsewhere = 0
        examples: list[str] = []
        for stored in self.source.files(tree):
            if stored.kind == "folder" or not self.wanted(tree, stored.path):
                continue
            path = self.moves.on_disk(tree, stored.path)
            if path is None:
                elsewhere += self.moves.in_bucket(tree, stored.path) is None
            elif not _is_there(path):
                new += 1
            elif self._is_same(tree, stored, path):
                same += 1
            else:
                other += 1
                examples.append(str(path))
        return Counts(tree, new, same, other, elsewhere, tuple(examples[:3]))

    def write(self, policy: restorable.Policy, progress: restorable.Progress | None) -> None:
        """Each file is whole or not there at any time: written beside, then renamed. Conflict before the first.

        What the backup has lost stays away, and the comparison says so: the rest is worth having.
        """
        for tree in self.trees:
            todo = self._todo(tree, policy)
            parts = {name: path.with_name(f".{path.name}{_PART}") for name, path in todo.items()}
            try:
                for part in parts.values():
                    part.parent.mkdir(parents=True, exist_ok=True)
                    part.unlink(missing_ok=True)

                def beside(stored: restorable.FileStored, parts: dict[str, Path] = parts) -> Path | None:
                    return parts.get(stored.path)

                lost: frozenset[str] = frozenset()
                try:
                    self.source.write(tree, beside, progress)
                except restorable.FilesLost as problem:
                    lost = frozenset(problem.paths)
                for name, path in todo.items():
                    if name in lost:
                        parts[name].unlink(missing_ok=True)
                    else:
                        parts[name].replace(path)
            except OSError as problem:
                raise Unavailable(
                    f"files of {tree} cannot be written: {redact.foreign(problem)}",
                    hint="look at the disk and its rights, then restore again: it goes on from here",
                ) from problem

    def compare(self, tree: str) -> restorable.Comparison:
        """Every file that belongs on this disk, byte by byte."""
        count = whole = 0
        wrong: list[str] = []
        for stored, path in self.placed(tree):
            count += 1
            if _is_there(path) and self._is_same(tree, stored, path):
                whole += 1
            else:
                wrong.append(str(path))
        found = f"{whole} whole files" + said_wrong(wrong)
        return restorable.Comparison(f"files of {tree}", f"{count} whole files", found)

    def _path(self, tree: str, stored: restorable.FileStored) -> Path | None:
        if stored.kind == "folder" or not self.wanted(tree, stored.path):
            return None
        return self.moves.on_disk(tree, stored.path)

    def _todo(self, tree: str, policy: restorable.Policy) -> dict[str, Path]:
        todo = {}
        for stored, path in self.placed(tree):
            if _is_there(path):
                if policy == "skip" or self._is_same(tree, stored, path):
                    continue
                if policy == "fail":
                    raise Conflict(
                        f"{path} is there with other content; no file of the snapshot was written",
                        hint="restore into an empty folder (--with artifacts=FOLDER), or say --policy update or skip",
                    )
            todo[stored.path] = path
        return todo

    def _is_same(self, tree: str, stored: restorable.FileStored, path: Path) -> bool:
        if path.is_symlink() or stored.kind == "link":
            return path.is_symlink() and stored.kind == "link" and str(path.readlink()) == stored.target
        if not path.is_file() or path.stat().st_size != stored.size_bytes:
            return False
        try:
            return self.source.matches(tree, stored.path, _on_disk(path))
        except Damaged:
            return False  # the backup has lost it: nobody can say whether these are its bytes


def said_wrong(names: Sequence[str]) -> str:
    """Those that are not whole, by name as far as a person reads."""
    more = len(names) - _NAMED
    return f"; not {', '.join(names[:_NAMED])}{f' and {more} more' if more > 0 else ''}" if names else ""


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


def _on_disk(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece
    except OSError as problem:
        raise Unavailable(f"{path}: {redact.foreign(problem)}", hint="look at the disk and its rights") from problem


def below(where: locations.Map, uris: Sequence[str]) -> Callable[[str, str], bool]:
    """Whether a path of a tree lies at or below one of these locations."""
    known = {(place.kind, place.path) for place in map(where.place, uris) if place}
    trees = {locations.LOCAL_TREE: "local", locations.S3_TREE: "s3"}

    def is_below(tree: str, path: str) -> bool:
        parts = path.split("/")
        return any((trees[tree], "/".join(parts[:end])) in known for end in range(1, len(parts) + 1))

    return is_below
