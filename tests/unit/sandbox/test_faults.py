"""Every fault: what it does to the world, and that its undo is exact and repeatable, also when ddr was there before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ddr.domain import outcomes
from ddr.errors import Conflict, Damaged, Missing, Refused
from ddr.lib import durable
from ddr.ports import verb
from ddr.sandbox import (
    clock,
    faults,
    features,
    layout,
    loading,
    lookalikes,
    process,
    registry,
    rows,
    state,
    traffic,
    training,
)
from tests.unit.sandbox import worlds

KEY = "run-1/inject/1"


@dataclass(frozen=True)
class Case:
    """A fault, and what it must do to the share of wrong answers and to the golden probes."""

    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    wrong: tuple[float, float] = (0.0, 0.04)
    golden: tuple[float, float] = (0.0, 0.04)

    def __str__(self) -> str:
        return "-".join([self.name, *map(str, self.inputs.values())])


DECOYS = [Case("decoy.code-release"), Case("decoy.config-change")]
RELEASES = [
    Case("features.freeze", wrong=(0.7, 1.0)),
    Case("features.null", wrong=(0.12, 0.6)),
    Case("features.null", {"columns": 24}, wrong=(0.4, 1.0)),
]
PROMOTIONS = [
    Case("model.promote-bad", {"kind": "labels-flipped"}, wrong=(0.2, 0.6), golden=(0.25, 0.45)),
    Case("model.promote-bad", {"kind": "stale-slice"}, wrong=(0.2, 0.6), golden=(0.2, 0.45)),
    Case("model.promote-bad", {"kind": "wrong-preprocessing"}, wrong=(0.2, 0.7), golden=(0.2, 0.6)),
]
WEIGHTS = [Case("model.promote-bad", {"kind": "weights-overwritten"}, wrong=(0.5, 1.0), golden=(0.5, 1.0))]
CODE = [Case("code.bad-release", wrong=(0.1, 0.6), golden=(0.1, 0.6))]
INDEX = [Case("index.corrupt", {"kind": kind}) for kind in ("flipped", "torn")]
ALL = [*DECOYS, *RELEASES, *PROMOTIONS, *WEIGHTS, *CODE, *INDEX]


@pytest.fixture(autouse=True)
def as_it_was(running_sandbox: Path) -> Iterator[None]:
    """Whatever a test did is taken back at its end, to the last row."""
    before = state.describe(running_sandbox)
    digest = state.digest(running_sandbox)
    yield
    assert state.describe(running_sandbox) == before
    assert state.digest(running_sandbox) == digest


def _prepared(root: Path, case: Case) -> tuple[verb.Verb, verb.Call, Mapping[str, str]]:
    fault = faults.catalog(root)[case.name]
    call = worlds.call(case.inputs, KEY)
    assert fault.problems(case.inputs, worlds.service()) == []
    return fault, call, fault.prepare(call).settled


@pytest.mark.parametrize("case", ALL, ids=str)
def test_a_fault_hurts_as_it_should_and_its_undo_is_exact(case: Case, running_sandbox: Path) -> None:
    root = running_sandbox
    before = state.describe(root)
    fault, call, settled = _prepared(root, case)
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
    for case in DECOYS:
        fault, call, settled = _prepared(root, case)
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
    fault, call, settled = _prepared(root, RELEASES[0])
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
    fault, call, settled = _prepared(root, Case("features.null", {"columns": columns}))
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
    for case in (*RELEASES, DECOYS[0], *CODE):
        fault, call, settled = _prepared(root, case)
        fault.act(call, settled)
        channel = features.channel(root) if case in RELEASES else loading.code_channel(root)
        good, made = channel.card(settled["before"]), channel.card(settled["release"])
        assert set(made) == set(good)
        assert made.get("inputs_schema") == good.get("inputs_schema")
        announced = worlds.lines(channel.log)[-1]
        assert (announced["from"], announced["to"]) == (settled["before"], settled["release"])
        assert announced["actor"] == "ci-bot"
        text = b"".join(path.read_bytes() for path in channel.path(settled["release"]).iterdir()).lower()
        assert not [word for word in (b"fault", b"ddr", b"bug", b"decoy", KEY.encode()) if word in text]
        assert fault.undo(call, settled).status is outcomes.Status.UNDONE


# --- what ddr may have done in between: (what it did, how to take that back afterwards) ---


def _tag(root: Path, statement: str, *values: str) -> None:
    with registry.opened(root) as connection:
        assert connection.execute(statement, values).rowcount == 1


def _block(root: Path, number: str) -> None:
    statement = "INSERT INTO model_version_tags (workspace, name, version, key, value) VALUES ('default', ?, ?, ?, ?)"
    _tag(root, statement, layout.MODEL, number, "ddr.blocked", "inc-1")


def _freeze(root: Path) -> None:
    statement = "INSERT INTO registered_model_tags (workspace, name, key, value) VALUES ('default', ?, ?, ?)"
    _tag(root, statement, layout.MODEL, layout.FROZEN_TAG, "inc-1")


def _thaw(root: Path) -> None:
    _tag(root, "DELETE FROM registered_model_tags WHERE name = ? AND key = ?", layout.MODEL, layout.FROZEN_TAG)


def test_undo_after_ddr_took_the_promotion_back_blocked_it_and_froze(running_sandbox: Path) -> None:
    root = running_sandbox
    fault, call, settled = _prepared(root, PROMOTIONS[0])
    bad = fault.act(call, settled).values["version"]
    assert registry.move_alias(root, to="2", expect=bad)
    process.roll(root)
    _block(root, bad)
    _freeze(root)
    for status in (outcomes.Status.UNDONE, outcomes.Status.SKIPPED):
        assert fault.undo(call, settled).status is status
        assert registry.champion(root).number == "2"
        assert registry.frozen(root) == "inc-1", "the freeze is ddr's"
    with pytest.raises(Missing):
        registry.find(root, bad)
    # While it is frozen, nobody promotes: not at preparation, not later, not the pipeline itself.
    with pytest.raises(Refused, match="frozen: inc-1"):
        fault.prepare(call)
    with pytest.raises(Refused, match="frozen: inc-1"):
        fault.act(call, settled)
    with pytest.raises(Refused, match="frozen: inc-1"):
        training.register(root, [training.Entry("stale-slice", clock.read(root), promote=True)], fault=KEY)
    assert registry.champion(root).number == "2"
    assert fault.undo(call, settled).status is outcomes.Status.UNDONE
    _thaw(root)


def test_undo_leaves_an_alias_that_went_elsewhere(running_sandbox: Path) -> None:
    root = running_sandbox
    fault, call, settled = _prepared(root, PROMOTIONS[1])
    bad = fault.act(call, settled).values["version"]
    assert registry.move_alias(root, to="1", expect=bad)
    process.roll(root)
    assert fault.observe(call, settled) is verb.Seen.OTHER
    with pytest.raises(Conflict):
        fault.act(call, settled)
    assert fault.undo(call, settled).status is outcomes.Status.UNDONE
    assert registry.champion(root).number == "1"
    assert worlds.golden_mismatch(root) <= 0.04
    assert registry.move_alias(root, to="2", expect="1")
    process.roll(root)


def test_undo_of_weights_after_ddr_went_back_a_version(running_sandbox: Path) -> None:
    root = running_sandbox
    fault, call, settled = _prepared(root, WEIGHTS[0])
    path = registry.champion(root).folder / "model.pkl"
    fault.act(call, settled)
    assert registry.move_alias(root, to="1", expect="2")
    process.roll(root)
    _block(root, "2")
    bad = path.read_bytes()
    durable.replace(path, b"written by a third one")
    with pytest.raises(Conflict) as caught:
        fault.undo(call, settled)
    assert "original" in caught.value.hint
    assert path.read_bytes() == b"written by a third one"
    assert fault.observe(call, settled) is verb.Seen.OTHER
    durable.replace(path, bad)
    for status in (outcomes.Status.UNDONE, outcomes.Status.SKIPPED):
        assert fault.undo(call, settled).status is status
        assert registry.champion(root).number == "1"
    assert registry.move_alias(root, to="2", expect="1")
    process.roll(root)
    _tag(root, "DELETE FROM model_version_tags WHERE name = ? AND key = ?", layout.MODEL, "ddr.blocked")


@pytest.mark.parametrize("case", [*RELEASES[:2], DECOYS[0]], ids=str)
@pytest.mark.parametrize("back_to", ["before", "oldest"])
def test_undo_after_ddr_moved_the_pointer(case: Case, back_to: str, running_sandbox: Path) -> None:
    root = running_sandbox
    fault, call, settled = _prepared(root, case)
    fault.act(call, settled)
    traffic.Driver(root).advance(900)
    channel = loading.code_channel(root) if case.name.startswith("decoy") else features.channel(root)
    target = settled["before"] if back_to == "before" else channel.pointer.names()[0]
    channel.pointer.swap(settled["release"], target)
    process.roll(root)
    suspended = layout.Layout(root).suspended
    suspended.write_text("inc-1")
    for status in (outcomes.Status.UNDONE, outcomes.Status.SKIPPED):
        assert fault.undo(call, settled).status is status
        assert channel.live() == target
        assert suspended.read_text() == "inc-1", "the freeze is ddr's"
        assert features.wrong_rows(root, clock.read(root)) == 0
    suspended.unlink()
    if target != settled["before"]:
        channel.pointer.swap(target, settled["before"])
        process.roll(root)


def test_a_damaged_index_is_seen_by_its_bytes_and_left_where_someone_else_wrote(running_sandbox: Path) -> None:
    root = running_sandbox
    channel = lookalikes.channel(root)
    version = channel.live()
    good = channel.pointer.digest(version)
    for case in INDEX:
        fault, call, settled = _prepared(root, case)
        fault.act(call, settled)
        assert channel.live() == version
        assert channel.pointer.digest(version) != good
        if case.inputs["kind"] == "torn":
            with pytest.raises(Damaged):
                lookalikes.load(root, version)
        else:
            lookalikes.load(root, version)
        path = channel.path(version) / "index.faiss"
        bad = path.read_bytes()
        durable.replace(path, b"written by a third one")
        assert fault.observe(call, settled) is verb.Seen.OTHER
        with pytest.raises(Conflict):
            fault.undo(call, settled)
        durable.replace(path, bad)
        assert fault.undo(call, settled).status is outcomes.Status.UNDONE
        assert channel.pointer.digest(version) == good


def test_undo_leaves_a_configuration_that_someone_else_wrote(running_sandbox: Path) -> None:
    root = running_sandbox
    fault, call, settled = _prepared(root, DECOYS[1])
    path = layout.Layout(root).config
    good = path.read_bytes()
    fault.act(call, settled)
    durable.replace(path, b"similar: 5\n")
    assert fault.observe(call, settled) is verb.Seen.OTHER
    with pytest.raises(Conflict):
        fault.act(call, settled)
    assert fault.undo(call, settled).status is outcomes.Status.UNDONE
    assert path.read_bytes() == b"similar: 5\n"
    assert fault.undo(call, settled).status is outcomes.Status.SKIPPED
    durable.replace(path, good)
    process.roll(root)


def test_a_release_that_someone_else_published_is_left_alone(running_sandbox: Path) -> None:
    root = running_sandbox
    fault, call, settled = _prepared(root, RELEASES[0])
    channel = features.channel(root)
    channel.publish(settled["release"], {"materialize.py": b"theirs"}, {"version": "v3", "commit": "abc"})
    with pytest.raises(Conflict):
        fault.act(call, settled)
    assert fault.undo(call, settled).status is outcomes.Status.SKIPPED
    assert (channel.path(settled["release"]) / "materialize.py").read_bytes() == b"theirs"
    assert faults.catalog(root)["features.freeze"].prepare(worlds.call()).settled["release"] == "v4"
    assert channel.retract(settled["release"], "abc")


def test_two_faults_at_once_come_off_in_reverse_order(running_sandbox: Path) -> None:
    root = running_sandbox
    stack = []
    for number, case in enumerate([*RELEASES[:2], *DECOYS]):
        fault = faults.catalog(root)[case.name]
        call = worlds.call(case.inputs, f"run-1/{number}/1")
        settled = fault.prepare(call).settled
        fault.act(call, settled)
        stack.append((fault, call, settled))
    assert features.channel(root).live() == "v4"
    for fault, call, settled in reversed(stack):
        assert fault.observe(call, settled) is verb.Seen.DONE
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
