"""Metrics in Prometheus text format: what is parsed, and that an absent series is never healthy."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors import metrics_endpoint
from ddr.domain import signals
from ddr.errors import Damaged, InputError, Unavailable
from ddr.lib import clock, process
from ddr.ports import signal
from tests.unit.connectors import rigs

HOUR = timedelta(hours=1)
PAGE = r"""# HELP http_requests_total Requests. With "quotes" \n and { braces }
# TYPE http_requests_total counter
http_requests_total{code="200",path="/predict"} 950
http_requests_total{code="404",path="/x y\"z\\"} 20 1762070400000
http_requests_total{ code = "500" , path="a,b}c", } 3e1 # {trace_id="x"} 1 1.5
# TYPE http_request_seconds histogram
http_request_seconds_bucket{le="0.1"} 500
http_request_seconds_bucket{le="0.5"} 900
http_request_seconds_bucket{le="1.0"} 980
http_request_seconds_bucket{le="+Inf"} 1000
http_request_seconds_sum 212.5
http_request_seconds_count 1000
model_info{model="2"} 1
something NaN
else_ -Inf
"""


def _read(page: str | bytes, series: str, **settings: Any) -> signals.Reading:
    content = page if isinstance(page, bytes) else page.encode()
    with rigs.serving(lambda *_: (200, content)) as http:
        made = metrics_endpoint.Settings(url=http.url, **settings)
        source = metrics_endpoint.connect(made, Path(), clock.ManualClock(rigs.NOW))
        assert isinstance(source, signal.Signal)
        return source.read(series, rigs.NOW - HOUR, rigs.NOW)


def _gauge(page: str) -> tuple[float, int]:
    found = _read(page, "latency-p95").sample
    assert isinstance(found, signals.Gauge)
    return round(found.value, 9), found.n


def test_a_page_of_metrics() -> None:
    assert _read(PAGE, "errors").sample == signals.Share(30, 1000)
    assert _gauge(PAGE) == (0.8125, 1000)
    samples = {sample.name: sample for sample in metrics_endpoint.parse(PAGE)}
    assert samples["http_requests_total"].labels == {"code": "500", "path": "a,b}c"}
    assert math.isnan(samples["something"].value)
    assert samples["else_"].value == -math.inf


def test_escapes_in_labels() -> None:
    (sample,) = metrics_endpoint.parse(r'a{x="q\"q",y="b\\n",z="l\nl"} 1')
    assert sample.labels == {"x": 'q"q', "y": "b\\n", "z": "l\nl"}


def test_counts_of_several_label_sets_are_added() -> None:
    page = 'http_request_seconds_bucket{h="a",le="1"} 4\nhttp_request_seconds_bucket{h="b",le="1"} 6\n'
    page += 'http_request_seconds_bucket{h="a",le="+Inf"} 4\nhttp_request_seconds_bucket{h="b",le="+Inf"} 6\n'
    assert _gauge(page) == (0.95, 10)


@pytest.mark.parametrize(
    ("page", "series", "why"),
    [
        ("", "errors", "there is no series"),
        ("", "latency-p95", "there is no series"),
        ("http_requests_created 1\n", "errors", "there is no series"),
        ('http_requests_total{code="200"} 0\n', "errors", "no requests"),
        ('http_requests_total{code="200"} NaN\n', "errors", "no number"),
        ('http_requests_total{code="500"} -1\n', "errors", "no number"),
        ('http_request_seconds_bucket{le="+Inf"} 0\n', "latency-p95", "no observations"),
        ('http_request_seconds_bucket{le="1"} 5\n', "latency-p95", "+Inf"),
        ('http_request_seconds_bucket{le="+Inf"} NaN\n', "latency-p95", "no observations"),
    ],
)
def test_what_is_absent_is_unknown(page: str, series: str, why: str) -> None:
    reading = _read(page, series)
    assert reading.sample is None
    assert why in reading.why


def test_a_past_window_is_unknown() -> None:
    source = metrics_endpoint.connect(
        metrics_endpoint.Settings(url="http://127.0.0.1:1"), Path(), clock.ManualClock(rigs.NOW)
    )
    assert source.read("errors", rigs.NOW - 2 * HOUR, rigs.NOW - HOUR).sample is None
    with pytest.raises(InputError):
        source.read("none", rigs.NOW, rigs.NOW)


@pytest.mark.parametrize(
    "page", ["<html>login</html>", "a{b=1} 2", 'a{b="c} 2', "a", "a b", "a 1_0", '{"x": 1}', b"\xff 1"]
)
def test_a_page_that_is_none_is_damaged(page: str | bytes) -> None:
    with pytest.raises(Damaged, match="no page of metrics"):
        _read(page, "errors")


def test_a_server_that_is_down_or_fails_is_unavailable(tmp_path: Path) -> None:
    down = metrics_endpoint.Settings(url=f"http://127.0.0.1:{process.free_port()}")
    missing = metrics_endpoint.Settings(address="server.json")
    for settings in (down, missing):
        source = metrics_endpoint.connect(settings, tmp_path, clock.ManualClock(rigs.NOW))
        with pytest.raises(Unavailable):
            source.read("errors", rigs.NOW - HOUR, rigs.NOW)
    with rigs.serving(lambda *_: (503, b"starting")) as http:
        source = metrics_endpoint.connect(
            metrics_endpoint.Settings(url=http.url), tmp_path, clock.ManualClock(rigs.NOW)
        )
        with pytest.raises(Unavailable, match="503: starting"):
            source.read("errors", rigs.NOW - HOUR, rigs.NOW)
    with pytest.raises(ValueError, match="one of the two"):
        metrics_endpoint.Settings()


@pytest.mark.parametrize(
    ("buckets", "q", "wanted"),
    [
        ([(1, 10), (math.inf, 10)], 0.5, 0.5),
        ([(1, 0), (2, 10), (math.inf, 10)], 0.5, 1.5),
        ([(1, 5), (2, 5), (4, 10), (math.inf, 10)], 0.75, 3.0),
        ([(1, 5), (math.inf, 10)], 0.95, 1.0),
        ([(math.inf, 10)], 0.95, None),
        ([(-1, 10), (math.inf, 10)], 0.5, -1),
        ([(1, 10)], 0.5, None),
        ([], 0.5, None),
    ],
)
def test_quantiles_are_those_of_prometheus(buckets: list[tuple[float, float]], q: float, wanted: float | None) -> None:
    """By hand from the definition of histogram_quantile(): linear inside, 0 below, the last finite edge above."""
    assert metrics_endpoint.quantile(q, buckets) == (None if wanted is None else pytest.approx(wanted))


def _since(before: str, after: str, series: str) -> signals.Reading:
    """What came between two pages."""
    pages = [before.encode(), after.encode()]
    with rigs.serving(lambda *_: (200, pages.pop(0))) as http:
        source = metrics_endpoint.connect(metrics_endpoint.Settings(url=http.url), Path(), clock.ManualClock(rigs.NOW))
        assert isinstance(source, signal.Counting)
        return source.read_since(series, source.count(), rigs.NOW - HOUR, rigs.NOW)


def test_what_came_since_it_was_counted() -> None:
    before = 'http_requests_total{code="200"} 100000\nhttp_requests_total{code="500"} 7\n'
    after = 'http_requests_total{code="200"} 100060\nhttp_requests_total{code="500"} 47\n'
    assert _since(before, after, "errors").sample == signals.Share(40, 100)
    quiet = _since(before, before, "errors")
    assert (quiet.sample, quiet.why) == (None, "no requests since then (http_requests_total)")
    histogram = 'http_request_seconds_bucket{{le="1"}} {}\nhttp_request_seconds_bucket{{le="+Inf"}} {}\n'
    slow = _since(histogram.format(1000, 1000), histogram.format(1010, 1010), "latency-p95").sample
    assert slow == signals.Gauge(0.95, 10)
    assert _since(histogram.format(9, 9), histogram.format(9, 9), "latency-p95").sample is None


def test_a_program_that_was_started_anew_counts_from_there() -> None:
    before = 'http_requests_total{code="200"} 100000\nhttp_requests_total{code="500"} 7\n'
    after = 'http_requests_total{code="200"} 90\nhttp_requests_total{code="500"} 10\n'
    assert _since(before, after, "errors").sample == signals.Share(10, 100)


def test_a_new_code_counts_whole() -> None:
    before = 'http_requests_total{code="200"} 10\n'
    after = before + 'http_requests_total{code="503"} 5\n'
    assert _since(before, after, "errors").sample == signals.Share(5, 5)


@pytest.mark.parametrize("text", ["", "[]", '{"requests": 1, "buckets": 2}', '{"requests": {"200": "x"}}'])
def test_what_is_no_count_is_damaged(text: str) -> None:
    with rigs.serving(lambda *_: (200, PAGE.encode())) as http:
        source = metrics_endpoint.connect(metrics_endpoint.Settings(url=http.url), Path(), clock.ManualClock(rigs.NOW))
        with pytest.raises(Damaged, match="no count"):
            source.read_since("errors", text, rigs.NOW - HOUR, rigs.NOW)
