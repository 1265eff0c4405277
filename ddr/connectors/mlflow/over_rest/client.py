"""Calls to an MLflow server for long work: many at once, repeated while the server is busy, page after page.

What only looks is repeated whenever nobody answered; what makes something new is repeated only when the server said
that it did nothing (429, 503): a second run would be a duplicate.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any, TypeVar

from ddr.connectors.mlflow import rest
from ddr.errors import DdrError, Unavailable, Unsupported
from ddr.lib import endpoint

API2, API3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
WORKERS = 4
"""Beside a server on the same 2 cores more calls at once gain nothing (histories: 9,800 points a second with 1 and with
4, 6,000 with 8); they are for a server that is far away, where a call mostly waits."""

PATIENCE_S = 120.0
_BUSY = (429, 502, 503, 504)
_UNKNOWN = (404, 405, 501)
_NO_SUCH_CALL = ("ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED", "UNIMPLEMENTED", "FEATURE_DISABLED", "")
_LONGEST_PAUSE_S = 20.0
_HELD_BYTES, _PIECE_BYTES = 8 * 2**20, 2**20

# What sets and does not add: asked for twice it is the same.
_REPEATABLE = (
    *("/log-batch", "/log-inputs", "/set-tag", "/set-experiment-tag", "/alias", "/transition-stage", "/traces"),
    *("/runs/update", "/runs/delete", "/runs/restore", "/records"),
)
_IDLE_S = 1.0  # servers hang up on idle connections, after 5 s MLflow's own: a write would not know whether it was done

T = TypeVar("T")
R = TypeVar("R")


class NotOffered(Unsupported):
    """The server does not know this call: an older MLflow, or a service that has only a part of the API."""


class Client:
    """One server. Threads may share it: each has a connection of its own. Close it."""

    def __init__(
        self, server: endpoint.Endpoint, *, page: int = 0, workers: int = WORKERS, patience_s: float = PATIENCE_S
    ) -> None:
        """`page` overrides the size of every page, for tests."""
        self.server = server
        self.workers = workers
        self.calls = 0
        self.repeats = 0
        self._page = page
        self._patience_s = patience_s
        self._transport = rest.RestTransport(server)
        self._lines = threading.local()
        self._open = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._pool = futures.ThreadPoolExecutor(workers, thread_name_prefix="mlflow")

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._open.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def page(self, most: int) -> int:
        return min(self._page, most) if self._page else most

    def get(self, path: str, query: endpoint.Query | None = None) -> dict[str, Any]:
        return self._value("GET", path, query, None, is_look=True)

    def look(self, path: str, body: object) -> dict[str, Any]:
        """A search: a POST that changes nothing."""
        return self._value("POST", path, None, body, is_look=True)

    def make(self, path: str, body: object, method: str = "POST") -> dict[str, Any]:
        """Changes something. Unavailable when the connection broke where something new was to be made: then the effect
        is not known, and asked again it might be made twice."""
        return self._value(method, path, None, body, is_look=method == "PATCH" or path.endswith(_REPEATABLE))

    def put(self, path: str, pieces: Callable[[], Iterable[bytes]], size_bytes: int) -> None:
        """Upload a file; repeatable, as the same bytes under the same name are the same file."""
        answer = self._repeated(
            lambda line: line.ask("PUT", path, upload=endpoint.Upload(pieces(), size_bytes)), is_look=True
        )
        if answer.status != 200:
            raise self.refused(answer, f"PUT {path}")

    def post_bytes(self, path: str, content: bytes, headers: Mapping[str, str]) -> endpoint.Answer:
        """Bytes with headers of their own, on a connection of its own; repeatable ones only."""
        server = endpoint.Endpoint(self.server.url, self.server.timeout_s, {**self.server.headers, **headers})

        def send(_: endpoint.Line) -> endpoint.Answer:
            with server.session() as line:
                return line.ask("POST", path, upload=endpoint.Upload([content], len(content), headers["Content-Type"]))

        return self._repeated(send, is_look=True)

    def read(self, path: str, query: Mapping[str, str]) -> Iterator[bytes]:
        """A file in pieces. A large one goes through a file of this machine, so that a broken try can be repeated."""
        with tempfile.SpooledTemporaryFile(_HELD_BYTES) as held:

            def fetch(line: endpoint.Line) -> endpoint.Answer:
                held.seek(0)
                held.truncate()
                return line.ask("GET", path, query, sink=held.write)

            answer = self._repeated(fetch, is_look=True)
            if answer.status != 200:
                raise self.refused(answer, f"GET {path}")
            held.seek(0)
            while piece := held.read(_PIECE_BYTES):
                yield piece

    def pages(self, ask: Callable[[str], Mapping[str, Any]], key: str) -> Iterator[Sequence[Mapping[str, Any]]]:
        """`ask` gets the token of a page, '' for the first. Damaged paging (the same token again) is Unavailable."""
        token = ""
        while True:
            said = ask(token)
            found = said.get(key)
            yield found if isinstance(found, list) else []
            following = str(said.get("next_page_token") or "")
            if not following:
                return
            if following == token:
                raise Unavailable(
                    f"{self.server.name} gives the same page of {key} again and again", hint="look at the server's log"
                )
            token = following

    def each(self, todo: Iterable[T], work: Callable[[T], R]) -> Iterator[R]:
        """`work` on each, several at once, the results in order; no more of them wait than a few per thread."""
        waiting: deque[futures.Future[R]] = deque()
        try:
            for one in todo:
                waiting.append(self._pool.submit(work, one))
                if len(waiting) >= 3 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()
            futures.wait(waiting)

    def refused(self, answer: endpoint.Answer, what: str) -> DdrError:
        value = answer.value()
        code = str(value.get("error_code", "")) if isinstance(value, dict) else ""
        if answer.status in _UNKNOWN and code in _NO_SUCH_CALL:
            return NotOffered(f"{self.server.name} does not know {what}", hint="an older or a partial MLflow")
        return self._transport.refused(answer, what)

    def _value(
        self, method: str, path: str, query: endpoint.Query | None, body: object, *, is_look: bool
    ) -> dict[str, Any]:
        answer = self._repeated(lambda line: line.ask(method, path, query, body), is_look=is_look)
        value = answer.value()
        if answer.status == 200 and isinstance(value, dict):
            return value
        raise self.refused(answer, f"{method} {path}")

    def _repeated(self, send: Callable[[endpoint.Line], endpoint.Answer], *, is_look: bool) -> endpoint.Answer:
        until, pause_s = time.monotonic() + self._patience_s, 0.25
        while True:
            with self._lock:
                self.calls += 1
            asked_s = 0.0
            try:
                answer = send(self._line())
                self._lines.used = time.monotonic()
                if answer.status not in _BUSY or time.monotonic() > until:
                    return answer
                asked_s = _seconds(answer.headers)
            except Unavailable:
                if not is_look or time.monotonic() > until:
                    raise
            with self._lock:
                self.repeats += 1
            time.sleep(min(max(asked_s, random.uniform(pause_s / 2, pause_s)), _LONGEST_PAUSE_S))  # noqa: S311
            pause_s *= 2

    def _line(self) -> endpoint.Line:
        line: endpoint.Line | None = getattr(self._lines, "line", None)
        now = time.monotonic()
        if line is None:
            with self._lock:
                line = self._lines.line = self._open.enter_context(self.server.session())
        elif now - self._lines.used > _IDLE_S:
            line.connection.close()  # it opens again by itself
        self._lines.used = now
        return line


def _seconds(headers: Mapping[str, str]) -> float:
    """What the server asks to wait."""
    said = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return float(said) if said.replace(".", "", 1).isdigit() else 0.0
