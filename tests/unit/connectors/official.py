"""MLflow itself: its server in one process, its client in another, which does what a line on its stdin says.

The server keeps FOLDER/mlflow.db and FOLDER/artifacts. The client trains and logs versions of the registered model
`seed`: 1 to 3 through the server, which keeps their files, 4 and 5 straight into the database, with their files below
FOLDER/local. Each line in is {"call", "via": "rest" or "sql", "args"}, each line out {"value"} or
{"error"}. The tests speak through `Official`, so that no test imports mlflow.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

SEED = "seed"


class Official:
    """The other end: `official.rest("set_registered_model_alias", name=..., alias=..., version=...)`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.tracking = f"sqlite:///{folder / 'mlflow.db'}"
        self._log = (folder / "official.log").open("wb")
        self._server = self._start("serve", port)
        self._client = self._start("client", port)
        self._read()

    def _start(self, role: str, port: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, __file__, role, str(self.folder), str(port)],
            cwd=self.folder,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            preexec_fn=_die_with_parent,
        )

    def rest(self, call: str, **args: object) -> Any:
        return self._ask(call, "rest", args)

    def sql(self, call: str, **args: object) -> Any:
        return self._ask(call, "sql", args)

    def datasets(self, run: str, named: dict[str, str]) -> None:
        """Logs data sets, name to digest, as inputs of a run."""
        self._ask("datasets", "sql", {"run_id": run, "named": named})

    def close(self) -> None:
        for process in (self._client, self._server):
            process.kill()
            process.communicate()
        self._log.close()

    def _ask(self, call: str, via: str, args: dict[str, object]) -> Any:
        assert self._client.stdin is not None
        self._client.stdin.write(json.dumps({"call": call, "via": via, "args": args}).encode() + b"\n")
        self._client.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._client.stdout is not None
        line = self._client.stdout.readline()
        if not line:
            raise RuntimeError((self.folder / "official.log").read_text()[-3000:])
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _serve(folder: Path, port: int) -> None:
    """What `mlflow server` starts, without the two processes around it."""
    from mlflow.server import constants

    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: f"sqlite:///{folder / 'mlflow.db'}",
        constants.REGISTRY_STORE_URI_ENV_VAR: f"sqlite:///{folder / 'mlflow.db'}",
        constants.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: str(folder / "artifacts"),
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
    }
    import uvicorn
    from mlflow.server.fastapi_app import app

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def _wait_for(url: str) -> None:
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            return
        time.sleep(0.1)


def _train(mlflow: Any, experiment: str, strengths: tuple[float, ...]) -> None:
    """Versions that differ in their bytes, with signatures, logged the usual way."""
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    rows = pd.DataFrame({name: [float(at * (at + 3) % 11) for at in range(40)] for name in ("a", "b")})
    rows["b"] = rows["b"][::-1].to_numpy()
    truth = ["x" if value > 4 else "y" for value in rows["a"]]
    for strength in strengths:
        model = LogisticRegression(C=strength).fit(rows, truth)
        with mlflow.start_run(experiment_id=experiment):
            mlflow.sklearn.log_model(
                model,
                name="model",
                registered_model_name=SEED,
                signature=mlflow.models.infer_signature(rows, model.predict(rows)),
                pip_requirements=["scikit-learn"],
            )


def _plain(value: Any) -> object:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    try:
        return {str(key): _plain(child) for key, child in dict(value).items()}
    except (TypeError, ValueError):
        return str(value)


def _log_datasets(client: Any, run_id: str, named: dict[str, str]) -> None:
    from mlflow import entities

    inputs = [entities.DatasetInput(entities.Dataset(name, digest, "local", "{}")) for name, digest in named.items()]
    client.log_inputs(run_id, inputs)


def _obey(folder: Path, port: int, out: Any) -> None:
    import mlflow

    def say(**answer: object) -> None:
        out.write(json.dumps(answer) + "\n")
        out.flush()

    url = f"http://127.0.0.1:{port}"
    _wait_for(url)
    tracking = f"sqlite:///{folder / 'mlflow.db'}"
    mlflow.set_tracking_uri(url)
    _train(mlflow, mlflow.create_experiment("through the server"), (0.1, 1.0, 10.0))
    mlflow.set_tracking_uri(tracking)
    _train(mlflow, mlflow.create_experiment("into the database", str(folder / "local")), (100.0, 1000.0))
    clients = {"rest": mlflow.MlflowClient(url, url), "sql": mlflow.MlflowClient(tracking, tracking)}
    say(value="ready")
    for line in sys.stdin:
        told = json.loads(line)
        try:
            client = clients[told["via"]]
            if told["call"] == "datasets":
                _log_datasets(client, **told["args"])
                say(value=None)
                continue
            say(value=_plain(getattr(client, told["call"])(**told["args"])))
        except Exception as problem:  # noqa: BLE001 - the other end shows it
            say(error=f"{type(problem).__name__}: {problem}")


def _main(role: str, folder: Path, port: int) -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    if role == "serve":
        _serve(folder, port)
    else:
        _obey(folder, port, out)


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
