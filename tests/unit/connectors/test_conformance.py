"""The ports' comments, as cases that every implementation passes."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import ddr.connectors
from ddr.domain import planes, revisions, signals
from ddr.errors import Conflict, DdrError, Missing, Unavailable
from ddr.ports import connector
from ddr.wiring import connector_types
from tests.unit.connectors import feast_online, rigs, rigs_code_data

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
SWITCHABLE = [
    "release-folder",
    "faiss-index",
    "feature-table",
    "feast-online-sqlite",
    "feast-online-redis",
    "mlflow-sql",
    "mlflow-postgres",
    "mlflow-rest",
    "mlflow-sql-stage",
    "mlflow-rest-stage",
    "oci-image",
    "dvc",
]
OBSERVABLE = [*SWITCHABLE, "config-file", "model-server"]
FREEZABLE = [param for param in SWITCHABLE if param.startswith(("feature-table", "mlflow", "feast"))]
# Not those that share their files with other tests, and not what is named by its bytes: an image, a commit.
OVERWRITABLE = [
    param
    for param in SWITCHABLE
    if not param.startswith(("mlflow-rest", "feast-online")) and param not in ("oci-image", "dvc")
]
MARKABLE = [param for param in SWITCHABLE if param.startswith("mlflow")]


@pytest.fixture
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[rigs.Rig]:
    kind: str = request.param
    makers: dict[str, Callable[[Path], rigs.Rig]] = {
        "release-folder": rigs.release_rig,
        "faiss-index": rigs.index_rig,
        "feature-table": rigs.feature_rig,
        "config-file": rigs.config_rig,
        "dvc": rigs_code_data.data_rig,
    }
    if kind in makers:
        yield makers[kind](tmp_path)
    elif kind == "model-server":
        with rigs.server_rig(tmp_path) as made:
            yield made
    elif kind == "oci-image":
        with rigs_code_data.image_rig(tmp_path) as made:
            yield made
    elif kind.startswith("feast-online"):
        with feast_online.rig(tmp_path, kind.removeprefix("feast-online-")) as made:
            yield made
    elif kind.endswith("-stage"):
        official = request.getfixturevalue("official")
        yield rigs_code_data.stage_rig(official, tmp_path, over_rest=kind == "mlflow-rest-stage")
    else:
        official = request.getfixturevalue("official")
        if kind == "mlflow-postgres":
            yield rigs.postgres_rig(official, tmp_path, request.getfixturevalue("shared_server"))
            return
        yield (rigs.sql_rig if kind == "mlflow-sql" else rigs.rest_rig)(official, tmp_path)


@pytest.mark.parametrize("rig", OBSERVABLE, indirect=True)
def test_a_plane_says_by_its_methods_what_it_can_do(rig: rigs.Rig, request: pytest.FixtureRequest) -> None:
    kind = request.node.callspec.id
    for port, able in (
        (connector.Observable, OBSERVABLE),
        (connector.Switchable, SWITCHABLE),
        (connector.Freezable, FREEZABLE),
        (connector.Markable, MARKABLE),
    ):
        assert isinstance(rig.plane, port) == (kind in able), port
    assert isinstance(rig.plane, connector.Refreshable) == (kind == "feature-table")
    assert isinstance(rig.plane, connector.Materializable) == kind.startswith("feast-online")


@pytest.mark.parametrize("rig", OBSERVABLE, indirect=True)
def test_looking_touches_nothing_and_may_be_repeated(rig: rigs.Rig) -> None:
    before = rig.state()
    first = rig.plane.revision()
    assert first == rig.plane.revision()
    assert first.plane in planes.Plane
    assert first.object
    assert first.name
    assert not first.digest or first.digest.startswith("sha256:")
    rig.plane.health()
    rig.plane.changes(LONG_AGO)
    assert rig.state() == before


@pytest.mark.parametrize("rig", OBSERVABLE, indirect=True)
def test_health_never_raises(rig: rigs.Rig) -> None:
    assert rig.plane.health().state is signals.State.OK
    assert rig.down.health().state is not signals.State.OK
    assert rig.down.health().why
    with pytest.raises((Missing, Unavailable)) as raised:
        rig.down.revision()
    assert raised.value.hint


@pytest.mark.parametrize("rig", OBSERVABLE, indirect=True)
def test_changes_are_in_order_and_not_older_than_asked(rig: rigs.Rig) -> None:
    found = rig.plane.changes(LONG_AGO)
    assert list(found) == sorted(found, key=lambda change: change.at)
    for cut in found:
        assert all(change.at >= cut.at for change in rig.plane.changes(cut.at))
        assert cut in rig.plane.changes(cut.at)
    assert list(rig.plane.changes(datetime(2100, 1, 1, tzinfo=UTC))) == []


@pytest.mark.parametrize("rig", SWITCHABLE, indirect=True)
def test_find_gives_what_is_live_and_misses_what_is_not_there(rig: rigs.Rig) -> None:
    live = rig.plane.revision()
    assert live.name == rig.names[0]
    assert rig.plane.find(live.name).is_same(live)
    assert len({rig.plane.find(name).digest for name in rig.names}) == 3
    for name in ("", ".", "..", "none", "99999", "../x", "a/b", "x\0y", "latest", " 1", "²", "1'--", live.name + "/."):
        with pytest.raises(Missing) as raised:
            rig.plane.find(name)
        assert raised.value.hint


@pytest.mark.parametrize("rig", SWITCHABLE, indirect=True)
def test_there_and_back_leaves_everything_as_it_was(rig: rigs.Rig) -> None:
    live, other, _ = map(rig.plane.find, rig.names)
    before = _without_times(rig)
    assert rig.plane.switch(other, live).is_same(other)
    assert rig.plane.revision().is_same(other)
    assert _without_times(rig) != before
    assert rig.plane.find(live.name).is_same(live), "going back never deletes"
    assert rig.plane.switch(live, other).is_same(live)
    assert _without_times(rig) == before


@pytest.mark.parametrize("rig", SWITCHABLE, indirect=True)
def test_switching_to_what_is_live_changes_nothing(rig: rigs.Rig) -> None:
    live, other, third = map(rig.plane.find, rig.names)
    before = rig.state()
    for expect in (live, other, third):
        assert rig.plane.switch(live, expect).is_same(live)
    assert rig.state() == before


@pytest.mark.parametrize("rig", SWITCHABLE, indirect=True)
def test_a_conflict_changes_nothing(rig: rigs.Rig) -> None:
    live, other, third = map(rig.plane.find, rig.names)
    rig.move(third.name)
    before = rig.state()
    with pytest.raises(Conflict) as raised:
        rig.plane.switch(other, live)
    assert third.name in raised.value.found
    assert live.name in raised.value.expected
    assert rig.state() == before


@pytest.mark.parametrize("rig", SWITCHABLE, indirect=True)
def test_other_bytes_under_the_planned_name_are_a_conflict(rig: rigs.Rig) -> None:
    live, other, _ = map(rig.plane.find, rig.names)
    for planned, expect in (
        (dataclasses.replace(other, digest="sha256:" + "0" * 64), live),
        (other, dataclasses.replace(live, digest="sha256:" + "0" * 64)),
    ):
        before = rig.state()
        with pytest.raises(Conflict):
            rig.plane.switch(planned, expect)
        assert rig.state() == before
    with pytest.raises(Missing):
        rig.plane.switch(dataclasses.replace(other, name="12345"), live)


@pytest.mark.parametrize("rig", OVERWRITABLE, indirect=True)
def test_bytes_that_are_overwritten_change_the_digest(rig: rigs.Rig) -> None:
    live, other, _ = map(rig.plane.find, rig.names)
    rig.overwrite(other.name)
    assert not rig.plane.find(other.name).is_same(other)
    with pytest.raises(Conflict):
        rig.plane.switch(other, live)
    rig.overwrite(live.name)
    with pytest.raises(Conflict):
        rig.plane.switch(rig.plane.find(other.name), live)
    assert rig.plane.revision().name == live.name


@pytest.mark.parametrize("rig", SWITCHABLE, indirect=True)
def test_of_two_switchers_at_once_one_wins(rig: rigs.Rig) -> None:
    """Both have planned from the same live revision. Where the system has no compare-and-set, both may think so."""
    live, *targets = map(rig.plane.find, rig.names)
    rounds = 12
    both = 0
    for _ in range(rounds):
        rig.move(live.name)
        won, lost = _at_once(rig.plane, targets, live)
        final = rig.plane.revision()
        assert len(won) + len(lost) == 2
        if rig.is_atomic:
            assert [final.name] == [name for name, _ in won]
        else:
            assert final.name in {name for name, _ in won} or not won
            both += len(won) == 2
        assert all(isinstance(problem, Conflict) for problem in lost)
    print(f"{rounds} rounds, {both} with two winners")


def _at_once(
    plane: Any, targets: list[revisions.Revision], live: revisions.Revision
) -> tuple[list[tuple[str, revisions.Revision]], list[DdrError]]:
    start = threading.Barrier(len(targets))
    won: list[tuple[str, revisions.Revision]] = []
    lost: list[DdrError] = []

    def go(target: revisions.Revision) -> None:
        start.wait()
        try:
            won.append((target.name, plane.switch(target, live)))
        except DdrError as problem:
            lost.append(problem)

    threads = [threading.Thread(target=go, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won, lost


def _without_times(rig: rigs.Rig) -> object:
    state = rig.state()
    return state[0] if isinstance(state, tuple) else state


@pytest.mark.parametrize("rig", FREEZABLE, indirect=True)
def test_a_freeze_is_kept_and_thawed_once_for_all(rig: rigs.Rig) -> None:
    before = _without_times(rig)
    assert rig.plane.frozen() == ""
    rig.plane.freeze("inc-1: bad promotion")
    rig.plane.freeze("inc-2: another")
    assert rig.plane.frozen() == "inc-1: bad promotion"
    assert "inc-1" in rig.plane.health().why or rig.plane.health().state is signals.State.OK
    rig.plane.thaw()
    rig.plane.thaw()
    assert rig.plane.frozen() == ""
    rig.plane.freeze("")
    assert rig.plane.frozen()
    rig.plane.thaw()
    assert _without_times(rig) == before


@pytest.mark.parametrize("rig", MARKABLE, indirect=True)
def test_a_mark_is_kept_and_taken_back(rig: rigs.Rig) -> None:
    before = rig.state()
    bad = rig.names[2]
    rig.plane.unblock(bad)
    assert revisions.BLOCKED not in rig.plane.find(bad).facts
    rig.plane.block(bad, "inc-1: labels flipped")
    rig.plane.block(bad, "inc-2")
    assert rig.plane.find(bad).facts[revisions.BLOCKED] == "inc-1: labels flipped"
    rig.plane.unblock(bad)
    rig.plane.unblock(bad)
    assert rig.state() == before
    with pytest.raises(Missing):
        rig.plane.block("77", "x")


def test_every_switchable_and_observable_type_is_in_the_suite() -> None:
    """A new connector that serves a plane must come here, and into the list of types."""
    names = [name for _, name, _ in pkgutil.walk_packages(ddr.connectors.__path__, "ddr.connectors.")]
    serving = {name for name in names if hasattr(importlib.import_module(name), "Binding")}
    kinds = {kind for kind, module in connector_types.TYPES.items() if module in serving}
    assert serving == {connector_types.TYPES[kind] for kind in kinds}
    tried = set(OBSERVABLE)
    stores = ("mlflow", "feast-online")
    assert kinds == {next((one for one in stores if kind.startswith(f"{one}-")), kind) for kind in tried}
