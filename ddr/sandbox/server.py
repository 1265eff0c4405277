"""The serving process: `python -m ddr.sandbox.server --root DIR --port P`. Loopback only.

    POST /predict      {"id","at","entity"} or {"id","features"} -> {"id","answer","score","similar","model"}
    GET  /-/healthy    GET /-/loaded    POST /-/roll    GET, POST /-/fallback    GET /-/flush    GET /metrics
    POST /-/replay     {"ids","swaps"} -> {"answers"}

It detaches itself and is found again through serving/server.json. A roll that fails answers 500 with the reason, and
the old revisions go on serving. Port 0 takes a free one.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import http.server
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddr.errors import DdrError, InputError
from ddr.lib import durable, process
from ddr.sandbox import layout

if TYPE_CHECKING:
    from ddr.sandbox import serving

HOST = "127.0.0.1"
LOCK = "server.lock"
LONGEST_BODY_BYTES = 16 << 20
_log = logging.getLogger("postcode")


class Requests(http.server.BaseHTTPRequestHandler):
    """One connection, kept alive."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: Server

    def do_GET(self) -> None:
        self._do({"/-/healthy": self._healthy, "/-/loaded": self._loaded, "/-/flush": self._flush,
                  "/-/fallback": self._fallback, "/metrics": self._metrics})  # fmt: skip

    def do_POST(self) -> None:
        self._do({"/predict": self._predict, "/-/roll": self._roll, "/-/fallback": self._set_fallback,
                  "/-/replay": self._replay})  # fmt: skip

    def _do(self, routes: dict[str, Any]) -> None:
        began = time.perf_counter()
        path = self.path.partition("?")[0]
        try:
            body = self._body()
            if path not in routes:
                status, told = HTTPStatus.NOT_FOUND, {"error": f"{self.command} {path} is not served here"}
            else:
                status, told = HTTPStatus.OK, routes[path](body)
        except DdrError as problem:
            from ddr.sandbox import serving

            status, told = HTTPStatus(serving.status_of(problem)), {"error": problem.message, "hint": problem.hint}
            if path == "/-/roll":
                status = HTTPStatus.INTERNAL_SERVER_ERROR
            _log.warning("%s %s: %s", self.command, path, problem.message)
        if path == "/predict":
            self.server.serving.counters.count(int(status), time.perf_counter() - began)
        self._send(status, told)

    def _body(self) -> bytes:
        told = self.headers.get("Content-Length") or "0"
        if not told.isdigit() or int(told) > LONGEST_BODY_BYTES:
            self.close_connection = True
            raise InputError(f"Content-Length is {told!r}, must be at most {LONGEST_BODY_BYTES}")
        return self.rfile.read(int(told))

    def _send(self, status: HTTPStatus, told: object) -> None:
        content = told.encode() if isinstance(told, str) else json.dumps(told).encode()
        kind = "text/plain; version=0.0.4; charset=utf-8" if isinstance(told, str) else "application/json"
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is the base class's
        _log.info(format, *arguments)

    def _healthy(self, body: bytes) -> object:
        return {"healthy": True, "root": str(self.server.root), "pid": os.getpid()}

    def _loaded(self, body: bytes) -> object:
        return self.server.serving.revisions()

    def _roll(self, body: bytes) -> object:
        told = self.server.serving.roll()
        self.server.set_log_level()
        _log.info("rolled: %s", ", ".join(f"{plane} {one['name']}" for plane, one in told.items()))  # type: ignore[index]
        return told

    def _flush(self, body: bytes) -> object:
        self.server.serving.log.flush()
        return {"flushed": True}

    def _fallback(self, body: bytes) -> object:
        return {"on": layout.Layout(self.server.root).fallback.exists()}

    def _set_fallback(self, body: bytes) -> object:
        on = _object(body).get("on")
        if not isinstance(on, bool):
            raise InputError('{"on": true} or {"on": false} is expected')
        path = layout.Layout(self.server.root).fallback
        if on and not path.exists():
            durable.replace(path, b"on\n")
        elif not on:
            path.unlink(missing_ok=True)
            durable.sync_folder(path.parent)
        return {"on": on}

    def _metrics(self, body: bytes) -> object:
        return self.server.serving.metrics()

    def _predict(self, body: bytes) -> object:
        told = self.server.serving.predict(_object(body))
        _log.debug("%s -> %s (%.3f)", told["id"], told["answer"], told["score"])
        return told

    def _replay(self, body: bytes) -> object:
        from ddr.sandbox import replaying

        asked = _object(body)
        ids, swaps = asked.get("ids"), asked.get("swaps", {})
        if not isinstance(ids, list) or not isinstance(swaps, dict):
            raise InputError('{"ids": [...], "swaps": {...}} is expected')
        swaps = {str(plane): str(name) for plane, name in swaps.items()}
        return {"answers": replaying.Replay(self.server.root, self.server.serving, swaps).answers(list(map(str, ids)))}


class Server(http.server.ThreadingHTTPServer):
    """Bound at once; `serving` is set before the first request is taken."""

    daemon_threads = True
    request_queue_size = 128
    serving: serving.Serving

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        super().__init__((HOST, port), Requests)

    def set_log_level(self) -> None:
        name = str(self.serving.loaded.config.settings.get("log_level", "info")).upper()
        _log.setLevel(name if name in logging.getLevelNamesMapping() else "INFO")


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError as problem:
        raise InputError(f"the body is no JSON: {problem}") from None
    if not isinstance(told, dict):
        raise InputError("the body must be a JSON object")
    return told


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--root", type=Path, required=True)
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--gated", action="store_true", help="import everything, then wait for a line on stdin")
    told = arguments.parse_args()
    root = told.root.resolve()
    if _detach(layout.Layout(root).server_log):
        return 0
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level="WARNING", stream=sys.stderr)
    _log.setLevel("INFO")
    try:
        return _serve(root, told.port, gated=told.gated)
    except DdrError as problem:
        _log.error("%s", problem.message)
        return 1


def _detach(log: Path) -> bool:
    """Go on in a child of nobody; True in the process that was started, which has printed the child's pid."""
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        return True
    os.setsid()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    return False


def _serve(root: Path, port: int, *, gated: bool) -> int:
    where = layout.Layout(root)
    os.environ.update(
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_LOGGING_LEVEL="ERROR",
        GIT_PYTHON_REFRESH="quiet",
        MLFLOW_ALLOW_PICKLE_DESERIALIZATION="true",  # they are our own
    )
    with (where.serving / LOCK).open("a") as lock, contextlib.ExitStack() as stack:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _log.error("another server of %s is running", root)
            return 1
        for leftover in where.serving.glob(".load-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            server = stack.enter_context(Server(root, port))
        except OSError as problem:
            _log.error("cannot listen on %s:%s: %s", HOST, port, problem)
            return 1
        _import_slow_things()
        if gated and not sys.stdin.readline():
            _log.error("gave up: nobody opened the gate")
            return 1
        from ddr.sandbox import serving

        server.serving = serving.Serving(root)
        server.set_log_level()
        _announce(where, server.server_address[1])
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        _log.info("serving on %s:%s, pid %s", HOST, server.server_address[1], os.getpid())
        server.serve_forever(poll_interval=0.1)
        server.serving.log.flush()
        where.server.unlink(missing_ok=True)
        _log.info("stopped")
    return 0


def _import_slow_things() -> None:
    import faiss
    import mlflow.sklearn
    import sklearn.discriminant_analysis
    import sklearn.linear_model
    import sklearn.pipeline

    faiss.omp_set_num_threads(1)
    # The values come from our own tables and were checked there; checking again costs more than predicting.
    sklearn.set_config(assume_finite=True, skip_parameter_validation=True)
    assert mlflow.sklearn


def _announce(where: layout.Layout, port: int) -> None:
    pid = os.getpid()
    told = {"pid": pid, "port": port, "process_started": process.started_at(pid), "boot": process.boot_id(),
            "root": str(where.root)}  # fmt: skip
    durable.replace(where.server, json.dumps(told).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
