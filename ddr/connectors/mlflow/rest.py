"""MLflow's REST API, as of MLflow 3.

It has no compare-and-set: `move` and `promote` read, compare, set and read again, and between the first two another
client can slip in. Its write is then overwritten, and nothing shows it; a write that comes later is seen.

A version's files are the costly part of a look, one question each. The rule of RECALL_S: whoever asks with `recall` is
given what this process read of a version at most that long ago, while the version's row is the same and this process
has not switched to it since. Nobody else is: what `find` and `revision` return was read now.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ddr.connectors.mlflow import rest_files, transport
from ddr.errors import Conflict, Damaged, DdrError, InputError, Missing, Refused, Unavailable, Unsupported
from ddr.lib import endpoint, redact

_API = "/api/2.0/mlflow"
_PAGE = "200"
RECALL_S = 2.0
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
    """`seen` are the files that were read already, for the life of this process; `places` and `runs` are answers
    that stay true: MLflow never moves a version's files, and a finished run keeps its commit and data."""

    server: endpoint.Endpoint
    seen: rest_files.Seen = field(default_factory=dict, repr=False, compare=False)
    recent: MutableMapping[tuple[str, ...], tuple[float, transport.Files]] = field(
        default_factory=dict, repr=False, compare=False
    )
    """By the key of a version: when its files were asked for last, on the clock of `time.monotonic`, and the answer."""
    places: MutableMapping[tuple[str, ...], str] = field(default_factory=dict, repr=False, compare=False)
    runs: MutableMapping[str, transport.Run] = field(default_factory=dict, repr=False, compare=False)
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
            {str(entry.get("current_stage", "")): str(entry["version"]) for entry in found.get("latest_versions", ())},
        )

    def versions(self, name: str, only: str = "") -> Sequence[transport.Version]:
        with self.server.session() as line:
            if only:
                query = {"name": name, "version": only}
                return (_version(self._call(line, "GET", "/model-versions/get", query)["model_version"]),)
            found = [_version(entry) for entry in self._search(line, name)]
            if not found:  # a model that is not there has no versions either
                self._call(line, "GET", "/registered-models/get", {"name": name})
        return tuple(sorted(found, key=lambda version: int(version.number)))

    def aliased(self, name: str, alias: str) -> transport.Version | None:
        with self.server.session() as line:
            try:
                found = self._call(line, "GET", "/registered-models/alias", {"name": name, "alias": alias})
            except (Missing, Unsupported):
                return None
        entry = found["model_version"]
        # A database that tells no upper from lower case answers for another alias as well.
        return _version(entry) if alias in entry.get("aliases", ()) else None

    def files(self, version: transport.Version, *, recall: bool = False) -> transport.Files:
        key = (version.model, version.number, version.created_at.isoformat(), version.source, version.run)
        began = time.monotonic()
        asked, known = self.recent.get(key, (0.0, None))
        if recall and known is not None and began - asked <= RECALL_S:
            return known
        files = self._files(version, key)
        self.recent[key] = (began, files)
        return files

    def _files(self, version: transport.Version, key: tuple[str, ...]) -> transport.Files:
        of_version = {"name": version.model, "version": version.number}
        location = self.places.get(key, "")
        if not location:
            with self.server.session() as line:
                location = str(self._call(line, "GET", "/model-versions/get-download-uri", of_version)["artifact_uri"])
            self.places[key] = location
        logged = version.source.removeprefix("models:/")
        place: rest_files.Place
        if location.startswith("mlflow-artifacts:"):
            place = rest_files.Proxied(location)
        elif version.source.startswith(transport.LOGGED_MODEL):
            place = rest_files.Logged(logged, of_version)
        else:
            return transport.Files(unread=f"the server does not hand out files of {location}")
        files = rest_files.Reading(self.server, place, self.refused, self.seen).files()
        if not files.entries:
            raise Damaged(
                f"version {version.number} of {version.model} has no files in {location}",
                hint="restore them from a backup, or go back to another version",
            )
        return files

    def run(self, identity: str) -> transport.Run:
        if identity in self.runs:
            return self.runs[identity]
        with self.server.session() as line:
            try:
                found = self._call(line, "GET", "/runs/get", {"run_id": identity}).get("run", {})
            except Missing:
                return transport.Run()
        tags = _tags(found.get("data", {}))
        sets = [entry.get("dataset", {}) for entry in found.get("inputs", {}).get("dataset_inputs", ())]
        data = {f"{one.get('name', '')}@{one.get('digest', '')}" for one in sets}
        run = transport.Run(tags.get(transport.COMMIT_TAG, ""), tuple(sorted(data)))
        if found.get("info", {}).get("status") == "FINISHED":
            self.runs[identity] = run
        return run

    def move(self, name: str, alias: str, expect: str, to: str) -> transport.Version | None:
        last: list[transport.Version | None] = []

        def seen() -> str:
            last[:] = [self.aliased(name, alias)]
            return last[0].number if last[0] else self.model(name).aliases.get(alias, "nothing")

        body = {"name": name, "alias": alias, "version": to}
        self._set(f"{name}@{alias}", expect, to, seen, "/registered-models/alias", body)
        return last[0]

    def promote(self, name: str, stage: str, expect: str, to: str) -> None:
        self.versions(name, only=to)

        def seen() -> str:
            return self.model(name).stages.get(stage, "nothing")

        body = {"name": name, "version": to, "stage": stage, "archive_existing_versions": True}
        self._set(f"stage {stage} of {name}", expect, to, seen, "/model-versions/transition-stage", body)

    def _set(
        self, what: str, expect: str, to: str, seen: Callable[[], str], path: str, body: Mapping[str, object]
    ) -> None:
        """Read, compare, set, read again: all that this API allows."""
        found = seen()
        if found != expect:
            raise transport.moved(what, expect, found)
        for key in [key for key in self.recent if key[:2] == (body["name"], to)]:
            del self.recent[key]  # what is switched to is read anew behind the switch
        with self.server.session() as line:
            self._call(line, "POST", path, body=body)
        found = seen()
        if found != to:
            raise Conflict(
                f"{what} was set to {to}, and another moved it to {found} at the same moment",
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
            who = "in ddr.yaml `token: ${env:MLFLOW_TRACKING_TOKEN}`, or username and password, of one who may do this"
            return Refused(text, hint=who)
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
