"""Traces with their spans, scorers, evaluation data sets and files written to a server."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ddr.connectors.mlflow.over_rest import chosen, mapping, served, shapes
from ddr.connectors.mlflow.over_rest import client as clients
from ddr.connectors.mlflow.over_rest import job as jobs
from ddr.errors import DdrError
from ddr.lib import rowbatch
from ddr.ports import restorable

_OWN_TAGS = ("mlflow.artifactLocation", "mlflow.trace.spansLocation")
_IDS = (("trace_id", "traceId"), ("span_id", "spanId"), ("parent_span_id", "parentSpanId"))
_API = clients.API3


@dataclass
class Traces:
    """A trace keeps its id, so what is there is there."""

    job: jobs.Job

    def all(self) -> None:
        chosen = {identity for identity, _ in self.job.experiments()}
        # One that has only spans was cut off: the server marks what it was told all of.
        query = "SELECT trace_id FROM trace_metadata WHERE key = 'mlflow.trace.infoFinalized'"
        marked = {row[0] for row in self.job.there.ask(query)}
        unmarked = self.job.rows.keys("traces") - {row[0] for row in self.job.rows.ask(query)}
        there = self.job.there.keys("traces") & (marked | unmarked)
        todo = {
            str(row[0]): row
            for piece in self.job.rows.pieces("traces")
            for row in piece
            if str(row[1]) in chosen and row[0] not in there
        }
        with_spans: set[str] = set()
        for trace, spans in self._spans(set(todo)):
            with_spans.add(trace)
            self._send_spans(trace, spans, todo[trace])
        self.job.run_together("traces", list(todo.values()), self._send)

    def _spans(self, wanted: set[str]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        if self.job.source.component.table("trace_spans") is None:
            return
        rows = (row for batch in self.job.source.rows("trace_spans") for row in batch.rows())
        for trace, found in itertools.groupby(rows, lambda row: str(row[0])):
            if trace in wanted:
                yield trace, [json.loads(str(row[2])) for row in found]

    def _send_spans(self, trace: str, spans: Iterable[dict[str, Any]], row: shapes.Row) -> None:
        del trace
        said = {"resourceSpans": [{"scopeSpans": [{"spans": [_otlp(span) for span in spans]}]}]}
        headers = {
            "Content-Type": "application/json",
            "X-Mlflow-Experiment-Id": self.job.known.experiments[str(row[1])],
        }
        answer = self.job.client.post_bytes("/v1/traces", json.dumps(said).encode(), headers)
        if answer.status != 200:
            raise self.job.client.refused(answer, "POST /v1/traces")

    def _send(self, row: shapes.Row) -> None:
        """Behind its spans: then the server keeps what it is told here."""
        names = shapes.ALL["traces"].names
        info: dict[str, Any] = {name: cell for name, cell in zip(names, row, strict=True) if cell is not None}
        trace, experiment = str(info["trace_id"]), self.job.known.experiments[str(info.pop("experiment_id"))]
        info |= json.loads(str(info.pop("other", "") or "{}"))
        info["trace_location"] = {
            "type": "MLFLOW_EXPERIMENT",
            "mlflow_experiment": {"experiment_id": experiment},
        }
        ask = self.job.rows.ask
        tags = dict(ask("SELECT key, value FROM trace_tags WHERE trace_id = ?", [trace]))
        info["tags"] = {key: value for key, value in tags.items() if key not in _OWN_TAGS}
        metadata = dict(ask("SELECT key, value FROM trace_metadata WHERE trace_id = ?", [trace]))
        run = str(metadata.get(mapping.SOURCE_RUN, ""))
        if run in self.job.known.runs:
            metadata[mapping.SOURCE_RUN] = self.job.known.runs[run]
        info["trace_metadata"] = metadata
        bodies = ask("SELECT body FROM trace_assessments WHERE trace_id = ?", [trace])
        info["assessments"] = [json.loads(str(body)) for (body,) in bodies]
        self.job.client.make(f"{_API}/traces", {"trace": {"trace_info": info}})


def _otlp(span: dict[str, Any]) -> dict[str, Any]:
    """As OpenTelemetry writes a span in JSON: ids in hex; MLflow gives them in base64."""
    made = dict(span)
    for ours, theirs in _IDS:
        if made.get(ours):
            made[theirs] = base64.b64decode(made.pop(ours)).hex()
    return made


@dataclass
class Others:
    """Scorers, version after version, and evaluation data sets with their records."""

    job: jobs.Job

    def all(self) -> None:
        there = set(self.job.there.ask("SELECT experiment_id, name, version FROM scorers"))
        for piece in self.job.rows.pieces("scorers"):
            for row in piece:
                experiment = self.job.known.experiments.get(str(row[0]), "")
                if experiment and (experiment, row[1], row[2]) not in there:
                    body = {"experiment_id": experiment, "name": row[1], "serialized_scorer": row[3]}
                    self.job.client.make(f"{_API}/scorers/register", body)
        for piece in self.job.rows.pieces("evaluation_datasets"):
            for row in piece:
                self._dataset(row)

    def _dataset(self, row: shapes.Row) -> None:
        said = dict(zip(shapes.ALL["evaluation_datasets"].names, row, strict=True))
        old = str(said["dataset_id"])
        new = self.job.known.datasets.get(old, "")
        if not new:
            tags = json.loads(str(said["tags"] or "{}")) | {mapping.SOURCE_ID: old}
            tags[mapping.CREATED] = str(said["created_time"] or 0)
            experiments = [
                self.job.known.experiments.get(one, one) for one in json.loads(str(said["experiment_ids"] or "[]"))
            ]
            body = {"name": said["name"], "tags": json.dumps(tags), "experiment_ids": experiments}
            new = str(self.job.client.make(f"{_API}/datasets/create", body)["dataset"]["dataset_id"])
            self.job.known.datasets[old] = new
        query = "SELECT body FROM evaluation_dataset_records WHERE dataset_id = ? ORDER BY record_id"
        records = [json.loads(str(body)) for (body,) in self.job.rows.ask(query, [old])]
        wanted = ("inputs", "outputs", "expectations", "tags", "source")
        kept = [{key: one[key] for key in wanted if one.get(key) is not None} for one in records]
        for portion in jobs.portions(kept, 500):
            body = {"records": json.dumps(list(portion))}
            self.job.client.make(f"{_API}/datasets/{new}/records", body)


@dataclass
class Files:
    """Every file to the place that the target gave to what it belongs to."""

    job: jobs.Job

    def all(self) -> None:
        tree = self.job.source.component.tree(served.TREE)
        if tree is None or chosen.without_files(self.job.options):
            return
        for done, _ in enumerate(self.job.client.each(self.placed(), self._upload), 1):
            if done % 20 == 0:
                self.job.progress("files", done, tree.files)

    def placed(self) -> Iterator[tuple[restorable.FileStored, str]]:
        """Each file with its path below the proxy; without those of what is not restored."""
        for stored in self.job.source.files(served.TREE):
            if stored.kind == "file":
                to = self.place(stored.path)
                if to:
                    yield stored, to

    def place(self, path: str) -> str:
        kind, _, rest = path.partition("/")
        identity, _, inside = rest.partition("/")
        place: rowbatch.Cell = ""
        if kind == served.RUNS:
            place = self._new("SELECT artifact_uri FROM runs WHERE run_id = ?", identity)
        elif kind == served.MODELS:
            place = self._new("SELECT artifact_uri FROM logged_models WHERE model_id = ?", identity)
        elif kind == served.TRACES:
            found = self.job.rows.ask("SELECT experiment_id FROM traces WHERE trace_id = ?", [identity])
            experiment = self.job.known.experiments.get(str(found[0][0])) if found else None
            place = f"mlflow-artifacts:/{experiment}/traces/{identity}/artifacts" if experiment else ""
        if not place or not str(place).startswith("mlflow-artifacts:"):
            return ""
        return f"{served.PROXY}/{served.Proxied(self.job.client, str(place)).root}/{inside}"

    def _new(self, query: str, identity: str) -> str:
        found = self.job.rows.ask(query, [identity])
        return self.job.known.places.get(str(found[0][0] or "").rstrip("/"), "") if found else ""

    def _upload(self, given: tuple[restorable.FileStored, str]) -> None:
        stored, to = given
        if not self.is_there(stored, to):
            self.job.client.put(to, lambda: self.job.source.read(served.TREE, stored.path), stored.size_bytes)

    def is_there(self, stored: restorable.FileStored, to: str) -> bool:
        """Byte by byte."""
        try:
            pieces = self.job.client.read(to, {})
            return self.job.source.matches(served.TREE, stored.path, pieces)
        except DdrError:
            return False
