"""Registered models, prompts and their versions written to a server: the same numbers, with the gaps between them.

MLflow numbers versions itself, always on from the highest that ever was. A number that the snapshot does not have is
taken by a stand-in, which is deleted at once and carries a tag, so that a restore that was cut off finds it.
"""

from __future__ import annotations

import time
from typing import Any

from ddr.connectors.mlflow.over_rest import client as clients
from ddr.connectors.mlflow.over_rest import job as jobs
from ddr.connectors.mlflow.over_rest import mapping, registry, scheme
from ddr.errors import Conflict
from ddr.lib import rowbatch

_API = clients.API2
_COLUMNS = "version, description, source, run_id, run_link, current_stage, creation_timestamp, status"


class Models:
    def __init__(self, job: jobs.Job) -> None:
        self.job = job
        self.client = job.client
        self._rootless = mapping.rootless(job.rows)

    def all(self) -> None:
        todo = [one for one in self.job.scheme.models.values() if one.does != "leave"]
        self.job.run_together("registered models", todo, self._one)

    def _one(self, one: scheme.Decision) -> None:
        name = one.name
        query = "SELECT description, creation_timestamp, is_prompt FROM registered_models WHERE name = ?"
        description, created, is_prompt = self.job.rows.ask(query, [name])[0]
        tags = self._tags("registered_model_tags", "name = ?", [name])
        if one.does == "recreate":
            aside = f"{name} (replaced by ddr {time.strftime('%Y-%m-%d %H-%M-%S', time.gmtime())})"
            self.client.make(f"{_API}/registered-models/rename", {"name": name, "new_name": aside})
        if one.does in ("create", "recreate"):
            tags |= {mapping.SOURCE_ID: name, mapping.CREATED: str(created or 0)}
            body = {"name": name, "description": description or "", "tags": jobs.pairs(tags)}
            self.client.make(f"{_API}/registered-models/create", body)
        elif one.does == "update":
            body = {"name": name, "description": description or ""}
            self.client.make(f"{_API}/registered-models/update", body, "PATCH")
            for key, value in tags.items():
                self.client.make(f"{_API}/registered-models/set-tag", {"name": name, "key": key, "value": value})
        self._versions(one, is_prompt=bool(is_prompt))
        aliases = "SELECT alias, version FROM registered_model_aliases WHERE name = ?"
        there = dict(self.job.there.ask(aliases, [name])) if one.does in ("fill", "update") else {}
        for alias, version in self.job.rows.ask(aliases, [name]):
            if there.get(alias) != version and not (alias in there and one.does == "fill"):
                body = {"name": name, "alias": alias, "version": str(version)}
                self.client.make(f"{_API}/registered-models/alias", body)

    def _versions(self, one: scheme.Decision, *, is_prompt: bool) -> None:
        name = one.name
        there: set[int] = set()
        if one.does in ("fill", "update"):
            query = "SELECT version FROM model_version_tags WHERE name = ? AND key = ?"
            for (left,) in self.job.there.ask(query, [name, mapping.GAP]):
                self._delete(name, int(str(left)))
            there = {
                int(str(row[0]))
                for row in self.job.there.ask("SELECT version FROM model_versions WHERE name = ?", [name])
            }
        top = max(there, default=0)
        for row in self.job.rows.ask(f"SELECT {_COLUMNS} FROM model_versions WHERE name = ? ORDER BY version", [name]):  # noqa: S608
            number = int(str(row[0]))
            if number not in there and number > top:
                while (made := self._make(name, row, is_prompt=is_prompt, at=top + 1)) < number:
                    top = made
                if made > number:
                    self._delete(name, made)
                    raise Conflict(
                        f"version {number} of {name} cannot be made: the server goes on at {made}",
                        hint="others registered versions meanwhile, or had registered and deleted them: "
                        "restore with --policy recreate",
                    )
                top = number
                if (name, number) not in self._rootless:
                    self._stage(name, row)
            elif number in there and one.does == "update":
                self._update(name, row)
            elif number in there and self._stage_of(name, number) in ("", "None"):
                self._stage(name, row)  # a restore was cut off before it

    def _make(self, name: str, row: tuple[rowbatch.Cell, ...], *, is_prompt: bool, at: int) -> int:
        """The number that it got; below the wanted one it was a stand-in, and is gone."""
        number = int(str(row[0]))
        is_real = at == number and (name, number) not in self._rootless
        tags = {registry.PROMPT_TAG: "true", "mlflow.prompt.text": "-"} if is_prompt else {}
        body: dict[str, Any] = {"name": name, **self._source(row, is_prompt=is_prompt)}
        if (name, number) in self._rootless:
            body = {"name": name, "source": "s3://ddr/stand-in"}
        if is_real:
            tags = self._tags("model_version_tags", "name = ? AND version = ?", [name, number])
            tags |= {mapping.CREATED: str(row[6] or 0)}
        else:
            tags |= {mapping.GAP: "1"}
        made = self.client.make(f"{_API}/model-versions/create", {**body, "tags": jobs.pairs(tags)})
        got = int(made["model_version"]["version"])
        if not is_real or got < number:
            self._delete(name, got)
        return got

    def _source(self, row: tuple[rowbatch.Cell, ...], *, is_prompt: bool) -> dict[str, str]:
        description, source, run, link = (str(cell or "") for cell in row[1:5])
        if is_prompt:
            return {"source": source, "description": description}
        new = self.job.known.source(source)
        said = {"source": new, "description": description, "run_link": link}
        if run and run in self.job.known.runs:
            said["run_id"] = self.job.known.runs[run]
        if new.startswith("models:/m-"):
            said["model_id"] = new.removeprefix("models:/")
        return {key: value for key, value in said.items() if value}

    def marks(self) -> None:
        """What the server noted on logged models while versions were made of them, as the snapshot has it."""
        query = "SELECT model_id, value FROM logged_model_tags WHERE key = 'mlflow.modelVersions'"
        for old, value in self.job.rows.ask(query):
            new = self.job.known.models.get(str(old))
            if new:
                body = {"model_id": new, "tags": jobs.pairs({"mlflow.modelVersions": str(value)})}
                self.client.make(f"{_API}/logged-models/{new}/tags", body, "PATCH")

    def _stage(self, name: str, row: tuple[rowbatch.Cell, ...]) -> None:
        if row[5] not in (None, "", "None"):
            body = {"name": name, "version": str(row[0]), "stage": row[5], "archive_existing_versions": False}
            self.client.make(f"{_API}/model-versions/transition-stage", body)

    def _stage_of(self, name: str, number: int) -> str:
        query = "SELECT current_stage FROM model_versions WHERE name = ? AND version = ?"
        found = self.job.there.ask(query, [name, number])
        return str(found[0][0] or "") if found else ""

    def _update(self, name: str, row: tuple[rowbatch.Cell, ...]) -> None:
        of_version = {"name": name, "version": str(row[0])}
        self.client.make(f"{_API}/model-versions/update", {**of_version, "description": row[1] or ""}, "PATCH")
        for key, value in self._tags("model_version_tags", "name = ? AND version = ?", [name, row[0]]).items():
            self.client.make(f"{_API}/model-versions/set-tag", {**of_version, "key": key, "value": value})
        self._stage(name, row)

    def _delete(self, name: str, number: int) -> None:
        self.client.make(f"{_API}/model-versions/delete", {"name": name, "version": str(number)}, "DELETE")

    def _tags(self, table: str, where: str, values: list[rowbatch.Cell]) -> dict[str, str]:
        query = f"SELECT key, value FROM {table} WHERE {where} ORDER BY key"  # noqa: S608
        found = {str(key): str(value or "") for key, value in self.job.rows.ask(query, values)}
        return {key: value for key, value in found.items() if key not in (mapping.GAP, mapping.CREATED)}
