"""A home in a folder of this machine, as `ddr rollback index` and any server read it.

    versions/v000007-3f9a…/   index.faiss, ids.json where ids are texts, manifest.json; never changed
    current                   a link to one of them, moved by a rename under `.lock`
    deployments.jsonl         a line for every move
    pins/<version>            why it is kept
    .trash/                   what is being deleted

Readers open `current`, resolve it once and keep what they opened: a version goes by a rename, so whoever has its files
open or mapped keeps them. Who wants it to stay for longer holds a lease, a shared lock on its folder, which the kernel
takes back when they die.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shlex
import shutil
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ddr.domain import indexes
from ddr.errors import Conflict, Damaged, DdrError, InputError, Missing, Refused, Unavailable
from ddr.index import codec
from ddr.index.homes import home, leases, movelog, naming, writing
from ddr.lib import durable, openfiles, pointer
from ddr.ports import store


@dataclass(frozen=True)
class FolderHome:
    """Implements home.Home."""

    root: Path
    now: Callable[[], datetime]
    actor: str = "ddr"
    lock_timeout_s: float = 10.0

    @property
    def name(self) -> str:
        return str(self.root)

    @property
    def link(self) -> Path:
        return self.root / "current"

    def versions(self) -> tuple[str, ...]:
        try:
            found = [path.name for path in self._versions.iterdir() if path.is_dir() and not path.name.startswith(".")]
        except FileNotFoundError:
            return ()
        except OSError as problem:
            raise self._unavailable(problem, "read") from problem
        return tuple(sorted(found, key=lambda name: (naming.number(name), name)))

    def manifest(self, version: str) -> indexes.Manifest:
        path = self._folder(version) / naming.MANIFEST
        return naming.open_manifest(b"".join(self._blocks(path)), version, str(path))

    def sizes(self, version: str) -> Mapping[str, int]:
        return {name: state.st_size for name, state in self._states(version).items()}

    def marks(self, version: str) -> Mapping[str, str]:
        states = self._states(version)
        return {name: f"{one.st_ino:x}-{one.st_ctime_ns:x}-{one.st_mtime_ns:x}" for name, one in states.items()}

    def strays(self, version: str) -> tuple[str, ...]:
        return tuple(name for name, state in self._found(version).items() if not stat.S_ISREG(state.st_mode))

    def _states(self, version: str) -> Mapping[str, os.stat_result]:
        found = self._found(version).items()
        return {name: one for name, one in found if stat.S_ISREG(one.st_mode) and name != naming.MANIFEST}

    def _found(self, version: str) -> Mapping[str, os.stat_result]:
        with self._watched("read"):
            paths = sorted(self._folder(version).iterdir())
            return {path.name: path.lstat() for path in paths}

    def read(self, version: str, file: str) -> Iterator[bytes]:
        if not naming.is_plain(file):
            raise InputError(f"{file!r} is no name for a file of a version", hint="name one that lies in it")
        yield from self._blocks(self._folder(version) / file)

    def local(self, version: str) -> Path | None:
        return self._folder(version)

    def current(self) -> str | None:
        try:
            target = self.link.readlink()
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise home.LostPointer(
                f"{self.link} is no symbolic link: {problem.strerror}",
                first=f"somebody put it there: `{shlex.join(['mv', str(self.link), f'{self.link}.old'])}`, then ",
            ) from problem
        place = Path(os.path.normpath(self.link.parent / target))
        if place.parent.resolve() != self._versions.resolve():
            what = f"{self.link} points at {target}, outside {self._versions}"
            raise home.LostPointer(what, target=str(place), aside=f"`{shlex.join(['rm', str(self.link)])}`, then ")
        return place.name

    def point(self, expect: str | None, to: str, why: str = "", published: home.Published | None = None) -> str:
        with self._watched("change"), self._alone():
            found = self._pointed()
            if found == to:
                return self._note(expect, to, why, published) if expect != to and self._last() != to else ""
            if found != expect:
                raise Conflict(
                    f"{self.link} points at {found or 'nothing'}, not at {expect or 'nothing'}; nothing was changed",
                    expected=expect or "",
                    found=found or "",
                    hint="somebody moved it meanwhile: look at `ddr index list`, then decide again",
                )
            target = self._folder(to)
            durable.point(self.link, os.path.relpath(target, self.link.parent))
            return self._note(found, to, why, published)

    def _pointed(self) -> str | None:
        try:
            return self.current()
        except home.LostPointer as problem:
            if not problem.target:
                raise
            return problem.target  # a whole path, as no version is

    def moves(self) -> Sequence[home.Move]:
        return movelog.read(self._log)[0]

    def unread(self) -> str:
        moves, bad = movelog.read(self._log)
        if bad:
            lines = "1 line" if bad == 1 else f"{bad} lines"
            return f"{lines} of {self._log} cannot be read: what served before may be missing"
        if not moves and os.path.lexists(self.link):
            return f"{self._log} tells no move: what served before is not known"
        return ""

    def add(self, version: str, files: Mapping[str, Path], manifest: indexes.Manifest) -> None:
        content = _encoded(version, files, manifest)
        with self._watched("write"):
            if self._is_same(self._versions / version, content):
                return
            with self.staging(version) as staged:
                for file in manifest.files:
                    _put(files[file.name].resolve(), staged / file.name, file)
                self._commit(staged, version, content)

    @contextlib.contextmanager
    def staging(self, version: str) -> Iterator[Path]:
        """An empty folder on the disk of the versions; whatever is there afterwards goes."""
        with self._watched("write"):
            durable.make_folder(self._versions)
            writing.sweep(self._versions)  # a try that was killed left a whole copy
            staged = writing.name_beside(self._versions / version)
            staged.mkdir()
        try:
            yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def adopt(self, version: str, staged: Path, manifest: indexes.Manifest) -> None:
        """As `add`, and nothing is copied: the folder of `staging` becomes the version. Its files were written there,
        are nobody else's, and were compared with the manifest by whoever calls."""
        with self._watched("write"):
            files = {path.name: path for path in staged.iterdir()}
            content = _encoded(version, files, manifest)
            for path in files.values():
                _seal(path)
            self._commit(staged, version, content)

    def _commit(self, staged: Path, version: str, content: bytes) -> None:
        writing.write_bytes(staged / naming.MANIFEST, content)
        (staged / naming.MANIFEST).chmod(0o444)
        durable.sync_folder(staged)
        target = self._versions / version
        try:
            staged.rename(target)
        except OSError as problem:
            if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if not self._is_same(target, content):
                raise Conflict(f"{target} was published by someone else; nothing was changed") from problem
        durable.sync_folder(self._versions)

    def _is_same(self, target: Path, content: bytes) -> bool:
        """Whether this version is there. Its files are not looked at: that is a check's work."""
        try:
            return (target / naming.MANIFEST).read_bytes() == content
        except (FileNotFoundError, NotADirectoryError):
            return False

    def remove(self, version: str) -> bool:
        if not naming.is_ours(version):
            raise Refused(f"{version!r} was not put there by `ddr index`", hint="whoever put it there takes it away")
        with self._watched("change"):
            with self._alone():
                if not (self._versions / version).is_dir():
                    return False
                if self.current() == version:
                    raise Refused(f"{version} serves: {self.link} points at it", hint="go to another version first")
                if version in self.pins():
                    raise Refused(f"{version} is pinned: {self.pins()[version]}", hint="`ddr index unpin` it first")
                gone = self._trash / f"{version}.{secrets.token_hex(4)}"
                durable.make_folder(self._trash)
                with leases.unread(self._versions / version):
                    (self._versions / version).rename(gone)
                durable.sync_folder(self._versions)
                durable.sync_folder(self._trash)
            shutil.rmtree(gone, ignore_errors=True)  # what stays goes with the next sweep
        return True

    def arrived(self, version: str) -> datetime | None:
        """By the rename that brought it, or a later change of its folder."""
        with self._watched("read"), contextlib.suppress(FileNotFoundError, Missing):
            return datetime.fromtimestamp(self._folder(version).lstat().st_ctime, UTC)
        return None

    def pins(self) -> Mapping[str, str]:
        """What somebody else put there keeps the version of its name, too."""
        found = {}
        with self._watched("read"):
            for path in self._pinned():
                with contextlib.suppress(FileNotFoundError):  # taken off meanwhile
                    is_file = stat.S_ISREG(path.lstat().st_mode)
                    found[path.name] = path.read_text(errors="replace").strip() if is_file else f"{path} is no file"
        return found

    def _pinned(self) -> Sequence[Path]:
        try:
            return sorted(path for path in self._pins.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return ()
        except NotADirectoryError as problem:
            hint = f"somebody put it there: `{shlex.join(['mv', str(self._pins), f'{self._pins}.old'])}`"
            raise InputError(f"{self._pins} is no folder: what is kept is not known", hint=hint) from problem

    def pin(self, version: str, why: str) -> None:
        with self._watched("write"), self._alone():
            self._folder(version)
            durable.make_folder(self._pins)
            durable.replace(self._pins / version, f"{why}\n".encode())

    def unpin(self, version: str) -> None:
        self._folder(version)
        with self._watched("write"), self._alone():
            (self._pins / version).unlink(missing_ok=True)
            if self._pins.is_dir():
                durable.sync_folder(self._pins)

    @contextlib.contextmanager
    def lease(self, version: str, told: Callable[[str], None] = lambda text: None) -> Iterator[None]:
        with self._watched(f"hold {version} of"):
            try:
                fd = leases.shared(self._folder(version))
            except FileNotFoundError as problem:
                raise self._missing(version) from problem
        try:
            yield
        finally:
            os.close(fd)

    def sweep(self) -> tuple[str, ...]:
        with self._watched("clean"):
            left = list(self._trash.iterdir()) if self._trash.is_dir() else []
            gone = [path for path in left if writing.remove(path)]
            for folder in (self.root, self._versions, self._pins):
                gone += [folder / name for name in writing.sweep(folder)]
        return tuple(sorted(path.relative_to(self.root).as_posix() for path in gone))

    @property
    def _versions(self) -> Path:
        return self.root / "versions"

    @property
    def _pins(self) -> Path:
        return self.root / "pins"

    @property
    def _trash(self) -> Path:
        return self.root / ".trash"

    @property
    def _log(self) -> Path:
        return self.root / "deployments.jsonl"

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        return openfiles.locked(self.root / pointer.LOCK, self.lock_timeout_s)

    def _folder(self, version: str) -> Path:
        """Missing, with what there is."""
        try:
            if naming.is_plain(version) and not version.startswith(".") and (self._versions / version).is_dir():
                return self._versions / version
        except OSError as problem:
            if problem.errno != errno.ENAMETOOLONG:
                raise self._unavailable(problem, "read") from problem
        raise self._missing(version)

    def _missing(self, version: str) -> Missing:
        known = ", ".join(self.versions()) or "nothing"
        return Missing(f"there is no version {version!r} in {self._versions}", hint=f"there is: {known}")

    def _last(self) -> str:
        moves = self.moves()
        return moves[-1].after if moves else ""

    def _note(self, before: str | None, after: str, why: str, published: home.Published | None) -> str:
        try:
            movelog.append(self._log, home.Move(self.now(), before or "", after, self.actor, why, published))
        except OSError as problem:
            return f"the move to {after} was made; {self._log} could not be written: {problem.strerror}"
        return ""

    def _blocks(self, path: Path) -> Iterator[bytes]:
        with self._watched("read"):
            try:
                if not stat.S_ISREG(path.lstat().st_mode):
                    raise Damaged(f"{path} is no regular file", hint="this version was changed by hand: take another")
                yield from writing.blocks(path)
            except FileNotFoundError as problem:
                raise Missing(f"{path} is not there", hint="take another version, or build it again") from problem
            except OSError as problem:
                if problem.errno in writing.BAD_SECTOR:
                    raise Damaged(
                        f"the disk cannot read {path}: {problem.strerror}", hint="take another disk"
                    ) from problem
                raise

    @contextlib.contextmanager
    def _watched(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise self._unavailable(problem, doing) from problem

    def _unavailable(self, problem: OSError, doing: str) -> DdrError:
        kind = store.Full if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else Unavailable
        return kind(
            f"cannot {doing} {self.root}: {problem.strerror or problem}",
            hint=durable.advice(problem, self._log) or "look at its rights and its disk",
        )


def _encoded(version: str, files: Collection[str], manifest: indexes.Manifest) -> bytes:
    content = codec.encode(manifest)
    naming.open_manifest(content, version, "the manifest to publish")
    if set(files) != {file.name for file in manifest.files}:
        raise Conflict(f"{version}: its manifest names other files than are given: {', '.join(sorted(files))}")
    return content


def _put(source: Path, target: Path, file: indexes.File) -> None:
    """The same bytes there, never the same file: what changes one in place would damage every version that has it."""
    if not writing.clone(source, target):
        copied = writing.write_pieces(target, writing.blocks(source))
        if damage := home.difference(file, copied):
            raise Damaged(f"{source} {damage}", hint="build it again")
    _seal(target)


def _seal(path: Path) -> None:
    path.chmod(0o444)
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
