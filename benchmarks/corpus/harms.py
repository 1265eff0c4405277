"""Every way in which an index is damaged on purpose: of its bytes, of what it was built of, of what points at it.

Each says which level of `ddr index check` must find it, with which exit code, and which command mends it. A culprit is
no command: these are the hands of a person, a disk or a build that went wrong, so they write where nobody should.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ddr.domain import indexes
from ddr.index.homes import folder, naming, writing

INDEX, NAMES, MANIFEST = "index.faiss", "ids.json", "manifest.json"
REPAIR, BUILD, ROLLBACK = "repair --apply", "build --publish", "rollback --apply"
BYTES, MEANT, POINTER, CORPUS = "bytes", "digests right", "pointer", "corpus"
BLOCK = 4096

Undo = Callable[[], object]


@dataclass(frozen=True)
class Place:
    """A home in a folder, as it lies there now."""

    home: Path

    @property
    def live(self) -> Path:
        """The folder of the version that serves."""
        return (self.home / "current").resolve()

    @property
    def others(self) -> list[Path]:
        """Published before, the newest last."""
        return sorted(path for path in (self.home / "versions").glob("v??????-*") if path != self.live)

    @property
    def log(self) -> list[str]:
        """Versions in the order in which they were moved to."""
        lines = (self.home / "deployments.jsonl").read_text().splitlines()
        return [str(json.loads(line)["to"]) for line in lines]


@dataclass(frozen=True)
class Harm:
    """`do` gives what takes it back by hand, where no command can. `level` is the lowest that finds it."""

    kind: str
    name: str
    do: Callable[[Place], Undo | None]
    level: int
    code: int = 10
    mend: str = REPAIR
    """"" where taking it back by hand is all."""
    look: int = 0
    """The level of the check where a higher one than `level` tells more."""


def all_of() -> tuple[Harm, ...]:
    """Those that need nothing but a home; texts and models have theirs in `corpus`."""
    return (*_OF_BYTES, *_MEANT, *_OF_THE_POINTER)


def written(path: Path, content: bytes, *, is_silent: bool = False) -> None:
    """Into the file itself, whatever its rights; `is_silent` with its times, as a disk does it."""
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(content)
        file.truncate(len(content))
    if is_silent:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]


def _cut(content: bytes) -> bytes:
    return content[:-100]


def _block_of_zeros(content: bytes) -> bytes:
    start = len(content) // 2 // BLOCK * BLOCK
    return content[:start] + bytes(len(content[start : start + BLOCK])) + content[start + BLOCK :]


def _tail_of_zeros(content: bytes) -> bytes:
    keep = len(content) * 7 // 10
    return content[:keep] + bytes(len(content) - keep)


def _two_ids(content: bytes) -> bytes:
    """Of one length, so that no size tells."""
    names = json.loads(content)
    other = next(at for at in range(1, len(names)) if len(names[at]) == len(names[0]))
    first, second = (json.dumps(names[at]).encode() for at in (0, other))
    return content.replace(first, b"\0", 1).replace(second, first, 1).replace(b"\0", second, 1)


def _edited(content: bytes) -> bytes:
    said = json.loads(content)
    said["scan"]["kept"] += 1
    return json.dumps(said).encode()


def _to(name: str, change: Callable[[bytes], bytes]) -> Callable[[Place], None]:
    def do(place: Place) -> None:
        path = place.live / name
        before = path.read_bytes()
        assert change(before) != before, name
        written(path, change(before), is_silent=True)

    return do


def _gone(name: str) -> Callable[[Place], None]:
    return lambda place: (place.live / name).unlink()


def _of_another_version(place: Place) -> None:
    here = place.live / INDEX
    there = next(path / INDEX for path in reversed(place.others) if (path / INDEX).is_file())
    here.unlink()
    shutil.copyfile(there, here)


def _one_too_many(place: Place) -> None:
    (place.live / "index.faiss.bak").write_bytes(b"x")


_OF_BYTES = (
    Harm(BYTES, "index.faiss: one bit", _to(INDEX, flipped), 1),
    Harm(BYTES, "index.faiss: the last 100 bytes gone", _to(INDEX, _cut), 0),
    Harm(BYTES, "index.faiss: a block of zeros", _to(INDEX, _block_of_zeros), 1),
    Harm(BYTES, "index.faiss: a tail of zeros, its length kept", _to(INDEX, _tail_of_zeros), 1),
    Harm(BYTES, "index.faiss: empty", _to(INDEX, lambda content: b""), 0),
    Harm(BYTES, "index.faiss: gone", _gone(INDEX), 0),
    Harm(BYTES, "index.faiss: that of another version", _of_another_version, 0),
    Harm(BYTES, "ids.json: one bit", _to(NAMES, flipped), 1),
    Harm(BYTES, "ids.json: two ids changed places", _to(NAMES, _two_ids), 1),
    Harm(BYTES, "ids.json: the last 100 bytes gone", _to(NAMES, _cut), 0),
    Harm(BYTES, "ids.json: a tail of zeros, its length kept", _to(NAMES, _tail_of_zeros), 1),
    Harm(BYTES, "ids.json: gone", _gone(NAMES), 0),
    Harm(BYTES, "a file that nobody published", _one_too_many, 0),
    Harm(BYTES, "manifest.json: a number edited", _to(MANIFEST, _edited), 0, mend=ROLLBACK),
    Harm(BYTES, "manifest.json: one bit", _to(MANIFEST, flipped), 0, mend=ROLLBACK),
    Harm(BYTES, "manifest.json: gone", _gone(MANIFEST), 0, mend=ROLLBACK),
)


def planted(place: Place, change: Callable[[Path], None]) -> None:
    """A version with files that were changed before they were digested: what a build that goes wrong publishes.

    Everything about it is right but what is in it: digests, manifest, name, pointer.
    """
    home = folder.FolderHome(place.home, lambda: datetime.now(UTC), "a culprit")
    manifest = home.manifest(place.live.name)
    with tempfile.TemporaryDirectory(dir=place.home, prefix=".planted-") as name:
        staged = Path(name)
        for file in manifest.files:
            shutil.copyfile(place.live / file.name, staged / file.name)
        change(staged)
        files = tuple(_digested(staged / file.name) for file in manifest.files)
        made = dataclasses.replace(manifest, version="", parent=place.live.name, files=files)
        sealed = naming.seal(made, home.versions())
        home.add(sealed.version, {file.name: staged / file.name for file in files}, sealed)
        home.point(place.live.name, sealed.version)


def _digested(path: Path) -> indexes.File:
    return writing.write_bytes(path, path.read_bytes())


def _named(change: Callable[[list[str]], Sequence[str]]) -> Callable[[Place], None]:
    def to(staged: Path) -> None:
        path = staged / NAMES
        path.write_text(json.dumps(list(change(json.loads(path.read_text())))))

    return lambda place: planted(place, to)


def _swapped(names: list[str]) -> list[str]:
    some = len(names) // 5
    return [*names[-some:], *names[some:-some], *names[:some]]


def _shuffled(names: list[str]) -> list[str]:
    random.Random(5).shuffle(names)
    return names


def _loaded(change: Callable[[Any], None]) -> Callable[[Place], None]:
    def to(staged: Path) -> None:
        import faiss

        index = faiss.read_index(str(staged / INDEX))
        change(index)
        faiss.write_index(index, str(staged / INDEX))

    return lambda place: planted(place, to)


def _fewer(index: Any) -> None:
    import numpy as np

    index.remove_ids(np.array([5, 12, 19], np.int64))


def narrowed(index: Any) -> None:
    """What a saved index of lists has when nobody sets it: one list is looked into."""
    index.nprobe = 1


_MEANT = (
    Harm(MEANT, "all ids shifted by one", _named(lambda names: [names[-1], *names[:-1]]), 3, 11, ROLLBACK),
    Harm(MEANT, "the first and the last fifth of the ids exchanged", _named(_swapped), 3, 11, ROLLBACK),
    Harm(MEANT, "ids in another order", _named(_shuffled), 3, 11, ROLLBACK),
    Harm(MEANT, "one id twice", _named(lambda names: [names[1], *names[1:]]), 2, 11),
    Harm(MEANT, "one id missing, another one too many", _named(lambda names: ["nobody", *names[1:]]), 2, 11),
    Harm(MEANT, "fewer ids than rows", _named(lambda names: names[:-3]), 2, 11),
    Harm(MEANT, "three rows missing", _loaded(_fewer), 2),
)
NARROWED = Harm(MEANT, "the search parameter lost when it was saved", _loaded(narrowed), 2, 13)
"""For lists alone."""


def _repointed(make: Callable[[Path], object]) -> Callable[[Place], None]:
    def do(place: Place) -> None:
        link = place.home / "current"
        link.unlink()
        make(link)

    return do


def _in_its_place(make: Callable[[Path], object]) -> Callable[[Place], Undo]:
    """Something that no command takes away: a person may have meant it."""

    def do(place: Place) -> Undo:
        _repointed(make)(place)
        return (place.home / "current").unlink

    return do


_OF_THE_POINTER = (
    Harm(POINTER, "current: gone", _repointed(lambda link: None), 0, mend=ROLLBACK),
    Harm(
        POINTER,
        "current: points at what is not there",
        _repointed(lambda link: link.symlink_to("versions/v000099-0123456789ab")),
        0,
        mend=ROLLBACK,
    ),
    Harm(
        POINTER, "current: a file where a link was", _in_its_place(lambda link: link.write_text("v2")), 0, mend=ROLLBACK
    ),
    Harm(
        POINTER,
        "current: points out of the home",
        _in_its_place(lambda link: link.symlink_to("/tmp")),
        0,
        mend=ROLLBACK,
    ),
)
