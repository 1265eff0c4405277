"""Registered models, prompts, their versions and aliases into the spool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddr.connectors.mlflow.over_rest import client as clients
from ddr.connectors.mlflow.over_rest import listing, shapes, spool

PROMPT_TAG = "mlflow.prompt.is_prompt"
_MODELS_PAGE, _VERSIONS_PAGE = 200, 1000
_FILTERS = ("", f"tags.`{PROMPT_TAG}` = 'true'")
"""The search leaves prompts out, unless it is asked for them."""


@dataclass(frozen=True)
class Registry:
    """`only` are the names that are wanted, None is all."""

    client: clients.Client
    rows: spool.Spool
    doubts: listing.Doubts
    began_ms: int
    only: frozenset[str] | None = None

    def models(self) -> None:
        for number, chosen in enumerate(_FILTERS):

            def pages(is_reversed: bool, chosen: str = chosen) -> Iterator[Sequence[listing.Said]]:
                def ask(token: str) -> Mapping[str, Any]:
                    query = [("max_results", str(self.client.page(_MODELS_PAGE)))]
                    query += [("order_by", "name DESC" if is_reversed else "name ASC")]
                    query += [("filter", chosen)] if chosen else []
                    query += [("page_token", token)] if token else []
                    return self.client.get(f"{clients.API2}/registered-models/search", query)

                return self.client.pages(ask, "registered_models")

            listing.both_ends(
                "prompts" if number else "registered models",
                pages,
                lambda said: str(said["name"]),
                self._take_models,
                self.doubts,
                lambda said: int(said.get("creation_timestamp") or 0),
                self.began_ms,
            )

    def versions(self) -> None:
        """Of every model, those that are not deleted; then what aliases and the models themselves name."""
        names = sorted(map(str, self.rows.keys("registered_models")))
        for _ in self.client.each(names, self._versions_of):
            pass
        lost = self.rows.ask(
            "SELECT a.name, a.alias, a.version FROM registered_model_aliases a LEFT JOIN model_versions v "
            "ON v.name = a.name AND v.version = a.version WHERE v.name IS NULL ORDER BY 1, 2"
        )
        for name, alias, version in lost:
            self.doubts.add(f"{name}@{alias} names version {version}, which the server does not list")

    def _take_models(self, said: Sequence[listing.Said]) -> None:
        wanted = [one for one in said if self.only is None or one.get("name") in self.only]
        for one in wanted:
            tags = shapes.pairs(one.get("tags"))
            name = str(one["name"])
            row = shapes.row(
                "registered_models",
                one,
                ("tags", "aliases", "latest_versions"),
                description=str(one.get("description") or ""),
                is_prompt=tags.get(PROMPT_TAG) == "true",
            )
            self.rows.add("registered_models", [row])
            self.rows.add("registered_model_tags", ((name, key, value) for key, value in tags.items()))
            aliases = ((name, str(alias["alias"]), int(alias["version"])) for alias in one.get("aliases", ()))
            self.rows.add("registered_model_aliases", aliases)

    def _versions_of(self, name: str) -> None:
        quote = '"' if "'" in name else "'"
        chosen = f"name = {quote}{name}{quote}"
        if self.rows.ask("SELECT 1 FROM registered_models WHERE name = ? AND is_prompt", [name]):
            chosen += f" AND {_FILTERS[1]}"

        def pages(is_reversed: bool) -> Iterator[Sequence[listing.Said]]:
            def ask(token: str) -> Mapping[str, Any]:
                query = [("filter", chosen), ("max_results", str(self.client.page(_VERSIONS_PAGE)))]
                query += [("order_by", "version_number DESC" if is_reversed else "version_number ASC")]
                query += [("page_token", token)] if token else []
                return self.client.get(f"{clients.API2}/model-versions/search", query)

            return self.client.pages(ask, "model_versions")

        listing.both_ends(
            f"versions of {name}",
            pages,
            lambda said: str(said["version"]),
            self._take_versions,
            self.doubts,
            lambda said: int(said.get("creation_timestamp") or 0),
            self.began_ms,
        )

    def _take_versions(self, said: Sequence[listing.Said]) -> None:
        for one in said:
            tags = shapes.pairs(one.get("tags"))
            name, version = str(one["name"]), int(one["version"])
            row = shapes.row(
                "model_versions",
                one,
                ("tags", "aliases"),
                description=str(one.get("description") or ""),
                run_id=str(one.get("run_id") or ""),
                run_link=str(one.get("run_link") or ""),
                location=self._location(one) if tags.get(PROMPT_TAG) != "true" else "",
            )
            self.rows.add("model_versions", [row])
            self.rows.add("model_version_tags", ((name, version, key, value) for key, value in tags.items()))

    def _location(self, said: Mapping[str, Any]) -> str:
        """Where the server finds the files; a logged model's are its own."""
        source = str(said.get("source") or "")
        if not source.startswith(("runs:", "models:")) or source.startswith("models:/m-"):
            return source
        query = {"name": str(said["name"]), "version": str(said["version"])}
        return str(self.client.get(f"{clients.API2}/model-versions/get-download-uri", query).get("artifact_uri") or "")
