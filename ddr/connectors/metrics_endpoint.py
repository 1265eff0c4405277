"""A page of metrics in Prometheus text format, read from the program itself.

Counters count since the program's start: a reading is about everything since then, whatever window was asked for,
and a window that lies in the past has none. Ask a Prometheus server for windows; or keep what `count` says and ask for
what came behind it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

from ddr.domain import signals
from ddr.errors import Damaged, InputError, Unavailable
from ddr.lib import clock as clocks
from ddr.lib import endpoint
from ddr.ports import signal

LIVE_WITHIN = timedelta(minutes=1)
_QUANTILE = 0.95
_SAMPLE = re.compile(
    r"""(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\s*
        (?:\{(?P<labels>(?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?\s*
        (?P<value>[^\s#]+)(?:\s+-?\d+)?\s*(?:\#.*)?""",
    re.VERBOSE,
)
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPED = re.compile(r"\\(.)")

SERIES: Mapping[str, signal.SampleKind] = {"errors": "share", "latency-p95": "gauge"}


@dataclass(frozen=True)
class Settings:
    """`url`, or `address`: a JSON file with the port the program listens on. The others name its metrics."""

    address: str = ""
    url: str = ""
    path: str = "/metrics"
    requests: str = "http_requests_total"
    code_label: str = "code"
    latency: str = "http_request_seconds"
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        if bool(self.address) == bool(self.url):
            raise ValueError("needs `url` or `address`, one of the two")


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> MetricsEndpoint:
    return MetricsEndpoint(settings, base, clock)


@dataclass(frozen=True)
class Sample:
    """One line of the page."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class MetricsEndpoint:
    """Implements Signal and Counting: `errors` is the share of requests answered with 5xx, `latency-p95` in seconds."""

    settings: Settings
    base: Path
    clock: clocks.Clock
    series: ClassVar[Mapping[str, signal.SampleKind]] = SERIES

    def read(self, series: str, since: datetime, until: datetime) -> signals.Reading:
        """As the port says. Damaged when what answers is no page of metrics."""
        if series not in SERIES:
            raise InputError(f"a metrics endpoint has no series {series!r}", hint=f"it has: {', '.join(SERIES)}")
        if until < self.clock.now() - LIVE_WITHIN:
            return signals.Reading(series, since, until, None, "counters are known for now only")
        return self._reading(series, self._counted(), since, until)

    def count(self) -> str:
        return self._counted().text()

    def read_since(self, series: str, counted: str, since: datetime, until: datetime) -> signals.Reading:
        """As the port says. Damaged when `counted` is not what `count` gave."""
        return self._reading(series, self._counted().less(_Counted.of(counted)), since, until)

    def _reading(self, series: str, counted: _Counted, since: datetime, until: datetime) -> signals.Reading:
        sample, why = self._errors(counted) if series == "errors" else self._latency(counted)
        return signals.Reading(series, since, until, sample, why)

    def _counted(self) -> _Counted:
        requests: dict[str, float] = {}
        buckets: dict[str, float] = {}
        for sample in self._samples():
            if sample.name == self.settings.requests:
                code = sample.labels.get(self.settings.code_label, "")
                requests[code] = requests.get(code, 0.0) + sample.value
            elif sample.name == f"{self.settings.latency}_bucket" and "le" in sample.labels:
                edge = str(_number(sample.labels["le"]))
                buckets[edge] = buckets.get(edge, 0.0) + sample.value
        return _Counted(requests, buckets)

    def _errors(self, counted: _Counted) -> tuple[signals.Sample | None, str]:
        name, counts = self.settings.requests, counted.requests
        if not all(math.isfinite(value) and value >= 0 for value in counts.values()):
            return None, f"{name} is no number"
        n = round(sum(counts.values()))
        if not n:
            return None, f"no requests since {counted.begins} ({name})" if counts else f"there is no series {name}"
        return signals.Share(round(sum(value for code, value in counts.items() if code.startswith("5"))), n), ""

    def _latency(self, counted: _Counted) -> tuple[signals.Sample | None, str]:
        name = self.settings.latency
        buckets = {float(edge): value for edge, value in counted.buckets.items()}
        if not buckets:
            return None, f"there is no series {name}_bucket"
        found = quantile(_QUANTILE, sorted(buckets.items()))
        if found is None:
            return None, f"{name} has no observations since {counted.begins}, or no bucket +Inf"
        return signals.Gauge(found, round(buckets[math.inf])), ""

    def _samples(self) -> Sequence[Sample]:
        answer = self._endpoint().ask("GET", self.settings.path)
        if answer.status != 200:
            raise Unavailable(
                f"{self._endpoint().name}{self.settings.path} answers {answer.status}: {answer.text()}",
                hint="look at the program's log",
            )
        try:
            return tuple(parse(answer.body.decode()))
        except ValueError as problem:
            raise Damaged(
                f"{self._endpoint().name}{self.settings.path} is no page of metrics: {problem}",
                hint="correct `path`, or look at what answers there",
            ) from problem

    def _endpoint(self) -> endpoint.Endpoint:
        return endpoint.of(self.settings.url, self.base / self.settings.address, self.settings.timeout_s)


@dataclass(frozen=True)
class _Counted:
    """Requests by code and observations by upper edge, since `begins`."""

    requests: Mapping[str, float]
    buckets: Mapping[str, float]
    begins: str = "the start"

    def text(self) -> str:
        return json.dumps({"requests": self.requests, "buckets": self.buckets})

    @classmethod
    def of(cls, text: str) -> _Counted:
        try:
            said = json.loads(text)
            tables = [{str(name): float(value) for name, value in said[key].items()} for key in ("requests", "buckets")]
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise Damaged(f"this is no count of a metrics endpoint: {text[:60]!r}", hint="count again") from problem
        return cls(tables[0], tables[1])

    def less(self, before: _Counted) -> _Counted:
        """What came behind `before`. A counter that went down was begun anew, and all of them with it."""
        pairs = ((self.requests, before.requests), (self.buckets, before.buckets))
        if any(now.get(name, 0.0) < value for now, then in pairs for name, value in then.items()):
            return _Counted(self.requests, self.buckets, "the program was started anew")
        left = [{name: value - then.get(name, 0.0) for name, value in now.items()} for now, then in pairs]
        return _Counted(left[0], left[1], "then")


def parse(text: str) -> Iterator[Sample]:
    """The samples of a page; timestamps and exemplars are left out. ValueError names the line that is none."""
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _SAMPLE.fullmatch(stripped)
        if match is None:
            raise ValueError(f"line {number} is no sample: {stripped[:60]!r}")
        try:
            yield Sample(match["name"], _labels(match["labels"] or ""), _number(match["value"]))
        except ValueError as problem:
            raise ValueError(f"line {number}: {problem}") from problem


def _labels(text: str) -> Mapping[str, str]:
    labels: dict[str, str] = {}
    at = 0
    while at < len(text.rstrip()):
        match = _LABEL.match(text, at)
        if match is None:
            raise ValueError(f"labels cannot be read: {text[at : at + 40]!r}")
        labels[match[1]] = _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], match[2])
        at = match.end()
    return labels


def _number(text: str) -> float:
    """`1.5`, `+Inf`, `-Inf`, `NaN`."""
    if "_" in text:
        raise ValueError(f"{text!r} is no number")
    return float(text)


def quantile(q: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """The q-quantile of a histogram of cumulative counts by upper edge, ascending, the last edge +Inf.

    Linear inside its bucket, the first bucket from 0, and the last finite edge for what lies beyond it: as
    Prometheus' histogram_quantile() does it. None without observations or without the bucket +Inf.
    """
    if not buckets or buckets[-1][0] != math.inf or not buckets[-1][1] > 0:
        return None
    rank = q * buckets[-1][1]
    edge_below, count_below = 0.0, 0.0
    for edge, count in buckets:
        if count >= rank:
            if edge == math.inf:
                return edge_below if len(buckets) > 1 else None
            if edge <= 0 and edge_below == 0.0:
                return edge
            return edge_below + (edge - edge_below) * (rank - count_below) / (count - count_below)
        edge_below, count_below = edge, max(count, count_below)
    return None
