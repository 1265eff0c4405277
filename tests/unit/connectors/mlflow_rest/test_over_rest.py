"""MLflow over REST against real servers: all of it is captured or the snapshot says that it is not; what is restored is
compared on the other side; cut off anywhere it goes on without a duplicate."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ddr.connectors.mlflow import bucket, connector, locations
from ddr.connectors.mlflow.over_rest import capture, comparing, fidelity, mapping, restore, shapes
from ddr.errors import Conflict, Damaged, DdrError, InputError, Unavailable
from ddr.lib import clock, endpoint
from ddr.ports import restorable
from tests import captures
from tests.unit.connectors.mlflow_rest import conftest

Proxies = Callable[[conftest.Server, conftest.Hook], conftest.Proxy]

# What the database has of what a table of the snapshot has; deleted versions are no longer in the API.
COUNTED = {
    "experiments": "experiments",
    "experiment_tags": "experiment_tags",
    "runs": "runs",
    "run_params": "params",
    "run_tags": "tags",
    "run_metrics": "latest_metrics",
    "metric_history": "metrics",
    "run_inputs": "inputs WHERE source_type = 'DATASET'",
    "run_models": "inputs WHERE source_type <> 'DATASET'",
    "logged_models": "logged_models",
    "logged_model_params": "logged_model_params",
    "logged_model_tags": "logged_model_tags",
    "logged_model_metrics": "logged_model_metrics",
    "registered_models": "registered_models",
    "registered_model_tags": "registered_model_tags",
    "registered_model_aliases": "registered_model_aliases",
    "model_versions": "model_versions WHERE current_stage <> 'Deleted_Internal'",
    "traces": "trace_info",
    "trace_metadata": "trace_request_metadata",
    "trace_assessments": "assessments",
    "trace_spans": "spans",
    "scorers": "scorer_versions",
    "evaluation_datasets": "evaluation_datasets",
    "evaluation_dataset_records": "evaluation_dataset_records",
    "webhooks": "webhooks",
}


def _server(url: str, page: int = 0, patience_s: float = 60.0, **headers: str) -> capture.Server:
    at = endpoint.Endpoint(url, 60.0, headers)
    return capture.Server(at, locations.Map(Path("/nowhere")), bucket.connect, page, patience_s)


def _captured(url: str, page: int = 0) -> captures.Capture:
    sink = captures.Capture()
    capture.capture(_server(url, page), sink)
    return sink


@pytest.fixture(scope="module")
def taken(world: conftest.World) -> captures.Capture:
    return _captured(world.source.url)


def _options(**more: object) -> restorable.RestoreOptions:
    return restorable.RestoreOptions(**more)  # type: ignore[arg-type]


def _unequal(found: object) -> list[restorable.Comparison]:
    return [one for one in found if not one.is_equal]  # type: ignore[attr-defined]


def test_every_row_of_the_database_that_the_api_shows_is_captured(
    world: conftest.World, taken: captures.Capture
) -> None:
    expected = {name: int(world.source.rows(f"SELECT COUNT(*) FROM {query}")[0][0]) for name, query in COUNTED.items()}
    found = {name: taken.tables[name].rows for name in COUNTED}
    print(found)
    assert found == expected
    assert all(expected.values())
    files = [path for path in (world.source.folder / "artifacts").rglob("*") if path.is_file()]
    kept = [content for stored, content in taken.files["artifacts"].values() if stored.kind == "file"]
    assert Counter(path.read_bytes() for path in files) == Counter(kept)
    # A trace's own file is written by MLflow's client in the background: it may be there or not.
    assert len(files) >= 7 * 3 + 3 * 2
    assert taken.facts["fidelity"] == fidelity.CLASS_B


def test_every_point_of_every_metric_is_what_the_database_has(world: conftest.World, taken: captures.Capture) -> None:
    query = "SELECT run_uuid, key, step, timestamp, value, is_nan FROM metrics"
    expected = {(*row[:4], "nan" if row[5] else repr(row[4])) for row in world.source.rows(query)}
    rows = [row for batch in taken.source().rows("metric_history") for row in batch.rows()]
    found = {(*row[:4], "nan" if math.isnan(float(str(row[4]))) else repr(row[4])) for row in rows}
    assert found == expected
    assert len(rows) == len(expected) == 1991


def test_small_pages_give_the_same_rows(world: conftest.World, taken: captures.Capture) -> None:
    paged = _captured(world.source.url, page=3)
    assert {name: table.digest for name, table in paged.tables.items()} == {
        name: table.digest for name, table in taken.tables.items()
    }
    assert len(shapes.ALL) == len(paged.tables)


def test_a_list_that_ends_too_early_makes_the_snapshot_partial(world: conftest.World, proxy: Proxies) -> None:
    """What mlflow-export-import#250 lost without a word."""

    def truncate(call: conftest.Call) -> None:
        if call.path.endswith("/runs/search"):
            call.edit = lambda said: {key: value for key, value in said.items() if key != "next_page_token"}

    with pytest.raises(Damaged, match=r"runs of experiment 1: the server gives 3 from one end and 3 from the other"):
        _captured(proxy(world.source, truncate).url, page=3)


def test_a_history_that_ends_too_early_makes_the_snapshot_partial(world: conftest.World, proxy: Proxies) -> None:
    def shorten(call: conftest.Call) -> None:
        if "get-history" in call.path:
            call.edit = lambda said: {"metrics": said.get("metrics", [])[:1600]}

    with pytest.raises(Damaged, match=r"metric 'long' of run \w+: its 1600 points lack the one"):
        _captured(proxy(world.source, shorten).url)


def test_spans_that_are_missing_make_the_snapshot_partial(world: conftest.World, proxy: Proxies) -> None:
    def lose(call: conftest.Call) -> None:
        if call.path.endswith("/traces/batchGet"):
            call.edit = lambda said: {
                "traces": [{**one, "spans": one["spans"][:1]} for one in said["traces"]],
            }

    with pytest.raises(Damaged, match=r"trace tr-\w+ has 2 spans, the server gives 1"):
        _captured(proxy(world.source, lose).url)


def test_a_busy_server_is_asked_again_and_loses_nothing(
    world: conftest.World, proxy: Proxies, taken: captures.Capture
) -> None:
    count, lock = Counter[str](), threading.Lock()

    def refuse(call: conftest.Call) -> None:
        with lock:
            count["calls"] += 1
            call.status = (429, 503)[count["calls"] % 2] if count["calls"] % 5 == 0 else 0
            call.drops = "before" if count["calls"] % 17 == 0 else ""

    found = _captured(proxy(world.source, refuse).url)
    assert {name: one.digest for name, one in found.tables.items()} == {
        name: one.digest for name, one in taken.tables.items()
    }
    assert count["calls"] > 120


def test_a_server_without_the_calls_of_newer_ones_is_captured_all_the_same(
    world: conftest.World, proxy: Proxies, taken: captures.Capture
) -> None:
    def older(call: conftest.Call) -> None:
        if "/api/3.0/" in call.path or "history-bulk" in call.path or "/webhooks" in call.path:
            call.status = 404

    sink = captures.Capture()
    capture.capture(_server(proxy(world.source, older).url), sink)
    assert sink.facts["not offered"] == (
        "traces, scorers, label schemas, evaluation datasets, webhooks, the AI gateway"
    )
    assert sink.tables["metric_history"].digest == taken.tables["metric_history"].digest


def test_who_asks_is_told_to_the_server_and_to_nobody_else(world: conftest.World, proxy: Proxies) -> None:
    def guard(call: conftest.Call) -> None:
        call.status = 0 if call.headers.get("Authorization") == "Bearer t0ken-of-the-test" else 401

    guarded = proxy(world.source, guard)
    settings = connector.Settings(guarded.url, token="t0ken-of-the-test")
    sink = captures.Capture()
    connector.connect(settings, Path("/nowhere"), clock.SystemClock()).capture(sink)
    assert sink.tables["runs"].rows == 9
    told = repr((sink.facts, sink.warnings, sink.redactions, sink.batches, sink.files))
    assert "t0ken" not in told
    with pytest.raises(DdrError) as refused:
        connector.connect(
            connector.Settings(guarded.url, token="wr0ng-token"), Path("/nowhere"), clock.SystemClock()
        ).capture(captures.Capture())
    assert "wr0ng" not in str(refused.value)


def test_a_restore_is_planned_done_compared_and_repeatable(world: conftest.World, taken: captures.Capture) -> None:
    source, there = taken.source(), _server(world.target.url)
    folder = world.target.folder
    options = _options(target=world.target.url, more={"mapping": "ids.csv"})
    before = world.target.counts()
    plan = restore.plan(there, source, options)
    assert plan.refusals == ()
    assert world.target.counts() == before, "a plan touches nothing"
    restore.restore(there, source, options, None, folder)
    compared = restore.compare(there, source, options)
    print(f"{len(compared)} compared: {', '.join(one.what for one in compared)}")
    assert _unequal(compared) == []
    assert {one.what for one in compared} >= {f"table {name}" for name in COUNTED if name not in comparing._NEVER}
    after = world.target.counts()
    for name in ("runs", "params", "metrics", "latest_metrics", "spans", "assessments", "evaluation_dataset_records"):
        assert after[name] == world.source.counts()[name], name
    tagged = world.target.rows("SELECT COUNT(*) FROM tags WHERE key = ?", mapping.SOURCE_ID)
    assert tagged == [(9,)]
    ids = (folder / "ids.csv").read_text().splitlines()
    assert len(ids) == 1 + 4 + 9 + 3 + 1
    again = restore.plan(there, source, options)
    assert {line.does for line in again.lines if line.what.startswith(("experiment", "model"))} == {"skip"}
    restore.restore(there, source, options, None, folder)
    assert world.target.counts() == after, "a second restore adds nothing"


def test_times_numbers_and_links_are_those_of_the_source(world: conftest.World, taken: captures.Capture) -> None:
    """Straight out of both databases, behind the comparison's back."""
    times = "SELECT name, start_time, end_time, status, user_id, lifecycle_stage FROM runs ORDER BY start_time, name"
    assert world.target.rows(times) == world.source.rows(times)
    numbers = (
        "SELECT name, version, current_stage, description FROM model_versions "
        "WHERE current_stage <> 'Deleted_Internal' ORDER BY 1, 2"
    )
    assert world.target.rows(numbers) == world.source.rows(numbers)
    assert [row[:2] for row in world.target.rows(numbers) if row[0] == "net"] == [("net", 1), ("net", 4), ("net", 5)]
    parent = (
        "SELECT r.name, p.name FROM tags t JOIN runs r ON r.run_uuid = t.run_uuid JOIN runs p ON p.run_uuid = t.value "
        "WHERE t.key = 'mlflow.parentRunId'"
    )
    assert world.target.rows(parent) == world.source.rows(parent) == [("rûn 2", "rûn 0")]
    points = "SELECT key, step, timestamp, value, is_nan FROM metrics ORDER BY 1, 2, 3, 4"
    assert world.target.rows(points) == world.source.rows(points)


def test_a_lost_point_and_a_changed_file_are_seen_by_the_comparison(
    world: conftest.World, taken: captures.Capture
) -> None:
    options = _options(target=world.target.url)
    run = world.made["runs"][0]
    new = world.target.rows("SELECT run_uuid FROM tags WHERE key = ? AND value = ?", mapping.SOURCE_ID, run)[0][0]
    body = {"run_id": new, "key": "loss", "value": 7.0, "timestamp": 1, "step": 0}
    world.target.post("/api/2.0/mlflow/runs/log-metric", body)
    file = next((world.target.folder / "artifacts").rglob("bytes.bin"))
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"?")
    found = {one.what for one in _unequal(restore.compare(_server(world.target.url), taken.source(), options))}
    file.write_bytes(content)
    assert found == {"table metric_history", "files"}


def test_onto_its_own_server_only_what_is_lost_comes_back(world: conftest.World, taken: captures.Capture) -> None:
    own, source = _server(world.source.url), taken.source()
    before = world.source.counts()
    options = _options(target=world.source.url)
    restore.restore(own, source, options, None, world.source.folder)
    assert world.source.counts() == before, "all is there: nothing is made"
    world.source.post("/api/2.0/mlflow/registered-models/delete", {"name": "net"}, "DELETE")
    only = _options(target=world.source.url, only=("model:net",))
    made = [line.what for line in restore.plan(own, source, only).lines if line.does == "create"]
    assert made == ["model net", "files"]
    restore.restore(own, source, only, None, world.source.folder)
    assert _unequal(restore.compare(own, source, only)) == []
    assert world.source.rows("SELECT COUNT(*) FROM runs") == [(9,)]


def test_what_has_the_name_already_is_refused_left_or_set_aside(world: conftest.World, taken: captures.Capture) -> None:
    there, source = _server(world.other.url), taken.source()
    made = world.other.post("/api/2.0/mlflow/experiments/create", {"name": "parcels"})
    world.other.post("/api/2.0/mlflow/runs/create", {"experiment_id": made["experiment_id"], "start_time": 1})
    only = ("experiment:parcels",)
    plan = restore.plan(there, source, _options(target=world.other.url, only=only))
    assert plan.refusals == ("experiment parcels: another one has that name; say another --policy",)
    before = world.other.counts()
    with pytest.raises(Conflict, match="nothing was changed"):
        restore.restore(there, source, _options(target=world.other.url, only=only), None, world.other.folder)
    restore.restore(there, source, _options(policy="skip", only=only), None, world.other.folder)
    assert world.other.counts() == before
    with pytest.raises(DdrError, match="has no experiment 'parcel'"):
        restore.plan(there, source, _options(only=("experiment:parcel",)))


@pytest.mark.long
def test_cut_off_again_and_again_it_comes_to_the_same_end_without_a_duplicate(
    world: conftest.World, proxy: Proxies, taken: captures.Capture
) -> None:
    """Each try is allowed twenty more writes; then the line breaks, before or after the server has done the last."""
    state = {"left": 0, "cuts": 0}
    lock = threading.Lock()

    def cut(call: conftest.Call) -> None:
        if call.method == "GET" or call.path.endswith("/search"):
            return
        with lock:
            state["left"] -= 1
            if state["left"] < 0:
                state["cuts"] += 1
                call.drops = "before" if state["cuts"] % 2 else "after"

    if not world.other.rows("SELECT 1 FROM experiments WHERE name = 'parcels'"):
        world.other.post("/api/2.0/mlflow/experiments/create", {"name": "parcels"})
    beside = int(world.other.rows("SELECT COUNT(*) FROM runs")[0][0])
    front = proxy(world.other, cut)
    source, options = taken.source(), _options(policy="recreate")
    there = _server(front.url, patience_s=0.1)
    attempt = 0
    while attempt < 40:
        attempt += 1
        state["left"] = 20
        try:
            restore.restore(there, source, options, None, world.other.folder)
            break
        except Unavailable:
            continue
    print(f"{attempt} tries, {state['cuts']} cuts, {front.writes} writes")
    assert 5 <= attempt < 40
    compared = restore.compare(_server(world.other.url), source, options)
    assert [one.what for one in _unequal(compared)] == []
    assert world.other.rows("SELECT COUNT(*) FROM runs") == [(9 + beside,)], "those of before are kept beside"
    names = [row[0] for row in world.other.rows("SELECT name FROM experiments WHERE name LIKE 'parcels%'")]
    assert [name for name in sorted(names) if "replaced by ddr" in name] == sorted(names)[1:]
    assert len(names) == 2
    assert world.other.rows("SELECT COUNT(*) FROM inputs") == world.source.rows("SELECT COUNT(*) FROM inputs")


def test_rows_of_a_server_do_not_go_into_a_database(world: conftest.World, taken: captures.Capture) -> None:
    made = connector.connect(connector.Settings(world.source.url), Path("/nowhere"), clock.SystemClock())
    with pytest.raises(InputError, match="into a running MLflow server"):
        made.plan_restore(taken.source(), _options(target="sqlite:///new.db"))


@pytest.mark.long
def test_a_drill_starts_a_server_restores_into_it_and_compares(
    world: conftest.World, taken: captures.Capture, tmp_path: Path
) -> None:
    made = connector.connect(connector.Settings(world.source.url), Path("/nowhere"), clock.SystemClock())
    found = made.rehearse(taken.source(), tmp_path)
    print(found.phases)
    assert found.problems == ()
    assert len(found.compared) >= 25
    assert _unequal(found.compared) == []
