"""A page of metrics in Prometheus text format, read from the program itself.

Counters count since the program's start: a reading is about everything since then, whatever window was asked for,
and a window that lies in the past has none. Ask a Prometheus server for windows.
"""

from __future__ import annotations

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
    """Implements Signal: `errors` is the share of requests answered with 5xx, `latency-p95` is in seconds."""

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
        sample, why = self._errors() if series == "errors" else self._latency()
        return signals.Reading(series, since, until, sample, why)

    def _errors(self) -> tuple[signals.Sample | None, str]:
        name = self.settings.requests
        found = [sample for sample in self._samples() if sample.name == name]
        counts = [(sample.labels.get(self.settings.code_label, ""), sample.value) for sample in found]
        if not all(math.isfinite(value) and value >= 0 for _, value in counts):
            return None, f"{name} is no number"
        n = round(sum(value for _, value in counts))
        if not n:
            return None, f"no requests since the start ({name} is 0)" if found else f"there is no series {name}"
        return signals.Share(round(sum(value for code, value in counts if code.startswith("5"))), n), ""

    def _latency(self) -> tuple[signals.Sample | None, str]:
        name = self.settings.latency
        buckets: dict[float, float] = {}
        for sample in self._samples():
            if sample.name == f"{name}_bucket" and "le" in sample.labels:
                edge = _number(sample.labels["le"])
                buckets[edge] = buckets.get(edge, 0.0) + sample.value
        if not buckets:
            return None, f"there is no series {name}_bucket"
        found = quantile(_QUANTILE, sorted(buckets.items()))
        if found is None:
            return None, f"{name} has no observations, or no bucket +Inf"
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
