"""A registry's HTTP API, as far as reading goes: manifests and blobs by digest, each held against its digest.

Without an `Accept` of all four types a registry answers 404 for a manifest that is there.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from ddr.errors import Damaged, DdrError, InputError, Missing, Refused, Unavailable, Unsupported
from ddr.lib import digest, endpoint, redact

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
IMAGES = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_ACCEPT = {"Accept": ", ".join((*INDEXES, *IMAGES))}
_REDIRECTS = (301, 302, 303, 307, 308)
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_NEXT = "push the image again, or go back to another one"


@dataclass(frozen=True)
class Manifest:
    """`content` are its raw bytes, whose digest it is named by."""

    digest: str
    content: bytes
    kind: str


@dataclass(frozen=True)
class Registry:
    """`endpoint` has no credentials: a login gives a token for one repository, which is remembered in `logins`."""

    endpoint: endpoint.Endpoint
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    logins: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @contextmanager
    def opened(self, repository: str) -> Iterator[Repository]:
        with self.endpoint.session() as line:
            yield Repository(self, line, repository)


@dataclass(frozen=True)
class Repository:
    """One repository on one connection. Everything may raise Unavailable and Refused."""

    registry: Registry
    line: endpoint.Line
    name: str

    def manifest(self, reference: str) -> Manifest:
        """By tag or digest. Missing; Damaged when its bytes are not those of the digest; Unsupported before v2."""
        answer = self._ask("GET", f"manifests/{reference}", _ACCEPT)
        what = f"{self.name}{'@' if ':' in reference else ':'}{reference}"
        if answer.status != 200:
            raise self._refused(answer, what)
        found = digest.of_bytes(answer.body)
        for said in (reference if ":" in reference else "", _header(answer, "Docker-Content-Digest")):
            if said.startswith(digest.PREFIX) and said != found:
                raise Damaged(f"{what}: the registry says {said} and sends {found}", hint=_NEXT)
        value = answer.value()
        kind = str(value.get("mediaType", "")) if isinstance(value, dict) else ""
        kind = kind or _header(answer, "Content-Type").partition(";")[0].strip()
        if kind not in (*INDEXES, *IMAGES):
            raise Unsupported(
                f"{what} is {kind or 'of no kind that is named'}", hint="push it again as OCI or Docker v2"
            )
        return Manifest(found, answer.body, kind)

    def digest_of(self, tag: str) -> str:
        """What a tag points at now, by its header alone; '' when there is no such tag."""
        answer = self._ask("HEAD", f"manifests/{tag}", _ACCEPT)
        if answer.status == 404:
            return ""
        if answer.status != 200:
            raise self._refused(answer, f"{self.name}:{tag}")
        return _header(answer, "Docker-Content-Digest")

    def has_blob(self, wanted: str) -> bool:
        answer = self._ask("HEAD", f"blobs/{wanted}")
        if answer.status == 404:
            return False
        if answer.status != 200 and answer.status not in _REDIRECTS:
            raise self._refused(answer, f"{self.name}@{wanted}")
        return True

    def blob(self, wanted: str) -> bytes:
        """A small one: an image's configuration. Missing, Damaged."""
        answer = self._ask("GET", f"blobs/{wanted}")
        if answer.status in _REDIRECTS:
            answer = self._elsewhere(_header(answer, "Location"))
        if answer.status != 200:
            raise self._refused(answer, f"{self.name}@{wanted}")
        if digest.of_bytes(answer.body) != wanted:
            raise Damaged(f"{self.name}@{wanted}: the registry sends other bytes", hint=_NEXT)
        return answer.body

    def _elsewhere(self, location: str) -> endpoint.Answer:
        """The store that a registry sends its readers to: it gets no credentials, the address has its own."""
        parts = urlsplit(location)
        if not parts.netloc:
            return self.line.ask("GET", parts.path, parse_qsl(parts.query), headers=self._login())
        there = endpoint.Endpoint(f"{parts.scheme}://{parts.netloc}", self.registry.endpoint.timeout_s)
        with there.session() as line:
            return line.ask("GET", parts.path, parse_qsl(parts.query))

    def _ask(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> endpoint.Answer:
        said = dict(headers or {})
        answer = self.line.ask(method, f"/v2/{self.name}/{path}", headers={**said, **self._login()})
        if answer.status != 401:
            return answer
        self.registry.logins[self.name] = self._logged_in(_header(answer, "WWW-Authenticate"))
        return self.line.ask(method, f"/v2/{self.name}/{path}", headers={**said, **self._login()})

    def _login(self) -> Mapping[str, str]:
        known = self.registry.logins.get(self.name) or (f"Bearer {self.registry.token}" if self.registry.token else "")
        return {"Authorization": known} if known else {}

    def _logged_in(self, challenge: str) -> str:
        """What a registry wants to hear that answered 401."""
        kind = challenge.partition(" ")[0].lower()
        who = self.registry
        basic = base64.b64encode(f"{who.username}:{who.password}".encode()).decode() if who.username else ""
        if kind == "basic" and basic:
            return f"Basic {basic}"
        if kind != "bearer":
            raise self._denied("give username and password, or a token, as references to the environment")
        said = dict(_PARAMETER.findall(challenge))
        realm = urlsplit(said.get("realm", ""))
        if realm.scheme != "https" and realm.scheme != urlsplit(who.endpoint.url).scheme:
            raise self._denied(f"it asks for a login at {realm.netloc or 'no address'} in the clear: nothing was sent")
        scope = said.get("scope") or f"repository:{self.name}:pull"
        query = [*parse_qsl(realm.query), ("scope", scope)]
        query += [("service", said["service"])] if said.get("service") else []
        there = endpoint.Endpoint(f"{realm.scheme}://{realm.netloc}", who.endpoint.timeout_s)
        with there.session() as line:
            answer = line.ask("GET", realm.path, query, headers={"Authorization": f"Basic {basic}"} if basic else {})
        value = answer.value()
        found = (value.get("token") or value.get("access_token")) if isinstance(value, dict) else None
        if answer.status >= 500 or answer.status == 429:
            raise Unavailable(f"{there.name} answers {answer.status} to a login", hint="try again")
        if answer.status != 200 or not isinstance(found, str):
            raise self._denied("look at username and password, and what they may read")
        return f"Bearer {found}"

    def _denied(self, hint: str) -> Refused:
        return Refused(f"{self.registry.endpoint.name} does not let ddr read {self.name}", hint=hint)

    def _refused(self, answer: endpoint.Answer, what: str) -> DdrError:
        where = self.registry.endpoint.name
        value = answer.value()
        errors = value.get("errors") if isinstance(value, dict) else None
        first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
        said = redact.foreign(f"{first.get('code', '')} {first.get('message', '')}".strip())
        text = f"{where}: {what}: {answer.status} {said}".strip()
        if answer.status in (401, 403):
            return self._denied("look at username and password, and what they may read")
        if answer.status == 404 and "accept header" in said.lower():
            return Unsupported(text, hint="the registry knows none of the four types of manifests")
        if answer.status == 404:
            return Missing(f"{where} has no {what} (any more){f': {said}' if said else ''}", hint=_NEXT)
        if answer.status == 429 or answer.status >= 500:
            return Unavailable(text, hint="look at the registry, then try again")
        if answer.status in _REDIRECTS:
            return InputError(f"{where} redirects to {_header(answer, 'Location')}", hint="write the final address")
        return InputError(f"{text[:200]}: no registry answers there", hint="correct `registry`")


def _header(answer: endpoint.Answer, name: str) -> str:
    return next((value for key, value in answer.headers.items() if key.lower() == name.lower()), "")
