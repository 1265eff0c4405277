"""The files that the rows name: found on disk and in S3, walked in order, checked for what is missing.

Rows come first and files second, so everything that a row names was there when its row was read, unless somebody
deleted it in between.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ddr.connectors.mlflow import locations
from ddr.connectors.tables import readers
from ddr.errors import Missing, Unavailable
from ddr.lib import redact
from ddr.ports import restorable

_PIECE_BYTES = 4 * 2**20
_SAID_ONE_BY_ONE = 20


@dataclass(frozen=True)
class Object:
    """One object of a bucket."""

    key: str
    size_bytes: int
    mtime_ns: int
    etag: str


class Bucket(Protocol):
    """What is needed of S3, and no more."""

    def listed(self, bucket: str, prefix: str) -> Iterator[Object]:
        """All below the prefix. Unavailable, Missing when there is no such bucket."""
        ...

    def read(self, bucket: str, key: str) -> Iterator[bytes]:
        """Missing when it is gone."""
        ...


def capture(reader: readers.Reader, where: locations.Map, bucket: Bucket | None, sink: restorable.Sink) -> None:
    """Everything that the rows name into trees; what cannot be read or is not there is a warning."""
    places = [place for place in map(where.place, set(locations.named(reader))) if place]
    local = locations.outermost([place for place in places if place.kind == "local"])
    remote = locations.outermost([place for place in places if place.kind == "s3"])
    if local:
        sink.tree(locations.LOCAL_TREE, LocalTree(where, tuple(place.path for place in local)))
    if remote and bucket is None:
        sink.warn(f"artifacts in S3 are not in this backup: no access to S3 was configured ({remote[0].uri})")
    elif remote and bucket is not None:
        sink.tree(locations.S3_TREE, S3Tree(bucket, tuple(place.path for place in remote)))
    _say_unread(places, sink)
    _say_missing(reader, where, sink)


def _say_unread(places: Sequence[locations.Place], sink: restorable.Sink) -> None:
    served = sorted(place.uri for place in places if place.kind == "served")
    if served:
        sink.warn(
            f"{len(served)} locations are kept by the MLflow server and not in this backup ({served[0]}): "
            "say where in `artifacts`, as in its --artifacts-destination"
        )
    others = sorted(place.uri for place in places if place.kind == "other")
    for scheme in sorted({uri.partition(":")[0] for uri in others}):
        those = [uri for uri in others if uri.startswith(f"{scheme}:")]
        sink.warn(f"{len(those)} locations in {scheme}: are not in this backup: {redact.foreign(those[0])}")


def _say_missing(reader: readers.Reader, where: locations.Map, sink: restorable.Sink) -> None:
    missing = []
    for what, location in locations.needed(reader):
        place = where.place(location)
        if place and place.kind == "local" and not os.path.exists(where.on_disk(place.path)):  # noqa: PTH110
            missing.append(f"{what} has no files: {where.on_disk(place.path)} is not there")
    for text in missing[:_SAID_ONE_BY_ONE]:
        sink.warn(text)
    if len(missing) > _SAID_ONE_BY_ONE:
        sink.warn(f"{len(missing) - _SAID_ONE_BY_ONE} more models and versions have no files")


@dataclass(frozen=True)
class LocalTree:
    """Folders of this machine below one another as their paths say. Implements FileTree."""

    where: locations.Map
    roots: tuple[str, ...]
    """Sorted by their parts, none inside another."""

    def entries(self) -> Iterator[restorable.FileSeen]:
        said: set[str] = set()
        for root in self.roots:
            path = self.where.on_disk(root)
            if not os.path.exists(path):  # noqa: PTH110 - False too for what can be no path at all
                continue
            for above in _above(root):
                if above not in said:
                    said.add(above)
                    yield restorable.FileSeen(above, "folder", mode=0o755)
            yield from self._below(root, path.resolve())  # a location may be a link to another disk

    def local(self, seen: restorable.FileSeen) -> Path | None:
        return self.where.on_disk(seen.path)

    def read(self, seen: restorable.FileSeen) -> Iterator[bytes]:
        path = self.where.on_disk(seen.path)
        try:
            with path.open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    yield piece
        except FileNotFoundError as problem:
            raise Missing(f"{path} is gone", hint="it was deleted during the backup") from problem
        except OSError as problem:
            raise Unavailable(f"{path}: {redact.foreign(problem)}", hint="look at the disk and its rights") from problem

    def _below(self, name: str, path: Path) -> Iterator[restorable.FileSeen]:
        try:
            found = path.lstat()
            if stat.S_ISLNK(found.st_mode):
                target = str(path.readlink())
                yield restorable.FileSeen(name, "link", 0, found.st_mtime_ns, 0o777, _mark(found), target)
            elif stat.S_ISREG(found.st_mode):
                mode = stat.S_IMODE(found.st_mode)
                yield restorable.FileSeen(name, "file", found.st_size, found.st_mtime_ns, mode, _mark(found))
            elif stat.S_ISDIR(found.st_mode):
                mode = stat.S_IMODE(found.st_mode)
                yield restorable.FileSeen(name, "folder", 0, found.st_mtime_ns, mode)
                for inside in sorted(os.listdir(path)):  # noqa: PTH208 - names only
                    yield from self._below(f"{name}/{inside}", path / inside)
        except FileNotFoundError:
            return
        except OSError as problem:
            raise Unavailable(f"{path}: {redact.foreign(problem)}", hint="look at the disk and its rights") from problem


@dataclass(frozen=True)
class S3Tree:
    """Prefixes of buckets, each as `bucket/key`. Implements FileTree."""

    bucket: Bucket
    roots: tuple[str, ...]

    def entries(self) -> Iterator[restorable.FileSeen]:
        said: set[str] = set()
        for root in self.roots:
            bucket, _, prefix = root.partition("/")
            # S3 sorts whole keys, where `a-b/x` comes before `a/x`; a tree is sorted by the parts of the path.
            found = sorted(self._below(bucket, prefix), key=lambda one: one.key.split("/"))
            for one in found:
                path = f"{bucket}/{one.key}"
                for above in _above(path):
                    if above not in said:
                        said.add(above)
                        yield restorable.FileSeen(above, "folder", mode=0o755)
                mark = f"{one.etag} {one.mtime_ns}"
                yield restorable.FileSeen(path, "file", one.size_bytes, one.mtime_ns, 0o644, mark)

    def local(self, seen: restorable.FileSeen) -> Path | None:
        del seen
        return None

    def read(self, seen: restorable.FileSeen) -> Iterator[bytes]:
        bucket, _, key = seen.path.partition("/")
        return self.bucket.read(bucket, key)

    def _below(self, bucket: str, prefix: str) -> Iterator[Object]:
        """Objects that can be files: no placeholders of folders, no empty parts of a path."""
        for one in self.bucket.listed(bucket, f"{prefix}/" if prefix else ""):
            if not {"", ".", ".."} & set(one.key.split("/")):
                yield one


def _mark(found: os.stat_result) -> str:
    return f"{found.st_ino}:{found.st_ctime_ns}"


def _above(path: str) -> Sequence[str]:
    """The folders that a path lies in, outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
