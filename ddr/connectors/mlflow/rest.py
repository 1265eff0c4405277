"""MLflow's REST API, as of MLflow 3.

It has no compare-and-set: `move` reads, compares, sets and reads again, and between the first two another client can
slip in. Its write is then overwritten, and nothing shows it; a write that comes later is seen.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddr.connectors.mlflow import transport
from ddr.errors import Conflict, Damaged, DdrError, InputError, Missing, Refused, Unavailable, Unsupported
from ddr.lib import digest, endpoint, redact

_API = "/api/2.0/mlflow"
_PROXY = "/api/2.0/mlflow-artifacts/artifacts"
_PAGE = "200"
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # a missing alias is reported as the latter


def headers(*, username: str, password: str, token: str) -> Mapping[str, str]:
    """The header that says who asks; nothing without a token or a user name."""
    if token:
        return {"Authorization": f"Bearer {token}"}
    if username:
        return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}
    return {}


@dataclass(frozen=True)
class RestTransport:
    server: endpoint.Endpoint
    is_atomic = False

    @property
    def where(self) -> str:
        return self.server.name

    def schema(self) -> str:
        answer = self.server.ask("GET", "/version")
        if answer.status != 200 or len(answer.body) > 40:
            raise self.refused(answer, "GET /version")
        return f"server {answer.text()}"

    def model(self, name: str) -> transport.Model:
        with self.server.session() as line:
            found = self._call(line, "GET", "/registered-models/get", {"name": name})["registered_model"]
        return transport.Model(
            name,
            {str(entry["alias"]): str(entry["version"]) for entry in found.get("aliases", ())},
            _tags(found),
        )

    def versions(self, name: str, only: str = "") -> Sequence[transport.Version]:
        with self.server.session() as line:
            if only:
                query = {"name": name, "version": only}
                return (_version(self._call(line, "GET", "/model-versions/get", query)["model_version"]),)
            self._call(line, "GET", "/registered-models/get", {"name": name})  # a search finds nothing and says nothing
            found = [_version(entry) for entry in self._search(line, name)]
        return tuple(sorted(found, key=lambda version: int(version.number)))

    def files(self, version: transport.Version) -> transport.Files:
        of_version = {"name": version.model, "version": version.number}
        with self.server.session() as line:
            location = str(self._call(line, "GET", "/model-versions/get-download-uri", of_version)["artifact_uri"])
            logged = version.source.removeprefix("models:/")
            if location.startswith("mlflow-artifacts:"):
                entries, mlmodel = self._read(line, _Proxied(location))
            elif version.source.startswith(transport.LOGGED_MODEL):
                entries, mlmodel = self._read(line, _Logged(logged, of_version))
            else:
                return transport.Files(unread=f"the server does not hand out files of {location}")
        if not entries:
            raise Damaged(
                f"version {version.number} of {version.model} has no files in {location}",
                hint="restore them from a backup, or go back to another version",
            )
        return transport.Files(entries, mlmodel)

    def move(self, name: str, alias: str, expect: str, to: str) -> None:
        self.versions(name, only=to)
        found = self.model(name).aliases.get(alias, "nothing")
        if found != expect:
            raise Conflict(
                f"{name}@{alias} is at {found}, not at {expect}; nothing was changed",
                expected=expect,
                found=found,
                hint="someone moved it since the plan: plan again",
            )
        with self.server.session() as line:
            self._call(line, "POST", "/registered-models/alias", body={"name": name, "alias": alias, "version": to})
        found = self.model(name).aliases.get(alias, "nothing")
        if found != to:
            raise Conflict(
                f"{name}@{alias} was set to {to}, and another moved it to {found} at the same moment",
                expected=to,
                found=found,
                hint="find out who moves it, freeze promotions, then plan again",
            )

    def tag(self, name: str, number: str, key: str, value: str | None) -> None:
        kind = "/model-versions" if number else "/registered-models"
        body = {"name": name, "key": key, **({"version": number} if number else {})}
        with self.server.session() as line:
            if value is None:
                self._call(line, "DELETE", f"{kind}/delete-tag", body=body)
            else:
                self._call(line, "POST", f"{kind}/set-tag", body={**body, "value": value})

    def _search(self, line: endpoint.Line, name: str) -> Iterator[Mapping[str, Any]]:
        quote = '"' if "'" in name else "'"
        query = {"filter": f"name = {quote}{name}{quote}", "max_results": _PAGE}
        while True:
            page = self._call(line, "GET", "/model-versions/search", query)
            yield from page.get("model_versions", ())
            if not page.get("next_page_token"):
                return
            query["page_token"] = page["next_page_token"]

    def _read(self, line: endpoint.Line, place: _Proxied | _Logged) -> tuple[dict[str, str], bytes | None]:
        """Every file's digest, streamed: a model may be larger than memory."""
        entries: dict[str, str] = {}
        mlmodel: bytes | None = None
        for name in self._names(line, place, ""):
            content: list[bytes] = []
            hashed = hashlib.sha256()

            def take(chunk: bytes, hashed: Any = hashed, content: list[bytes] = content, name: str = name) -> None:
                hashed.update(chunk)
                if name == transport.MLMODEL:
                    content.append(chunk)

            path, query = place.file(name)
            answer = line.ask("GET", path, query, sink=take)
            if answer.status != 200:
                raise self.refused(answer, f"GET {path}")
            entries[name] = digest.PREFIX + hashed.hexdigest()
            mlmodel = b"".join(content) if name == transport.MLMODEL else mlmodel
        return entries, mlmodel

    def _names(self, line: endpoint.Line, place: _Proxied | _Logged, folder: str) -> Iterator[str]:
        path, query = place.listing(folder)
        for entry in self._json(line, "GET", path, query).get("files", ()):
            name = folder + str(entry["path"]).rstrip("/").rpartition("/")[2]
            if entry.get("is_dir"):
                yield from self._names(line, place, f"{name}/")
            else:
                yield name

    def _call(
        self,
        line: endpoint.Line,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
    ) -> dict[str, Any]:
        return self._json(line, method, _API + path, query, body)

    def _json(
        self, line: endpoint.Line, method: str, path: str, query: Mapping[str, str] | None, body: object = None
    ) -> dict[str, Any]:
        answer = line.ask(method, path, query, body)
        value = answer.value()
        if answer.status == 200 and isinstance(value, dict):
            return value
        raise self.refused(answer, f"{method} {path}")

    def refused(self, answer: endpoint.Answer, what: str) -> DdrError:
        value = answer.value()
        said = value if isinstance(value, dict) else {}
        code = str(said.get("error_code", ""))
        message = redact.foreign(said.get("message", ""))
        text = f"{self.where}: {what}: {answer.status} {code or answer.text()}: {message}".rstrip(": ")
        if answer.status in (401, 403):
            return Refused(text, hint="give username and password, or a token, that may do this")
        if 300 <= answer.status < 400:
            to = answer.headers.get("Location", answer.headers.get("location", "elsewhere"))
            return InputError(f"{self.where} redirects to {to}", hint="write the final address in `tracking`")
        if code in _ABSENT:
            return Missing(f"{self.where}: {message or code}", hint="look at the names in ddr.yaml")
        if answer.status == 429 or answer.status >= 500:
            return Unavailable(text, hint="look at the server's log, then try again")
        if code:
            return Unsupported(text, hint="ddr speaks to MLflow 3.17")
        return InputError(f"{text[:200]}: no MLflow answers there", hint="correct `tracking`")


@dataclass(frozen=True)
class _Proxied:
    """Files under `mlflow-artifacts:/...`, which the server keeps for its clients."""

    location: str

    @property
    def _root(self) -> str:
        rest = self.location.removeprefix("mlflow-artifacts:")
        return (rest.removeprefix("//").partition("/")[2] if rest.startswith("//") else rest).strip("/")

    def listing(self, folder: str) -> tuple[str, Mapping[str, str]]:
        return _PROXY, {"path": f"{self._root}/{folder}".rstrip("/")}

    def file(self, name: str) -> tuple[str, Mapping[str, str]]:
        return f"{_PROXY}/{self._root}/{name}", {}


@dataclass(frozen=True)
class _Logged:
    """Files of a logged model, wherever the server itself reads them."""

    model_id: str
    of_version: Mapping[str, str]

    def listing(self, folder: str) -> tuple[str, Mapping[str, str]]:
        query = {"artifact_directory_path": folder.rstrip("/")} if folder else {}
        return f"{_API}/logged-models/{self.model_id}/artifacts/directories", query

    def file(self, name: str) -> tuple[str, Mapping[str, str]]:
        return "/model-versions/get-artifact", {**self.of_version, "path": name}


def _tags(entry: Mapping[str, Any]) -> Mapping[str, str]:
    return {str(tag["key"]): str(tag.get("value", "")) for tag in entry.get("tags", ())}


def _version(entry: Mapping[str, Any]) -> transport.Version:
    return transport.Version(
        model=str(entry["name"]),
        number=str(entry["version"]),
        created_at=transport.time_of(entry.get("creation_timestamp")),
        source=str(entry.get("source", "")),
        run=str(entry.get("run_id", "")),
        status=str(entry.get("status", "")),
        stage=str(entry.get("current_stage", "")),
        user=str(entry.get("user_id", "")),
        tags=_tags(entry),
    )
