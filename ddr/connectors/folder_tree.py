"""A folder of this machine as `restorable.FileTree`; what every connector uses that has files.

Names that are no UTF-8 keep their bytes as lone surrogates (`os.fsdecode`), so that they come back as they were.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ddr.errors import Damaged, Missing, Unavailable
from ddr.lib import globs, redact
from ddr.ports import restorable

HOLD = ".ddr-restore-"
"""How the folders begin in which a restore builds; they are never part of a tree."""

PIECE_BYTES = 1 << 20

Warn = Callable[[str], None]


def _silent(text: str) -> None:
    del text


@dataclass(frozen=True)
class LocalTree:
    """Implements FileTree. Links are recorded and not followed; sockets, devices and pipes are left out, and told.

    What vanishes meanwhile is not there; a folder that may not be read is a warning.
    """

    root: Path
    globs: globs.Globs = field(default_factory=globs.Globs)
    warn: Warn = _silent

    def entries(self) -> Iterator[restorable.FileSeen]:
        """Raises Missing when there is no such folder, Unavailable when it cannot be read."""
        root = str(self.root)
        try:
            top = _listed(root)
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(f"there is no folder {root}", hint="look at the path in ddr.yaml") from None
        except OSError as problem:
            raise Unavailable(
                f"{root} cannot be read: {redact.foreign(problem)}", hint="look at its rights and its disk"
            ) from problem
        includes, excludes = self.globs.includes, self.globs.excludes
        levels = [_Level(iter(top), "", is_taken=not self.globs.include)]
        while levels:
            level = levels[-1]
            entry = next(level.entries, None)
            if entry is None:
                levels.pop()
                continue
            name = entry.name
            path = level.prefix + name
            if excludes(path, name) or (not level.prefix and name.startswith(HOLD)):
                continue
            is_taken = level.is_taken or includes(path, name)
            if not is_taken and not entry.is_dir(follow_symlinks=False):
                continue
            seen = self._seen(entry, path)
            if seen is None:
                continue
            if is_taken:
                if not level.is_taken:
                    yield from _untold(levels)
                yield seen
            if seen.kind == "folder" and (is_taken or self.globs.may_hold(path)):
                below = iter(self._below(entry))
                levels.append(_Level(below, path + "/", is_taken=is_taken, untold=None if is_taken else seen))

    def _below(self, folder: os.DirEntry[str]) -> list[os.DirEntry[str]]:
        try:
            return _listed(folder.path)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as problem:
            self.warn(f"{folder.path} cannot be read, what is in it is left out: {redact.foreign(problem)}")
            return []

    def _seen(self, entry: os.DirEntry[str], path: str) -> restorable.FileSeen | None:
        try:
            found = entry.stat(follow_symlinks=False)
            mode = found.st_mode
            if stat.S_ISREG(mode):
                return restorable.FileSeen(
                    path, "file", found.st_size, found.st_mtime_ns, mode & 0o7777,
                    f"{found.st_ino:x}-{found.st_ctime_ns:x}",
                )  # fmt: skip
            if stat.S_ISDIR(mode):
                return restorable.FileSeen(path, "folder", 0, found.st_mtime_ns, mode & 0o7777)
            if stat.S_ISLNK(mode):
                target = os.readlink(entry.path)  # noqa: PTH115
                return restorable.FileSeen(path, "link", 0, found.st_mtime_ns, mode & 0o7777, target=target)
        except FileNotFoundError:
            return None
        except OSError as problem:
            self.warn(f"{entry.path} cannot be looked at, it is left out: {redact.foreign(problem)}")
            return None
        self.warn(f"{entry.path} is {_special(mode)}, it is left out")
        return None

    def local(self, seen: restorable.FileSeen) -> Path | None:
        return self.root / seen.path

    def read(self, seen: restorable.FileSeen) -> Iterator[bytes]:
        path = self.root / seen.path
        try:
            # No link is followed, and a pipe that took the file's place does not make us wait for ever.
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Missing(
                f"{path} is gone", hint="it was there a moment ago; nothing to do if that was meant"
            ) from None
        except OSError as problem:
            raise Unavailable(
                f"{path} cannot be read: {redact.foreign(problem)}", hint="look at its rights"
            ) from problem
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Missing(f"{path} is no file any more", hint="something else took its place")
            while piece := os.read(fd, PIECE_BYTES):
                yield piece
        except OSError as problem:
            raise Unavailable(f"{path} cannot be read: {redact.foreign(problem)}", hint="look at its disk") from problem
        finally:
            os.close(fd)


@dataclass
class _Level:
    """A folder on the way down. `untold` is its own entry, as long as nothing in it is taken."""

    entries: Iterator[os.DirEntry[str]]
    prefix: str
    is_taken: bool
    untold: restorable.FileSeen | None = None


def _untold(levels: list[_Level]) -> Iterator[restorable.FileSeen]:
    for level in levels:
        if level.untold is not None:
            yield level.untold
            level.untold = None


def _listed(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted(found, key=_name)


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _special(mode: int) -> str:
    if stat.S_ISSOCK(mode):
        return "a socket"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "neither file nor folder nor link"


@dataclass(frozen=True)
class Masked:
    """Implements FileTree: another tree, some of whose files have other bytes, for instance without passwords."""

    tree: LocalTree
    contents: Mapping[str, bytes]

    def entries(self) -> Iterator[restorable.FileSeen]:
        for seen in self.tree.entries():
            content = self.contents.get(seen.path)
            yield seen if content is None else replace(seen, size_bytes=len(content), mark="")

    def local(self, seen: restorable.FileSeen) -> Path | None:
        return None if seen.path in self.contents else self.tree.local(seen)

    def read(self, seen: restorable.FileSeen) -> Iterator[bytes]:
        content = self.contents.get(seen.path)
        if content is None:
            yield from self.tree.read(seen)
        elif content:
            yield content


def checked(files: Iterable[restorable.FileStored]) -> Iterator[restorable.FileStored]:
    """The listing, as long as no entry of it leads out of the folder it is restored into. Raises Damaged.

    In order, so that nothing is there twice, and with nothing below a file or a link, so that nothing is written
    through a link that the same listing has made.
    """
    before: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    for stored in files:
        parts = tuple(stored.path.split("/"))
        if "\0" in stored.path or not {"", ".", ".."}.isdisjoint(parts) or parts[0].startswith(HOLD):
            raise _unsafe(stored, "is no path below a folder")
        if parts <= before:
            raise _unsafe(stored, "is there twice or not in order")
        if closed and parts[: len(closed)] == closed:
            raise _unsafe(stored, f"lies below {'/'.join(closed)!r}, which is no folder")
        before, closed = parts, closed if stored.kind == "folder" else parts
        yield stored


def _unsafe(stored: restorable.FileStored, why: str) -> Damaged:
    return Damaged(
        f"the listing has {stored.path!r}, which {why}; nothing of the tree is written",
        hint="`ddr backup verify`, and restore another snapshot: no backup writes such a listing",
    )
