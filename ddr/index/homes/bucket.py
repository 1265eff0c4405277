"""A home in a store of keys and bytes: a bucket that several machines write to.

    versions/<v>/<file>/000000…   64 MiB each, so that one can be fetched again alone
    versions/<v>/manifest.json    created last: from then on the version is there
    current                       what serves and the last moves, swapped by compare-and-set; it counts up
    moves                         a copy of it, written behind each move: what is known where `current` is gone
    pins/<v>, leases/<v>/<token>  why it is kept, who reads it until when
    uploads/<v>, removing/<v>     what is under way; a sweep ends what nobody ends

A store that says yes to every conditional write loses a version without a word, so it is tried before anything is
written, and what was written is read back. Leases end by the clock: machines that differ by minutes need long ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from ddr.domain import indexes
from ddr.errors import Conflict, Damaged, DdrError, InputError, Missing, Refused, Unavailable
from ddr.index import codec
from ddr.index.homes import hashing, home, honesty, naming, notes
from ddr.lib import digest, timetext
from ddr.ports import store

_KEPT_MOVES = 100
_ABANDONED = timedelta(days=1)
_LEASE = timedelta(hours=6)
_AT_IT = timedelta(minutes=15)

_Segments = dict[str, list[store.Entry]]
"""Of each file, in order."""


@dataclass(frozen=True)
class BucketHome:
    """Implements home.Home. `prefix` is "" or ends with a slash."""

    store: store.Store
    prefix: str
    now: Callable[[], datetime]
    actor: str = "ddr"
    lease_for: timedelta = _LEASE
    segment_bytes: int = hashing.CHUNK_BYTES
    _tried: list[bool] = field(default_factory=list, compare=False, repr=False)

    @property
    def name(self) -> str:
        return f"{self.store.name.rstrip('/')}/{self.prefix}".rstrip("/")

    def versions(self) -> tuple[str, ...]:
        beginning, end = self._key("versions", ""), f"/{naming.MANIFEST}"
        keys = [entry.key for entry in self.store.list(beginning)]
        found = [key.removeprefix(beginning).removesuffix(end) for key in keys if key.endswith(end)]
        return tuple(sorted((name for name in found if "/" not in name), key=lambda name: (naming.number(name), name)))

    def manifest(self, version: str) -> indexes.Manifest:
        key = self._of(version, naming.MANIFEST)
        try:
            return naming.open_manifest(self.store.get(key), version, f"{self.store.name}: {key}")
        except Missing as problem:
            known = ", ".join(self.versions()) or "nothing"
            raise Missing(f"there is no version {version!r} in {self.name}", hint=f"there is: {known}") from problem

    def sizes(self, version: str) -> Mapping[str, int]:
        return {file: sum(entry.size_bytes for entry in those) for file, those in self._segments(version).items()}

    def strays(self, version: str) -> tuple[str, ...]:
        found = [entry.key.removeprefix(self._of(version, "")) for entry in self.store.list(self._of(version, ""))]
        return tuple(name for name in found if name not in ("", naming.MANIFEST) and not all(name.rpartition("/")[::2]))

    def marks(self, version: str) -> Mapping[str, str]:
        segments = self._segments(version).items()
        return {file: digest.short(digest.of_value([one.version for one in those])) for file, those in segments}

    def _segments(self, version: str) -> _Segments:
        found: _Segments = {}
        for entry in self.store.list(self._of(version, "")):
            file, _, number = entry.key.removeprefix(self._of(version, "")).rpartition("/")
            if file and number:
                found.setdefault(file, []).append(entry)
        return found

    def read(self, version: str, file: str) -> Iterator[bytes]:
        naming.check_file(file)
        keys = [entry.key for entry in self.store.list(self._of(version, f"{file}/"))]
        if not keys:
            raise Missing(f"{self.name}: {version}/{file} is not there", hint="take another version, or build it again")
        for key in keys:
            yield self.store.get(key)

    def local(self, version: str) -> Path | None:
        return None

    def current(self) -> str | None:
        found = self._current()[0]
        return found.version if found else None

    def moves(self) -> Sequence[home.Move]:
        """They lie in the pointer; where that is lost, in its copy."""
        try:
            found = self._current()[0] or self._copied()[0]
        except home.LostPointer:
            found = self._copied()[0]
            if found is None:
                raise
        return found.moves if found else ()

    def unread(self) -> str:
        return self._copied()[1]

    def point(self, expect: str | None, to: str, why: str = "", published: home.Published | None = None) -> str:
        self._must_be_honest()
        before, version = self._current()
        found = before.version if before else None
        if found == to:
            return ""
        if found != expect:
            raise self._moved(found, expect)
        self._must_be_there(to)
        move = home.Move(self.now(), found or "", to, self.actor, why, published)
        last = before or self._copied()[0]
        after = notes.Current(to, last.count + 1 if last else 1, (*(last.moves if last else ()), move)[-_KEPT_MOVES:])
        try:
            if before is None:
                self.store.create(self._key("current"), codec.encode(after))
            else:
                self.store.swap(self._key("current"), codec.encode(after), version)
        except Conflict as problem:
            raise self._moved(self.current(), expect) from problem
        self._must_have_moved(move)
        if not self._is_there(to):
            self._take_back(after, before)
            now = self.current() or "nothing"
            raise Conflict(f"{to} was removed or is being; {self.name} points at {now}", hint="build it again")
        return self._copy(after)

    def add(self, version: str, files: Mapping[str, Path], manifest: indexes.Manifest) -> None:
        content = codec.encode(manifest)
        naming.open_manifest(content, version, "the manifest to publish")
        if set(files) != {file.name for file in manifest.files}:
            raise Conflict(f"{version}: its manifest names other files than are given: {', '.join(sorted(files))}")
        if self.store.head(self._of(version, naming.MANIFEST)) is None:
            self._must_be_honest()
            self._note("uploads", version)
            for file in manifest.files:
                self._upload(version, file, files[file.name])
        self._create(self._of(version, naming.MANIFEST), content)
        self.store.delete(self._key("uploads", version))

    def remove(self, version: str) -> bool:
        if not naming.is_ours(version):
            raise Refused(f"{version!r} was not put there by `ddr index`", hint="whoever put it there takes it away")
        is_begun = self.store.head(self._key("removing", version)) is not None
        if not is_begun and self.store.head(self._of(version, naming.MANIFEST)) is None:
            return False
        self._must_be_free(version)
        self._note("removing", version)
        try:
            self._must_be_free(version)  # again: who moves there or takes a lease looks for the note afterwards
        except Refused:
            self.store.delete(self._key("removing", version))
            raise
        self._delete(version)
        return True

    def arrived(self, version: str) -> datetime | None:
        if not isinstance(self.store, store.Dated):
            return None
        return self.store.written_at(self._of(version, naming.MANIFEST))

    def pins(self) -> Mapping[str, str]:
        return {name: note.text for name, note in self._notes("pins")}

    def pin(self, version: str, why: str) -> None:
        self._must_be_there(version)
        key, content = self._key("pins", version), codec.encode(notes.Note(self.now(), why))
        before = self.store.head(key)
        try:
            if before is None:
                self.store.create(key, content)
            else:
                self.store.swap(key, content, before.version)
        except Conflict as problem:
            raise Conflict(
                f"somebody changed the pin of {version} meanwhile", hint="look at `ddr index list`"
            ) from problem
        try:
            self._must_be_there(version)
        except Missing:
            self.store.delete(key)
            raise

    def unpin(self, version: str) -> None:
        self._must_be_there(version)
        self.store.delete(self._key("pins", version))

    @contextlib.contextmanager
    def lease(self, version: str, told: Callable[[str], None] = lambda text: None) -> Iterator[None]:
        self._must_be_there(version)
        key, until = self._key("leases", version, secrets.token_hex(8)), self.now() + self.lease_for
        self.store.create(key, codec.encode(notes.Note(until, self.actor)))
        try:
            self._must_be_there(version)
            yield
        finally:
            try:
                self.store.delete(key)
            except Unavailable as problem:
                end = timetext.format_clock(until)
                told(f"no gc takes {version} away before {end}, its lease cannot be deleted: {problem.message}")

    def sweep(self) -> tuple[str, ...]:
        """A young note of a removal stays while its version is whole: who wrote it may have looked and be about to
        delete. Were the note gone, a reader whose lease came behind that look would hold what goes."""
        gone = []
        for version, note in self._notes("removing"):
            if note.at + _AT_IT > self.now() and self.store.head(self._of(version, naming.MANIFEST)) is not None:
                continue
            if self._is_kept(version):
                self.store.delete(self._key("removing", version))
            else:
                self._delete(version)
            gone.append(f"removing/{version}")
        for version, note in self._notes("uploads"):
            if note.at + _ABANDONED < self.now():
                if self.store.head(self._of(version, naming.MANIFEST)) is None:
                    self._delete(version)
                self.store.delete(self._key("uploads", version))
                gone.append(f"uploads/{version}")
        for kind, after in (("leases", timedelta()), ("probe", _ABANDONED)):
            for name, note in self._notes(kind):
                if note.at + after < self.now():
                    self.store.delete(self._key(kind, name))
                    gone.append(f"{kind}/{name}")
        return tuple(gone)

    def _key(self, *parts: str) -> str:
        return self.prefix + "/".join(parts)

    def _of(self, version: str, rest: str) -> str:
        return self._key("versions", version, rest)

    def _current(self) -> tuple[notes.Current | None, str]:
        key = self._key("current")
        entry = self.store.head(key)
        if entry is None:
            return None, ""
        try:
            return codec.decode(notes.Current, self.store.get(key), f"{self.store.name}: {key}"), entry.version
        except (Damaged, InputError) as problem:
            newer = "use the ddr that wrote it; where none did, " if isinstance(problem, InputError) else ""
            raise home.LostPointer(problem.message, first=f"{newer}delete the object {key}, then ") from problem

    def _copied(self) -> tuple[notes.Current | None, str]:
        """With why it cannot be read: it is a help where the pointer is lost, and nobody's only way."""
        key = self._key("moves")
        try:
            return codec.decode(notes.Current, self.store.get(key), f"{self.store.name}: {key}"), ""
        except Missing:
            return None, ""
        except (Damaged, InputError) as problem:
            return None, f"{problem.message}; the next move of the pointer writes it anew"

    def _copy(self, after: notes.Current) -> str:
        """Why there is none now, "" where there is. Of two movers at once one may have the last word."""
        key, content = self._key("moves"), codec.encode(after)
        try:
            entry = self.store.head(key)
            if entry is None:
                self.store.create(key, content)
            else:
                self.store.swap(key, content, entry.version)
        except Conflict:
            pass
        except DdrError as problem:
            return f"the move to {after.version} was made; its record was not written: {problem.message}"
        return ""

    def _moved(self, found: str | None, expect: str | None) -> Conflict:
        return Conflict(
            f"{self.name} points at {found or 'nothing'}, not at {expect or 'nothing'}; nothing was changed",
            expected=expect or "",
            found=found or "",
            hint="somebody moved it meanwhile: look at `ddr index list`, then decide again",
        )

    def _must_be_there(self, version: str) -> None:
        if not self._is_there(version):
            if self.store.head(self._key("removing", version)) is not None:
                raise Missing(f"version {version!r} in {self.name} is being removed", hint="`ddr index gc` ends it")
            known = ", ".join(self.versions()) or "nothing"
            raise Missing(f"there is no version {version!r} in {self.name}", hint=f"there is: {known}")

    def _is_there(self, version: str) -> bool:
        """The manifest is looked at last: who removes a version deletes it, and the note behind all else."""
        is_going = self.store.head(self._key("removing", version)) is not None
        return not is_going and self.store.head(self._of(version, naming.MANIFEST)) is not None

    def _must_be_free(self, version: str) -> None:
        if self.current() == version:
            raise Refused(f"{version} serves: {self.name} points at it", hint="go to another version first")
        if version in (pins := self.pins()):
            raise Refused(f"{version} is pinned: {pins[version]}", hint="`ddr index unpin` it first")
        if readers := [note.text for _, note in self._notes(f"leases/{version}") if note.at >= self.now()]:
            raise Refused(f"{version} is being read by {', '.join(readers)}", hint="it goes when they let go of it")

    def _is_kept(self, version: str) -> bool:
        """Whether a removal that was begun would have been taken back: it serves, or is whole and has a reader or a pin
        that were before the note. Without its manifest, which goes first, nobody can read what is left."""
        if self.store.head(self._of(version, naming.MANIFEST)) is None:
            return self.current() == version
        try:
            self._must_be_free(version)
        except Refused:
            return True
        return False

    def _must_have_moved(self, move: home.Move) -> None:
        found = self._current()[0]
        if found is None or move not in found.moves:
            raise Conflict(
                f"{self.store.name} took the move to {move.after} and has it no more: another writer overwrote it",
                hint="this store does not keep conditional writes: `ddr doctor` tells; take another one",
            )

    def _take_back(self, after: notes.Current, before: notes.Current | None) -> None:
        """Only what is still ours; a first pointer stays, as no store deletes by compare-and-set."""
        with contextlib.suppress(Conflict):
            found, version = self._current()
            if found == after and before is not None:
                back = dataclasses.replace(before, count=after.count + 1)
                self.store.swap(self._key("current"), codec.encode(back), version)

    def _must_be_honest(self) -> None:
        """Refused where a conditional write is taken that must not be. Tried once."""
        if self._tried:
            return
        contents = [codec.encode(notes.Note(self.now(), f"trial {number}")) for number in range(4)]
        if lies := honesty.lies(self.store, self._key("probe", secrets.token_hex(8)), contents):
            raise Refused(
                f"{self.store.name} accepts {' and '.join(lies)}: one of two publishers would be lost",
                hint="take a store with conditional writes (AWS S3, SeaweedFS, MinIO, Ceph), or a folder",
            )
        self._tried.append(True)

    def _upload(self, version: str, file: indexes.File, path: Path) -> None:
        """Damaged when the file is not what its manifest says: then there is no version."""
        sha256, size, number = hashlib.sha256(), 0, 0
        with path.open("rb") as stream:
            while (content := stream.read(self.segment_bytes)) or not number:
                sha256.update(content)
                size += len(content)
                self._create(self._of(version, f"{file.name}/{number:06d}"), content)
                number += 1
        if size != file.size_bytes or digest.PREFIX + sha256.hexdigest() != file.sha256:
            raise Damaged(f"{path} has other bytes than were built; {version} is not there", hint="build it again")

    def _create(self, key: str, content: bytes) -> None:
        """There with these bytes: made now, or by a run that was cut off."""
        try:
            self.store.create(key, content)
        except store.Exists as problem:
            if self.store.get(key) != content:
                raise Conflict(f"{self.store.name}: {key} is there with other bytes; nothing was changed") from problem
            return
        if key.endswith(f"/{naming.MANIFEST}") and self.store.get(key) != content:
            raise Conflict(f"{self.store.name}: {key} was overwritten by another writer")

    def _note(self, kind: str, version: str) -> None:
        """Since now, also where one that was cut off left a note."""
        key, content = self._key(kind, version), codec.encode(notes.Note(self.now(), self.actor))
        try:
            self.store.create(key, content)
        except store.Exists:
            if entry := self.store.head(key):
                with contextlib.suppress(Conflict):  # somebody else begins now
                    self.store.swap(key, content, entry.version)

    def _notes(self, kind: str) -> list[tuple[str, notes.Note]]:
        return notes.below(self.store, self._key(kind, ""))

    def _delete(self, version: str) -> None:
        """The manifest first: what has none is no version."""
        self.store.delete(self._of(version, naming.MANIFEST))
        for entry in list(self.store.list(self._of(version, ""))):
            self.store.delete(entry.key)
        self.store.delete(self._key("removing", version))
