"""The Signal port's comment, as cases that every source passes: what is absent is never healthy."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import ddr.connectors
from ddr.connectors import feature_table, metrics_endpoint, model_server, prediction_log
from ddr.domain import signals
from ddr.errors import DdrError, InputError, Missing, Unavailable
from ddr.lib import clock, process, sqlitefile, timetext
from ddr.ports import signal
from tests.unit.connectors import rigs

HOUR = timedelta(hours=1)
KINDS = {"share": signals.Share, "values": signals.Values, "gauge": signals.Gauge, "columns": signals.ColumnShares}
PAGE = b"""http_requests_total{code="200"} 9
http_request_seconds_bucket{le="1"} 9
http_request_seconds_bucket{le="+Inf"} 9
"""


@dataclass(frozen=True)
class Source:
    """The same source with observations, with a system that answers and has none, and with one that is not there."""

    full: Any
    empty: Any
    down: Any


@contextmanager
def _features(root: Path) -> Iterator[Source]:
    rigs.write_features(root / "features")
    (root / "bare").mkdir()
    with sqlitefile.opened(root / "features" / "online.db") as online:
        online.execute(f"ATTACH '{root / 'bare' / 'online.db'}' AS bare")
        online.execute("CREATE TABLE bare.lane_pixels AS SELECT * FROM lane_pixels WHERE 0")

    def made(folder: str) -> Any:
        return _connected(feature_table, root, root=folder, table="lane_pixels", entity="lane")

    yield Source(made("features"), made("bare"), made("none"))


@contextmanager
def _requests(root: Path) -> Iterator[Source]:
    for name, at in (("predictions", rigs.NOW - HOUR / 2), ("truths", rigs.NOW - HOUR / 4)):
        said = {"id": "r", "at": timetext.format_time(at), "score": 0.5, "answer": "7", "truth": "7"}
        (root / f"{name}.jsonl").write_text(json.dumps(said) + "\n")
    (root / "empty.jsonl").touch()

    def made(predictions: str, truths: str) -> Any:
        return _connected(prediction_log, root, predictions=predictions, truths=truths)

    yield Source(made("predictions.jsonl", "truths.jsonl"), made("empty.jsonl", "empty.jsonl"), made("no", "no"))


@contextmanager
def _golden(root: Path) -> Iterator[Source]:
    (root / "golden.jsonl").write_text('{"id": "g", "features": [7.0], "truth": "7"}\n')
    (root / "empty.jsonl").touch()
    down = f"http://127.0.0.1:{process.free_port()}"
    with rigs.serving(rigs.model_answers) as server:
        yield Source(
            _connected(model_server, root, url=server.url, golden="golden.jsonl"),
            _connected(model_server, root, url=server.url, golden="empty.jsonl"),
            _connected(model_server, root, url=down, golden="golden.jsonl"),
        )


@contextmanager
def _metrics(root: Path) -> Iterator[Source]:
    down = f"http://127.0.0.1:{process.free_port()}"
    with rigs.serving(lambda method, path, body: (200, b"" if "empty" in path else PAGE)) as server:
        yield Source(
            _connected(metrics_endpoint, root, url=server.url),
            _connected(metrics_endpoint, root, url=server.url, path="/empty"),
            _connected(metrics_endpoint, root, url=down),
        )


def _connected(module: Any, base: Path, **settings: Any) -> Any:
    return module.connect(module.Settings(**settings), base, clock.ManualClock(rigs.NOW))


SOURCES = {
    "feature_table": _features,
    "prediction_log": _requests,
    "model_server": _golden,
    "metrics_endpoint": _metrics,
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    with SOURCES[request.param](tmp_path) as made:
        yield made


def test_each_series_gives_the_kind_it_promises(source: Source) -> None:
    assert isinstance(source.full, signal.Signal)
    for series, kind in source.full.series.items():
        since, until = rigs.NOW - HOUR, rigs.NOW
        reading = source.full.read(series, since, until)
        assert type(reading.sample) is KINDS[kind]
        assert (reading.series, reading.since, reading.until) == (series, since, until)
        assert source.full.read(series, since, until) == reading


def test_without_observations_there_is_no_sample_and_a_reason(source: Source) -> None:
    for series in source.full.series:
        reading = source.empty.read(series, rigs.NOW - HOUR, rigs.NOW)
        assert reading.sample is None
        assert reading.why


def test_a_source_that_is_not_there_is_never_healthy(source: Source) -> None:
    for series in source.full.series:
        try:
            reading = source.down.read(series, rigs.NOW - HOUR, rigs.NOW)
        except (Unavailable, Missing) as problem:
            assert problem.hint  # noqa: PT017 - either way is fine, as long as it says why
            continue
        assert reading.sample is None
        assert reading.why


def test_a_window_far_in_the_past_is_unknown_or_honest(source: Source) -> None:
    for series in source.full.series:
        reading = source.full.read(series, rigs.NOW - 500 * HOUR, rigs.NOW - 400 * HOUR)
        assert reading.sample is None
        assert reading.why


def test_a_series_that_is_not_known_is_bad_input(source: Source) -> None:
    with pytest.raises(InputError) as raised:
        source.full.read("temperature", rigs.NOW - HOUR, rigs.NOW)
    assert all(series in raised.value.hint for series in source.full.series)
    assert isinstance(raised.value, DdrError)


OF_THEIR_OWN = {"feast.online.connector"}
"""Its series are of now alone, from a real SQLite and a real Redis: test_feast_online holds them."""


def test_every_source_is_in_the_suite() -> None:
    names = [name for _, name, _ in pkgutil.walk_packages(ddr.connectors.__path__, "ddr.connectors.")]
    measuring = {name for name in names if hasattr(importlib.import_module(name), "SERIES")}
    assert {name.removeprefix("ddr.connectors.") for name in measuring} - OF_THEIR_OWN == set(SOURCES)
