"""A rollback against a local MLflow server over REST, beside the same by MlflowClient; and an index pointer move.

Whole processes, their start included, in turn. Both look at the alias, hash the files of both versions, compare
signatures; to apply, both set the alias, read it again and mark the bad version. ddr writes its journal besides.
Bytecode is written, as it is by an install. The registry is all there is: no server to roll, no signals to wait for.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks import measure

ROUNDS = 9
START_S = 90.0

SETTINGS = """\
apiVersion: ddr/v1
repository: {{type: local, path: {root}/repository, spool: {root}/spool}}
connectors:
  registry: {{type: mlflow, tracking: "{url}"}}
services:
  bench:
    planes: {{model: {{connector: registry, model: bench, alias: champion}}}}
    objectives: {{rpo: 1h, rto: 15m}}
    owners: {{team: bench, oncall: bench, decisionMaker: bench}}
"""

TRAIN = """\
import sys, mlflow, numpy as np
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression
mlflow.set_tracking_uri(sys.argv[1])
x = np.random.default_rng(1).normal(size=(200, 8)); y = (x[:, 0] > 0).astype(int)
for strength in (1.0, 0.1):
    with mlflow.start_run():
        made = LogisticRegression(C=strength).fit(x, y)
        mlflow.sklearn.log_model(made, name="m", input_example=x[:2], registered_model_name="bench")
MlflowClient().set_registered_model_alias("bench", "champion", "1")
"""

CLIENT = """\
import hashlib, pathlib, sys, tempfile
import mlflow
from mlflow import MlflowClient
url, apply = sys.argv[1], sys.argv[2] == "apply"
mlflow.set_tracking_uri(url)
client = MlflowClient()
def digest(version, folder):
    path = pathlib.Path(mlflow.artifacts.download_artifacts(f"models:/bench/{version}", dst_path=folder))
    content = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            content.update(file.read_bytes())
    return content.hexdigest(), mlflow.models.Model.load(path).signature
with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
    live = client.get_model_version_by_alias("bench", "champion").version
    target = client.get_model_version("bench", "1").version
    was, wanted = digest(live, one), digest(target, two)
    assert was[1].inputs == wanted[1].inputs
    if apply:
        client.set_registered_model_alias("bench", "champion", target)
        assert client.get_model_version_by_alias("bench", "champion").version == target
        client.set_model_version_tag("bench", live, "ddr.blocked", "bad")
"""


def run() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        with _server(root) as url:
            _registry(root, url)
        _index(root)


def _registry(root: Path, url: str) -> None:
    subprocess.run([sys.executable, "-c", TRAIN, url], check=True, capture_output=True)
    (root / "ddr.yaml").write_text(SETTINGS.format(root=root, url=url))
    plain = {**os.environ, "PYTHONPYCACHEPREFIX": str(root / "bytecode"), "XDG_STATE_HOME": str(root / "state")}
    plain.pop("PYTHONDONTWRITEBYTECODE", None)
    ddr = [sys.executable, "-m", "ddr", "--config", str(root / "ddr.yaml")]

    def call(*words: str) -> None:
        subprocess.run(list(words), check=True, capture_output=True, env=plain)

    call(*ddr, "release", "record", "bench", "--known-good")
    apply = ["--apply", "--no-wait"]
    contenders: Mapping[str, Callable[[], None]] = {
        "MlflowClient, look": lambda: call(sys.executable, "-c", CLIENT, url, "look"),
        "ddr rollback model (plan)": lambda: call(*ddr, "rollback", "model", "bench"),
        "MlflowClient, set": lambda: call(sys.executable, "-c", CLIENT, url, "apply"),
        "ddr rollback model --apply": lambda: call(*ddr, "rollback", "model", "bench", *apply),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(ROUNDS + 1):
        for name, work in contenders.items():
            _promote(url)
            began = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    timings = [measure.Timing(name, tuple(taken)) for name, taken in seconds.items()]
    measure.show("one look", timings[:2], against="MlflowClient, look")
    measure.show("one rollback", timings[2:], against="MlflowClient, set")
    print("  goals: plan within 400 ms, apply within 1 s, 3 times as fast as the client (0.33 x)")


def _promote(url: str) -> None:
    """The bad version is live and not marked: as each contender finds it."""
    with contextlib.suppress(OSError):
        _ask(url, "DELETE", "model-versions/delete-tag", {"name": "bench", "version": "2", "key": "ddr.blocked"})
    _ask(url, "POST", "registered-models/alias", {"name": "bench", "alias": "champion", "version": "2"})


def _ask(url: str, method: str, path: str, body: Mapping[str, str]) -> None:
    request = urllib.request.Request(
        f"{url}/api/2.0/mlflow/{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=30):
        pass


@contextlib.contextmanager
def _server(root: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = ["--backend-store-uri", f"sqlite:///{root}/mlflow.db", "--artifacts-destination", str(root / "artifacts")]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *store]
    with (root / "server.log").open("wb") as log:
        started = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url)
        yield url
    finally:
        os.killpg(started.pid, 15)
        started.wait(30)


def _wait(url: str) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.3)


def _index(root: Path) -> None:
    """The pointer goes to and fro while a reader opens what it names, again and again."""
    from ddr.connectors import faiss_index
    from ddr.domain import planes
    from ddr.lib import clock

    folder = root / "index"
    for name in ("v1", "v2"):
        version = folder / "versions" / name
        version.mkdir(parents=True)
        (version / "index.faiss").write_bytes(name.encode() * 500_000)
        (version / "ids.json").write_text("[]")
        (version / "card.json").write_text(json.dumps({"version": name, "embedder": "e1"}))
    (folder / "current").symlink_to("versions/v1")
    made = faiss_index.connect(faiss_index.Settings(str(folder)), root, clock.SystemClock())
    plane = made.plane(faiss_index.Binding(), planes.Plane.INDEX)
    found = {name: plane.find(name) for name in ("v1", "v2")}
    reads, wrong, done = [0], list[str](), threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                with (folder / "current" / "index.faiss").open("rb") as file:
                    head = file.read(2)
                reads[0] += 1
                if head not in (b"v1", b"v2"):
                    wrong.append(repr(head))
            except OSError as problem:
                wrong.append(str(problem))

    reader = threading.Thread(target=read)
    reader.start()
    taken = []
    for turn in range(200):
        there, back = ("v2", "v1") if turn % 2 == 0 else ("v1", "v2")
        began = time.perf_counter()
        plane.switch(found[there], found[back])
        taken.append(time.perf_counter() - began)
    done.set()
    reader.join()
    worst = max(taken) * 1000
    print(
        f"\nindex pointer, 200 moves of a 1 MB index beside a reader: {statistics.median(taken) * 1000:.1f} ms median,"
    )
    print(f"  {worst:.1f} ms worst (goal 100 ms), digests of both versions read each time; {reads[0]:,} reads,")
    print(f"  {len(wrong)} of them failed (goal 0)")
