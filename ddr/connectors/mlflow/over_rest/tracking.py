"""Experiments, runs and logged models into the spool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddr.connectors.mlflow.over_rest import client as clients
from ddr.connectors.mlflow.over_rest import listing, shapes, spool

_EXPERIMENTS_PAGE, _RUNS_PAGE, _MODELS_PAGE = 1000, 500, 50
_OF_EXPERIMENT = ("tags", "workspace")
_OF_RUN = ("run_uuid",)
_OF_MODEL = ("tags", "registrations", "artifact_location")


@dataclass(frozen=True)
class Tracking:
    """`only` are the names of the experiments that are wanted, None is all."""

    client: clients.Client
    rows: spool.Spool
    doubts: listing.Doubts
    began_ms: int
    only: frozenset[str] | None = None

    def experiments(self) -> None:
        def pages(is_reversed: bool) -> Iterator[Sequence[listing.Said]]:
            def ask(token: str) -> Mapping[str, Any]:
                body = {
                    "max_results": self.client.page(_EXPERIMENTS_PAGE),
                    "view_type": "ALL",
                    "order_by": ["creation_time DESC" if is_reversed else "creation_time ASC"],
                    **_token(token),
                }
                return self.client.look(f"{clients.API2}/experiments/search", body)

            return self.client.pages(ask, "experiments")

        listing.both_ends(
            "experiments",
            pages,
            lambda said: str(said["experiment_id"]),
            self._take_experiments,
            self.doubts,
            lambda said: int(said.get("creation_time") or 0),
            self.began_ms,
        )

    def runs(self) -> None:
        """Of every experiment, in every stage of life."""
        for _ in self.client.each(self._experiment_ids(), self._runs_of):
            pass

    def logged_models(self) -> None:
        """Those that are not deleted: the API does not name the others."""
        for _ in self.client.each(self._experiment_ids(), self._models_of):
            pass

    def model_inputs(self) -> None:
        """Which logged models a run read: `runs/search` leaves that out, so where there are any each run is asked."""
        if self.rows.count("logged_models"):
            for _ in self.client.each(sorted(map(str, self.rows.keys("runs"))), self._inputs_of):
                pass

    def _inputs_of(self, run: str) -> None:
        said = self.client.get(f"{clients.API2}/runs/get", {"run_id": run}).get("run") or {}
        links = (said.get("inputs") or {}).get("model_inputs", ())
        self.rows.add("run_models", (shapes.row("run_models", link, run_id=run, direction="input") for link in links))

    def _experiment_ids(self) -> list[str]:
        return sorted(map(str, self.rows.keys("experiments")))

    def _take_experiments(self, said: Sequence[listing.Said]) -> None:
        wanted = [one for one in said if self.only is None or one.get("name") in self.only]
        self.rows.add("experiments", (shapes.row("experiments", one, _OF_EXPERIMENT) for one in wanted))
        self.rows.add("experiment_tags", _pairs(wanted, "experiment_id", "tags"))

    def _runs_of(self, experiment: str) -> None:
        def pages(is_reversed: bool) -> Iterator[Sequence[listing.Said]]:
            def ask(token: str) -> Mapping[str, Any]:
                body = {
                    "experiment_ids": [experiment],
                    "run_view_type": "ALL",
                    "max_results": self.client.page(_RUNS_PAGE),
                    "order_by": ["attributes.start_time DESC" if is_reversed else "attributes.start_time ASC"],
                    **_token(token),
                }
                return self.client.look(f"{clients.API2}/runs/search", body)

            return self.client.pages(ask, "runs")

        listing.both_ends(
            f"runs of experiment {experiment}",
            pages,
            lambda said: str(said["info"]["run_id"]),
            self._take_runs,
            self.doubts,
            lambda said: int(said["info"].get("start_time") or 0),
            self.began_ms,
        )

    def _take_runs(self, said: Sequence[listing.Said]) -> None:
        infos = [one["info"] for one in said]
        datas = [{**one.get("data", {}), "run_id": one["info"]["run_id"]} for one in said]
        self.rows.add("runs", (shapes.row("runs", info, _OF_RUN) for info in infos))
        self.rows.add("run_params", _pairs(datas, "run_id", "params"))
        self.rows.add("run_tags", _pairs(datas, "run_id", "tags"))
        self.rows.add(
            "run_metrics",
            (
                shapes.row("run_metrics", metric, run_id=data["run_id"])
                for data in datas
                for metric in data.get("metrics", ())
            ),
        )
        for one in said:
            run = str(one["info"]["run_id"])
            inputs, outputs = one.get("inputs") or {}, one.get("outputs") or {}
            self.rows.add("run_inputs", (_input(run, given) for given in inputs.get("dataset_inputs", ())))
            links = (
                shapes.row("run_models", link, run_id=run, direction="output")
                for link in outputs.get("model_outputs", ())
            )
            self.rows.add("run_models", links)

    def _models_of(self, experiment: str) -> None:
        def pages(is_reversed: bool) -> Iterator[Sequence[listing.Said]]:
            def ask(token: str) -> Mapping[str, Any]:
                body = {
                    "experiment_ids": [experiment],
                    "max_results": self.client.page(_MODELS_PAGE),
                    "order_by": [{"field_name": "creation_timestamp", "ascending": not is_reversed}],
                    **_token(token),
                }
                return self.client.look(f"{clients.API2}/logged-models/search", body)

            return self.client.pages(ask, "models")

        listing.both_ends(
            f"logged models of experiment {experiment}",
            pages,
            lambda said: str(said["info"]["model_id"]),
            self._take_models,
            self.doubts,
            lambda said: int(said["info"].get("creation_timestamp_ms") or 0),
            self.began_ms,
        )

    def _take_models(self, said: Sequence[listing.Said]) -> None:
        infos = [one["info"] for one in said]
        datas = [{**(one.get("data") or {}), "model_id": one["info"]["model_id"]} for one in said]
        self.rows.add("logged_models", (shapes.row("logged_models", info, _OF_MODEL) for info in infos))
        self.rows.add("logged_model_tags", _pairs(infos, "model_id", "tags"))
        self.rows.add("logged_model_params", _pairs(datas, "model_id", "params"))
        self.rows.add(
            "logged_model_metrics",
            (
                shapes.row("logged_model_metrics", metric, model_id=data["model_id"])
                for data in datas
                for metric in data.get("metrics", ())
            ),
        )


def _token(token: str) -> Mapping[str, str]:
    return {"page_token": token} if token else {}


def _pairs(said: Iterable[Mapping[str, Any]], identity: str, part: str) -> Iterator[shapes.Row]:
    return ((one[identity], key, value) for one in said for key, value in shapes.pairs(one.get(part)).items())


def _input(run: str, given: Mapping[str, Any]) -> shapes.Row:
    tags = shapes.text(shapes.pairs(given.get("tags")))
    return shapes.row("run_inputs", given.get("dataset") or {}, run_id=run, tags=tags)
