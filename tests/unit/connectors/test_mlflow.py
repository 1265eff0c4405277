"""The MLflow connector against MLflow itself: what it writes is what MLflow's client would write, read back by it."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ddr.connectors.mlflow import connector, mlmodel, transport
from ddr.domain import planes, revisions, signals
from ddr.errors import Conflict, Damaged, DdrError, InputError, Missing, Refused, Unavailable, Unsupported
from ddr.lib import clock, digest
from tests.unit.connectors import rigs
from tests.unit.connectors.official import SEED, Official

pytestmark = pytest.mark.xdist_group("mlflow")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["sql", "rest"])
def rig(request: pytest.FixtureRequest, official: Official, tmp_path: Path) -> rigs.Rig:
    return (rigs.sql_rig if request.param == "sql" else rigs.rest_rig)(official, tmp_path)


def _tables(path: Path) -> dict[str, list[Any]]:
    """Every row of every table."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in names}


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
            ("set_registered_model_tag", {"name": model, "key": connector.FROZEN_TAG, "value": "inc-1"}),
        ),
        (
            lambda plane: plane.block("3", "bad"),
            ("set_model_version_tag", {"name": model, "version": "3", "key": connector.BLOCKED_TAG, "value": "bad"}),
        ),
        (
            lambda plane: plane.unblock("3"),
            ("delete_model_version_tag", {"name": model, "version": "3", "key": connector.BLOCKED_TAG}),
        ),
        (
            lambda plane: plane.thaw(),
            ("delete_registered_model_tag", {"name": model, "key": connector.FROZEN_TAG}),
        ),
    ]
    for number, (ddr_does, (call, args)) in enumerate(steps):
        copy = tmp_path / f"copy-{number}.db"
        shutil.copy(origin, copy)
        official.sql(call, **args)
        ddr_does(ours(copy))
        assert _tables(copy) == _tables(origin), call


def test_what_ddr_writes_is_what_the_official_client_reads(rig: rigs.Rig, official: Official) -> None:
    plane = rig.plane
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
        assert by_sql.find(number).digest == digest.of_tree(folder, connector.WRITTEN_BY_LOADING)
    assert by_rest.find("1").digest == digest.of_tree(rigs.folder_of(official, 1), connector.WRITTEN_BY_LOADING)
    assert [change.after for change in by_sql.changes(LONG_AGO)] == ["1", "2", "3", "4", "5"]
    named = [(change.at, change.after, change.summary) for change in by_sql.changes(LONG_AGO)]
    assert named == [(change.at, change.after, change.summary) for change in by_rest.changes(LONG_AGO)]


def test_facts_are_those_of_mlmodel(official: Official, tmp_path: Path) -> None:
    facts = rigs.mlflow_plane(official.tracking, tmp_path, SEED).find("4").facts
    version = official.sql("get_model_version", name=SEED, version="4")
    assert facts[revisions.RUN] == version["run_id"]
    assert facts[revisions.FLAVOR] == "sklearn"
    assert facts["mlflow_version"].startswith("3.17")
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


def test_a_load_mark_of_mlflow_is_no_change(official: Official, tmp_path: Path) -> None:
    """MLflow writes registered_model_meta into a local version's folder when somebody loads it."""
    folders = rigs.copied(official, tmp_path)
    plane = rigs.mlflow_plane(official.tracking, tmp_path, rigs.registered(official, [str(folders[0])]))
    before = plane.revision()
    (folders[0] / "registered_model_meta").write_text("model_name: x\nmodel_version: '1'\n")
    assert plane.revision().is_same(before)


def test_the_alias_in_another_case_is_refused_with_the_right_name(rig: rigs.Rig, official: Official) -> None:
    tracking = official.tracking if rig.is_atomic else official.url
    wrong = rigs.mlflow_plane(tracking, official.folder, rig.plane.model, alias="Champion")
    before = rig.state()
    for attempt in (
        wrong.revision,
        lambda: wrong.switch(rig.plane.find("2"), rig.plane.find("1")),
    ):
        with pytest.raises(Refused, match="'champion'") as raised:
            attempt()
        assert "champion" in raised.value.hint
    assert "champion" in wrong.health().why
    assert rig.state() == before
    official.rest("set_registered_model_alias", name=rig.plane.model, alias="Champion", version="2")
    assert wrong.revision().name == "2"
    assert "champion" in wrong.health().why


def test_a_stage_that_says_something_else_is_said(rig: rigs.Rig, official: Official) -> None:
    official.sql("transition_model_version_stage", name=rig.plane.model, version="3", stage="Production")
    assert "Production is version 3" in rig.plane.health().why


def test_names_that_are_not_there(rig: rigs.Rig, official: Official) -> None:
    tracking = official.tracking if rig.is_atomic else official.url
    for model, alias in (("nothing-here", "champion"), (rig.plane.model, "challenger"), ("it's'", "champion")):
        plane = rigs.mlflow_plane(tracking, official.folder, model, alias)
        with pytest.raises(Missing) as raised:
            plane.revision()
        assert raised.value.hint
        assert plane.health().state is signals.State.BAD
    with pytest.raises(Missing):
        rigs.mlflow_plane(tracking, official.folder, "nothing-here").changes(LONG_AGO)
    for alias in ("latest", "LATEST", "v3", "", "a b"):
        with pytest.raises(InputError):
            rigs.mlflow_plane(tracking, official.folder, rig.plane.model, alias)


def test_a_deleted_version_is_missing_and_so_is_its_alias(rig: rigs.Rig, official: Official) -> None:
    """MLflow drops the aliases of a deleted version without a word."""
    two, one = rig.plane.find("2"), rig.plane.find("1")
    official.sql("delete_model_version", name=rig.plane.model, version="2")
    attempts: list[Callable[[], object]] = [
        lambda: rig.plane.find("2"),
        lambda: rig.plane.switch(two, one),
        lambda: rig.plane.block("2", "x"),
    ]
    for attempt in attempts:
        with pytest.raises(Missing):
            attempt()
    assert [change.after for change in rig.plane.changes(LONG_AGO)] == ["1", "3"]
    official.sql("delete_model_version", name=rig.plane.model, version="1")
    with pytest.raises(Missing, match="champion"):
        rig.plane.revision()


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


def test_damage_of_every_file_is_found_with_its_place(official: Official, tmp_path: Path) -> None:
    """Each file cut to nothing, cut in half, removed or overwritten: Damaged, or at least another digest."""
    tried = named = 0
    pristine = rigs.copied(official, tmp_path)[0]
    place = tmp_path / "live"
    model = rigs.registered(official, [str(place)])
    plane = rigs.mlflow_plane(official.tracking, tmp_path, model)
    shutil.copytree(pristine, place)
    good = plane.revision()
    for name in sorted(path.name for path in pristine.iterdir()):
        content = (pristine / name).read_bytes()
        for damaged in (None, b"", content[: len(content) // 2], b"\0" * len(content), content + b"x", b"\xff\xfe{"):
            shutil.rmtree(place)
            shutil.copytree(pristine, place)
            if damaged is None:
                (place / name).unlink()
            else:
                (place / name).write_bytes(damaged)
            tried += 1
            health = plane.health()
            if health.state is signals.State.OK:
                assert not plane.revision().is_same(good)
                continue
            with pytest.raises(Damaged, match=model) as raised:
                plane.revision()
            assert raised.value.hint
            named += 1
            assert name != transport.MLMODEL or "MLmodel" in health.why
    shutil.rmtree(place)
    with pytest.raises(Damaged, match="is not there"):
        plane.revision()
    print(f"{tried} kinds of damage, {named} named")
    assert named >= 7


def test_a_version_the_server_has_no_files_of_is_damaged(official: Official, tmp_path: Path) -> None:
    model = rigs.registered(official, [rigs.logged(official, 3)])
    plane = rigs.mlflow_plane(official.url, tmp_path, model)
    folder = rigs.folder_of(official, 3)
    folder.rename(folder.with_name("away"))
    try:
        with pytest.raises(Damaged, match="no files"):
            plane.revision()
    finally:
        folder.with_name("away").rename(folder)
    assert plane.revision().digest


def test_an_unfinished_version_is_damaged(rig: rigs.Rig, official: Official) -> None:
    with contextlib.closing(sqlite3.connect(official.folder / "mlflow.db")) as connection, connection:
        key = (rig.plane.model,)
        connection.execute(
            "UPDATE model_versions SET status = 'FAILED_REGISTRATION' WHERE name = ? AND version = 2", key
        )
    with pytest.raises(Damaged, match="FAILED_REGISTRATION"):
        rig.plane.find("2")


@contextlib.contextmanager
def _locked(path: Path, for_s: float = 60) -> Iterator[int]:
    """Another process in the middle of a write; gives its pid."""
    program = (
        "import sqlite3, sys, time\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('BEGIN EXCLUSIVE')\n"
        "print('locked', flush=True)\n"
        "time.sleep(float(sys.argv[2]))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path), str(for_s)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        try:
            yield other.pid
        finally:
            other.kill()


def test_a_locked_database_names_who_holds_it_and_nothing_is_half_done(official: Official, tmp_path: Path) -> None:
    folders = rigs.copied(official, tmp_path)
    model = rigs.registered(official, [str(folder) for folder in folders])
    copy = tmp_path / "copy.db"
    shutil.copy(official.folder / "mlflow.db", copy)
    plane = rigs.mlflow_plane(f"sqlite:///{copy}", tmp_path, model, timeout_s=0.2)
    live, other = plane.find("1"), plane.find("2")
    before = _tables(copy)
    with _locked(copy) as pid:
        for attempt in (plane.revision, lambda: plane.switch(other, live), lambda: plane.freeze("x")):
            with pytest.raises(Unavailable, match=f"locked for more than 0.2 s by process {pid} ") as raised:
                attempt()
            assert "try again" in raised.value.hint
        assert plane.health().state is signals.State.UNKNOWN
    assert _tables(copy) == before


def test_a_switch_waits_for_a_short_lock(official: Official, tmp_path: Path) -> None:
    folders = rigs.copied(official, tmp_path)
    model = rigs.registered(official, [str(folder) for folder in folders])
    plane = rigs.mlflow_plane(official.tracking, tmp_path, model)
    live, other = plane.find("1"), plane.find("2")
    begin = time.monotonic()
    with _locked(official.folder / "mlflow.db", for_s=0.4):
        assert plane.switch(other, live).name == "2"
    assert time.monotonic() - begin > 0.2


def test_files_that_are_no_mlflow_database(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, and long enough to be looked at as one" * 20)
    with contextlib.closing(sqlite3.connect(tmp_path / "empty.db")) as connection, connection:
        connection.execute("CREATE TABLE other (x)")
    with contextlib.closing(sqlite3.connect(tmp_path / "old.db")) as connection, connection:
        connection.execute("CREATE TABLE registered_models (name TEXT)")
    kinds: dict[str, type[DdrError]] = {
        "none.db": Missing,
        "text.db": Damaged,
        "empty.db": InputError,
        "old.db": Unsupported,
    }
    for name, kind in kinds.items():
        plane = rigs.mlflow_plane(f"sqlite:///{name}", tmp_path, "digits")
        with pytest.raises(kind) as raised:
            plane.revision()
        assert name in raised.value.message
        assert raised.value.hint
        assert plane.health().state is signals.State.BAD
    assert not (tmp_path / "none.db").exists(), "nothing is created"


def test_another_schema_is_said(official: Official, tmp_path: Path) -> None:
    folders = rigs.copied(official, tmp_path)
    model = rigs.registered(official, [str(folders[0])])
    copy = tmp_path / "copy.db"
    shutil.copy(official.folder / "mlflow.db", copy)
    assert "not tested" not in rigs.mlflow_plane(f"sqlite:///{copy}", tmp_path, model).health().why
    with contextlib.closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'feedc0ffee00'")
    health = rigs.mlflow_plane(f"sqlite:///{copy}", tmp_path, model).health()
    assert health.state is signals.State.OK
    assert "feedc0ffee00" in health.why
    assert "not tested" in health.why


@pytest.mark.parametrize(
    "tracking", ["", "mlruns", "postgresql://h/db", "sqlite:///", "sqlite://x", "http://", "ftp://x"]
)
def test_a_tracking_address_that_is_not_spoken(tracking: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        connector.connect(connector.Settings(tracking), tmp_path, clock.ManualClock(rigs.NOW))


def test_credentials_are_sent_and_never_shown() -> None:
    with rigs.serving(lambda *_: (401, {"error_code": "UNAUTHENTICATED", "message": "no"})) as server:
        settings = connector.Settings(server.url, username="me", password="hush-hush", token="")
        assert "hush" not in repr(settings)
        plane = connector.connect(settings, Path(), clock.ManualClock(rigs.NOW)).plane(
            connector.Binding("m", "champion"), planes.Plane.MODEL
        )
        with pytest.raises(Refused) as raised:
            plane.revision()
    assert "hush" not in raised.value.message + raised.value.hint
    assert "token" in raised.value.hint


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (302, b"", InputError),
        (401, {}, Refused),
        (403, {"error_code": "PERMISSION_DENIED", "message": "not yours"}, Refused),
        (404, b"<html>nginx</html>", InputError),
        (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "gone"}, Missing),
        (400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "alias"}, Missing),
        (400, {"error_code": "BAD_REQUEST", "message": "?"}, Unsupported),
        (429, {"error_code": "REQUEST_LIMIT_EXCEEDED"}, Unavailable),
        (500, {"error_code": "INTERNAL_ERROR", "message": "password=hush-hush"}, Unavailable),
        (503, b"starting", Unavailable),
        (200, b"<html>welcome</html>", InputError),
        (200, b"", InputError),
    ],
)
def test_every_kind_of_refusal_of_a_server(status: int, body: object, kind: type[DdrError], tmp_path: Path) -> None:
    with rigs.serving(lambda *_: (status, body)) as server:
        plane = rigs.mlflow_plane(server.url, tmp_path, "digits")
        with pytest.raises(kind) as raised:
            plane.revision()
        assert server.url in raised.value.message
        assert raised.value.hint
        assert "hush" not in raised.value.message
        assert plane.health().state is not signals.State.OK


def test_a_server_that_hangs_is_unavailable(tmp_path: Path) -> None:
    def slow(*_: object) -> tuple[int, object]:
        time.sleep(0.6)
        return 200, {}

    with rigs.serving(slow) as server:
        plane = rigs.mlflow_plane(server.url, tmp_path, "digits", timeout_s=0.2)
        with pytest.raises(Unavailable, match=r"0\.2 s"):
            plane.revision()


def test_over_rest_a_move_by_another_in_between_is_seen_when_read_back(official: Official, tmp_path: Path) -> None:
    """A proxy in front of the real server lets somebody else move the alias right after ddr did."""
    model = rigs.registered(official, [rigs.logged(official, number) for number in (1, 2, 3)])

    def forward(method: str, path: str, body: Any) -> tuple[int, Any]:
        line = http.client.HTTPConnection(urlsplit(official.url).netloc)
        content = None if body is None else json.dumps(body).encode()
        line.request(method, path, content, {"Content-Type": "application/json"})
        answer = line.getresponse()
        value = answer.status, answer.read()
        line.close()
        if method == "POST" and path.endswith("/registered-models/alias"):
            official.sql("set_registered_model_alias", name=model, alias="champion", version="3")
        return value

    with rigs.serving(forward) as proxy:
        plane = rigs.mlflow_plane(proxy.url, tmp_path, model)
        live, other = plane.find("1"), plane.find("2")
        with pytest.raises(Conflict, match="at the same moment"):
            plane.switch(other, live)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("- a\n- b\n", "is empty or no mapping"),
        ("flavors: {", "cannot be read"),
        ("a: 1\na: 2\n", "cannot be read"),
        ("signature: {inputs: 'no json'}", "signature cannot be read"),
        ("signature: {inputs: '{\"a\": 1}'}", "signature cannot be read"),
        ("flavors: {sklearn: {pickled_model: model.pkl}}", "model.pkl is not there"),
    ],
)
def test_a_broken_mlmodel_is_named(text: str, problem: str) -> None:
    files = transport.Files({"MLmodel": "sha256:x"}, text.encode())
    with pytest.raises(Damaged, match=problem):
        mlmodel.facts(files, "m version 1")


def test_a_signature_of_tensors_or_none_gives_no_schema() -> None:
    tensor = 'signature: {inputs: \'[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 64]}}]\'}'
    for text in (tensor, "flavors: {}\nrun_id: x\n", "signature: null\nx: 1\n"):
        files = transport.Files({"MLmodel": "sha256:x"}, text.encode())
        assert revisions.INPUTS_SCHEMA not in mlmodel.facts(files, "m")


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
