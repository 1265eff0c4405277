"""A tree of a snapshot written back into a folder of this machine.

Everything is built first, in a hidden folder of the same file system, and then renamed into place, so that nothing is
half written where a program reads. Cut off and called again it takes up what it had built. The owner of a file is not
kept, and neither are the bits that would let a program run as its owner.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from ddr.connectors import folder_tree
from ddr.errors import Conflict, Damaged, Unavailable
from ddr.lib import beside, digest, durable, globs, redact
from ddr.ports import restorable

Fate = Literal["create", "same", "update", "recreate", "skip", "conflict"]

_FILE_BITS, _FOLDER_BITS = 0o777, 0o3777
_NAMED = 20  # so many single files are named in a plan or a comparison
_PIECE = 4 << 20
_AT_ONCE = 4


@dataclass(frozen=True)
class FolderRestore:
    """One tree of `source` into `target`. `selection` is what the connector captures: only that is ever deleted.

    `only` narrows what is restored. What it found equal it does not read again: make a new one for a new look.
    """

    source: restorable.Source
    tree: str
    target: Path
    policy: restorable.Policy
    selection: globs.Globs = field(default_factory=globs.Globs)
    only: globs.Globs = field(default_factory=globs.Globs)
    _same: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    def plan(self) -> tuple[list[restorable.PlanLine], list[str]]:
        """What would be done, and what speaks against it. Raises Damaged for a listing that is not safe."""
        if self.target.exists() and not self.target.is_dir():
            return [], [f"{self.target} is there and is no folder"]
        counts: dict[Fate, list[int]] = {}
        named: dict[Fate, list[str]] = {}
        for stored in self._wanted():
            fate = self._fate(stored)
            if stored.kind == "folder" and fate in ("create", "same"):
                continue
            count = counts.setdefault(fate, [0, 0])
            count[0] += 1
            count[1] += stored.size_bytes
            if len(names := named.setdefault(fate, [])) < _NAMED:
                names.append(stored.path)
        lines = [self._line(fate, files, size_bytes, named[fate]) for fate, (files, size_bytes) in counts.items()]
        extra = [path for path, _ in self._extra()] if self.policy == "recreate" else []
        if extra:
            lines.append(restorable.PlanLine("delete", self._what(len(extra)), _listed(extra)))
        refusals = []
        if "conflict" in counts:
            text = f"{self._what(counts['conflict'][0])} there already and different: {_listed(named['conflict'])}"
            refusals.append(f"{self.target}: {text}")
        return lines, refusals

    def _line(self, fate: Fate, files: int, size_bytes: int, names: list[str]) -> restorable.PlanLine:
        if fate == "same":
            return restorable.PlanLine("skip", self._what(files), "there already, the same bytes")
        detail = f"{size_bytes:,} bytes" if fate == "create" else _listed(names)
        return restorable.PlanLine("leave" if fate == "skip" else fate, self._what(files), detail)

    def _what(self, files: int) -> str:
        return f"{self.tree}: {files:,} {'entry' if files == 1 else 'entries'}"

    def apply(self, progress: restorable.Progress | None = None) -> None:
        """Raises Conflict, and nothing was changed; Damaged; Unavailable when the disk is full or says no."""
        self._same.clear()
        with _translated(self.target):
            hold = self._found_hold()
            if hold is None:
                self._refuse_conflicts()
                try:
                    hold = self._build(progress)
                except BaseException:
                    self._found_hold()  # half of it is of no use, and would keep a full disk full
                    raise
            self._place(hold)
            self._finish(hold)

    def compare(self) -> Sequence[restorable.Comparison]:
        """All files by one digest of names, kinds and contents, then those that differ, the first of them by name."""
        expected, found = _Sum(), _Sum()
        different: list[restorable.Comparison] = []
        with _translated(self.target):
            for stored, seen in beside.each(self._looks(), _AT_ONCE):
                said = _said(stored)
                expected.add(stored.path, said)
                found.add(stored.path, seen)
                if said != seen and len(different) < _NAMED:
                    different.append(restorable.Comparison(f"{self.tree}/{stored.path}", said, seen))
        return [restorable.Comparison(f"tree {self.tree}", str(expected), str(found)), *different]

    def _wanted(self) -> Iterator[restorable.FileStored]:
        for stored in folder_tree.checked(self.source.files(self.tree)):
            if not self.only.include or self.only.takes(stored.path):
                yield stored

    def _fate(self, stored: restorable.FileStored) -> Fate:
        """Decided from what is there now; asks the disk for the file's bytes only where one of its size is there."""
        if not self._is_there():
            return "create"
        path = self.target / stored.path
        parts = stored.path.split("/")
        for depth in range(1, len(parts)):
            above = _kind(self.target / "/".join(parts[:depth]))
            if above == "":
                return "create"
            if above != "folder":  # the entry of that folder has its own line
                return "create" if self.policy in ("update", "recreate") else "skip"
        there = _kind(path)
        if there == "":
            return "create"
        if there == stored.kind and self._is_same(stored, path):
            is_dressed = stored.kind != "file" or stat.S_IMODE(path.lstat().st_mode) == stored.mode & _FILE_BITS
            return "same" if is_dressed or self.policy in ("fail", "skip") else "update"
        if there == "folder" and self.policy == "update":
            return "conflict"  # all that is in it would go for one file
        fates: dict[restorable.Policy, Fate] = {
            "fail": "conflict", "skip": "skip", "update": "update", "recreate": "recreate",
        }  # fmt: skip
        return fates[self.policy]

    def _is_same(self, stored: restorable.FileStored, path: Path) -> bool:
        """What of it a reader would see; bytes are held against each other only where the sizes are equal."""
        if stored.kind == "folder":
            return True
        if stored.kind == "link":
            return _pointed(path) == stored.target
        if path.lstat().st_size != stored.size_bytes:
            return False
        if stored.path not in self._same:
            self._same[stored.path] = self.source.matches(self.tree, stored.path, _pieces(path))
        return self._same[stored.path]

    def _is_there(self) -> bool:
        """Asked once: while it is built nothing of the target changes."""
        if "" not in self._same:
            self._same[""] = _kind(self.target) != ""
        return self._same[""]

    def _refuse_conflicts(self) -> None:
        if not self._is_there():
            return
        names = [stored.path for stored in self._wanted() if self._fate(stored) == "conflict"]
        if names:
            raise Conflict(
                f"{self.target} has {len(names)} files that are different: {_listed(names)}; nothing was changed",
                hint="restore into an empty folder, or say --policy skip, update or recreate",
            )

    @property
    def _key(self) -> str:
        component = self.source.component
        said = [component.name, component.at.isoformat(), self.tree, self.policy, *self.only.include]
        return hashlib.sha256("\0".join(said).encode()).hexdigest()[:12]

    @property
    def _holds(self) -> tuple[Path, Path]:
        """Where it is built: in the target where that is there (another file system may begin at it), else beside."""
        name = folder_tree.HOLD + self._key
        return self.target / name, self.target.parent / name

    def _found_hold(self) -> Path | None:
        """What an earlier call had built whole; what it had not is thrown away."""
        for hold in self._holds:
            if (hold / "built").is_file():
                return hold
            if hold.is_dir():
                shutil.rmtree(hold)
        return None

    def _build(self, progress: restorable.Progress | None) -> Path:
        inside, beside = self._holds
        hold = inside if self.target.is_dir() else beside
        durable.make_folder(hold.parent)
        new = hold / "new"
        new.mkdir(parents=True, mode=0o700)
        hold.chmod(0o700)
        folders = []
        with durable.settling(new):
            for stored in self._wanted():
                if stored.kind == "folder" and self._is_built(stored):
                    (new / stored.path).mkdir(parents=True, exist_ok=True, mode=0o700)
                    folders.append(stored.path)
            self.source.write(self.tree, self._place_of(new), progress)
            for stored in self._wanted():
                if stored.kind != "folder" and self._is_built(stored):
                    _dress(new / stored.path, stored)
        durable.create(hold / "built", json.dumps(folders).encode())
        return hold

    def _is_built(self, stored: restorable.FileStored) -> bool:
        return self._fate(stored) in ("create", "update", "recreate")

    def _place_of(self, new: Path) -> Callable[[restorable.FileStored], Path | None]:
        made = [""]

        def place(stored: restorable.FileStored) -> Path | None:
            for _ in folder_tree.checked((stored,)):
                pass
            if stored.kind != "file" or (self.only.include and not self.only.takes(stored.path)):
                return None
            if not self._is_built(stored):
                return None
            above = stored.path.rpartition("/")[0]
            if above != made[0]:  # files of one folder come one after the other
                (new / above).mkdir(parents=True, exist_ok=True, mode=0o700)
                made[0] = above
            return new / stored.path

        return place

    def _place(self, hold: Path) -> None:
        new = hold / "new"
        if not new.is_dir():
            return  # an earlier call was cut off after its last rename
        if _kind(self.target) == "":
            new.rename(self.target)
            durable.sync_folder(self.target.parent)
        else:
            self._merge(new, self.target, hold)

    def _merge(self, new: Path, there: Path, hold: Path) -> None:
        for part in sorted(new.iterdir()):
            place = there / part.name
            kind, found = _kind(part), _kind(place)
            if kind == "folder" and found == "folder":
                self._merge(part, place, hold)
                part.rmdir()
                continue
            if found and self.policy not in ("update", "recreate"):
                raise Conflict(
                    f"{place} came into being while the rest was restored; it was left as it is",
                    hint="move it away and restore once more: what was built is kept",
                )
            if found and (kind == "folder" or found == "folder"):
                aside = hold / "old"
                aside.mkdir(exist_ok=True)
                place.rename(aside / f"{sum(1 for _ in aside.iterdir())}")
            part.replace(place)
        durable.sync_folder(there)

    def _finish(self, hold: Path) -> None:
        if self.policy == "recreate":
            for name, kind in reversed(self._extra()):
                _delete(self.target / name, kind)
        made = set(json.loads((hold / "built").read_bytes()))
        folders = [stored for stored in self._wanted() if stored.kind == "folder" and stored.path in made]
        for stored in reversed(folders):
            path = self.target / stored.path
            if _kind(path) == "folder":
                path.chmod(stored.mode & _FOLDER_BITS)
                os.utime(path, ns=(stored.mtime_ns, stored.mtime_ns))
        shutil.rmtree(hold)

    def _extra(self) -> list[tuple[str, restorable.Kind]]:
        """What is there, is of what the connector captures, and is not in the snapshot."""
        if not self.target.is_dir():
            return []
        there = folder_tree.LocalTree(self.target, self.selection).entries()
        stored = iter(self._wanted())
        extra: list[tuple[str, restorable.Kind]] = []
        wanted = next(stored, None)
        for seen in there:
            parts = seen.path.split("/")
            while wanted is not None and wanted.path.split("/") < parts:
                wanted = next(stored, None)
            is_kept = wanted is not None and wanted.path == seen.path
            if not is_kept and (not self.only.include or self.only.takes(seen.path)):
                extra.append((seen.path, seen.kind))
        return extra

    def _looks(self) -> Iterator[tuple[restorable.FileStored, Callable[[], str]]]:
        for stored in self._wanted():
            matcher = self.source.matcher(self.tree, stored.path) if stored.kind == "file" else None
            yield stored, functools.partial(_seen, self.target / stored.path, stored.size_bytes, matcher)


def _seen(path: Path, size_bytes: int, matcher: Callable[[Iterable[bytes]], bool] | None) -> str:
    """What is there, in the words of `_said`: the same words only for the same bytes. For several threads at once."""
    kind = _kind(path)
    if kind == "link":
        return f"link to {_pointed(path)}"
    if kind != "file":
        return kind or "nothing"
    size = path.lstat().st_size
    if size != size_bytes:
        return f"file, {size} bytes"
    same = matcher is not None and matcher(_pieces(path))
    return f"file, {size} bytes" + ("" if same else ", other ones")


def _said(stored: restorable.FileStored) -> str:
    if stored.kind == "link":
        return f"link to {stored.target}"
    return f"file, {stored.size_bytes} bytes" if stored.kind == "file" else stored.kind


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            yield piece


class _Sum:
    """Many entries as one short text."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._count = 0

    def add(self, path: str, said: str) -> None:
        self._hash.update(os.fsencode(f"{path}\0{said}\n"))
        self._count += said != "nothing"

    def __str__(self) -> str:
        return f"{self._count} entries, {digest.PREFIX}{self._hash.hexdigest()}"


def _kind(path: Path) -> Literal["file", "folder", "link", "other", ""]:
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"


def _pointed(path: Path) -> str:
    """Letter by letter, which `Path.readlink` does not give."""
    return os.readlink(path)  # noqa: PTH115


def _dress(path: Path, stored: restorable.FileStored) -> None:
    """Its mode and time; a link is made only now, when nothing is written below it any more."""
    if stored.kind == "link":
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.symlink_to(stored.target)
        os.utime(path, ns=(stored.mtime_ns, stored.mtime_ns), follow_symlinks=False)
        return
    try:
        found = path.lstat()
    except FileNotFoundError:
        found = None
    if found is None or not stat.S_ISREG(found.st_mode) or found.st_size != stored.size_bytes:
        raise Damaged(
            f"{stored.path!r} was not written as the snapshot has it; nothing was put in place",
            hint="`ddr backup verify`, then restore once more",
        )
    path.chmod(stored.mode & _FILE_BITS)
    os.utime(path, ns=(stored.mtime_ns, stored.mtime_ns))


def _delete(path: Path, kind: restorable.Kind) -> None:
    if kind != "folder":
        path.unlink(missing_ok=True)
        return
    with contextlib.suppress(OSError):  # something is left in it that no backup has
        path.rmdir()


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(str(PurePosixPath(name)) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {'more' if len(names) >= _NAMED else len(names) - most}"


@contextlib.contextmanager
def _translated(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise Unavailable(
            f"{target} cannot be written: {redact.foreign(problem)}",
            hint=durable.advice(problem, target)
            or "look at the disk and at the folder's rights, then call it again: what was built is kept",
        ) from problem
