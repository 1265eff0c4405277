"""A model server that says what it has loaded: GET /-/loaded, POST /-/roll, /-/fallback, /-/replay, /predict.

The golden set is a file of requests with known answers, asked of the live server: the one measurement that needs no
customer. It goes through the server's own model, and is not logged there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from ddr.domain import changes, health, planes, revisions, signals
from ddr.errors import Damaged, DdrError, InputError, Missing, Refused, Unavailable, Unsupported
from ddr.lib import clock as clocks
from ddr.lib import endpoint, jsonl, timetext
from ddr.ports import replayable, signal

LIVE_WITHIN = timedelta(minutes=1)
_SLOW_S = 60.0  # rolling loads a model, a replay answers hundreds of requests
_REPLAY_AT_ONCE = 500

SERIES: Mapping[str, signal.SampleKind] = {"golden": "share"}


@dataclass(frozen=True)
class Settings:
    """`url`, or `address`: a JSON file with the port the server listens on. `golden` is a file of JSON lines."""

    address: str = ""
    url: str = ""
    golden: str = ""
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        if bool(self.address) == bool(self.url):
            raise ValueError("needs `url` or `address`, one of the two")


@dataclass(frozen=True)
class Binding:
    """A plane says nothing more: one server is one plane."""


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> ModelServer:
    return ModelServer(settings, base, clock)


@dataclass(frozen=True)
class ModelServer:
    """Implements Servable, Replayable and Signal: `golden` is the share of the golden set answered wrong or not."""

    settings: Settings
    base: Path
    clock: clocks.Clock
    series: ClassVar[Mapping[str, signal.SampleKind]] = SERIES

    def plane(self, binding: Binding, plane: planes.Plane) -> ServerPlane:
        del binding
        return ServerPlane(self, plane)

    def loaded(self) -> Mapping[planes.Plane, revisions.Revision]:
        return self._revisions("GET", "/-/loaded", None)

    def roll(self) -> Mapping[planes.Plane, revisions.Revision]:
        """As the port says. Refused when what the planes point at does not load; then the old goes on serving."""
        return self._revisions("POST", "/-/roll", {})

    def set_fallback(self, *, on: bool) -> None:
        self._ask("POST", "/-/fallback", {"on": on})

    def fallback(self) -> bool:
        return self._ask("GET", "/-/fallback", None).get("on") is True

    def replay(self, requests: Sequence[str], swaps: Mapping[planes.Plane, replayable.Swap]) -> Mapping[str, str]:
        named = {str(plane): swap for plane, swap in swaps.items() if swap != "as-logged"}
        answers: dict[str, str] = {}
        with self._endpoint().session(_SLOW_S) as line:
            for start in range(0, len(requests), _REPLAY_AT_ONCE):
                body = {"ids": list(requests[start : start + _REPLAY_AT_ONCE]), "swaps": named}
                found = self._value(line, "POST", "/-/replay", body).get("answers")
                if not isinstance(found, dict):
                    raise self._strange("/-/replay", "has no answers")
                answers |= {str(request): str(answer) for request, answer in found.items()}
        return answers

    def read(self, series: str, since: datetime, until: datetime) -> signals.Reading:
        """As the port says. Missing and Damaged when the golden set cannot be read.

        A request without an answer is a wrong one: whoever asked has no digit either.
        """
        if series not in SERIES:
            raise InputError(f"a model server has no series {series!r}", hint=f"it has: {', '.join(SERIES)}")
        now = self.clock.now()
        if until < now - LIVE_WITHIN:
            return signals.Reading(series, since, until, None, "the golden set is asked now; it has no past")
        right = wrong = failed = 0
        with self._endpoint().session() as line:
            for probe in _golden(self._golden_path()):
                body = {"id": probe.id, "at": timetext.format_time(now), "features": probe.features}
                answer = line.ask("POST", "/predict", body=body)
                value = answer.value()
                if answer.status != 200 or not isinstance(value, dict) or "answer" not in value:
                    failed += 1
                elif str(value["answer"]) == probe.truth:
                    right += 1
                else:
                    wrong += 1
        asked = right + wrong + failed
        why = f"{failed} of {asked} golden requests got no answer" if failed else ""
        sample = signals.Share(wrong + failed, asked) if asked else None
        return signals.Reading(series, since, until, sample, why or ("" if sample else "the golden set is empty"))

    def process_name(self) -> str:
        """Which run of the server answers, as far as it says so."""
        if not self.settings.address:
            return ""
        said = jsonl.of_file(self.base / self.settings.address) or {}
        return "-".join(str(said[key]) for key in ("pid", "process_started") if key in said)

    def check(self) -> None:
        """Unavailable when the server does not answer or does not call itself healthy."""
        answer = self._endpoint().ask("GET", "/-/healthy")
        if answer.status != 200:
            raise Unavailable(
                f"{self._endpoint().name} is not healthy: {answer.status} {answer.text()}", hint="look at its log"
            )

    @property
    def address(self) -> str:
        """For people."""
        return self._endpoint().name

    def _golden_path(self) -> Path:
        if not self.settings.golden:
            raise Unsupported("the model server has no golden set", hint="set `golden` to a file of JSON lines")
        return self.base / self.settings.golden

    def _endpoint(self) -> endpoint.Endpoint:
        return endpoint.of(self.settings.url, self.base / self.settings.address, self.settings.timeout_s)

    def _revisions(self, method: str, path: str, body: object) -> Mapping[planes.Plane, revisions.Revision]:
        found = self._ask(method, path, body)
        try:
            return {planes.Plane(plane): _revision(planes.Plane(plane), said) for plane, said in found.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise self._strange(path, f"names no revisions: {problem}") from problem

    def _ask(self, method: str, path: str, body: object) -> Mapping[str, Any]:
        with self._endpoint().session(_SLOW_S if method == "POST" else None) as line:
            return self._value(line, method, path, body)

    def _value(self, line: endpoint.Line, method: str, path: str, body: object) -> Mapping[str, Any]:
        answer = line.ask(method, path, body=body)
        value = answer.value()
        if answer.status == 200 and isinstance(value, dict):
            return value
        said = str(value["error"]) if isinstance(value, dict) and value.get("error") else answer.text()
        what = f"{self.address}: {method} {path}: {answer.status}: {said}"
        if answer.status == 404:
            raise Missing(what, hint="look which revisions there are, and whether the address is a model server's")
        if answer.status == 500:
            raise Refused(what, hint="the server goes on with what it had; look at its log")
        if 400 <= answer.status < 500:
            raise Unsupported(what, hint="the server speaks another version of these calls, or wants credentials")
        raise Unavailable(what, hint="look at the server's log, then try again")

    def _strange(self, path: str, what: str) -> Damaged:
        return Damaged(f"{self.address}{path} {what}", hint="look whether the address is a model server's")


@dataclass(frozen=True)
class ServerPlane:
    """Implements Observable for the plane `infra`: the process that answers. Its revision is its run."""

    server: ModelServer
    which: planes.Plane

    def revision(self) -> revisions.Revision:
        self.server.check()
        return revisions.Revision(self.which, "server", self.server.process_name() or self.server.address)

    def health(self) -> health.Health:
        cannot = ("start or stop the server: whoever runs it does",)
        try:
            self.server.check()
            loaded = self.server.loaded()
            fallback = self.server.fallback()
        except DdrError as problem:
            return health.Health.of(problem, cannot)
        said = ", ".join(f"{plane} {revision.name}" for plane, revision in loaded.items())
        why = f"{self.server.address} has {said}" + ("; fallback is ON" if fallback else "")
        return health.Health(signals.State.OK, why, ("read what is loaded", "roll", "replay", "fall back"), cannot)

    def changes(self, since: datetime) -> Sequence[changes.Change]:
        """Nothing: a server does not remember its earlier runs."""
        del since
        return ()


@dataclass(frozen=True)
class _Probe:
    id: str
    features: Sequence[float]
    truth: str


def _golden(path: Path) -> Iterator[_Probe]:
    if not path.is_file():
        raise Missing(f"there is no golden set {path}", hint="look at `golden` in ddr.yaml")
    records = jsonl.read(path)
    if records.bad or records.torn:
        raise Damaged(f"{path}: {records.bad + records.torn} lines cannot be read", hint="restore the golden set")
    for number, said in enumerate(records.objects, 1):
        features = said.get("features")
        if not isinstance(features, list) or "truth" not in said:
            raise Damaged(f"{path}:{number} has no features or no truth", hint="restore the golden set")
        yield _Probe(str(said.get("id", number)), features, str(said["truth"]))


def _revision(plane: planes.Plane, said: Mapping[str, Any]) -> revisions.Revision:
    facts = {str(name): str(value) for name, value in said.get("facts", {}).items()}
    return revisions.Revision(plane, str(said["object"]), str(said["name"]), str(said.get("digest", "")), facts)
