"""The smaller things of a server: scorers, evaluation data sets, webhooks, label schemas, names of gateway secrets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ddr.connectors.mlflow.over_rest import client as clients
from ddr.connectors.mlflow.over_rest import listing, shapes, spool
from ddr.domain import snapshots
from ddr.errors import DdrError
from ddr.ports import restorable

_PAGE = 100
_LISTS = (
    ("gateway endpoint", "gateway/endpoints/list", "endpoints", ("endpoint_id", "id", "name")),
    ("gateway model", "gateway/model-definitions/list", "model_definitions", ("model_definition_id", "id", "name")),
    ("gateway budget", "gateway/budgets/list", "budget_policies", ("budget_policy_id", "id")),
)
_WHERE_KEYS_ARE = "the AI gateway of MLflow: its API gives no values"


@dataclass
class Others:
    """`absent` gathers what this server does not offer."""

    client: clients.Client
    rows: spool.Spool
    doubts: listing.Doubts
    sink: restorable.Sink | None = None
    absent: list[str] = field(default_factory=list)

    def all(self) -> None:
        self._try("scorers", self._scorers)
        self._try("label schemas", self._label_schemas)
        self._try("evaluation datasets", self._datasets)
        self._try("webhooks", self._webhooks)
        self._try("the AI gateway", self._gateway)

    def _try(self, what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except clients.NotOffered:
            self.absent.append(what)
        except DdrError as problem:
            self.doubts.add(f"{what}: {problem.message}")

    def _active(self) -> list[str]:
        query = "SELECT experiment_id FROM experiments WHERE lifecycle_stage = 'active' ORDER BY 1"
        return [str(row[0]) for row in self.rows.ask(query)]

    def _scorers(self) -> None:
        def of(experiment: str) -> None:
            said = self.client.get(f"{clients.API3}/scorers/list", {"experiment_id": experiment})
            for name in {str(one["scorer_name"]) for one in said.get("scorers", ())}:
                query = {"experiment_id": experiment, "name": name}
                versions = self.client.get(f"{clients.API3}/scorers/versions", query).get("scorers", ())
                self.rows.add("scorers", (_scorer(one) for one in versions))

        for _ in self.client.each(self._active(), of):
            pass

    def _label_schemas(self) -> None:
        def of(experiment: str) -> None:
            def ask(token: str) -> Mapping[str, Any]:
                query = {"experiment_id": experiment, "max_results": str(self.client.page(_PAGE))}
                return self.client.get(f"{clients.API3}/label-schemas/list", {**query, **_token(token)})

            for page in self.client.pages(ask, "label_schemas"):
                self._keep("label schema", page, ("label_schema_id", "schema_id", "name"))

        for _ in self.client.each(self._active(), of):
            pass

    def _datasets(self) -> None:
        def ask(token: str) -> Mapping[str, Any]:
            body = {"max_results": self.client.page(_PAGE), **_token(token)}
            return self.client.look(f"{clients.API3}/datasets/search", body)

        for page in self.client.pages(ask, "datasets"):
            for said in page:
                identity = str(said["dataset_id"])
                where = f"{clients.API3}/datasets/{identity}"
                experiments = self.client.get(f"{where}/experiment-ids").get("experiment_ids", ())
                tags = shapes.text(json.loads(said.get("tags") or "{}"))
                known = {"experiment_ids": shapes.text(sorted(map(str, experiments))), "tags": tags}
                self.rows.add("evaluation_datasets", [shapes.row("evaluation_datasets", said, ("records",), **known)])
                self.rows.add("evaluation_dataset_records", self._records(identity, where))
                self._count(said, identity)

    def _records(self, identity: str, where: str) -> Iterator[shapes.Row]:
        def ask(token: str) -> Mapping[str, Any]:
            said = self.client.get(f"{where}/records", {"max_results": str(self.client.page(1000)), **_token(token)})
            return {**said, "records": json.loads(said.get("records") or "[]")}

        for page in self.client.pages(ask, "records"):
            for one in page:
                yield identity, str(one["dataset_record_id"]), shapes.text(one)

    def _count(self, said: Mapping[str, Any], identity: str) -> None:
        expected = json.loads(said.get("profile") or "{}").get("num_records")
        query = "SELECT COUNT(*) FROM evaluation_dataset_records WHERE dataset_id = ?"
        found = self.rows.ask(query, [identity])[0][0]
        if expected is not None and expected != found:
            self.doubts.add(f"dataset {said.get('name')!r} has {expected} records, the server gives {found}")

    def _webhooks(self) -> None:
        def ask(token: str) -> Mapping[str, Any]:
            query = {"max_results": str(self.client.page(_PAGE)), **_token(token)}
            return self.client.get(f"{clients.API2}/webhooks", query)

        for page in self.client.pages(ask, "webhooks"):
            for said in page:
                host = urlsplit(str(said.get("url") or "")).hostname or ""
                events = shapes.text([f"{one.get('entity')} {one.get('action')}" for one in said.get("events", ())])
                row = shapes.row("webhooks", said, ("url",), host=host, events=events)
                self.rows.add("webhooks", [row])
                if self.sink is not None:  # the address of a hook is often its password, so only the host is kept
                    self.sink.redacted(
                        f"webhook {said.get('name')!r}: its address at {host} and its secret; make it again by hand"
                    )

    def _gateway(self) -> None:
        said = self.client.get(f"{clients.API3}/gateway/secrets/list")
        for one in said.get("secrets", ()):
            name = str(one.get("secret_name") or one.get("name") or one.get("secret_id"))
            if self.sink is not None:
                self.sink.reference(snapshots.Reference(name, "MLflow gateway secret", (), _WHERE_KEYS_ARE))
        for kind, path, key, identities in _LISTS:
            self._keep(kind, self.client.get(f"{clients.API3}/{path}").get(key, ()), identities)

    def _keep(self, kind: str, said: Sequence[Mapping[str, Any]], identities: Sequence[str]) -> None:
        rows = []
        for one in said:
            identity = next((str(one[name]) for name in identities if one.get(name)), shapes.text(one))
            rows.append((kind, identity, shapes.text(one)))
        self.rows.add("other_objects", rows)


def _scorer(said: Mapping[str, Any]) -> shapes.Row:
    return shapes.row(
        "scorers",
        said,
        ("scorer_name", "scorer_version", "serialized_scorer"),
        experiment_id=str(said["experiment_id"]),
        name=str(said["scorer_name"]),
        version=int(said["scorer_version"]),
        serialized=str(said["serialized_scorer"]),
    )


def _token(token: str) -> Mapping[str, str]:
    return {"page_token": token} if token else {}
