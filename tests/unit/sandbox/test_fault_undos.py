"""Faults whose undo comes after somebody else has moved the platform on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ddr.domain import outcomes
from ddr.errors import Conflict, Damaged, Missing, Refused
from ddr.lib import durable
from ddr.ports import verb
from ddr.sandbox import clock, faults, features, layout, loading, lookalikes, process, registry, traffic, training
from tests.unit.sandbox import faulted, worlds


@pytest.fixture(autouse=True)
def as_it_was(running_sandbox: Path) -> Iterator[None]:
    with faulted.as_it_was(running_sandbox):
        yield


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
    fault, call, settled = faulted.prepared(root, faulted.PROMOTIONS[0])
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
        training.register(root, [training.Entry("stale-slice", clock.read(root), promote=True)], fault=faulted.KEY)
    assert registry.champion(root).number == "2"
    assert fault.undo(call, settled).status is outcomes.Status.UNDONE
    _thaw(root)


def test_undo_leaves_an_alias_that_went_elsewhere(running_sandbox: Path) -> None:
    root = running_sandbox
    fault, call, settled = faulted.prepared(root, faulted.PROMOTIONS[1])
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
    fault, call, settled = faulted.prepared(root, faulted.WEIGHTS[0])
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


@pytest.mark.parametrize("case", [*faulted.RELEASES[:2], faulted.DECOYS[0]], ids=str)
@pytest.mark.parametrize("back_to", ["before", "oldest"])
def test_undo_after_ddr_moved_the_pointer(case: faulted.Case, back_to: str, running_sandbox: Path) -> None:
    root = running_sandbox
    fault, call, settled = faulted.prepared(root, case)
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
    for case in faulted.INDEX:
        fault, call, settled = faulted.prepared(root, case)
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
    fault, call, settled = faulted.prepared(root, faulted.DECOYS[1])
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
    fault, call, settled = faulted.prepared(root, faulted.RELEASES[0])
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
    for number, case in enumerate([*faulted.RELEASES[:2], *faulted.DECOYS]):
        fault = faults.catalog(root)[case.name]
        call = worlds.call(case.inputs, f"run-1/{number}/1")
        settled = fault.prepare(call).settled
        fault.act(call, settled)
        stack.append((fault, call, settled))
    assert features.channel(root).live() == "v4"
    for fault, call, settled in reversed(stack):
        assert fault.observe(call, settled) is verb.Seen.DONE
        assert fault.undo(call, settled).status is outcomes.Status.UNDONE
