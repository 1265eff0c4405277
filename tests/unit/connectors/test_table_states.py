"""A feature table's values go back with the release of its program, and forward again."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors import feature_table
from ddr.domain import planes
from ddr.errors import Conflict, InputError, Missing, Refused
from ddr.lib import clock, timetext
from ddr.ports import connector, keeping
from tests.unit.connectors import feast_online, rigs


@pytest.fixture
def table(tmp_path: Path) -> feature_table.FeatureTable:
    folder = tmp_path / "features"
    rigs.write_features(folder)
    for name in ("v1", "v3"):
        (folder / "releases" / name).mkdir(parents=True)
        (folder / "releases" / name / "materialize.py").write_text(f"# {name}\n")
    settings = feature_table.Settings("features", table="lane_pixels", entity="lane")
    made = feature_table.connect(settings, tmp_path, clock.ManualClock(rigs.NOW))
    assert isinstance(made, keeping.Keepable)
    made.shelved(feast_online.shelf(tmp_path / "shelf"))
    return made


def plane_of(table: feature_table.FeatureTable) -> feature_table.FeaturePlane:
    return table.plane(feature_table.Binding(), planes.Plane.FEATURES)


def values(table: feature_table.FeatureTable) -> list[Any]:
    with contextlib.closing(sqlite3.connect(table.root / "online.db")) as file:
        return sorted(file.execute("SELECT * FROM lane_pixels").fetchall())


def spoil(table: feature_table.FeatureTable, number: float = -1.0) -> None:
    with contextlib.closing(sqlite3.connect(table.root / "online.db")) as file, file:
        file.execute("UPDATE lane_pixels SET p00 = ?", (number,))
        file.execute("DELETE FROM lane_pixels WHERE lane = 'lane-003'")


def test_values_go_back_and_forward(table: feature_table.FeatureTable) -> None:
    plane, good = plane_of(table), values(table)
    kept = table.keep("good").facts[keeping.REVISION]
    spoil(table)
    bad, live = values(table), plane.revision()
    assert live.name == "v2"
    assert kept.startswith("v2+")
    target = plane.find(kept)
    assert plane.switch(target, live).is_same(target)
    assert values(table) == good
    assert plane.revision().is_same(target)
    assert plane.switch(target, live).is_same(target), "again: nothing to do"
    assert plane.switch(live, target).is_same(live), "and back: the values of then"
    assert values(table) == bad
    assert plane.switch(target, live).is_same(target)
    spoil(table, 5.0)
    assert plane.revision().is_same(live), "somebody materialized: it is at the release again"
    with pytest.raises(Conflict):
        plane.switch(live, target) if not plane.revision().is_same(live) else plane.switch(plane.find("v3"), target)


def test_program_and_values_go_back_together(table: feature_table.FeatureTable) -> None:
    plane, good = plane_of(table), values(table)
    kept = table.keep("good").facts[keeping.REVISION]
    plane.switch(plane.find("v3"), plane.revision())
    spoil(table)
    bad, live = values(table), plane.revision()
    target = plane.find(kept)
    assert plane.switch(target, live).is_same(target)
    assert (table.pointer.read(), values(table)) == ("v2", good)
    assert plane.switch(live, target).is_same(live)
    assert (table.pointer.read(), values(table)) == ("v3", bad)


def test_cut_off_anywhere_it_comes_to_the_same_end(
    table: feature_table.FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the values, before the link; and what was there before stays the way back."""
    from ddr.connectors import table_states
    from ddr.lib import pointer

    plane, good = plane_of(table), values(table)
    kept = table.keep("good").facts[keeping.REVISION]
    plane.switch(plane.find("v3"), plane.revision())
    spoil(table)
    bad, live, target = values(table), plane.revision(), plane.find(kept)

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for of, name in (
        (table_states.TableStates, "write_note"),
        (table_states.TableStates, "put"),
        (pointer.Pointer, "swap"),
    ):
        monkeypatch.setattr(of, name, dies)
        with pytest.raises(KeyboardInterrupt):
            plane.switch(target, live)
        monkeypatch.undo()
        assert plane.switch(target, live).is_same(target)
        assert (table.pointer.read(), values(table)) == ("v2", good)
        assert plane.switch(live, target).is_same(live)
        assert (table.pointer.read(), values(table)) == ("v3", bad)


def test_a_state_that_is_not_kept_is_missing(table: feature_table.FeatureTable) -> None:
    plane = plane_of(table)
    for name in ("v2+000000000000", "v2+", "v9+000000000000"):
        with pytest.raises(Missing):
            plane.find(name)
    assert any("no state is kept" in line for line in plane.health().cannot)
    table.keep("one")
    assert any("bring back 1" in line for line in plane.health().can)


def isolating(table: feature_table.FeatureTable, **fallback: float | None) -> feature_table.FeaturePlane:
    said = {"*" if name == "others" else name: value for name, value in fallback.items()}
    made = dataclasses.replace(table, settings=dataclasses.replace(table.settings, fallback=said))
    plane = plane_of(made)
    assert isinstance(plane, connector.Isolatable)
    return plane


def features_of(table: feature_table.FeatureTable) -> set[tuple[Any, ...]]:
    names = ", ".join(name for name, _ in table.columns())
    with contextlib.closing(sqlite3.connect(table.root / "online.db")) as file:
        return set(file.execute(f"SELECT {names} FROM lane_pixels").fetchall())


def test_an_isolated_table_gives_its_stand_in_and_joins_again(table: feature_table.FeatureTable) -> None:
    plane, before = isolating(table, others=0.5, p00=None), values(table)
    plane.isolate("rows are wrong")
    first, *rest = next(iter(features_of(table)))
    assert len(features_of(table)) == 1, "every row is the stand-in"
    assert (first, set(rest)) == (None, {0.5} if rest else set())
    assert len(values(table)) == len(before), "entities stay"
    assert plane.isolated() == "rows are wrong"
    assert "isolated: rows are wrong" in plane.health().why
    plane.isolate("again")
    assert plane.isolated() == "rows are wrong", "what is isolated is kept so"
    plane.join()
    assert (values(table), plane.isolated()) == (before, "")
    plane.join()
    assert values(table) == before
    plane.isolate("a second time")
    spoil(table)
    written = values(table)
    with pytest.raises(Conflict, match="somebody wrote them"):
        plane.join()
    assert values(table) == written


@pytest.mark.parametrize("value", [0, 1, True, 0.25, None, "none"])
def test_every_kind_of_stand_in_is_found_again_and_taken_off(table: feature_table.FeatureTable, value: Any) -> None:
    plane, before = isolating(table, others=value), values(table)
    plane.isolate("wrong")
    plane.isolate("wrong")
    plane.join()
    assert (values(table), plane.isolated()) == (before, "")


def test_an_isolation_that_was_cut_off_goes_on(table: feature_table.FeatureTable) -> None:
    plane, before = isolating(table, others=0.0), values(table)
    states = table.states
    put, states.put = states.put, _dies  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        plane.isolate("rows are wrong")
    states.put = put  # type: ignore[method-assign]
    assert (values(table), plane.isolated()) == (before, "")
    spoil(table)
    written = values(table)
    plane.isolate("rows are wrong")
    assert len(features_of(table)) == 1
    plane.join()
    assert values(table) == written, "what was there when it was isolated, not what was there at the first try"


def _dies(*_: object) -> None:
    raise KeyboardInterrupt


def test_without_an_agreed_value_for_each_feature_nothing_is_changed(table: feature_table.FeatureTable) -> None:
    before = values(table)
    for fallback, error in (({}, Refused), ({"p99": 0.0, "others": 0.0}, InputError), ({"p00": 0.0}, InputError)):
        plane = isolating(table, **fallback)
        if error is InputError and set(fallback) == {name for name, _ in table.columns()}:
            continue
        with pytest.raises(error):
            plane.isolate("wrong")
        assert (values(table), plane.isolated()) == (before, "")


def test_a_kept_state_says_how_new_its_events_are_and_when_it_was_kept_there(table: feature_table.FeatureTable) -> None:
    facts = table.keep("good").facts
    with contextlib.closing(sqlite3.connect(table.root / "online.db")) as file:
        (newest,) = file.execute("SELECT MAX(event_ts) FROM lane_pixels").fetchone()
    assert timetext.parse_time(facts[keeping.EVENT_NEWEST]).timestamp() == pytest.approx(newest, abs=0.001)
    assert timetext.parse_time(facts[keeping.PLATFORM_AT]) == rigs.NOW
