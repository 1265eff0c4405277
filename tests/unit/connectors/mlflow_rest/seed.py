"""An MLflow that has lived, made over REST by MLflow's own client: everything that its API can hold, and its traps.

A program of its own, as MLflow keeps the address of its server for the whole process:

    python -m tests.unit.connectors.mlflow_rest.seed http://127.0.0.1:5000 ANSWER.json
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

RUNS, STEPS = 7, 40
T0 = 1_700_000_000_000


def fill(address: str) -> dict[str, Any]:
    """Names and ids of what was made, for the tests."""
    import mlflow

    mlflow.set_tracking_uri(address)
    client = mlflow.MlflowClient(address, address)
    made: dict[str, Any] = {"runs": [], "models": []}
    parcels = client.create_experiment("parcels", tags={"team": "Zürich ✈", "empty": ""})
    letters = client.create_experiment("letters/été 'quoted' \"twice\"")
    gone = client.create_experiment("abandoned")
    made["experiments"] = {"parcels": parcels, "letters": letters, "abandoned": gone}
    for number in range(RUNS):
        made["runs"].append(_run(client, parcels, number, made["runs"]))
    lone = client.create_run(gone, start_time=T0 + 5, run_name="left behind")
    client.log_metric(lone.info.run_id, "loss", 0.5, timestamp=T0, step=3)
    client.set_terminated(lone.info.run_id, "KILLED", end_time=T0 + 77)
    client.create_run(letters, start_time=T0 + 9)  # still at work
    _models(client, parcels, made)
    _prompts(mlflow, client)
    made["traces"] = _traces(mlflow, client, letters)
    _others(mlflow, client, parcels)
    client.delete_experiment(gone)
    return made


def _run(client: Any, experiment: str, number: int, before: list[str]) -> str:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

    tags = {"mlflow.user": "anna", "note": "naïve 日本 " + "x" * 4000 if number == 1 else f"run {number}"}
    if number == 2:
        tags["mlflow.parentRunId"] = before[0]
    run = client.create_run(experiment, start_time=T0 + number * 1000, tags=tags, run_name=f"rûn {number}")
    identity: str = run.info.run_id
    points = [Metric("loss", 1 / (step + 1), T0 + step * 10, step) for step in range(STEPS)]
    if number == 1:
        points += [
            Metric("odd", math.nan, T0, 0),
            Metric("odd", math.inf, T0 + 1, 1),
            Metric("odd", -math.inf, T0 + 2, 2),
            Metric("odd", 1.0, T0 + 3, 2),
            Metric("odd", 5e-324, T0 + 3, -4),
            Metric("last is nan", math.nan, T0 + 9, 9),
            Metric("sub/folder of metrics", 0.1 + 0.2, T0, 0),
        ]
    if number == 3:
        points += [Metric("long", float(at), T0 + at, at) for at in range(900)]
    client.log_batch(
        identity,
        points,
        [
            Param("rate", str(number)),
            Param(
                "wörds",
                "",
            ),
        ],
        [RunTag("more", "ja")],
    )
    if number == 3:
        client.log_batch(identity, [Metric("long", float(at), T0 + at, at) for at in range(900, 1700)])
    if number == 1:
        client.log_batch(identity, params=[Param(f"p{at:03}", "v" * 50) for at in range(90)])
        client.log_batch(identity, params=[Param(f"q{at:03}", "w" * 6000) for at in range(30)])
    data = Dataset(f"rows {number % 2}", f"d{number % 2}", "code", '{"uri": "here"}', '{"columns": []}', '{"n": 3}')
    client.log_inputs(identity, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "deep" / "er").mkdir(parents=True)
        (Path(folder) / f"report ü {number}.txt").write_text(f"run {number}\n")
        (Path(folder) / "deep" / "er" / "bytes.bin").write_bytes(bytes(range(256)) * (number + 1))
        (Path(folder) / "empty").write_bytes(b"")
        client.log_artifacts(identity, folder)
    if number != 5:
        client.set_terminated(identity, "FAILED" if number == 4 else "FINISHED", end_time=T0 + number * 1000 + 500)
    if number in (3, 6):
        client.delete_run(identity)
    return identity


def _models(client: Any, experiment: str, made: dict[str, Any]) -> None:
    from mlflow.entities import LoggedModelInput, LoggedModelOutput, Metric

    for number in range(3):
        run = made["runs"][number]
        model = client.create_logged_model(
            experiment,
            name=f"net-{number}",
            source_run_id=run,
            tags={"flavour": "none"},
            params={"depth": str(number)},
            model_type="toy",
        )
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "MLmodel").write_text(f"flavors: {{}}\nmodel_id: {model.model_id}\n")
            (Path(folder) / "weights.bin").write_bytes(bytes([number]) * 3000)
            client.log_model_artifacts(model.model_id, folder)
        if number < 2:
            client.finalize_logged_model(model.model_id, "READY")
        client.log_batch(run, [Metric("score", 0.5 + number, T0 + 60, 1, model_id=model.model_id)])
        made["models"].append(model.model_id)
        client.log_outputs(run, [LoggedModelOutput(model.model_id, step=number)])
    client.log_inputs(made["runs"][5], models=[LoggedModelInput(made["models"][0])])
    client.create_registered_model("net", tags={"owner": "Zoë", "empty": ""}, description="The nét")
    for number in range(6):
        model = made["models"][number % 2]
        client.create_model_version(
            "net",
            f"models:/{model}",
            made["runs"][number % 2],
            tags={"n": str(number)},
            description=f"dé {number}",
            model_id=model,
        )
    client.delete_model_version("net", "2")
    client.delete_model_version("net", "3")
    client.delete_model_version("net", "6")
    client.set_registered_model_alias("net", "champion", "4")
    client.set_registered_model_alias("net", "Challenger", "5")
    client.transition_model_version_stage("net", "4", "Production")
    client.transition_model_version_stage("net", "1", "Archived")
    client.create_registered_model("empty model")
    client.create_registered_model("by run")
    source = client.get_run(made["runs"][0]).info.artifact_uri
    client.create_model_version("by run", f"{source}/deep", made["runs"][0])


def _prompts(mlflow: Any, client: Any) -> None:
    mlflow.genai.register_prompt(name="greeting", template="Hello {{name}}", commit_message="first")
    mlflow.genai.register_prompt(name="greeting", template="Hällo {{name}}!", tags={"tone": "warm"})
    mlflow.genai.set_prompt_alias("greeting", alias="live", version=1)


def _traces(mlflow: Any, client: Any, experiment: str) -> list[str]:
    mlflow.set_experiment(experiment_id=experiment)
    made = []
    for number in range(5):
        with mlflow.start_span(f"ask {number}", span_type="CHAIN") as span:
            span.set_inputs({"q": f"why {number} é"})
            with mlflow.start_span("inner") as inner:
                inner.set_attribute("k", {"n": number})
                inner.add_event(mlflow.entities.SpanEvent("thought", attributes={"x": 1}))
            span.set_outputs({"a": number})
            if number == 4:
                span.set_status("ERROR")
            made.append(span.trace_id)
    mlflow.flush_trace_async_logging()
    client.set_trace_tag(made[0], "kind", "köstlich")
    mlflow.log_feedback(trace_id=made[0], name="good", value=True, rationale="it is")
    mlflow.log_expectation(trace_id=made[1], name="answer", value={"a": 1})
    return made


def _others(mlflow: Any, client: Any, experiment: str) -> None:
    from mlflow.genai import datasets

    data = datasets.create_dataset(name="judged", experiment_id=[experiment], tags={"v": "1"})
    data.merge_records([{"inputs": {"q": str(at)}, "expectations": {"a": at}} for at in range(5)])

    for name in ("right", "right", "sane"):
        mlflow.genai.scorers.Correctness().register(name=name, experiment_id=experiment)
    client.create_webhook(
        "hook",
        "http://127.0.0.1:9/hook",
        [mlflow.entities.webhook.WebhookEvent.from_str("model_version.created")],
        secret="s3cret-of-the-hook",
        description="rings",
    )


if __name__ == "__main__":
    answer = fill(sys.argv[1])
    Path(sys.argv[2]).write_text(json.dumps(answer))
