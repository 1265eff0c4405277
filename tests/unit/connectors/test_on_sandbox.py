"""Every connector on the real sandbox, wired as its ddr.yaml says: with what its server has loaded, and its faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from ddr.connectors import feature_table, model_server, prediction_log
from ddr.connectors.mlflow import connector as mlflow
from ddr.domain import outcomes, planes, revisions, signals
from ddr.errors import Conflict, Missing
from ddr.ports import signal, verb
from ddr.sandbox import clock as clocks
from ddr.sandbox import faults, process, state, traffic
from ddr.wiring import connector_types

HOUR = timedelta(hours=1)
TYPES = {
    "code": ("release-folder", {"root": "code"}),
    "model": ("mlflow", {"tracking": "sqlite:///mlflow/mlflow.db"}),
    "features": ("feature-table", {"root": "features", "table": "lane_pixels", "entity": "lane"}),
    "index": ("faiss-index", {"root": "index"}),
    "config": ("config-file", {"path": "config/serving.yaml"}),
    "infra": ("model-server", {"address": "serving/server.json", "golden": "golden.jsonl"}),
    "requests": ("prediction-log", {"predictions": "serving/predictions.jsonl", "truths": "serving/truths.jsonl"}),
    "metrics": ("metrics-endpoint", {"address": "serving/server.json"}),
}


@dataclass(frozen=True)
class World:
    """The sandbox in `root` through the connectors."""

    root: Path

    @property
    def now(self) -> datetime:
        return clocks.read(self.root)

    def connected(self, name: str) -> Any:
        kind, settings = TYPES[name]
        module = connector_types.module(kind)
        return module.connect(module.Settings(**settings), self.root, clocks.SandboxClock(self.root))

    def plane(self, plane: planes.Plane) -> Any:
        binding: object = mlflow.Binding("postcode-digit", "champion") if plane is planes.Plane.MODEL else None
        return self.connected(plane).plane(binding, plane)

    @property
    def server(self) -> model_server.ModelServer:
        return cast(model_server.ModelServer, self.connected("infra"))

    @property
    def log(self) -> prediction_log.PredictionLog:
        return cast(prediction_log.PredictionLog, self.connected("requests"))

    def pass_time(self, span: timedelta) -> None:
        traffic.Driver(self.root).advance(span.total_seconds())

    def sample(self, name: str, series: str, since: timedelta = HOUR, until: timedelta = timedelta(0)) -> Any:
        return self.connected(name).read(series, self.now - since, self.now - until).sample


@pytest.fixture
def world(running_sandbox: Path) -> Iterator[World]:
    """One sandbox for all tests here: each leaves it as it was, but for the time that passed."""
    before = state.digest(running_sandbox)
    process.ensure(running_sandbox)
    yield World(running_sandbox)
    assert state.digest(running_sandbox) == before


def _call(name: str, at: datetime, **inputs: object) -> verb.Call:
    return verb.Call("postcode", "run-1", name, f"key-{name}", "inc-1", at, inputs)


def _break(world: World, name: str, **inputs: object) -> tuple[verb.Verb, verb.Call, Mapping[str, str]]:
    fault = faults.catalog(world.root)[name]
    call = _call(name, world.now, **inputs)
    settled = fault.prepare(call).settled
    assert fault.act(call, settled).status is outcomes.Status.OK
    return fault, call, settled


def test_the_server_has_loaded_what_the_planes_point_at(world: World) -> None:
    loaded = world.server.loaded()
    assert set(loaded) == set(planes.Plane) - {planes.Plane.INFRA, planes.Plane.DATA}
    for plane, there in loaded.items():
        pointed = world.plane(plane).revision()
        assert there.is_same(pointed), plane
        assert there.digest == pointed.digest != ""
        assert set(there.facts.items()) <= set(pointed.facts.items()), plane
        health = world.plane(plane).health()
        assert health.state is signals.State.OK, health
    assert world.plane(planes.Plane.INFRA).health().state is signals.State.OK


def test_the_model_fits_the_features(world: World) -> None:
    wanted = world.plane(planes.Plane.MODEL).find("1").facts[revisions.INPUTS_SCHEMA]
    for plane, names in ((planes.Plane.MODEL, ("1", "2", "3")), (planes.Plane.FEATURES, ("v1", "v2"))):
        for name in names:
            assert world.plane(plane).find(name).facts[revisions.INPUTS_SCHEMA] == wanted
    columns = cast(feature_table.FeatureTable, world.connected("features")).columns()
    assert revisions.schema_digest(columns) == wanted, "what the table itself says, without a card"


def test_every_series_can_be_read(world: World) -> None:
    sizes = {}
    for name in TYPES:
        made = world.connected(name)
        if isinstance(made, signal.Signal):
            for series, kind in made.series.items():
                found = world.sample(name, series)
                assert found is not None, series
                assert type(found).__name__.lower().startswith(kind), series
                sizes[series] = _size(found)
    print(sizes)
    assert sizes["golden"] == 300
    assert sizes["rows"] == sizes["event-age-p95"] == sizes["zero-shares"] == 120
    assert all(size > 100 for size in sizes.values())
    assert _size(world.sample("features", "zero-shares", 3 * HOUR, HOUR)) == 8 * 120
    assert world.sample("infra", "golden").rate < 0.02
    assert world.sample("metrics", "errors").hits == 0


def _size(sample: signals.Sample) -> int:
    if isinstance(sample, signals.Values):
        return len(sample.values)
    if isinstance(sample, signals.ColumnShares):
        return max(share.n for share in sample.columns.values())
    return sample.n


def test_logged_requests_are_answered_again_as_they_were(world: World) -> None:
    logged = world.log.logged(world.now - 2 * HOUR, world.now, 100)
    assert len(logged) == 100
    asked = {request.id: request.answer for request in logged}
    assert world.server.replay(list(asked), {}) == asked
    older = world.server.replay(list(asked), {planes.Plane.MODEL: "1"})
    assert set(older) == set(asked)
    with pytest.raises(Missing, match="99"):
        world.server.replay(list(asked), {planes.Plane.MODEL: "99"})


def test_moving_an_alias_is_no_going_live_until_the_server_rolls(world: World) -> None:
    plane = world.plane(planes.Plane.MODEL)
    two, one = plane.find("2"), plane.find("1")
    plane.switch(one, two)
    assert world.server.loaded()[planes.Plane.MODEL].is_same(two)
    assert world.server.roll()[planes.Plane.MODEL].is_same(one)
    plane.switch(two, one)
    assert world.server.roll()[planes.Plane.MODEL].is_same(two)


def test_weights_overwritten_in_place_are_other_bytes_and_are_seen_by_the_log(world: World) -> None:
    plane = world.plane(planes.Plane.MODEL)
    good, begin = plane.revision(), world.now
    fault, call, settled = _break(world, "model.promote-bad", kind="weights-overwritten")
    live = plane.revision()
    assert live.name == good.name
    assert not live.is_same(good)
    with pytest.raises(Conflict):
        plane.switch(plane.find("1"), good)
    world.pass_time(timedelta(minutes=10))
    seen = [change for change in world.log.changes(begin) if change.plane is planes.Plane.MODEL]
    assert [(change.before, change.after, change.recorded) for change in seen] == [("2", "2", False)]
    assert "other bytes under the same name" in seen[0].summary
    fault.undo(call, settled)
    assert plane.revision().is_same(good)


def test_a_job_that_exits_0_and_writes_nothing_is_failed_and_the_release_before_repairs(world: World) -> None:
    plane = world.plane(planes.Plane.FEATURES)
    good = plane.revision()
    fault, call, settled = _break(world, "features.freeze")
    world.pass_time(timedelta(minutes=60))
    bad = plane.revision()
    assert bad.name == "v3"
    assert world.sample("features", "event-age-p95").value > 2700
    failed = plane.refresh()
    assert failed.status is outcomes.Status.FAILED
    assert failed.values["exit_code"] == "0"
    assert "no row is fresh" in failed.summary
    plane.freeze("inc-1")
    assert plane.switch(good, bad).is_same(good)
    assert plane.refresh().values["rows"] == "120"
    assert world.sample("features", "event-age-p95").value < 1000
    plane.thaw()
    fault.undo(call, settled)


def test_columns_that_default_to_zero_are_counted_against_the_source(world: World) -> None:
    fault, call, settled = _break(world, "features.null")
    world.pass_time(timedelta(minutes=20))
    now = world.sample("features", "zero-shares")
    past = world.sample("features", "zero-shares", 3 * HOUR, HOUR)
    gone = [name for name, share in now.columns.items() if share.rate == 1.0 and past.columns[name].rate < 0.9]
    assert len(gone) == 8
    assert world.sample("features", "event-age-p95").value <= 900, "on time, in full number"
    fault.undo(call, settled)
    assert world.sample("features", "zero-shares").columns[gone[0]].rate < 1.0


def test_everything_says_so_when_the_server_is_gone(world: World) -> None:
    process.stop(world.root)
    assert world.plane(planes.Plane.INFRA).health().state is signals.State.UNKNOWN
    for plane in planes.ROLLED_BACK:
        assert world.plane(plane).health().state is signals.State.OK
    assert world.sample("requests", "scores") is not None
