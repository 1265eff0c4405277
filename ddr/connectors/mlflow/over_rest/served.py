"""The files of a server by what they belong to: `runs/ID/...`, `logged_models/ID/...`, `versions/NAME/NUMBER/...`,
`traces/ID/...`. So they find their place again under new ids, wherever the other server keeps its files.

Each object's files are read where they can be: from this machine's disk or S3 where its location is there, else through
the server: by the proxy for `mlflow-artifacts:`, by the calls for runs and logged models for all other places.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from ddr.connectors.mlflow import artifacts, locations
from ddr.connectors.mlflow.over_rest import client as clients
from ddr.connectors.mlflow.over_rest import spool
from ddr.errors import DdrError, Missing, Unavailable
from ddr.ports import restorable

TREE = "artifacts"
PROXY = "/api/2.0/mlflow-artifacts/artifacts"

RUNS, MODELS, VERSIONS, TRACES = "runs", "logged_models", "versions", "traces"


@dataclass(frozen=True)
class Thing:
    """Something that has files. `folder` is its place in the tree."""

    folder: str
    location: str
    identity: str


class Keeper(Protocol):
    """One place with files, relative to it."""

    def entries(self) -> Iterator[restorable.FileSeen]:
        """Sorted by the parts of their paths, folders before what is in them. Missing where nothing is."""
        ...

    def read(self, path: str) -> Iterator[bytes]: ...


def things(rows: spool.Spool) -> Iterator[Thing]:
    """Sorted as their folders are; a version only where its files are not those of a run or a logged model."""
    for piece in rows.pieces("logged_models"):
        for row in piece:
            yield Thing(f"{MODELS}/{row[0]}", str(row[6] or ""), str(row[0]))
    for piece in rows.pieces("runs"):
        for row in piece:
            yield Thing(f"{RUNS}/{row[0]}", str(row[8] or ""), str(row[0]))
    query = "SELECT t.trace_id, t.value FROM trace_tags t WHERE t.key = 'mlflow.artifactLocation' ORDER BY 1"
    for identity, location in rows.ask(query):
        yield Thing(f"{TRACES}/{identity}", str(location), str(identity))
    yield from sorted(_of_versions(rows), key=lambda thing: thing.folder.split("/"))


def _of_versions(rows: spool.Spool) -> Iterator[Thing]:
    owned = [str(row[0]).rstrip("/") for row in rows.ask("SELECT artifact_uri FROM runs WHERE artifact_uri <> ''")]
    known = set(owned) | {str(row[0]).rstrip("/") for row in rows.ask("SELECT artifact_uri FROM logged_models")}
    query = "SELECT name, version, location FROM model_versions WHERE location <> '' ORDER BY name, version"
    for name, version, location in rows.ask(query):
        parts = str(location).rstrip("/").split("/")
        inside = any("/".join(parts[:end]) in known for end in range(1, len(parts) + 1))
        if not inside and ":" in str(location) and not str(location).startswith(("models:", "runs:")):
            yield Thing(f"{VERSIONS}/{quote(str(name), safe=' ')}/{version}", str(location), f"{name}/{version}")


@dataclass
class ServedTree:
    """Implements FileTree. `bucket` is asked for when an S3 location comes; `doubt` is told what was not read."""

    client: clients.Client
    where: locations.Map
    rows: spool.Spool
    bucket: Callable[[], artifacts.Bucket]
    warn: Callable[[str], None]
    doubt: Callable[[str], None]
    _keepers: dict[str, Keeper] = field(default_factory=dict)
    _bucket: artifacts.Bucket | None = None
    _bucket_why: str = ""
    _known: dict[str, set[str]] = field(default_factory=dict)

    def entries(self) -> Iterator[restorable.FileSeen]:
        said: set[str] = set()
        for thing in things(self.rows):
            keeper = self._keeper(thing)
            if keeper is None:
                continue
            self._keepers[thing.folder] = keeper
            for seen in self._inside(thing, keeper):
                for above in artifacts._above(f"{thing.folder}/x"):
                    if above not in said:
                        said.add(above)
                        yield restorable.FileSeen(above, "folder", mode=0o755)
                yield seen
            del self._keepers[thing.folder]

    def local(self, seen: restorable.FileSeen) -> Any:
        del seen

    def read(self, seen: restorable.FileSeen) -> Iterator[bytes]:
        for folder, keeper in self._keepers.items():
            if seen.path.startswith(f"{folder}/"):
                return self._told(seen.path, keeper.read(seen.path[len(folder) + 1 :]))
        raise Missing(f"{seen.path} is not there", hint="run the backup again")

    def _told(self, path: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from pieces
        except DdrError as problem:
            self.doubt(f"file {path}: {problem.message}")
            raise

    def _inside(self, thing: Thing, keeper: Keeper) -> Iterator[restorable.FileSeen]:
        try:
            for seen in keeper.entries():
                yield restorable.FileSeen(
                    f"{thing.folder}/{seen.path}", seen.kind, seen.size_bytes, seen.mtime_ns, seen.mode, seen.mark
                )
        except Missing:
            return
        except DdrError as problem:
            self.doubt(f"files of {thing.folder}: {problem.message}")

    def _keeper(self, thing: Thing) -> Keeper | None:
        """None where there is nothing, or nobody can read it."""
        place = self.where.place(thing.location)
        if place is None:
            return None
        if place.kind == "local" and os.path.isdir(self.where.on_disk(place.path)):  # noqa: PTH112
            return OnDisk(str(self.where.on_disk(place.path)))
        if place.kind == "s3":
            found = self._s3()
            if found is not None:
                return InS3(found, place.path)
        if place.kind == "served":
            return Proxied(self.client, place.uri) if self._is_there(place.uri) else None
        kind, _, identity = thing.folder.partition("/")
        if kind == RUNS:
            return ByRun(self.client, identity)
        if kind == MODELS:
            return ByModel(self.client, identity)
        if kind == VERSIONS:
            self.warn(f"{thing.folder} has its files in {place.uri}, which nobody reads for ddr: not in this backup")
        return None

    def _s3(self) -> artifacts.Bucket | None:
        if self._bucket is None and not self._bucket_why:
            try:
                self._bucket = self.bucket()
            except DdrError as problem:
                self._bucket_why = problem.message
        return self._bucket

    def _is_there(self, uri: str) -> bool:
        """One look at the folder of an experiment spares a look at each of its runs."""
        root = uri.rstrip("/")
        parts = root.split("/")
        if len(parts) < 3 or parts[-1] != "artifacts":
            return True
        above, name = "/".join(parts[:-2]), parts[-2]
        if above not in self._known:
            try:
                found = list(Proxied(self.client, above).listed(""))
            except Missing:
                found = []
            self._known[above] = {str(one["path"]).rstrip("/").rpartition("/")[2] for one in found}
        return name in self._known[above]


@dataclass(frozen=True)
class OnDisk:
    """A folder of this machine."""

    root: str

    def entries(self) -> Iterator[restorable.FileSeen]:
        yield from self._below("", self.root)

    def _below(self, name: str, path: str) -> Iterator[restorable.FileSeen]:
        try:
            inside = sorted(os.listdir(path))  # noqa: PTH208 - names only
        except OSError as problem:
            raise Unavailable(f"{path} cannot be listed: {problem.strerror}", hint="look at the rights") from problem
        for one in inside:
            at, rel = os.path.join(path, one), f"{name}/{one}" if name else one  # noqa: PTH118
            if os.path.isdir(at):  # noqa: PTH112
                yield restorable.FileSeen(rel, "folder", mode=0o755)
                yield from self._below(rel, at)
            elif os.path.isfile(at):  # noqa: PTH113
                stat = os.stat(at)  # noqa: PTH116
                mark = f"{stat.st_ino}:{stat.st_ctime_ns}"
                yield restorable.FileSeen(rel, "file", stat.st_size, stat.st_mtime_ns, 0o644, mark)

    def read(self, path: str) -> Iterator[bytes]:
        try:
            with open(f"{self.root}/{path}", "rb") as file:  # noqa: PTH123
                while piece := file.read(4 * 2**20):
                    yield piece
        except FileNotFoundError as problem:
            raise Missing(f"{path} is gone", hint="it was deleted during the backup") from problem


@dataclass(frozen=True)
class InS3:
    bucket: artifacts.Bucket
    root: str

    def entries(self) -> Iterator[restorable.FileSeen]:
        cut = len(self.root) + 1
        for seen in artifacts.S3Tree(self.bucket, (self.root,)).entries():
            if len(seen.path) > cut:
                yield restorable.FileSeen(
                    seen.path[cut:], seen.kind, seen.size_bytes, seen.mtime_ns, seen.mode, seen.mark
                )

    def read(self, path: str) -> Iterator[bytes]:
        bucket, _, key = f"{self.root}/{path}".partition("/")
        return self.bucket.read(bucket, key)


class _Listed:
    """What gives its files folder by folder: names with a size, and nothing that would tell a change."""

    def listed(self, folder: str) -> Iterator[Mapping[str, Any]]:
        raise NotImplementedError

    def entries(self) -> Iterator[restorable.FileSeen]:
        yield from self._below("")

    def _below(self, folder: str) -> Iterator[restorable.FileSeen]:
        named = {str(one["path"]).rstrip("/").rpartition("/")[2]: one for one in self.listed(folder)}
        for name in sorted(named):
            path = f"{folder}/{name}" if folder else name
            if named[name].get("is_dir"):
                yield restorable.FileSeen(path, "folder", mode=0o755)
                yield from self._below(path)
            else:
                yield restorable.FileSeen(path, "file", int(named[name].get("file_size") or 0))


@dataclass(frozen=True)
class Proxied(_Listed):
    """Below `mlflow-artifacts:/...`, which the server keeps for its clients."""

    client: clients.Client
    location: str

    @property
    def root(self) -> str:
        rest = self.location.removeprefix("mlflow-artifacts:")
        return (rest.removeprefix("//").partition("/")[2] if rest.startswith("//") else rest).strip("/")

    def listed(self, folder: str) -> Iterator[Mapping[str, Any]]:
        said = self.client.get(PROXY, {"path": f"{self.root}/{folder}".rstrip("/")})
        yield from said.get("files", ())

    def read(self, path: str) -> Iterator[bytes]:
        return self.client.read(f"{PROXY}/{self.root}/{path}", {})


@dataclass(frozen=True)
class ByRun(_Listed):
    """A run's files, wherever the server itself reads them."""

    client: clients.Client
    run: str

    def listed(self, folder: str) -> Iterator[Mapping[str, Any]]:
        def ask(token: str) -> Mapping[str, Any]:
            query = {"run_id": self.run, **({"path": folder} if folder else {})}
            return self.client.get(f"{clients.API2}/artifacts/list", {**query, **_token(token)})

        for page in self.client.pages(ask, "files"):
            yield from page

    def read(self, path: str) -> Iterator[bytes]:
        return self.client.read("/get-artifact", {"run_id": self.run, "path": path})


@dataclass(frozen=True)
class ByModel(_Listed):
    """A logged model's files, wherever the server itself reads them."""

    client: clients.Client
    model: str

    def listed(self, folder: str) -> Iterator[Mapping[str, Any]]:
        def ask(token: str) -> Mapping[str, Any]:
            query = {"artifact_directory_path": folder} if folder else {}
            where = f"{clients.API2}/logged-models/{self.model}/artifacts/directories"
            return self.client.get(where, {**query, **_token(token)})

        for page in self.client.pages(ask, "files"):
            yield from page

    def read(self, path: str) -> Iterator[bytes]:
        where = f"/ajax-api/2.0/mlflow/logged-models/{self.model}/artifacts/files"
        return self.client.read(where, {"artifact_file_path": path})


def _token(token: str) -> Mapping[str, str]:
    return {"page_token": token} if token else {}
