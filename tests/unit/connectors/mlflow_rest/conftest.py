"""Real MLflow servers on databases that are migrated once, and a proxy that misbehaves between ddr and one of them."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors.mlflow import schema
from tests import servers

_OFFICIAL = Path(__file__).parents[1] / "official.py"
_TOP = Path(__file__).parents[4]
_HEAD = "dc11669786a5"
_ENVIRON = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
}


@dataclass(frozen=True)
class Server:
    url: str
    folder: Path

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Straight out of its database, behind the API's back."""
        with contextlib.closing(sqlite3.connect(self.folder / "mlflow.db", timeout=20)) as connection:
            return connection.execute(query, values).fetchall()

    def counts(self) -> dict[str, int]:
        """Rows of every table but those that MLflow's own jobs write to."""
        tables = [row[0] for row in self.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        counted = {table: int(self.rows(f'SELECT COUNT(*) FROM "{table}"')[0][0]) for table in tables}
        return {table: count for table, count in counted.items() if count and "rollup" not in table}

    def post(self, path: str, body: object, method: str = "POST") -> Any:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())


@contextlib.contextmanager
def _started(folder: Path, empty: Path) -> Iterator[Server]:
    folder.mkdir()
    shutil.copy(empty, folder / "mlflow.db")
    (port,) = servers.free_ports(1)
    log = (folder / "server.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, str(_OFFICIAL), "serve", str(folder), str(port)],
        cwd=folder,
        env={**os.environ, **_ENVIRON},
        stdout=log,
        stderr=log,
        preexec_fn=servers._die_with_parent,
    )
    try:
        yield Server(f"http://127.0.0.1:{port}", folder)
    finally:
        process.kill()
        process.wait()
        log.close()


def _wait(server: Server) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{server.url}/health", timeout=5).close()
            return
        time.sleep(0.1)
    raise RuntimeError((server.folder / "server.log").read_text()[-2000:])


@dataclass(frozen=True)
class World:
    """`source` has lived, the others are empty; `made` is what the seed says it made."""

    source: Server
    target: Server
    other: Server
    made: dict[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("rest")
    empty = folder / "empty.db"
    schema.migrate(f"sqlite:///{empty}", _HEAD)
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(_started(folder / name, empty)) for name in ("source", "target", "other")]
        for server in made:
            _wait(server)
            server.post(
                "/api/2.0/mlflow/experiments/search", {"max_results": 1}
            )  # MLflow makes Default when first asked
            urllib.request.urlopen(f"{server.url}/api/3.0/mlflow/label-schemas/list?experiment_id=0").close()
        answer = folder / "seed.json"
        subprocess.run(
            [sys.executable, "-m", "tests.unit.connectors.mlflow_rest.seed", made[0].url, str(answer)],
            cwd=_TOP,
            env={**os.environ, **_ENVIRON},
            check=True,
            capture_output=True,
        )
        yield World(made[0], made[1], made[2], json.loads(answer.read_text()))


Hook = Callable[["Call"], None]


@dataclass
class Call:
    """One request on its way. Set `status` to answer without the server, `drops` to hang up: before the server has
    seen it, or `after` it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    drops: str = ""
    edit: Callable[[Any], Any] | None = None


@dataclass
class Proxy:
    url: str
    hook: list[Hook]
    seen: list[tuple[str, str]] = field(default_factory=list)

    @property
    def writes(self) -> int:
        return sum(1 for method, path in self.seen if method != "GET" and not path.endswith("/search"))


@pytest.fixture
def proxy() -> Iterator[Callable[[Server, Hook], Proxy]]:
    with contextlib.ExitStack() as stack:
        yield lambda server, hook: stack.enter_context(_proxied(server, hook))


@contextlib.contextmanager
def _proxied(server: Server, hook: Hook) -> Iterator[Proxy]:
    hooks = [hook]
    made = Proxy("", hooks)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            call = Call(self.command, self.path.partition("?")[0], dict(self.headers), body)
            made.seen.append((call.method, call.path))
            hooks[0](call)
            if call.drops == "before":
                self._hang_up()
                return
            if call.status:
                self._answer(call.status, b"{}", "application/json")
                return
            connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
            kept = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            connection.request(self.command, self.path, body=body or None, headers=kept)
            said = connection.getresponse()
            content = said.read()
            connection.close()
            if call.drops == "after":
                self._hang_up()
                return
            if call.edit is not None:
                content = json.dumps(call.edit(json.loads(content))).encode()
            self._answer(said.status, content, said.getheader("Content-Type") or "application/json")

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass  # noqa: N815

        def _hang_up(self) -> None:
            self.close_connection = True
            self.connection.close()

        def _answer(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{listening.server_address[1]}"
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        listening.shutdown()
        listening.server_close()
