"""Experiments, runs and logged models written to a server, each with its old id in a tag from its first moment on.

A restore that is cut off finds what it made by that tag, so nothing comes twice. What has its end (status, end time,
stage of life) is whole; what has not is filled again, which changes nothing that is there.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ddr.connectors.mlflow.over_rest import client as clients
from ddr.connectors.mlflow.over_rest import job as jobs
from ddr.connectors.mlflow.over_rest import mapping, shapes, spool
from ddr.lib import rowbatch

_RUN_NAME = "mlflow.runName"
_POINTS_AN_ITEM, _ITEMS_HELD = 20_000, 5
_API = clients.API2


Part = tuple[str, list[list[shapes.Row]], bool]
"""A run, points of it, and whether these are the last."""


class Runs:
    def __init__(self, job: jobs.Job) -> None:
        self.job = job
        self.client = job.client
        self._done = {old for old, new in job.known.runs.items() if self._is_whole(old, new)}
        self._one_at_a_time = threading.Lock()
        self.closed: set[str] = set()
        self._linked = {
            (str(run), str(way), str(model))
            for run, way, model in job.there.ask("SELECT run_id, direction, model_id FROM run_models")
        }

    def experiments(self) -> None:
        """Made, taken over, or brought back to life until they are full."""
        for identity, decision in self.job.experiments():
            row = self.job.rows.ask("SELECT creation_time FROM experiments WHERE experiment_id = ?", [identity])[0]
            tags = dict(self._pairs("experiment_tags", "experiment_id", identity))
            there = self.job.known.experiments.get(identity, "")
            if decision.does == "recreate":
                self._set_aside(there, decision.name)
            if decision.does in ("create", "recreate"):
                tags |= {mapping.SOURCE_ID: identity, mapping.CREATED: str(row[0] or 0)}
                body = {"name": decision.name, "tags": jobs.pairs(tags)}
                made = self.client.make(f"{_API}/experiments/create", body)
                self.job.known.experiments[identity] = str(made["experiment_id"])
                continue
            if self._is_closed(identity):
                self.closed.add(identity)
            elif self._is_deleted(self.job.there, there):
                self.client.make(f"{_API}/experiments/restore", {"experiment_id": there})
            if decision.does == "update":
                for key, value in tags.items():
                    body = {"experiment_id": there, "key": key, "value": value}
                    self.client.make(f"{_API}/experiments/set-experiment-tag", body)

    def runs(self) -> None:
        """All made first: a run may name another as its parent."""
        chosen = {identity for identity, _ in self.job.experiments()}
        todo = [
            row
            for piece in self.job.rows.pieces("runs")
            for row in piece
            if str(row[1]) in chosen and str(row[0]) not in self.job.known.runs
        ]
        self.job.run_together("runs made", todo, self._make)
        models = [
            row
            for piece in self.job.rows.pieces("logged_models")
            for row in piece
            if str(row[1]) in chosen and str(row[0]) not in self.job.known.models
        ]
        self.job.run_together("logged models made", models, self._make_model)

    def contents(self) -> None:
        """Each run filled and ended before the next: a restore that is cut off has whole ones behind it."""
        todo = [run for run in sorted(self.job.known.runs) if run not in self._done or self.job.is_update]
        points = self._points(set(todo))
        ahead = next(points, None)

        def given() -> Iterator[Part]:
            nonlocal ahead
            for run in todo:
                mine = []
                while ahead is not None and str(ahead[0][0]) == run:
                    mine.append(ahead)
                    ahead = next(points, None)
                    if ahead is not None and str(ahead[0][0]) == run and len(mine) == _ITEMS_HELD:
                        yield run, mine, False
                        mine = []
                yield run, mine, True

        last = ""
        for done, run in enumerate(self.client.each(given(), self._fill), 1):
            if run != last and (done % 20 == 0 or run == todo[-1]):
                self.job.progress("runs filled", min(done, len(todo)), len(todo))
            last = run

    def ends(self) -> None:
        """What is ended last: logged models become ready, experiments that were deleted are deleted again."""
        query = "SELECT status FROM logged_models WHERE model_id = ?"
        for identity, status in self.job.rows.ask("SELECT model_id, status FROM logged_models"):
            new = self.job.known.models.get(str(identity))
            if new and status and status != "LOGGED_MODEL_PENDING" and self.job.there.ask(query, [new]) != [(status,)]:
                self.client.make(f"{_API}/logged-models/{new}", {"model_id": new, "status": status}, "PATCH")
        for identity, _ in self.job.experiments():
            new = self.job.known.experiments[identity]
            if self._is_deleted(self.job.rows, identity) and identity not in self.closed:
                self.client.make(f"{_API}/experiments/delete", {"experiment_id": new})

    def _set_aside(self, there: str, name: str) -> None:
        """Renamed and deleted, which in MLflow is a state and no loss."""
        aside = f"{name} (replaced by ddr {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())})"
        if self._is_deleted(self.job.there, there):
            self.client.make(f"{_API}/experiments/restore", {"experiment_id": there})
        self.client.make(f"{_API}/experiments/update", {"experiment_id": there, "new_name": aside})
        self.client.make(f"{_API}/experiments/delete", {"experiment_id": there})

    def _is_closed(self, identity: str) -> bool:
        """Deleted here and there, and nothing in it is left to do."""
        new = self.job.known.experiments.get(identity, "")
        if not self._is_deleted(self.job.rows, identity) or not self._is_deleted(self.job.there, new):
            return False
        runs = self.job.rows.ask("SELECT run_id FROM runs WHERE experiment_id = ?", [identity])
        traces = self.job.rows.ask("SELECT trace_id FROM traces WHERE experiment_id = ?", [identity])
        known = self.job.there.keys("traces")
        return all(run in self._done for (run,) in runs) and all(trace in known for (trace,) in traces)

    def _is_deleted(self, rows: spool.Spool, experiment: str) -> bool:
        query = "SELECT lifecycle_stage FROM experiments WHERE experiment_id = ?"
        return rows.ask(query, [experiment]) == [("deleted",)]

    def _make(self, row: shapes.Row) -> None:
        old, experiment, name, user, _, started = map(_text, row[:6])
        tags = self._tags(old)
        first = dict(itertools.islice(tags.items(), jobs.MOST_TAGS - 1)) | {mapping.SOURCE_ID: old}
        body: dict[str, Any] = {
            "experiment_id": self.job.known.experiments[experiment],
            "run_name": name,
            "user_id": user,
            "tags": jobs.pairs(first),
        }
        if row[5] is not None:
            body["start_time"] = int(started)
        made = self.client.make(f"{_API}/runs/create", body)["run"]["info"]
        self.job.known.runs[old] = str(made["run_id"])
        self._learn("runs", "run_id", old, str(made.get("artifact_uri") or ""))

    def _make_model(self, row: shapes.Row) -> None:
        old, experiment, name = map(_text, row[:3])
        tags = dict(self._pairs("logged_model_tags", "model_id", old))
        tags |= {mapping.SOURCE_ID: old, mapping.CREATED: _text(row[7])}
        body = {
            "experiment_id": self.job.known.experiments[experiment],
            "name": name,
            "model_type": _text(row[4]),
            "source_run_id": self.job.known.runs.get(_text(row[5]), ""),
            "params": jobs.pairs(dict(self._pairs("logged_model_params", "model_id", old))),
            "tags": jobs.pairs(tags),
        }
        made = self.client.make(f"{_API}/logged-models", {key: value for key, value in body.items() if value})
        info = made["model"]["info"]
        self.job.known.models[old] = str(info["model_id"])
        self._learn("logged_models", "model_id", old, str(info.get("artifact_uri") or ""))

    def _learn(self, table: str, key: str, old: str, new_place: str) -> None:
        before = self.job.rows.ask(f"SELECT artifact_uri FROM {table} WHERE {key} = ?", [old])  # noqa: S608
        if before and before[0][0] and new_place:
            self.job.known.places[str(before[0][0]).rstrip("/")] = new_place.rstrip("/")

    def _is_whole(self, old: str, new: str) -> bool:
        """RUNNING has no end that could be seen: that is filled again."""
        query = "SELECT status, end_time, lifecycle_stage FROM runs WHERE run_id = ?"
        said = self.job.rows.ask(query, [old])
        return bool(said) and said[0][1] is not None and said == self.job.there.ask(query, [new])

    def _tags(self, old: str) -> dict[str, str]:
        """Those of the snapshot, but for links: they follow."""
        tags = {key: value for key, value in self._pairs("run_tags", "run_id", old) if key != mapping.SOURCE_ID}
        if mapping.PARENT in tags:
            tags[mapping.PARENT] = self.job.known.runs.get(tags[mapping.PARENT], tags[mapping.PARENT])
        return tags

    def _fill(self, part: Part) -> str:
        """One run, or a part of one that has very many points; gives its id."""
        old, points, is_last = part
        new = self.job.known.runs[old]
        if self.job.there.ask("SELECT 1 FROM runs WHERE run_id = ? AND lifecycle_stage = 'deleted'", [new]):
            self.client.make(f"{_API}/runs/restore", {"run_id": new})
        for name, table, most in (
            ("params", "run_params", jobs.MOST_PARAMS),
            ("tags", "run_tags", jobs.MOST_TAGS),
        ):
            given = dict(self._pairs(table, "run_id", old)) if name == "params" else self._tags(old)
            for portion in jobs.portions(jobs.pairs(given), most):
                self.client.make(f"{_API}/runs/log-batch", {"run_id": new, name: portion})
        self._inputs(old, new)
        for some in points:
            self._log_points(some)
        if is_last:
            self._finish(old)
        return old

    def _inputs(self, old: str, new: str) -> None:
        columns = ("name", "digest", "source_type", "source", "schema", "profile")
        sets = []
        for row in self.job.rows.ask(f"SELECT {', '.join(columns)}, tags FROM run_inputs WHERE run_id = ?", [old]):  # noqa: S608
            named = {name: cell for name, cell in zip(columns, row, strict=False) if cell is not None}
            sets.append({"dataset": named, "tags": jobs.pairs(json.loads(str(row[-1] or "{}")))})
        links = self.job.rows.ask("SELECT direction, model_id, step FROM run_models WHERE run_id = ?", [old])
        todo = [
            (str(way), {"model_id": self.job.known.models[str(model)], "step": int(str(step or 0))})
            for way, model, step in links
            if str(model) in self.job.known.models
            and (new, str(way), self.job.known.models[str(model)]) not in self._linked
        ]
        inputs = [{"model_id": link["model_id"]} for way, link in todo if way == "input"]
        if sets or inputs:
            with (
                self._one_at_a_time
            ):  # MLflow makes a data set twice when two runs name it in the same moment, and fails
                self.client.make(f"{_API}/runs/log-inputs", {"run_id": new, "datasets": sets, "models": inputs})
        outputs = [link for way, link in todo if way == "output"]
        if outputs:
            self.client.make(f"{_API}/runs/outputs", {"run_id": new, "models": outputs})

    def _points(self, wanted: set[str]) -> Iterator[list[shapes.Row]]:
        """Points of one run, at most some thousands at a time, in the order of the snapshot."""
        if self.job.source.component.table("metric_history") is None:
            return
        names = shapes.ALL["metric_history"].names
        rows = (row for batch in self.job.source.rows("metric_history") for row in batch.select(names).rows())
        done, of = 0, self.job.source.component.table("metric_history")
        for run, points in itertools.groupby(rows, lambda row: str(row[0])):
            while run in wanted and (held := list(itertools.islice(points, _POINTS_AN_ITEM))):
                done += len(held)
                self.job.progress("metric points", done, of.rows if of else 0)
                yield held

    def _log_points(self, points: Sequence[shapes.Row]) -> None:
        old = str(points[0][0])
        query = (
            "SELECT key, step, timestamp, model_id, dataset_name, dataset_digest FROM logged_model_metrics "
            "WHERE run_id = ?"
        )
        of_models: dict[tuple[rowbatch.Cell, ...], list[shapes.Row]] = {}
        for row in self.job.rows.ask(query, [old]):
            of_models.setdefault(row[:3], []).append(row[3:])
        said: list[dict[str, Any]] = []
        for _, key, step, timestamp, value in points:
            point: dict[str, Any] = {"key": key, "value": _number(value), "timestamp": timestamp, "step": step}
            of_point = of_models.get((key, step, timestamp), [])
            if not of_point:
                said.append(point)
            for model, name, digest in of_point:
                more = {"model_id": self.job.known.models.get(str(model)), "dataset_name": name}
                more["dataset_digest"] = _text(digest) or None
                said.append(point | {key: cell for key, cell in more.items() if cell})
        for portion in jobs.portions(said, jobs.MOST_METRICS):
            self.client.make(f"{_API}/runs/log-batch", {"run_id": self.job.known.runs[old], "metrics": portion})

    def _finish(self, old: str) -> None:
        new = self.job.known.runs[old]
        query = "SELECT status, end_time, run_name, lifecycle_stage FROM runs WHERE run_id = ?"
        status, ended, name, stage = self.job.rows.ask(query, [old])[0]
        body = {"run_id": new, "status": status, "end_time": ended, "run_name": name}
        self.client.make(f"{_API}/runs/update", {key: value for key, value in body.items() if value is not None})
        if stage == "deleted":
            self.client.make(f"{_API}/runs/delete", {"run_id": new})

    def _pairs(self, table: str, key: str, identity: str) -> list[tuple[str, str]]:
        query = f"SELECT key, value FROM {table} WHERE {key} = ? ORDER BY key"  # noqa: S608
        return [(str(name), _text(value)) for name, value in self.job.rows.ask(query, [identity])]


def _text(cell: rowbatch.Cell) -> str:
    return "" if cell is None else str(cell)


def _number(value: rowbatch.Cell) -> object:
    """JSON has no NaN; MLflow reads the word."""
    return "NaN" if shapes.is_nan(value) else value
