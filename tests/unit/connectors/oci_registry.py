"""A registry of container images on loopback, and images to push into one.

Not the real program, but true to what docker-registry 2.8.2 answered when it was asked: a manifest of OCI is a 404
MANIFEST_UNKNOWN ("accept header does not support OCI manifests") for who does not say that it takes them; a digest is
that of the raw bytes; unknown names, manifests and blobs are 404 with a code; a tag is moved by pushing; deleting a
manifest by digest takes all its tags along. With `login` it wants a token from its own `/token`, by a challenge. With
`stores` it sends readers of blobs elsewhere.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE = "application/vnd.oci.image.manifest.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
_PATH = re.compile(r"/v2/(.+)/(manifests|blobs)/([^/]+)")


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass
class Contents:
    """Repository to blobs by digest, manifests (type, bytes) by digest, and tags. `seen` are requests so far."""

    blobs: dict[str, dict[str, bytes]] = field(default_factory=dict)
    manifests: dict[str, dict[str, tuple[str, bytes]]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    login: tuple[str, str] | None = None
    stores: bool = False
    tokens: int = 0
    seen: list[tuple[str, str, str]] = field(default_factory=list)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def contents(self) -> Contents:
        return self.server.contents  # type: ignore[attr-defined, no-any-return]

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        here = self.contents
        here.seen.append((self.command, self.path, self.headers.get("Authorization", "")))
        parts = urlsplit(self.path)
        host = f"http://{self.headers['Host']}"
        if parts.path == "/token":
            return self._token(parse_qs(parts.query))
        if parts.path == "/stored":
            if self.headers.get("Authorization"):  # S3 refuses a signed address with a header beside it
                return self._answer(400, b"Only one auth mechanism allowed")
            content = here.blobs[parse_qs(parts.query)["name"][0]][parse_qs(parts.query)["digest"][0]]
            return self._answer(200, content)
        wanted = _PATH.fullmatch(parts.path)
        if here.login and self.headers.get("Authorization") != f"Bearer token-{here.tokens}-{wanted and wanted[1]}":
            scope = f"repository:{wanted[1]}:pull" if wanted else ""
            challenge = f'Bearer realm="{host}/token",service="test",scope="{scope}"'
            return self._error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})
        if wanted is None:
            return self._answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})
        name, kind, reference = wanted.groups()
        if name not in here.manifests:
            return self._error(404, "NAME_UNKNOWN", "repository name not known to registry")
        if kind == "blobs":
            return self._blob(name, reference, host)
        return self._put(name, reference, body) if self.command == "PUT" else self._manifest(name, reference)

    def _token(self, query: Mapping[str, list[str]]) -> None:
        here = self.contents
        assert here.login is not None
        wanted = "Basic " + base64.b64encode(":".join(here.login).encode()).decode()
        if self.headers.get("Authorization") != wanted:
            return self._error(401, "UNAUTHORIZED", "incorrect username or password")
        here.tokens += 1
        name = query["scope"][0].split(":")[1]
        return self._answer(200, json.dumps({"token": f"token-{here.tokens}-{name}", "expires_in": 300}).encode())

    def _blob(self, name: str, digest: str, host: str) -> None:
        content = self.contents.blobs[name].get(digest)
        if content is None:
            return self._error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        if self.contents.stores:
            return self._answer(307, b"", {"Location": f"{host}/stored?name={name}&digest={digest}"})
        return self._answer(200, content, {"Docker-Content-Digest": digest, "Content-Type": "application/octet-stream"})

    def _manifest(self, name: str, reference: str) -> None:
        here = self.contents
        digest = reference if reference.startswith("sha256:") else here.tags[name].get(reference, "")
        if digest not in here.manifests[name]:
            return self._error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        kind, content = here.manifests[name][digest]
        if kind.startswith("application/vnd.oci.") and kind not in self.headers.get("Accept", ""):
            said = "OCI index found, but accept header does not support OCI indexes"
            if kind == IMAGE:
                said = "OCI manifest found, but accept header does not support OCI manifests"
            return self._error(404, "MANIFEST_UNKNOWN", said)
        return self._answer(200, content, {"Docker-Content-Digest": digest, "Content-Type": kind})

    def _put(self, name: str, reference: str, body: bytes) -> None:
        digest = sha256(body)
        self.contents.manifests[name][digest] = (self.headers["Content-Type"], body)
        if not reference.startswith("sha256:"):
            self.contents.tags[name][reference] = digest
        return self._answer(201, b"", {"Docker-Content-Digest": digest})

    def _error(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message, "detail": None}]}).encode()
        self._answer(status, body, {"Content-Type": "application/json; charset=utf-8", **(headers or {})})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Docker-Distribution-Api-Version": "registry/2.0", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, Contents]]:
    """Its address, and what is in it: reach in for what somebody else does to it."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        server.contents = Contents()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", server.contents  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Built:
    """An image as bytes: blobs by digest, manifests (type, bytes) in the order they are pushed; the last one counts."""

    blobs: Mapping[str, bytes]
    manifests: tuple[tuple[str, bytes], ...]

    @property
    def digest(self) -> str:
        return sha256(self.manifests[-1][1])


def build(
    version: str,
    *,
    kind: str = IMAGE,
    platforms: tuple[str, ...] = (),
    labels: Mapping[str, str] | None = None,
    env: tuple[str, ...] = ("PATH=/usr/bin", "PYTHON_VERSION=3.11.9", "DB_PASSWORD=never-shown"),
) -> Built:
    """With `platforms` an index of them, as `docker buildx` makes it, an attestation included."""
    blobs: dict[str, bytes] = {}
    manifests: list[tuple[str, bytes]] = []
    entries: list[dict[str, Any]] = []
    for platform in platforms or ("linux/amd64",):
        layers = [f"{version} {platform} layer {number}".encode() for number in range(2)]
        labelled = {
            "org.opencontainers.image.revision": f"c0ffee{version}",
            "org.opencontainers.image.version": version,
        }
        config = {
            "architecture": platform.split("/")[1],
            "os": "linux",
            "config": {"Env": list(env), "Labels": {**labelled, **(labels or {})}},
        }
        raw = json.dumps(config).encode()
        blobs |= {sha256(content): content for content in (raw, *layers)}
        manifest = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": sha256(raw),
                "size": len(raw),
            },
            "layers": [
                {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": sha256(content), "size": len(content)}
                for content in layers
            ],
        }
        content = json.dumps(manifest, indent=2).encode()
        manifests.append((kind, content))
        os_, architecture = platform.split("/")[:2]
        entries.append(
            {
                "mediaType": kind,
                "digest": sha256(content),
                "size": len(content),
                "platform": {"os": os_, "architecture": architecture},
            }
        )
    if platforms:
        attested = json.dumps(
            {"schemaVersion": 2, "mediaType": IMAGE, "config": manifest["config"], "layers": []}
        ).encode()
        manifests.append((IMAGE, attested))
        unknown = {"os": "unknown", "architecture": "unknown"}
        entries.append({"mediaType": IMAGE, "digest": sha256(attested), "size": len(attested), "platform": unknown})
        manifests.append((INDEX, json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()))
    return Built(blobs, tuple(manifests))


def push(url: str, name: str, built: Built, tag: str) -> None:
    """As a client does it, by plain HTTP; into the registry above or a real one."""
    for digest, content in built.blobs.items():
        begun = _call("POST", f"{url}/v2/{name}/blobs/uploads/", b"")
        location = begun.headers["Location"]
        place = location if location.startswith("http") else url + location
        _call("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", content, "application/octet-stream")
    for kind, content in built.manifests:
        _call("PUT", f"{url}/v2/{name}/manifests/{sha256(content)}", content, kind)
    retag(url, name, built, tag)


def retag(url: str, name: str, built: Built, tag: str) -> None:
    kind, content = built.manifests[-1]
    _call("PUT", f"{url}/v2/{name}/manifests/{tag}", content, kind)


def put(contents: Contents, name: str, built: Built, tag: str) -> None:
    """The same into the registry above, without going through its door."""
    contents.blobs.setdefault(name, {}).update(built.blobs)
    contents.manifests.setdefault(name, {}).update(
        {sha256(content): (kind, content) for kind, content in built.manifests}
    )
    contents.tags.setdefault(name, {})[tag] = built.digest


def _call(method: str, url: str, body: bytes, kind: str = "") -> Any:
    request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": kind} if kind else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()
        return answer
