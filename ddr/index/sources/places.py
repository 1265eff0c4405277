"""Where files of a corpus lie: patterns to files of a disk and objects of a bucket, and their bytes.

A read is checked against the generation that was planned: a file that changed meanwhile is a Conflict, never a mixture.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ddr.errors import Conflict, InputError, Missing, Unavailable
from ddr.lib import redact
from ddr.ports import store

Buckets = Callable[[str], store.Store]
"""The name of a bucket → a store whose keys are those of the bucket, as whoever wrote them called them."""

S3 = "s3://"
_MAGIC = re.compile(r"[*?\[]")
_PIECE_BYTES = 8 << 20  # of one request: what a read may hold on top of the array it fills
_CHANGED = "plan again: the next plan takes the files as they are now"


@dataclass(frozen=True)
class Place:
    """A file or an object as it was found. `generation` changes when its bytes do."""

    uri: str
    size_bytes: int
    generation: str


class Readable(Protocol):
    """The bytes of one file. Every read raises Conflict when it is no longer the generation that was asked for, and
    Unavailable when the disk or the bucket does not answer (temporary)."""

    place: Place

    def read_into(self, start: int, target: memoryview) -> None:
        """Fill `target` (bytes) from `start` on. Conflict when the file ends before."""
        ...


def read(readable: Readable, start: int, size: int) -> bytes:
    content = bytearray(size)
    readable.read_into(start, memoryview(content))
    return bytes(content)


def find(patterns: Sequence[str], base: Path, buckets: Buckets) -> tuple[Place, ...]:
    """What the patterns name, sorted within each. InputError when one names nothing or two name the same file."""
    found: dict[str, str] = {}
    places = []
    for pattern in patterns:
        here = list(_in_bucket(pattern, buckets) if pattern.startswith(S3) else _in_folder(pattern, base))
        if not here:
            raise InputError(
                f"{pattern}: no file is named so", hint=f"relative paths and patterns count from {base.absolute()}"
            )
        for place in here:
            if place.uri in found:
                raise InputError(
                    f"{place.uri} is named twice, by {found[place.uri]} and by {pattern}",
                    hint="its rows would go in twice; name every file once",
                )
            found[place.uri] = pattern
        places += here
    return tuple(places)


def _in_folder(pattern: str, base: Path) -> Iterator[Place]:
    try:
        is_folder, is_there = (base / pattern).is_dir(), (base / pattern).exists()
    except OSError as problem:
        raise InputError(f"{pattern}: {redact.foreign(problem)}", hint="look at its name and its rights") from problem
    if is_folder:
        raise InputError(f"{pattern} is a folder", hint=f"name the files in it, as in {pattern.rstrip('/')}/*.npy")
    if is_there:  # also a name with brackets in it
        names = [Path(pattern).as_posix()]
    else:
        names = sorted(Path(name).as_posix() for name in glob.glob(pattern, root_dir=base, recursive=True))  # noqa: PTH207
    for name in names:  # Path.glob would take hidden files, and no absolute pattern
        if not (base / name).is_dir():
            yield _of_file(name, base / name)


def _of_file(uri: str, path: Path) -> Place:
    try:
        found = path.stat()
    except FileNotFoundError as problem:
        raise InputError(f"{uri} is not there", hint="a link to nowhere?") from problem
    except OSError as problem:
        raise Unavailable(f"{uri} cannot be read: {redact.foreign(problem)}", hint="look at its rights") from problem
    if not stat.S_ISREG(found.st_mode):  # whoever opens a pipe waits for a writer
        raise InputError(f"{uri} is no plain file", hint="its rows are read more than once: write them into one")
    return Place(uri, found.st_size, f"{found.st_mtime_ns}-{found.st_size}")


def _in_bucket(pattern: str, buckets: Buckets) -> Iterator[Place]:
    bucket, key = _parts(pattern)
    there = buckets(bucket)
    magic = _MAGIC.search(key)
    if magic is None:
        entry = there.head(key)
        if entry is not None:
            yield _of_entry(bucket, entry)
        return
    try:
        fits = re.compile(_translated(key), re.DOTALL)
    except re.error as problem:
        raise InputError(f"{pattern} is no pattern: {problem}", hint="`[a-z]` is from a to z") from problem
    found = [entry for entry in there.list(key[: magic.start()]) if entry.key == key or fits.fullmatch(entry.key)]
    named = [entry for entry in found if entry.key == key]  # a name with brackets in it
    for entry in named or found:
        if not entry.key.endswith("/"):  # what consoles write for an empty folder
            yield _of_entry(bucket, entry)


def _parts(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix(S3).partition("/")
    if not bucket or not key:
        raise InputError(f"{uri} names no object", hint="s3://bucket/key, where the key may have `*`, `?` and `[...]`")
    return bucket, key


def _of_entry(bucket: str, entry: store.Entry) -> Place:
    return Place(f"{S3}{bucket}/{entry.key}", entry.size_bytes, f"{entry.version}-{entry.size_bytes}")


def _translated(pattern: str) -> str:
    """As the shell reads it: `*` stays within a folder, `**` does not, and neither finds what a dot hides."""
    out, at = [], 0
    while at < len(pattern):
        if pattern[at] in "*?[" and (at == 0 or pattern[at - 1] == "/"):
            out.append(r"(?!\.)")
        if pattern.startswith("**", at):
            out.append(r"(?:(?!/\.).)*")
            at += 2
        elif pattern[at] == "[" and (end := pattern.find("]", at + 2)) > 0:
            inner = pattern[at + 1 : end].replace("\\", "\\\\")
            out.append(f"[^/{inner[1:]}]" if inner[0] == "!" else f"(?!/)[{inner}]")
            at = end + 1
        else:
            out.append({"*": "[^/]*", "?": "[^/]"}.get(pattern[at], re.escape(pattern[at])))
            at += 1
    return "".join(out)


def reach(uri: str, base: Path, buckets: Buckets) -> Place:
    """What lies there now. Conflict when nothing does: it was there when the plan was made."""
    try:
        if not uri.startswith(S3):
            return _of_file(uri, base / uri)
        bucket, key = _parts(uri)
        entry = buckets(bucket).head(key)
    except (InputError, Missing) as problem:
        raise _gone(uri) from problem
    if entry is None:
        raise _gone(uri)
    return _of_entry(bucket, entry)


def readable(place: Place, base: Path, buckets: Buckets) -> Readable:
    if not place.uri.startswith(S3):
        return OnDisk(place, base / place.uri)
    bucket, key = _parts(place.uri)
    return InBucket(place, buckets(bucket), key)


class OnDisk:
    """Opened for every read: thousands of shards are no thousands of open files. Never mapped, as a mapped file that
    somebody cuts short kills the process."""

    def __init__(self, place: Place, path: Path) -> None:
        self.place = place
        self._path = path

    def read_into(self, start: int, target: memoryview) -> None:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                done = 0
                while done < len(target):
                    got = os.preadv(fd, [target[done:]], start + done)
                    if not got:
                        break
                    done += got
                found = os.fstat(fd)
            finally:
                os.close(fd)
        except FileNotFoundError as problem:
            raise _gone(self.place.uri) from problem
        except OSError as problem:
            raise Unavailable(
                f"{self.place.uri} cannot be read: {redact.foreign(problem)}", hint="look at its rights and at `dmesg`"
            ) from problem
        generation = f"{found.st_mtime_ns}-{found.st_size}"
        if generation != self.place.generation or done < len(target):
            raise _changed(self.place, generation)


class InBucket:
    """One request for each 8 MiB, and one that asks whether the object is still the one that was planned."""

    def __init__(self, place: Place, there: store.Store, key: str) -> None:
        self.place = place
        self._there = there
        self._key = key

    def read_into(self, start: int, target: memoryview) -> None:
        is_short = False
        for at in range(0, len(target), _PIECE_BYTES):
            size = min(_PIECE_BYTES, len(target) - at)
            try:
                content = self._there.get(self._key, start + at, size)
            except Missing as problem:
                raise _gone(self.place.uri) from problem
            if len(content) != size:
                is_short = True
                break
            target[at : at + size] = content
        entry = self._there.head(self._key)
        if entry is None:
            raise _gone(self.place.uri)
        found = _of_entry("", entry).generation
        if found != self.place.generation:
            raise _changed(self.place, found)
        if is_short:
            raise Unavailable(f"{self.place.uri} was answered in part", hint="try again; the object itself is whole")


def _gone(uri: str) -> Conflict:
    return Conflict(f"{uri} is no longer there", expected="the file of the plan", found="nothing", hint=_CHANGED)


def _changed(place: Place, found: str) -> Conflict:
    return Conflict(f"{place.uri} changed since it was planned", expected=place.generation, found=found, hint=_CHANGED)
