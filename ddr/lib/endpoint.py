"""An HTTP server at one address: time-outs, no redirects, no proxies, what goes wrong as one error."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from ddr.errors import Damaged, InputError, Unavailable
from ddr.lib import jsonl, redact

if TYPE_CHECKING:
    import http.client

_CHUNK_BYTES = 1 << 18

Query = Mapping[str, str] | Sequence[tuple[str, str]]
"""As pairs where a name comes more than once."""

LONGEST_BODY_BYTES = 256 << 20


_NEAR_NAMES = (".local", ".internal", ".lan", ".home", ".corp", ".intranet", ".svc", ".cluster.local", ".home.arpa")


def is_elsewhere(url: str) -> bool | None:
    """Whether a server with this address is at another site: this machine is not, what a provider has by itself ('')
    and what the whole world reaches is; of private networks and names that only here mean something nobody knows."""
    import ipaddress

    if not url:
        return True
    host = (urlsplit(url if "://" in url else f"//{url}").hostname or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None if "." not in host or host.endswith(_NEAR_NAMES) else True
    if address.is_loopback or address.is_unspecified:
        return False
    return True if address.is_global else None


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def value(self) -> object:
        """The body as JSON, None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def text(self) -> str:
        """The body for a message: one line, cut short."""
        return redact.foreign(self.body[:2000].decode(errors="replace"))


@dataclass(frozen=True)
class Upload:
    """Bytes to send, in pieces: a file may be larger than memory."""

    pieces: Iterable[bytes]
    size_bytes: int
    kind: str = "application/octet-stream"


@dataclass(frozen=True)
class Endpoint:
    """`url` is `http://host:port/prefix`. `timeout_s` bounds each wait for bytes and, tenfold, a whole answer."""

    url: str
    timeout_s: float = 5.0
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        try:
            port_is_fine = parts.port != 0
        except ValueError:
            port_is_fine = False
        if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_fine:
            raise InputError(f"{self.name} is no address", hint="write it like http://127.0.0.1:5000")

    @property
    def name(self) -> str:
        """The address for people, without a password."""
        return redact.foreign(self.url)

    @contextmanager
    def session(self, timeout_s: float | None = None) -> Iterator[Line]:
        """One connection for several calls, closed at the end."""
        import http.client  # with ssl and email behind it: 30 ms that no command pays who asks nobody

        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        wait_s = self.timeout_s if timeout_s is None else timeout_s
        connection = kind(str(parts.hostname), parts.port, timeout=wait_s)
        try:
            yield Line(self, connection, parts.path.rstrip("/"), wait_s)
        finally:
            connection.close()

    def ask(self, method: str, path: str, query: Mapping[str, str] | None = None, body: object = None) -> Answer:
        """One call on a connection of its own."""
        with self.session() as line:
            return line.ask(method, path, query, body)


@dataclass(frozen=True)
class Line:
    """A connection to an endpoint."""

    endpoint: Endpoint
    connection: http.client.HTTPConnection
    prefix: str
    timeout_s: float

    def ask(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: object = None,
        sink: Callable[[bytes], object] | None = None,
        upload: Upload | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send `body` as JSON, or `upload` as it is; the answer whatever its status. A 200's bytes go to `sink` when
        there is one. `headers` are for this call alone.

        Unavailable: nobody there, silence, a broken connection (then the effect of a write is not known), no HTTP,
        an answer beyond LONGEST_BODY_BYTES.
        """
        import http.client

        target = self.prefix + quote(path, safe="/%:@-._~") + (f"?{urlencode(query)}" if query else "")
        said = {"Accept": "*/*", **self.endpoint.headers, **(headers or {})}
        content: bytes | Iterable[bytes] | None = None
        if upload is not None:
            content = upload.pieces
            said |= {"Content-Type": upload.kind, "Content-Length": str(upload.size_bytes)}
        elif body is not None:
            content = json.dumps(body).encode()
            said["Content-Type"] = "application/json"
        try:
            self.connection.request(method, target, body=content, headers=said)
            with self.connection.getresponse() as response:  # closed, else it holds the line after an error
                got = self._read(response, sink if response.status == 200 else None)
        except (OSError, http.client.HTTPException, ValueError) as problem:
            raise self._ours(problem, method, path) from problem
        return Answer(response.status, dict(response.getheaders()), got)

    def _read(self, response: http.client.HTTPResponse, sink: Callable[[bytes], object] | None) -> bytes:
        import http.client

        deadline = time.monotonic() + 10 * self.timeout_s
        kept: list[bytes] = []
        size = 0
        while chunk := response.read1(_CHUNK_BYTES):
            size += len(chunk)
            if sink is not None:
                sink(chunk)
                deadline = time.monotonic() + 10 * self.timeout_s
            else:
                kept.append(chunk)
            if time.monotonic() > deadline or (sink is None and size > LONGEST_BODY_BYTES):
                raise Unavailable(
                    f"{self.endpoint.name} answers without end: {size} bytes so far", hint="look at what answers there"
                )
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        return b"".join(kept)

    def _ours(self, problem: Exception, method: str, path: str) -> Unavailable:
        import socket
        import ssl

        self.connection.close()
        what = f"{self.endpoint.name}: {method} {path}"
        if isinstance(problem, TimeoutError):
            return Unavailable(
                f"{what}: no answer within {self.timeout_s:g} s", hint="look whether it hangs, or try again"
            )
        if isinstance(problem, ConnectionRefusedError | socket.gaierror):
            return Unavailable(
                f"{what}: nobody is there: {redact.foreign(problem)}", hint="start it, or correct the address"
            )
        if isinstance(problem, ssl.SSLError):
            return Unavailable(
                f"{what}: no secure connection: {redact.foreign(problem)}", hint="look at the certificate"
            )
        text = redact.foreign(problem) or type(problem).__name__
        return Unavailable(f"{what}: the connection broke: {text}", hint="look at the server's log, then try again")


def of(url: str, address: Path, timeout_s: float) -> Endpoint:
    """The endpoint at `url`; without one, on loopback at the port that the JSON file `address` names, read now.

    Unavailable when the file is not there: who listens writes it, and nobody does.
    """
    if url:
        return Endpoint(url, timeout_s)
    said = jsonl.of_file(address)
    if said is None:
        raise Unavailable(f"there is no {address}: nobody listens", hint="start the server")
    port = said.get("port")
    if not isinstance(port, int) or not 0 < port < 65536:
        raise Damaged(f"{address} names no port: {port!r}", hint="start the server again")
    return Endpoint(f"http://127.0.0.1:{port}", timeout_s)
