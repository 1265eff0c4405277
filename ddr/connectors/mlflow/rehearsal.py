"""MLflow rehearsed: the restored database behind a real `mlflow server`, asked for what the snapshot says.

Nothing of the snapshot is executed: models are compared as bytes, never loaded.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ddr.errors import DdrError, Unavailable
from ddr.lib import endpoint, process
from ddr.ports import restorable

PATIENCE_S = 120.0
"""A server that migrates nothing is up within 15 s (measured); on a busy machine it takes longer."""

_ASK_S = 30.0
_PAGE = 200
_GONE = "mlflow is not installed here, so no server could be started; `pip install 'ddr[mlflow]'`"


def rehearse(
    connector: restorable.Restorable,
    source: restorable.Source,
    folder: Path,
    progress: restorable.Progress | None = None,
) -> restorable.Rehearsal:
    """As `ports.restorable.Rehearsable` says."""
    watch = Watch()
    target, artifacts = f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts"
    options = restorable.RestoreOptions(target=target, more={"artifacts": str(artifacts)})
    plan = connector.plan_restore(source, options)
    if plan.refusals:
        return restorable.Rehearsal({}, (), plan.refusals)
    connector.restore(plan, source, progress)
    watch.lap("restore")
    compared = list(connector.compare(plan, source))
    watch.lap("compare")
    problems: list[str] = []
    try:
        with served(target, artifacts, folder) as server:
            watch.lap("start the server")
            compared += _asked(server, source)
            watch.lap("ask the server")
    except DdrError as problem:
        problems.append(problem.message)
        watch.lap("until the server failed")
    return restorable.Rehearsal(watch.laps, tuple(compared), tuple(problems))


class Watch:
    """Seconds of each phase."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._at = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name], self._at = round(now - self._at, 3), now


@contextlib.contextmanager
def served(target: str, artifacts: Path, folder: Path) -> Iterator[endpoint.Endpoint]:
    """A real server on loopback, gone afterwards. Unavailable with the end of its log when it does not come up."""
    port = process.free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", target]
    words += ["--artifacts-destination", str(artifacts), "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    artifacts.mkdir(exist_ok=True)
    log = folder / "server.log"
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONDONTWRITEBYTECODE": "1"}
    with log.open("wb") as out:
        running = subprocess.Popen(
            words, cwd=folder, env=environ, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        server = endpoint.Endpoint(f"http://127.0.0.1:{port}", _ASK_S)
        _wait(server, running, log)
        yield server
    finally:
        _stop(running)


def _wait(server: endpoint.Endpoint, running: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if running.poll() is not None:
            said = log.read_text(errors="replace").strip()
            why = _GONE if "No module named mlflow" in said else f"the server ended at once: {said[-400:]}"
            raise Unavailable(why)
        with contextlib.suppress(DdrError):
            if server.ask("GET", "/health").status == 200:
                return
        time.sleep(0.2)
    raise Unavailable(f"the server was not up within {PATIENCE_S:.0f} s")


def _stop(running: subprocess.Popen[bytes]) -> None:
    """The server and its workers: they are one session of processes."""
    for signal in (15, 9):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(10)
            return


def _asked(server: endpoint.Endpoint, source: restorable.Source) -> Sequence[restorable.Comparison]:
    """What the server says against what the snapshot has."""
    found: list[restorable.Comparison] = []

    def say(what: str, expected: object, is_: object) -> None:
        found.append(restorable.Comparison(f"server: {what}", str(expected), str(is_)))

    rows = _Rows(source)
    models = _all(server, "registered-models/search", "registered_models")
    say("registered models", rows.count("registered_models"), len(models) + _prompts(rows))
    aliases = {
        (str(model["name"]), str(one["alias"]), str(one["version"]))
        for model in models
        for one in _listed(model.get("aliases"))
    }
    wanted = {(row["name"], row["alias"], row["version"]) for row in rows.of("registered_model_aliases")}
    shown = {row["name"] for row in rows.of("registered_models")} - rows.prompt_names
    say("aliases", len([one for one in wanted if one[0] in shown]), len(aliases & wanted))
    active = [row for row in rows.of("experiments") if row["lifecycle_stage"] == "active"]
    experiments = _all(server, "experiments/search", "experiments", post=True)
    say("active experiments", len(active), len(experiments))
    for row in active[:20]:
        said = _call(server, "GET", f"experiments/get?experiment_id={row['experiment_id']}")
        say(f"experiment {row['experiment_id']}", row["name"], _inside(said, "experiment").get("name"))
    for row in [row for row in rows.of("runs") if row["lifecycle_stage"] == "active"][-20:]:
        said = _call(server, "GET", f"runs/get?run_id={row['run_uuid']}")
        started = _inside(_inside(said, "run"), "info").get("start_time")
        say(f"run {row['run_uuid'][:8]} started", row["start_time"], started)
    _create(server, say)
    return found


def _create(server: endpoint.Endpoint, say: Callable[[str, object, object], None]) -> None:
    """A new experiment: fails where a sequence was not advanced."""
    answer = server.ask("POST", "/api/2.0/mlflow/experiments/create", body={"name": "ddr drill: is it writable"})
    say("a new experiment can be made", 200, answer.status)


class _Rows:
    """Rows of the snapshot's tables as texts, read once."""

    def __init__(self, source: restorable.Source) -> None:
        self._source = source
        self._read: dict[str, list[dict[str, str]]] = {}

    def of(self, table: str) -> list[dict[str, str]]:
        if table not in self._read:
            if self._source.component.table(table) is None:
                return []
            self._read[table] = [
                dict(zip(batch.names, ("" if cell is None else str(cell) for cell in row), strict=True))
                for batch in self._source.rows(table)
                for row in batch.rows()
            ]
        return self._read[table]

    def count(self, table: str) -> int:
        return len(self.of(table))

    @property
    def prompt_names(self) -> set[str]:
        """Prompts are registered models by a tag; the server's search leaves them out."""
        tags = self.of("registered_model_tags")
        return {row["name"] for row in tags if row["key"] == "mlflow.prompt.is_prompt" and row["value"] == "true"}


def _prompts(rows: _Rows) -> int:
    return len(rows.prompt_names)


def _all(server: endpoint.Endpoint, path: str, key: str, *, post: bool = False) -> list[Mapping[str, object]]:
    """Every page of a search."""
    found: list[Mapping[str, object]] = []
    token = ""
    while True:
        if post:
            said = _call(server, "POST", path, {"max_results": _PAGE, **({"page_token": token} if token else {})})
        else:
            said = _call(server, "GET", f"{path}?max_results={_PAGE}" + (f"&page_token={token}" if token else ""))
        found += _listed(said.get(key))
        token = str(said.get("next_page_token") or "")
        if not token:
            return found


def _inside(said: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = said.get(key)
    return value if isinstance(value, Mapping) else {}


def _listed(value: object) -> list[Mapping[str, object]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _call(server: endpoint.Endpoint, method: str, path: str, body: object = None) -> Mapping[str, object]:
    where, _, query = path.partition("?")
    pairs = dict(part.partition("=")[::2] for part in query.split("&")) if query else None
    answer = server.ask(method, f"/api/2.0/mlflow/{where}", pairs, body)
    value = answer.value()
    if answer.status != 200 or not isinstance(value, Mapping):
        raise Unavailable(f"the restored server answers {path} with {answer.status}: {answer.text()}")
    return value
