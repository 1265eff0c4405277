"""One small real system for each connector that serves a plane, and what somebody else can do to it."""

from __future__ import annotations

import contextlib
import http.server
import json
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ddr.connectors import config_file, faiss_index, feature_table, model_server, release_folder
from ddr.connectors.mlflow import connector as mlflow
from ddr.domain import planes
from ddr.lib import clock, digest, durable, process
from tests.unit.connectors.official import SEED, Official

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
DEPLOYMENTS = [
    {"at": "2026-11-02T06:00:00Z", "actor": "ci-bot", "from": "", "to": "1.3.0", "summary": "first"},
    {"at": "2026-11-02T07:30:00Z", "actor": "ci-bot", "from": "1.3.0", "to": "1.4.0", "summary": "second"},
]


@dataclass(frozen=True)
class Rig:
    """`names` are three revisions, the first one live. `down` is the same plane of a system that is not there."""

    plane: Any
    down: Any
    names: tuple[str, str, str] = ("", "", "")
    move: Callable[[str], None] = lambda name: None
    overwrite: Callable[[str], None] = lambda name: None
    state: Callable[[], object] = lambda: None
    is_atomic: bool = True


def write_deployments(path: Path) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in DEPLOYMENTS))


def release_rig(root: Path) -> Rig:
    folder = root / "code"
    for name in ("1.4.0", "1.3.0", "1.4.1"):
        (folder / "releases" / name).mkdir(parents=True)
        (folder / "releases" / name / "app.py").write_text(f"VERSION = {name!r}\n")
        (folder / "releases" / name / "release.json").write_text(json.dumps({"version": name, "commit": "abc"}))
    return _pointed(
        folder, "releases", ("1.4.0", "1.3.0", "1.4.1"), "app.py", release_folder, release_folder.Settings, "code"
    )


def index_rig(root: Path) -> Rig:
    folder = root / "index"
    for name in ("v1", "v2", "v3"):
        (folder / "versions" / name).mkdir(parents=True)
        (folder / "versions" / name / "index.faiss").write_bytes(b"IxFI" + name.encode())
        (folder / "versions" / name / "ids.json").write_text("[1, 2]")
        (folder / "versions" / name / "card.json").write_text(json.dumps({"embedder": "sha256:e", "dim": 16}))
    return _pointed(folder, "versions", ("v1", "v2", "v3"), "ids.json", faiss_index, faiss_index.Settings, "index")


def feature_rig(root: Path) -> Rig:
    folder = root / "features"
    write_features(folder)
    for name in ("v1", "v3"):
        (folder / "releases" / name).mkdir(parents=True)
        (folder / "releases" / name / "materialize.py").write_text(f"# {name}\n")

    def settings(root: str) -> feature_table.Settings:
        return feature_table.Settings(root, table="lane_pixels", entity="lane")

    return _pointed(folder, "releases", ("v2", "v1", "v3"), "materialize.py", feature_table, settings, "features")


def _pointed(
    folder: Path,
    kind: str,
    names: tuple[str, str, str],
    part: str,
    module: Any,
    settings: Callable[[str], Any],
    plane: str,
) -> Rig:
    with contextlib.suppress(FileExistsError):
        (folder / "current").symlink_to(f"{kind}/{names[0]}")
    write_deployments(folder / "deployments.jsonl")
    stopped = clock.ManualClock(NOW)
    which = planes.Plane(plane)

    def made(root: str) -> Any:
        return module.connect(settings(root), folder.parent, stopped).plane(module.Binding(), which)

    def move(name: str) -> None:
        durable.point(folder / "current", f"{kind}/{name}")

    def overwrite(name: str) -> None:
        (folder / kind / name / part).write_text("other bytes")

    def state() -> object:
        return digest.tree(folder), (folder / "current").lstat().st_mtime_ns

    (folder / ".lock").touch()
    return Rig(made(folder.name), made("nowhere"), names, move, overwrite, state)


MATERIALIZE = """
import argparse, json, sqlite3
from datetime import datetime
parser = argparse.ArgumentParser()
for name in ("--source", "--online", "--since", "--until"):
    parser.add_argument(name)
told = parser.parse_args()
since, until = (datetime.fromisoformat(at).timestamp() for at in (told.since, told.until))
rows = sqlite3.connect(told.source).execute(
    "SELECT lane, MAX(scanned_at), p00, p01 FROM scans WHERE scanned_at > ? AND scanned_at <= ? GROUP BY lane",
    (since, until),
).fetchall()
online = sqlite3.connect(told.online)
with online:
    online.executemany("REPLACE INTO lane_pixels VALUES (?, ?, ?, ?, ?)", [(r[0], r[1], until, *r[2:]) for r in rows])
print("a line that is no answer")
print(json.dumps({"rows": len(rows)}))
"""


def write_features(folder: Path, lanes: int = 20) -> None:
    """Scans every 15 minutes from 06:00 to 09:00; the online table has those of 08:45, a quarter of an hour old."""
    release = folder / "releases" / "v2"
    release.mkdir(parents=True)
    (release / "materialize.py").write_text(MATERIALIZE)
    (folder / "current").symlink_to("releases/v2")
    last = NOW.timestamp() - 900
    with contextlib.closing(sqlite3.connect(folder / "source.db")) as source, source:
        source.execute("CREATE TABLE scans (lane TEXT, scanned_at REAL, p00 REAL, p01 REAL, row INTEGER)")
        for slot in range(12):
            for lane in range(lanes):
                values = (f"lane-{lane:03d}", last - 900 * slot, float(lane % 4), 1.0 if lane else None, lane)
                source.execute("INSERT INTO scans VALUES (?, ?, ?, ?, ?)", values)
    with contextlib.closing(sqlite3.connect(folder / "online.db")) as online, online:
        online.execute(
            "CREATE TABLE lane_pixels (lane TEXT PRIMARY KEY, event_ts REAL, created_ts REAL, p00 REAL, p01 REAL)"
        )
        for lane in range(lanes):
            row = (f"lane-{lane:03d}", last, last, float(lane % 4), 1.0 if lane else None)
            online.execute("INSERT INTO lane_pixels VALUES (?, ?, ?, ?, ?)", row)


def config_rig(root: Path) -> Rig:
    folder = root / "config"
    folder.mkdir()
    (folder / "serving.yaml").write_text("similar: 3\nlog_level: info\n")
    write_deployments(folder / "deployments.jsonl")
    stopped = clock.ManualClock(NOW)

    def made(path: str) -> Any:
        connected = config_file.connect(config_file.Settings(path), root, stopped)
        return connected.plane(config_file.Binding(), planes.Plane.CONFIG)

    return Rig(made("config/serving.yaml"), made("config/none.yaml"), state=lambda: digest.tree(folder))


LOADED = {
    "model": {"object": "postcode-digit", "name": "2", "digest": "sha256:aa", "facts": {"run": "r"}},
    "code": {"object": "code", "name": "1.4.0", "digest": "sha256:bb", "facts": {}},
}


class Server(http.server.BaseHTTPRequestHandler):
    """A tiny model server: a request's answer is its first feature. `seen` and `answers` belong to the test."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve(None)

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null"))

    def _serve(self, body: Any) -> None:
        self.server.seen.append((self.command, self.path, body))  # type: ignore[attr-defined]
        status, value = self.server.answers(self.command, self.path, body)  # type: ignore[attr-defined]
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if 300 <= status < 400:
            self.send_header("Location", "http://elsewhere/")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a client that waits no longer
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(answers: Callable[[str, str, Any], tuple[int, Any]]) -> Iterator[Any]:
    """A real HTTP server on loopback; `.url`, and `.seen` are the requests so far."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.daemon_threads = True
        server.seen, server.answers = [], answers  # type: ignore[attr-defined]
        server.url = f"http://127.0.0.1:{server.server_address[1]}"  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def model_answers(method: str, path: str, body: Any) -> tuple[int, Any]:
    if path == "/-/healthy":
        return 200, b"ok"
    if path == "/predict":
        return 200, {"id": body["id"], "answer": str(int(body["features"][0])), "score": 0.9}
    if path == "/-/replay":
        if body["swaps"].get("model") == "99":
            return 404, {"error": "there is no model 99"}
        return 200, {"answers": {name: "7" for name in body["ids"] if name != "lost"}}
    if path == "/-/fallback":
        return 200, {"on": method == "POST" and body["on"]}
    return (200, LOADED) if path in ("/-/loaded", "/-/roll") else (404, {"error": "no such call"})


@contextlib.contextmanager
def server_rig(root: Path) -> Iterator[Rig]:
    stopped = clock.ManualClock(NOW)
    with serving(model_answers) as server:

        def made(url: str) -> Any:
            connected = model_server.connect(model_server.Settings(url=url), root, stopped)
            return connected.plane(model_server.Binding(), planes.Plane.INFRA)

        yield Rig(made(server.url), made(f"http://127.0.0.1:{process.free_port()}"))


def mlflow_plane(
    tracking: str, base: Path, model: str, alias: str = "champion", timeout_s: float = 5.0, stage: str = ""
) -> Any:
    connected = mlflow.connect(mlflow.Settings(tracking, timeout_s=timeout_s), base, clock.ManualClock(NOW))
    return connected.plane(mlflow.Binding(model, alias, stage), planes.Plane.MODEL)


def registered(official: Official, sources: list[str]) -> str:
    """A new registered model with a version for each source and `champion` on the first."""
    name = f"digits-{secrets.token_hex(4)}"
    official.sql("create_registered_model", name=name)
    for source in sources:
        official.sql("create_model_version", name=name, source=source)
    official.sql("set_registered_model_alias", name=name, alias="champion", version="1")
    return name


def logged(official: Official, number: int) -> str:
    """`models:/m-...` of a version that was really logged."""
    return str(official.sql("get_model_version", name=SEED, version=str(number))["source"])


def folder_of(official: Official, number: int) -> Path:
    """Where the files of a really logged version lie on this machine."""
    location = official.sql("get_logged_model", model_id=logged(official, number).removeprefix("models:/"))
    path = str(location["artifact_location"])
    if path.startswith("mlflow-artifacts:"):
        return official.folder / "artifacts" / path.removeprefix("mlflow-artifacts:").strip("/")
    return Path(path)


def copied(official: Official, root: Path) -> list[Path]:
    """Three folders with the files of three really logged versions, to do with as one likes."""
    folders = []
    for number in (1, 2, 3):
        folder = root / f"version-{number}"
        shutil.copytree(folder_of(official, number), folder)
        folders.append(folder)
    return folders


def sql_rig(official: Official, root: Path) -> Rig:
    folders = copied(official, root)
    model = registered(official, [str(folder) for folder in folders])

    def overwrite(name: str) -> None:
        (folders[int(name) - 1] / "model.skops").write_bytes(b"other bytes")

    return _model_rig(official, model, official.tracking, f"sqlite:///{root / 'none.db'}", overwrite, is_atomic=True)


def postgres_rig(official: Official, root: Path, address: str) -> Rig:
    """A model as MLflow registered it, its rows in PostgreSQL, and somebody else who moves its alias there."""
    import psycopg

    folders = copied(official, root)
    model = registered(official, [str(folder) for folder in folders])
    whole = rows(official, model)
    assert isinstance(whole, dict)
    with psycopg.connect(address) as connection, connection.cursor() as cursor:
        for table in _ROWS_OF_A_MODEL:  # those that others refer to come first
            with contextlib.closing(sqlite3.connect(official.folder / "mlflow.db")) as source:
                names = [row[1] for row in source.execute(f"PRAGMA table_info({table})")]
            into = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"
            cursor.executemany(into.encode(), whole[table])

    def run(statement: str, *values: object) -> list[Any]:
        with psycopg.connect(address, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def move(name: str) -> None:
        run("UPDATE registered_model_aliases SET version = %s WHERE name = %s AND alias = 'champion'", int(name), model)

    def overwrite(name: str) -> None:
        (folders[int(name) - 1] / "model.skops").write_bytes(b"other bytes")

    return Rig(
        mlflow_plane(address, official.folder, model),
        mlflow_plane(f"postgresql://mlflow@127.0.0.1:{process.free_port()}/none", official.folder, model),
        ("1", "2", "3"),
        move,
        overwrite,
        lambda: {
            table: sorted(run(f"SELECT * FROM {table} WHERE name = %s", model), key=repr) for table in _ROWS_OF_A_MODEL
        },
        True,
    )


def rest_rig(official: Official, root: Path) -> Rig:
    del root
    model = registered(official, [logged(official, number) for number in (1, 2, 3)])
    down = f"http://127.0.0.1:{process.free_port()}"

    def overwrite(name: str) -> None:
        path = folder_of(official, int(name)) / "requirements.txt"
        path.write_text(path.read_text() + "# other bytes\n")

    return _model_rig(official, model, official.url, down, overwrite, is_atomic=False)


def _model_rig(
    official: Official, model: str, tracking: str, down: str, overwrite: Callable[[str], None], *, is_atomic: bool
) -> Rig:
    def move(name: str) -> None:
        official.rest("set_registered_model_alias", name=model, alias="champion", version=name)

    return Rig(
        mlflow_plane(tracking, official.folder, model),
        mlflow_plane(down, official.folder, model),
        ("1", "2", "3"),
        move,
        overwrite,
        lambda: rows(official, model),
        is_atomic,
    )


_ROWS_OF_A_MODEL = (
    "registered_models",
    "model_versions",
    "registered_model_aliases",
    "registered_model_tags",
    "model_version_tags",
)


def rows(official: Official, model: str) -> object:
    """Everything the registry keeps about a model, from the tables themselves."""
    with contextlib.closing(sqlite3.connect(official.folder / "mlflow.db")) as connection:
        return {
            table: sorted(connection.execute(f"SELECT * FROM {table} WHERE name = ?", (model,)).fetchall(), key=repr)
            for table in _ROWS_OF_A_MODEL
        }


def tables(path: Path) -> dict[str, list[Any]]:
    """Every row of every table of a database."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in names}
