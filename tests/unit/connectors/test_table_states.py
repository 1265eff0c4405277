"""A feature table's values go back with the release of its program, and forward again."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors import feature_table
from ddr.domain import planes
from ddr.errors import Conflict, Missing
from ddr.lib import clock
from ddr.ports import keeping
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
