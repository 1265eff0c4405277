"""The MLflow connector against MLflow itself: what it writes is what MLflow's client would write, read back by it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors.mlflow import plane as models
from ddr.connectors.mlflow import seats
from ddr.domain import revisions, signals
from ddr.errors import Damaged, Missing, Refused
from ddr.lib import digest
from tests.unit.connectors import rigs
from tests.unit.connectors.official import SEED, Official

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def test_each_write_changes_what_the_official_client_changes_and_nothing_else(
    official: Official, tmp_path: Path
) -> None:
    """The same change, once by MLflow and once by ddr on a copy from before: every table of both is equal."""
    model = rigs.registered(official, [str(folder) for folder in rigs.copied(official, tmp_path)])
    origin = official.folder / "mlflow.db"

    def ours(base: Path) -> Any:
        return rigs.mlflow_plane(f"sqlite:///{base}", tmp_path, model)

    steps: list[tuple[Callable[[Any], object], tuple[str, dict[str, Any]]]] = [
        (
            lambda plane: plane.switch(plane.find("3"), plane.find("1")),
            ("set_registered_model_alias", {"name": model, "alias": "champion", "version": "3"}),
        ),
        (
            lambda plane: plane.freeze("inc-1"),
            ("set_registered_model_tag", {"name": model, "key": models.FROZEN_TAG, "value": "inc-1"}),
        ),
        (
            lambda plane: plane.block("3", "bad"),
            ("set_model_version_tag", {"name": model, "version": "3", "key": models.BLOCKED_TAG, "value": "bad"}),
        ),
        (
            lambda plane: plane.unblock("3"),
            ("delete_model_version_tag", {"name": model, "version": "3", "key": models.BLOCKED_TAG}),
        ),
        (
            lambda plane: plane.thaw(),
            ("delete_registered_model_tag", {"name": model, "key": models.FROZEN_TAG}),
        ),
    ]
    for number, (ddr_does, (call, args)) in enumerate(steps):
        copy = tmp_path / f"copy-{number}.db"
        shutil.copy(origin, copy)
        official.sql(call, **args)
        ddr_does(ours(copy))
        assert rigs.tables(copy) == rigs.tables(origin), call


def test_what_ddr_writes_is_what_the_official_client_reads(model_rig: rigs.Rig, official: Official) -> None:
    plane = model_rig.plane
    for via in (official.rest, official.sql):
        plane.switch(plane.find("2"), plane.find("1"))
        plane.freeze("inc-9")
        plane.block("1", "labels flipped")
        seen = via("get_registered_model", name=plane.model)
        assert {alias: str(number) for alias, number in seen["aliases"].items()} == {"champion": "2"}
        assert seen["tags"] == {"ddr.frozen": "inc-9"}
        assert via("get_model_version", name=plane.model, version="1")["tags"] == {"ddr.blocked": "labels flipped"}
        assert str(via("get_model_version_by_alias", name=plane.model, alias="champion")["version"]) == "2"
        plane.switch(plane.find("1"), plane.find("2"))
        plane.thaw()
        plane.unblock("1")
        assert via("get_registered_model", name=plane.model)["tags"] == {}


def test_both_transports_see_one_registry(official: Official, tmp_path: Path) -> None:
    """Versions 4 and 5 have their files on this machine: the server hands out the bytes that lie there."""
    by_sql = rigs.mlflow_plane(official.tracking, tmp_path, SEED)
    by_rest = rigs.mlflow_plane(official.url, tmp_path, SEED)
    for number in ("4", "5"):
        assert by_sql.find(number) == by_rest.find(number)
        folder = rigs.folder_of(official, int(number))
        assert by_sql.find(number).digest == digest.of_tree(folder, models.WRITTEN_BY_LOADING)
    assert by_rest.find("1").digest == digest.of_tree(rigs.folder_of(official, 1), models.WRITTEN_BY_LOADING)
    assert [change.after for change in by_sql.changes(LONG_AGO)] == ["1", "2", "3", "4", "5"]
    named = [(change.at, change.after, change.summary) for change in by_sql.changes(LONG_AGO)]
    assert named == [(change.at, change.after, change.summary) for change in by_rest.changes(LONG_AGO)]


def test_facts_are_those_of_mlmodel(official: Official, tmp_path: Path) -> None:
    facts = rigs.mlflow_plane(official.tracking, tmp_path, SEED).find("4").facts
    version = official.sql("get_model_version", name=SEED, version="4")
    assert facts[revisions.RUN] == version["run_id"]
    assert facts[revisions.FLAVOR] == "sklearn"
    assert facts["mlflow"].startswith("3.17")
    assert facts[revisions.INPUTS_SCHEMA] == revisions.schema_digest([("b", "REAL"), ("a", "double")])


def test_files_kept_by_the_server_are_said_to_be_unread_beside_the_database(official: Official, tmp_path: Path) -> None:
    model = rigs.registered(official, [rigs.logged(official, 1), rigs.logged(official, 2)])
    plane = rigs.mlflow_plane(official.tracking, tmp_path, model)
    assert plane.revision().digest == ""
    assert any("compare bytes" in sentence for sentence in plane.health().cannot)
    assert plane.switch(plane.find("2"), plane.revision()).name == "2"


def test_files_in_a_bucket_are_said_to_be_unread(official: Official, tmp_path: Path) -> None:
    model = rigs.registered(official, ["s3://bucket/models/1"])
    for tracking in (official.tracking, official.url):
        plane = rigs.mlflow_plane(tracking, tmp_path, model)
        assert plane.revision().digest == ""
        assert any("s3" in sentence for sentence in plane.health().cannot)


def test_relative_locations_begin_at_the_folder_of_the_configuration(official: Official, tmp_path: Path) -> None:
    rigs.copied(official, tmp_path)
    model = rigs.registered(official, ["version-1"])
    assert rigs.mlflow_plane(official.tracking, tmp_path, model).revision().digest.startswith("sha256:")
    with pytest.raises(Damaged):
        rigs.mlflow_plane(official.tracking, tmp_path / "elsewhere", model).revision()


def test_a_folder_that_was_moved_is_found_for_the_message(official: Official, tmp_path: Path) -> None:
    old = tmp_path / "old" / "store"
    shutil.copytree(rigs.folder_of(official, 1), old / "m-1" / "artifacts")
    model = rigs.registered(official, [str(old / "m-1" / "artifacts")])
    new = tmp_path / "new"
    new.mkdir()
    (tmp_path / "old" / "store").rename(new / "store")
    with pytest.raises(Damaged, match="is not there") as raised:
        rigs.mlflow_plane(official.tracking, new, model).revision()
    assert str(new / "store" / "m-1" / "artifacts") in raised.value.hint


def test_bytes_that_are_overwritten_at_the_moment_of_a_switch_are_read_back(
    official: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = rigs.copied(official, tmp_path)
    model = rigs.registered(official, [str(folder) for folder in folders[:2]])
    plane = rigs.mlflow_plane(official.tracking, tmp_path, model)
    live, target = plane.revision(), plane.find("2")
    move = seats.Alias.move

    def moved(self: seats.Alias, *args: Any, **named: Any) -> None:
        move(self, *args, **named)
        (folders[1] / "MLmodel").write_text((folders[1] / "MLmodel").read_text() + "\n# other bytes\n")

    monkeypatch.setattr(seats.Alias, "move", moved)
    after = plane.switch(target, live)
    assert after.name == "2"
    assert not after.is_same(target)


def test_a_load_mark_of_mlflow_is_no_change(official: Official, tmp_path: Path) -> None:
    """MLflow writes registered_model_meta into a local version's folder when somebody loads it."""
    folders = rigs.copied(official, tmp_path)
    plane = rigs.mlflow_plane(official.tracking, tmp_path, rigs.registered(official, [str(folders[0])]))
    before = plane.revision()
    (folders[0] / "registered_model_meta").write_text("model_name: x\nmodel_version: '1'\n")
    assert plane.revision().is_same(before)


def test_the_alias_in_another_case_is_refused_with_the_right_name(model_rig: rigs.Rig, official: Official) -> None:
    tracking = official.tracking if model_rig.is_atomic else official.url
    wrong = rigs.mlflow_plane(tracking, official.folder, model_rig.plane.model, alias="Champion")
    before = model_rig.state()
    for attempt in (
        wrong.revision,
        lambda: wrong.switch(model_rig.plane.find("2"), model_rig.plane.find("1")),
    ):
        with pytest.raises(Refused, match="'champion'") as raised:
            attempt()
        assert "champion" in raised.value.hint
    assert "champion" in wrong.health().why
    assert model_rig.state() == before
    official.rest("set_registered_model_alias", name=model_rig.plane.model, alias="Champion", version="2")
    assert wrong.revision().name == "2"
    assert "champion" in wrong.health().why
    model_rig.plane.switch(model_rig.plane.find("3"), model_rig.plane.find("1"))
    seen = official.sql("get_registered_model", name=model_rig.plane.model)["aliases"]
    assert {alias: str(number) for alias, number in seen.items()} == {"champion": "3", "Champion": "2"}


def test_a_stage_that_says_something_else_is_said(model_rig: rigs.Rig, official: Official) -> None:
    official.sql("transition_model_version_stage", name=model_rig.plane.model, version="3", stage="Production")
    assert "Production is version 3" in model_rig.plane.health().why


def test_names_that_are_not_there(model_rig: rigs.Rig, official: Official) -> None:
    tracking = official.tracking if model_rig.is_atomic else official.url
    for model, alias in (("nothing-here", "champion"), (model_rig.plane.model, "challenger"), ("it's'", "champion")):
        plane = rigs.mlflow_plane(tracking, official.folder, model, alias)
        with pytest.raises(Missing) as raised:
            plane.revision()
        assert raised.value.hint
        assert plane.health().state is signals.State.BAD
    with pytest.raises(Missing):
        rigs.mlflow_plane(tracking, official.folder, "nothing-here").changes(LONG_AGO)
    for alias in ("latest", "LATEST", "v3", "", "a b"):
        with pytest.raises(ValueError, match="alias"):
            rigs.mlflow_plane(tracking, official.folder, model_rig.plane.model, alias)


def test_a_deleted_version_is_missing_and_so_is_its_alias(model_rig: rigs.Rig, official: Official) -> None:
    """MLflow drops the aliases of a deleted version without a word."""
    two, one = model_rig.plane.find("2"), model_rig.plane.find("1")
    official.sql("delete_model_version", name=model_rig.plane.model, version="2")
    attempts: list[Callable[[], object]] = [
        lambda: model_rig.plane.find("2"),
        lambda: model_rig.plane.switch(two, one),
        lambda: model_rig.plane.block("2", "x"),
    ]
    for attempt in attempts:
        with pytest.raises(Missing):
            attempt()
    assert [change.after for change in model_rig.plane.changes(LONG_AGO)] == ["1", "3"]
    official.sql("delete_model_version", name=model_rig.plane.model, version="1")
    with pytest.raises(Missing, match="champion"):
        model_rig.plane.revision()


def test_many_versions_come_in_pages(official: Official, tmp_path: Path) -> None:
    model = rigs.registered(official, ["nowhere"])
    with contextlib.closing(sqlite3.connect(official.folder / "mlflow.db")) as connection, connection:
        connection.executemany(
            "INSERT INTO model_versions (name, version, creation_time, current_stage, source, status, workspace)"
            " VALUES (?, ?, ?, 'None', 'nowhere', 'READY', 'default')",
            [(model, number, 1_700_000_000_000 + number) for number in range(2, 452)],
        )
    wanted = [str(number) for number in range(2, 452)]
    for tracking in (official.tracking, official.url):
        plane = rigs.mlflow_plane(tracking, tmp_path, model)
        assert [change.after for change in plane.changes(LONG_AGO)][:450] == wanted


def test_reading_imports_no_mlflow_and_takes_milliseconds(official: Official, tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from ddr.connectors.mlflow import connector\n"
        "from ddr.domain import planes\n"
        "from ddr.lib import clock\n"
        "made = connector.connect(connector.Settings(sys.argv[1]), Path(), clock.SystemClock())\n"
        "plane = made.plane(connector.Binding('seed', 'timed'), planes.Plane.MODEL)\n"
        "plane.revision()\n"
        "begin = time.perf_counter()\n"
        "plane.revision()\n"
        "print(f'{(time.perf_counter() - begin) * 1000:.1f} ms')\n"
        "print(sorted({'mlflow', 'sqlalchemy', 'pandas', 'numpy', 'requests'} & set(sys.modules)))\n"
    )
    official.sql("set_registered_model_alias", name=SEED, alias="timed", version="4")
    command = [sys.executable, "-c", program, official.tracking]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    print(done.stdout)
    assert done.stdout.splitlines()[-1] == "[]"
