"""The port of a home: versions of one index that never change, and a pointer to the one that serves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ddr.domain import indexes
from ddr.errors import Damaged, Missing, Refused
from ddr.index import codec
from ddr.index.homes import naming, writing

_BACK = "`ddr index rollback --to VERSION --apply`; `ddr index check` says to which"
OF_OTHERS = "was not published by `ddr index`: nothing says what its bytes must be"


@dataclass(frozen=True)
class Published:
    """Of a publication: the digest of its plan, the fingerprint of its embedder ("" for none). Enough to go on with
    when the manifest of a version is damaged."""

    plan: str
    embedder: str


@dataclass(frozen=True)
class Move:
    """The pointer went from `before` ("" where there was none) to `after`; `published` where `after` was new."""

    at: datetime
    before: str
    after: str
    actor: str = ""
    summary: str = ""
    published: Published | None = None


def published(moves: Sequence[Move], version: str) -> Published | None:
    """What the record of moves says of the publication of a version; None where nobody wrote it down."""
    return next((move.published for move in reversed(moves) if move.after == version and move.published), None)


class DamagedVersion(Damaged):
    """A version is there, and is not what was published."""

    exit_code = indexes.EXIT_CODES[indexes.Trouble.CORRUPT]


class LostPointer(Damaged):
    """`current` is none, or leads out of the home. `target` is the path that the link names, "" where it is no link;
    `first` what a person has to do before a command can point it back, `aside` what before one can publish anew where
    no version is left."""

    exit_code = indexes.EXIT_CODES[indexes.Trouble.CORRUPT]

    def __init__(self, message: str, *, target: str = "", first: str = "", aside: str = "", then: str = "") -> None:
        super().__init__(message, hint=then or f"{first}{_BACK}")
        self.target, self.first, self.aside = target, first, aside


class Shelf(Protocol):
    """What may be read at any time by anybody. All may raise Unavailable."""

    @property
    def name(self) -> str:
        """For people: a path, `s3://bucket/prefix`."""
        ...

    def versions(self) -> tuple[str, ...]:
        """All that are whole as far as names go, by number; also those that others put there (`naming.is_ours`)."""
        ...

    def manifest(self, version: str) -> indexes.Manifest:
        """Missing where there is none, Damaged where a byte of it changed."""
        ...

    def sizes(self, version: str) -> Mapping[str, int]:
        """Every file that lies there but the manifest, in bytes. Nothing is read."""
        ...

    def strays(self, version: str) -> tuple[str, ...]:
        """What else lies there and is no file of a version: folders, links, objects without a number."""
        ...

    def marks(self, version: str) -> Mapping[str, str]:
        """For each of `sizes` a text that is another one when the file may have been written since. Nothing is read."""
        ...

    def read(self, version: str, file: str) -> Iterator[bytes]:
        """The content in pieces, in order. Missing."""
        ...

    def local(self, version: str) -> Path | None:
        """The folder where its files lie on this machine; None where they must be fetched."""
        ...


class Pointing(Protocol):
    """What says which version serves."""

    def current(self) -> str | None:
        """The version it names, also where that is gone; None where there is no pointer. LostPointer."""
        ...

    def point(self, expect: str | None, to: str, why: str = "", published: Published | None = None) -> str:
        """Compare and set, in one step for every reader; a second time it is no error.

        `expect` is a version, None for nowhere, or the target of a LostPointer. Conflict when it points at something
        else, and nothing was changed; Missing when `to` is not there. What it returns is a warning: the move was made,
        and could not be written down.
        """
        ...

    def moves(self) -> Sequence[Move]:
        """Those that were written down, oldest first."""
        ...

    def unread(self) -> str:
        """What of the record of moves cannot be read, "" where all of it can be."""
        ...


class Keeping(Protocol):
    """What comes and goes."""

    def add(self, version: str, files: Mapping[str, Path], manifest: indexes.Manifest) -> None:
        """Whole or not at all for every reader, durable when it returns. The same once more is no error, Conflict
        where another has the name. The files are copied: what becomes of them afterwards is nothing to the version."""
        ...

    def remove(self, version: str) -> bool:
        """Gone at once for every new reader; those that have its files open or mapped keep them. Refused where it
        serves, is pinned or is being read. False where it was not there; what a kill left of it goes too."""
        ...

    def arrived(self, version: str) -> datetime | None:
        """When it came to lie there, by the clock of the place and whatever its manifest says; None where it is not
        there, or the place keeps no time."""
        ...

    def pins(self) -> Mapping[str, str]:
        """Versions that are kept, with why."""
        ...

    def pin(self, version: str, why: str) -> None: ...

    def unpin(self, version: str) -> None: ...

    def lease(
        self, version: str, told: Callable[[str], None] = lambda text: None
    ) -> contextlib.AbstractContextManager[None]:
        """While it is held the version is not removed. Missing when it is not there. `told` hears until when it stays
        where it cannot be given back."""
        ...

    def sweep(self) -> tuple[str, ...]:
        """Take away what killed processes left behind; what it was."""
        ...


class Home(Shelf, Pointing, Keeping, Protocol):
    """Implemented by `folder.FolderHome` and `bucket.BucketHome`."""


def is_whole_at_a_glance(shelf: Shelf, version: str) -> bool:
    """Its manifest can be read, and its files have their sizes."""
    try:
        manifest = shelf.manifest(version)
    except (Damaged, Missing):
        return False
    wanted = {file.name: file.size_bytes for file in manifest.files}
    return shelf.sizes(version) == wanted and not shelf.strays(version)


def is_newer(shelf: Shelf, version: str) -> bool:
    """Whether a newer ddr made it: what it says is whole, and not to be understood here."""
    try:
        shelf.manifest(version)
    except codec.Newer:
        return True
    except (Damaged, Missing):
        pass
    return False


def fetch(shelf: Shelf, version: str, folder: Path) -> indexes.Manifest:
    """Every file of the version in `folder`, each compared with its digest. DamagedVersion names the place; Missing
    where there is none of that name."""
    manifest = opened(shelf, version)
    for file in manifest.files:
        got = writing.write_pieces(folder / file.name, _pieces(shelf, version, file.name))
        if damage := difference(file, got):
            (folder / file.name).unlink()
            raise DamagedVersion(
                f"{shelf.name}: {version}/{file.name} {damage}", hint="take another version, or build it again"
            )
    return manifest


def _pieces(shelf: Shelf, version: str, name: str) -> Iterator[bytes]:
    with _damage(shelf, version):
        yield from shelf.read(version, name)


def opened(shelf: Shelf, version: str) -> indexes.Manifest:
    """The manifest of a version. DamagedVersion where it is there and cannot be proved, Missing where there is none,
    Refused where others put it there."""
    if not naming.is_ours(version) and version in shelf.versions():
        raise Refused(f"{version} {OF_OTHERS}", hint="`ddr index build --publish` serves what can be proved")
    with _damage(shelf, version):
        return shelf.manifest(version)


@contextlib.contextmanager
def _damage(shelf: Shelf, version: str) -> Iterator[None]:
    """What is missing of a version that is there is damage."""
    try:
        yield
    except codec.Newer:
        raise
    except (Damaged, Missing) as problem:
        if isinstance(problem, Missing) and version not in shelf.versions():
            raise
        raise DamagedVersion(problem.message, hint=problem.hint) from problem


def difference(wanted: indexes.File, found: indexes.File) -> str:
    """What is wrong with the file that was found, "" when nothing is. `chunks` say where."""
    if wanted.size_bytes != found.size_bytes:
        return f"has {found.size_bytes:,} bytes, not {wanted.size_bytes:,}"
    if wanted.sha256 == found.sha256:
        return ""
    pairs = zip(wanted.chunks, found.chunks, strict=False)
    places = [str(place) for place, (one, other) in enumerate(pairs) if one != other]
    where = f" (MiB {64 * int(places[0])} and behind: {len(places)} of {len(wanted.chunks)} pieces)" if places else ""
    return f"has other bytes than were published{where}"
