"""Keys and bytes in a folder: the key `a/b` is the file `a/b`, readable without ddr.

A create is a file written beside, fsynced and linked into place; a swap is a rename under a lock. What a crash
leaves behind begins with a dot and ends with `.tmp`: never listed, in nobody's way, removable while no ddr runs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from ddr.errors import Conflict, InputError, Missing, Refused
from ddr.lib import durable
from ddr.ports import store
from ddr.stores import folder_trouble, keys, locking

_LOCK_NAME = ".lock"


class LocalStore:
    """A folder on a disk of this machine. It is made at the first write; the folder above it must be there.

    A version is inode, time and size, where the fraction of the second is drawn at random for every write: A that
    became B and A again has a new version, also within one tick of the kernel's clock. (A file system that keeps
    whole seconds only, such as FAT, may overlook that; different sizes it never overlooks.)

    Not for a folder that several machines share. On NFS the answer to a link can get lost and the winner told it
    has lost, listings are served from a cache, and locks depend on how it was mounted: take S3 for that.

    Symbolic links below the folder are not followed (Refused); the folder itself may be one.
    """

    is_shared = False

    def __init__(self, path: Path, *, lock_timeout_s: float = 10.0) -> None:
        self._root = path.absolute()
        self._lock = locking.Lock(self._root / _LOCK_NAME, lock_timeout_s)
        self.name = f"local:{self._root}"

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        keys.check(key)
        keys.check_range(start, size)
        with self._watched(f"read {key!r}"):
            try:
                return self._read(self._file(key), start, size)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as absent:
                self._check_root()
                raise Missing(f"{self.name} has no {key!r}") from absent

    def head(self, key: str) -> store.Entry | None:
        keys.check(key)
        with self._watched(f"look at {key!r}"):
            found = self._found(key)
        return _entry(key, found) if found else None

    def list(self, prefix: str, after: str = "") -> Iterator[store.Entry]:
        keys.check_beginning(prefix)
        keys.check_beginning(after)
        return self._listed(prefix, after)

    def create(self, key: str, content: bytes) -> store.Entry:
        keys.check(key)
        with self._watched(f"create {key!r}"):
            try:
                written = durable.create(self._file(key, make=True), content, fraction_ns=_any_fraction())
            except FileExistsError as taken:
                found = self._found(key)
                if not found and self._file(key).is_dir():
                    raise self._tangled(key) from taken
                raise store.Exists(
                    f"{self.name} has {key!r} already", found=_version(found) if found else ""
                ) from taken
            except NotADirectoryError as taken:
                raise self._tangled(key) from taken
        return _entry(key, written)

    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        keys.check(key)
        with self._watched(f"swap {key!r}"):
            if not self._found(key):
                raise self._conflict(key, expect, "")
            with self._lock.held():
                found = self._found(key)
                version = _version(found) if found else ""
                if version != expect:
                    raise self._conflict(key, expect, version)
                return _entry(key, durable.replace(self._file(key), content, fraction_ns=_any_fraction()))

    def delete(self, key: str) -> None:
        keys.check(key)
        with self._watched(f"delete {key!r}"):
            if not self._found(key):
                return
            with contextlib.ExitStack() as alone:
                try:
                    alone.enter_context(self._lock.held())  # or a swap that has just looked would bring it back
                except OSError as problem:
                    if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
                        raise
                    # No room for the lock's file: nobody holds one that is not there, and deleting makes room.
                path = self._file(key)
                path.unlink(missing_ok=True)
                durable.sync_folder(path.parent)

    def is_there(self) -> bool:
        return self._root.is_dir()

    def _conflict(self, key: str, expect: str, found: str) -> Conflict:
        return Conflict(
            f"{self.name}: {key!r} is at version {found or 'none'}, not {expect}", expected=expect, found=found
        )

    def _tangled(self, key: str) -> InputError:
        return InputError(
            f"{self.name}: {key!r} is the folder of other keys, or below one", hint="no key may be; choose another"
        )

    @contextlib.contextmanager
    def _watched(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise folder_trouble.translate(problem, self.name, self._root, doing) from problem

    def _check_root(self) -> None:
        """To be asked before absence is believed."""
        folder_trouble.check(self.name, self._root)

    def _file(self, key: str, *, make: bool = False) -> Path:
        """Where the key's bytes are or would be. Looks at every folder on the way, so that no link leads out."""
        path = self._root
        if make and not path.is_dir():
            self._check_root()
            durable.make_folder(path)
        for part in key.split("/")[:-1]:
            path /= part
            try:
                found = path.lstat()
            except FileNotFoundError:
                if not make:
                    raise
                with contextlib.suppress(FileExistsError):  # something else got there first: look at it
                    durable.make_folder(path)
                found = path.lstat()
            if stat.S_ISLNK(found.st_mode):
                raise self._link(path)
            if not stat.S_ISDIR(found.st_mode):
                raise NotADirectoryError(f"{path} is no folder")
        return path / key.rpartition("/")[2]

    def _found(self, key: str) -> os.stat_result | None:
        """What is there, None when nothing or a folder."""
        try:
            path = self._file(key)
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            self._check_root()
            return None
        return found if self._is_ours(path, found.st_mode) else None

    def _is_ours(self, path: Path | str, mode: int) -> bool:
        """True for a file, False for a folder; Refused for anything else."""
        if stat.S_ISLNK(mode):
            raise self._link(path)
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise Refused(f"{path} is neither file nor folder", hint="it is not ddr's; move it away")
        return stat.S_ISREG(mode)

    def _link(self, path: Path | str) -> Refused:
        return Refused(
            f"{path} is a symbolic link; ddr follows none inside a store",
            hint="put the bytes themselves there, or move the whole store and name its new place in ddr.yaml",
        )

    def _read(self, path: Path, start: int, size: int | None) -> bytes:
        if stat.S_ISLNK(path.lstat().st_mode):
            raise self._link(path)
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe in its place must not hang us
        try:
            found = os.fstat(fd)
            if not self._is_ours(path, found.st_mode):
                raise IsADirectoryError(f"{path} is a folder")
            left = max(0, found.st_size - start) if size is None else min(size, max(0, found.st_size - start))
            pieces = []
            while left and (piece := os.pread(fd, left, start)):
                pieces.append(piece)
                start += len(piece)
                left -= len(piece)
            return b"".join(pieces)
        finally:
            os.close(fd)

    def _listed(self, prefix: str, after: str) -> Iterator[store.Entry]:
        base = prefix.rpartition("/")[0]
        with self._watched(f"list {prefix!r}"):
            try:
                folder = self._file(f"{base}/x" if base else "x").parent
            except (FileNotFoundError, NotADirectoryError):
                self._check_root()
                return
            if folder == self._root:
                self._check_root()
            yield from self._listed_in(folder, f"{base}/" if base else "", prefix, after)

    def _listed_in(self, folder: Path, base: str, prefix: str, after: str) -> Iterator[store.Entry]:
        """Depth first, a folder standing where its name with a slash would: that is the order of whole keys."""
        for key, each in _names(folder, base, prefix, after):
            try:
                found = each.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # deleted since
            if not self._is_ours(each.path, found.st_mode):
                yield from self._listed_in(Path(each.path), key, prefix, after)
            elif key > after:
                yield _entry(key, found)


def _names(folder: Path, base: str, prefix: str, after: str) -> list[tuple[str, os.DirEntry[str]]]:
    """What is in the folder and matters for the listing, as keys in order; folders end with a slash."""
    found = []
    try:
        with os.scandir(folder) as scan:
            for each in scan:
                key = base + each.name
                if key <= after and not after.startswith(key):
                    continue  # a listing from far behind: most names of a journal end here, seen again at each look
                if keys.is_part(each.name):
                    key += "/" if each.is_dir(follow_symlinks=False) else ""
                    if key.startswith(prefix) and (key > after or after.startswith(key)):
                        found.append((key, each))
    except FileNotFoundError:
        return []  # removed since
    return sorted(found, key=lambda pair: pair[0])


def _any_fraction() -> int:
    return secrets.randbelow(1_000_000_000)


def _version(found: os.stat_result) -> str:
    return f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"


def _entry(key: str, found: os.stat_result) -> store.Entry:
    return store.Entry(key, found.st_size, _version(found))
