"""Every fault: what it does to the world, and that its undo is exact and repeatable, also when ddr was there before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ddr.domain import outcomes
from ddr.ports import verb
from ddr.sandbox import clock, faults, features, layout, loading, process, rows, state, traffic
from tests.unit.sandbox import faulted, worlds


@pytest.fixture(autouse=True)
def as_it_was(running_sandbox: Path) -> Iterator[None]:
    with faulted.as_it_was(running_sandbox):
        yield


@pytest.mark.parametrize("case", faulted.ALL, ids=str)
def test_a_fault_hurts_as_it_should_and_its_undo_is_exact(case: faulted.Case, running_sandbox: Path) -> None:
    root = running_sandbox
    before = state.describe(root)
    fault, call, settled = faulted.prepared(root, case)
    assert state.describe(root) == before, "to prepare only looks"
    assert fault.observe(call, settled) is verb.Seen.NOT_DONE
    assert fault.undo(call, settled).status is outcomes.Status.SKIPPED
    assert state.describe(root) == before

    assert fault.act(call, settled).status is outcomes.Status.OK
    assert fault.observe(call, settled) is verb.Seen.DONE
    hurt = state.describe(root)
    assert hurt != before
    assert hurt["not_rolled"] == (["index"] if "torn" in case.inputs.values() else []), "no server loads a torn file"
    assert fault.act(call, settled).status is outcomes.Status.OK
    assert state.describe(root) == hurt, "a second act changes nothing more"

    golden = worlds.golden_mismatch(root)
    wrong, counted = _hour(root)
    print(f"{case}: golden {golden:.3f}, wrong answers {wrong:.3f} of {counted} requests")
    assert case.golden[0] <= golden <= case.golden[1]
    assert case.wrong[0] <= wrong <= case.wrong[1]

    assert fault.undo(call, settled).status is outcomes.Status.UNDONE
    assert state.describe(root) == before
    assert fault.observe(call, settled) is verb.Seen.NOT_DONE
    assert fault.undo(call, settled).status is outcomes.Status.SKIPPED
    assert state.describe(root) == before
    assert worlds.golden_mismatch(root) <= 0.04
    if case.wrong[0]:
        assert _hour(root)[0] <= 0.04


def _hour(root: Path) -> tuple[float, int]:
    """Share of wrong answers from the next slot on, as far as it is known; the infrastructure must stay green."""
    traffic.Driver(root).advance(900)
    since = len(worlds.predictions(root))
    traffic.Driver(root).advance(3600)
    answered = worlds.predictions(root, since)
    assert {line["status"] for line in answered} == {200}
    assert worlds.metrics(root)['http_requests_total{code="500"}'] == 0
    runs = worlds.lines(layout.Layout(root).runs)[-5:]
    assert {run["exit_code"] for run in runs} == {0}
    return worlds.wrong_share(root, since), len(answered)


def test_decoys_change_no_answer(running_sandbox: Path) -> None:
    root = running_sandbox
    answered = {line["id"]: line["answer"] for line in worlds.predictions(root)[:300]}
    probes = [_probe(root, line) for line in worlds.lines(root / "golden.jsonl")]
    acted = []
    for case in faulted.DECOYS:
        fault, call, settled = faulted.prepared(root, case)
        fault.act(call, settled)
        acted.append((fault, call, settled))
    assert [_probe(root, line) for line in worlds.lines(root / "golden.jsonl")] == probes
    asked = {"ids": list(answered), "swaps": {"code": "1.4.1"}}
    assert process.call(process.ensure(root), "POST", "/-/replay", asked)[1]["answers"] == answered
    for fault, call, settled in reversed(acted):
        fault.undo(call, settled)


def _probe(root: Path, line: Mapping[str, Any]) -> dict[str, object]:
    asked = {"id": line["id"], "features": line["features"]}
    return process.call(process.ensure(root), "POST", "/predict", asked)[1]


def test_frozen_features_grow_old_while_the_job_says_it_is_fine(running_sandbox: Path) -> None:
    root = running_sandbox
    fault, call, settled = faulted.prepared(root, faulted.RELEASES[0])
    fault.act(call, settled)
    traffic.Driver(root).advance(7200)
    where = layout.Layout(root)
    assert {run["rows_reported"] for run in worlds.lines(where.runs)[-8:]} == {0}
    with features.opened(where.online) as online:
        (newest,) = online.execute("SELECT MAX(event_ts) FROM lane_pixels").fetchone()
    assert clock.read(root).timestamp() - newest >= 7200
    fault.undo(call, settled)
    with features.opened(where.online) as online:
        (oldest,) = online.execute("SELECT MIN(event_ts) FROM lane_pixels").fetchone()
    assert clock.read(root).timestamp() - oldest <= 900


def test_frozen_features_stay_frozen_over_midnight_and_new_month(sandbox: Path) -> None:
    """Texts of two formats are compared: no day may let a window through."""
    fault = faults.catalog(sandbox)["features.freeze"]
    fault.act(worlds.call(), fault.prepare(worlds.call()).settled)
    parcels = rows.read(sandbox)
    slots = 0
    at = layout.BEGINS.replace(hour=23)
    while at.month < 12 or at.day < 2:
        for moment in (at, at + timedelta(hours=1)):
            features.add_scans(sandbox, moment.timestamp(), parcels.traffic[: layout.LANES].tolist(), parcels.pixels)
            run = features.materialize(sandbox, moment - layout.SLOT, moment)
            assert (run.exit_code, run.rows) == (0, 0)
            slots += 1
        at += timedelta(days=1)
    assert features.materialize(sandbox, layout.BEGINS - timedelta(days=300), at).rows == 0
    print(f"{slots} windows around midnight")


@pytest.mark.parametrize("columns", [1, 8, 64])
def test_null_columns_are_zero_for_every_lane_on_time(columns: int, running_sandbox: Path) -> None:
    root = running_sandbox
    fault, call, settled = faulted.prepared(root, faulted.Case("features.null", {"columns": columns}))
    fault.act(call, settled)
    traffic.Driver(root).advance(900)
    named = settled["columns"].split(",")
    assert len(set(named)) == columns
    with features.opened(layout.Layout(root).online) as online:
        query = f"SELECT COUNT(*) FROM lane_pixels WHERE {' AND '.join(f'{name} = 0' for name in named)}"
        assert online.execute(query).fetchone() == (layout.LANES,)
    assert worlds.lines(layout.Layout(root).runs)[-1]["rows_reported"] == layout.LANES
    assert fault.undo(call, settled).status is outcomes.Status.UNDONE


def test_a_bad_release_looks_like_any_release(running_sandbox: Path) -> None:
    """Nothing in it says that it is a fault: ddr has to find out."""
    root = running_sandbox
    for case in (*faulted.RELEASES, faulted.DECOYS[0], *faulted.CODE):
        fault, call, settled = faulted.prepared(root, case)
        fault.act(call, settled)
        channel = features.channel(root) if case in faulted.RELEASES else loading.code_channel(root)
        good, made = channel.card(settled["before"]), channel.card(settled["release"])
        assert set(made) == set(good)
        assert made.get("inputs_schema") == good.get("inputs_schema")
        announced = worlds.lines(channel.log)[-1]
        assert (announced["from"], announced["to"]) == (settled["before"], settled["release"])
        assert announced["actor"] == "ci-bot"
        text = b"".join(path.read_bytes() for path in channel.path(settled["release"]).iterdir()).lower()
        assert not [word for word in (b"fault", b"ddr", b"bug", b"decoy", faulted.KEY.encode()) if word in text]
        assert fault.undo(call, settled).status is outcomes.Status.UNDONE


_BAD_INPUTS: list[tuple[str, dict[str, Any]]] = [
    ("model.promote-bad", {}),
    ("model.promote-bad", {"kind": "nice"}),
    ("model.promote-bad", {"kind": "stale-slice", "more": 1}),
    ("features.freeze", {"columns": 3}),
    ("features.null", {"columns": 0}),
    ("features.null", {"columns": 65}),
    ("features.null", {"columns": "all"}),
    ("features.null", {"columns": True}),
    ("features.null", {"columns": -1}),
    ("features.null", {"column": 1}),
    ("decoy.code-release", {"x": 1}),
    ("decoy.config-change", {"x": 1}),
]


@pytest.mark.parametrize(("name", "inputs"), _BAD_INPUTS, ids=str)
def test_bad_inputs_are_named(name: str, inputs: dict[str, Any], running_sandbox: Path) -> None:
    found = faults.catalog(running_sandbox)[name].problems(inputs, worlds.service())
    assert len(found) == 1
    assert "must be" in found[0] or "is not known" in found[0]
