"""A version's files through MLflow's server: listed, streamed, digested; nothing is kept but digests and small files.

Large files are read on a few connections at once, and once in the life of a process: of a server that gives an ETag
one byte is asked for, and while the ETag that comes with it is the same, the file is the one that was read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ddr.connectors.mlflow import transport
from ddr.errors import DdrError
from ddr.lib import digest, endpoint

_API = "/api/2.0/mlflow"
_PROXY = "/api/2.0/mlflow-artifacts/artifacts"
_THREADS = 4
_LARGE_BYTES = 4 << 20  # one connection reads that before three more are open

Seen = MutableMapping[str, tuple[str, str]]
"""Path of a large file to its ETag and its digest."""


class Place(Protocol):
    """Where a version's files are, for the server: paths and queries of its calls."""

    def listing(self, folder: str) -> tuple[str, Mapping[str, str]]: ...

    def file(self, name: str) -> tuple[str, Mapping[str, str]]: ...


@dataclass(frozen=True)
class Proxied:
    """Files under `mlflow-artifacts:/...`, which the server keeps for its clients."""

    location: str

    @property
    def _root(self) -> str:
        rest = self.location.removeprefix("mlflow-artifacts:")
        return (rest.removeprefix("//").partition("/")[2] if rest.startswith("//") else rest).strip("/")

    def listing(self, folder: str) -> tuple[str, Mapping[str, str]]:
        return _PROXY, {"path": f"{self._root}/{folder}".rstrip("/")}

    def file(self, name: str) -> tuple[str, Mapping[str, str]]:
        return f"{_PROXY}/{self._root}/{name}", {}


@dataclass(frozen=True)
class Logged:
    """Files of a logged model, wherever the server itself reads them."""

    model_id: str
    of_version: Mapping[str, str]

    def listing(self, folder: str) -> tuple[str, Mapping[str, str]]:
        query = {"artifact_directory_path": folder.rstrip("/")} if folder else {}
        return f"{_API}/logged-models/{self.model_id}/artifacts/directories", query

    def file(self, name: str) -> tuple[str, Mapping[str, str]]:
        return "/model-versions/get-artifact", {**self.of_version, "path": name}


def _etag(answer: endpoint.Answer) -> str:
    """'' without one, and for a weak one: it does not promise equal bytes."""
    said = next((value for name, value in answer.headers.items() if name.lower() == "etag"), "")
    return "" if said.startswith("W/") else said


def _drop(piece: bytes) -> None:
    """Of a server that sends the whole file when it is asked for a byte."""
    del piece


@dataclass(frozen=True)
class Reading:
    """`refused` makes the error of an answer that is none."""

    server: endpoint.Endpoint
    place: Place
    refused: Callable[[endpoint.Answer, str], DdrError]
    seen: Seen

    def files(self) -> transport.Files:
        with self.server.session() as line:
            sizes = dict(self._names(line, ""))
            kept = {name: self._kept(line, name) for name in transport.KEPT if name in sizes}
            entries = {name: digest.of_bytes(content) for name, content in kept.items()}
            rest = [name for name in sizes if name not in kept]
            if sum(sizes[name] for name in rest) < _LARGE_BYTES:
                entries |= {name: self._digest(line, name, sizes[name]) for name in rest}
                return transport.Files(entries, kept)
        for found in self._at_once(rest, sizes):
            entries |= found
        return transport.Files(entries, kept)

    def _at_once(self, names: Sequence[str], sizes: Mapping[str, int]) -> Iterator[Mapping[str, str]]:
        """Each thread has a connection of its own and its share of the bytes, the largest files dealt out first."""
        from ddr.lib import beside

        shares: list[list[str]] = [[] for _ in range(min(_THREADS, len(names)))]
        for name in sorted(names, key=lambda name: -sizes[name]):
            min(shares, key=lambda share: sum(sizes[one] for one in share)).append(name)

        def read(share: Sequence[str]) -> Mapping[str, str]:
            with self.server.session() as line:
                return {name: self._digest(line, name, sizes[name]) for name in share}

        work = ((at, lambda share=share: read(share)) for at, share in enumerate(shares))
        for _, found in beside.each(work, len(shares)):
            yield found

    def _kept(self, line: endpoint.Line, name: str) -> bytes:
        path, query = self.place.file(name)
        answer = line.ask("GET", path, query)
        if answer.status != 200:
            raise self.refused(answer, f"GET {path}")
        return answer.body

    def _digest(self, line: endpoint.Line, name: str, size_bytes: int) -> str:
        path, query = self.place.file(name)
        key = f"{path}?{sorted(query.items())}"
        is_large = size_bytes >= _LARGE_BYTES
        known = self.seen.get(key) if is_large else None
        if known:
            first = line.ask("GET", path, query, headers={"Range": "bytes=0-0", "If-None-Match": known[0]}, sink=_drop)
            if first.status == 304 or (first.status == 206 and _etag(first) == known[0]):
                return known[1]
        hashed = hashlib.sha256()
        answer = line.ask("GET", path, query, sink=hashed.update)
        if answer.status != 200:
            raise self.refused(answer, f"GET {path}")
        found = digest.PREFIX + hashed.hexdigest()
        if is_large and _etag(answer):
            self.seen[key] = (_etag(answer), found)
        return found

    def _names(self, line: endpoint.Line, folder: str) -> Iterator[tuple[str, int]]:
        path, query = self.place.listing(folder)
        answer = line.ask("GET", path, query)
        value = answer.value()
        if answer.status != 200 or not isinstance(value, dict):
            raise self.refused(answer, f"GET {path}")
        for entry in value.get("files", ()):
            name = folder + str(entry["path"]).rstrip("/").rpartition("/")[2]
            if entry.get("is_dir"):
                yield from self._names(line, f"{name}/")
            else:
                yield name, int(entry.get("file_size") or 0)
