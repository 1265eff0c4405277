"""A network that fails on purpose: a proxy that loses requests or answers, and servers that answer nonsense."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterator

BEFORE, AFTER = "before", "after"
Plan = Callable[[str], str]
"""Given the method: BEFORE loses the request, AFTER has it carried out and loses the answer, '' lets both pass."""


class Lossy:
    """A proxy in front of an S3 server. `plan` may be changed at any time."""

    def __init__(self, upstream: str) -> None:
        self.plan: Plan = lambda method: ""
        self.lost: list[tuple[str, str]] = []
        self.page_keys = 0
        """When not 0, listings are asked for in pages of so many keys. Breaks signatures: for moto only."""
        address = urllib.parse.urlsplit(upstream).netloc
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def carry(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                loss = outer.plan(self.command)
                if loss:
                    outer.lost.append((self.command, loss))
                if loss != BEFORE:
                    status, headers, body = self.asked(content)
                if loss:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                if not any(name.lower() == "content-length" for name, _ in headers):
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def asked(self, content: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
                upstream = http.client.HTTPConnection(address, timeout=60)
                try:
                    headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
                    page = f"&max-keys={outer.page_keys}" if outer.page_keys and "list-type=2" in self.path else ""
                    upstream.request(self.command, self.path + page, content, headers)
                    response = upstream.getresponse()
                    return response.status, response.getheaders(), response.read()
                finally:
                    upstream.close()

            do_GET = do_PUT = do_HEAD = do_DELETE = carry  # noqa: N815 - so they are called there

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def lose(self, method: str, *losses: str) -> None:
        """The next requests of that method are lost like this, one after the other; then all is well."""
        left = list(losses)
        lock = threading.Lock()

        def plan(asked: str) -> str:
            with lock:
                return left.pop(0) if asked == method and left else ""

        self.plan = plan

    def cut(self) -> None:
        """From now on nothing arrives."""
        self.plan = lambda method: BEFORE

    def mend(self) -> None:
        self.plan = lambda method: ""

    @contextlib.contextmanager
    def running(self) -> Iterator[Lossy]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


@contextlib.contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    """The address of a server that gives every connection these bytes and closes it; None: it says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    is_over = threading.Event()
    kept: list[socket.socket] = []

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            if is_over.is_set():
                connection.close()
                return
            if answer is None:
                kept.append(connection)
                continue
            with contextlib.suppress(OSError), connection:
                connection.settimeout(5)
                connection.recv(65536)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    port = listener.getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        is_over.set()
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join()
        listener.close()
        for connection in kept:
            connection.close()
