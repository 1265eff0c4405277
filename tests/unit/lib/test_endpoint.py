"""HTTP endpoints that misbehave: each way it goes wrong is one of ours, in bounded time."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ddr.errors import Damaged, InputError, Unavailable
from ddr.lib import endpoint


@contextlib.contextmanager
def raw(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A TCP server that does with each connection what the test wants."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    if ended.is_set():
                        return
                    connection.recv(65536)
                    serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        port = listener.getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            ended.set()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


def _says(content: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(content)


def test_an_answer_comes_whole_whatever_its_status() -> None:
    with raw(_says(b'HTTP/1.1 418 Teapot\r\nContent-Length: 7\r\nX-A: b\r\n\r\n{"a":1}')) as url:
        answer = endpoint.Endpoint(url).ask("GET", "/x")
    assert (answer.status, answer.value(), answer.headers["X-A"]) == (418, {"a": 1}, "b")


def test_chunks_and_no_length_are_read_to_the_end() -> None:
    for content in (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nabcde",
    ):
        with raw(_says(content)) as url:
            assert endpoint.Endpoint(url).ask("GET", "/").body == b"abcde"
            got: list[bytes] = []
            with endpoint.Endpoint(url).session() as line:
                assert line.ask("GET", "/", sink=got.append).body == b""
            assert b"".join(got) == b"abcde"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
    ],
)
def test_broken_answers_are_unavailable(content: bytes) -> None:
    with raw(_says(content)) as url, pytest.raises(Unavailable) as raised:
        endpoint.Endpoint(url, timeout_s=1).ask("GET", "/x")
    assert url in raised.value.message
    assert raised.value.hint


def test_silence_ends_in_time() -> None:
    begin = time.monotonic()
    with raw(lambda _: time.sleep(0.5)) as url, pytest.raises(Unavailable, match="no answer within"):
        endpoint.Endpoint(url, timeout_s=0.1).ask("GET", "/")
    assert time.monotonic() - begin < 10


def test_endless_drops_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which each drop takes half of what one wait may: the tenfold is over at the twentieth."""
    clock, given = itertools.count(step=10), itertools.count()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(10_000):
            connection.sendall(b"x")
            next(given)
            time.sleep(0.002)

    monkeypatch.setattr(endpoint, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with raw(drip) as url, pytest.raises(Unavailable, match="without end"):
        endpoint.Endpoint(url, timeout_s=20).ask("GET", "/")
    assert next(given) < 10_000


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unavailable, match="nobody is there"):
        endpoint.Endpoint(f"http://127.0.0.1:{port}").ask("GET", "/")
    with pytest.raises(Unavailable, match="nobody is there"):
        endpoint.Endpoint("http://no-such-host.invalid").ask("GET", "/")
    with raw(_says(b"HTTP/1.1 200 OK\r\n\r\n")) as url, pytest.raises(Unavailable, match="secure connection"):
        endpoint.Endpoint(url.replace("http:", "https:"), timeout_s=1).ask("GET", "/")


@pytest.mark.parametrize("url", ["", "host:80", "ftp://host", "http://", "http://host:none", "http://host:99999"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InputError):
        endpoint.Endpoint(url)


def test_a_password_in_an_address_is_not_shown() -> None:
    assert "hush" not in endpoint.Endpoint("http://me:hush-hush@127.0.0.1:1/x").name
    with pytest.raises(InputError) as raised:
        endpoint.Endpoint("ftp://me:hush-hush@127.0.0.1:1/x")
    assert "hush" not in raised.value.message


def test_an_address_file(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    with pytest.raises(Unavailable, match="nobody listens"):
        endpoint.of("", path, 1)
    for said in ({}, {"port": "x"}, {"port": 0}, {"port": 70000}):
        path.write_text(json.dumps(said))
        with pytest.raises(Damaged):
            endpoint.of("", path, 1)
    path.write_text('{"port": 81}')
    assert endpoint.of("", path, 1).url == "http://127.0.0.1:81"
    assert endpoint.of("http://h", path, 1).url == "http://h"
