"""MLflow in trouble: damaged files, locked and foreign databases, servers that refuse, others at work."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ddr.connectors.mlflow import connector, mlmodel, transport
from ddr.domain import planes, revisions, signals
from ddr.errors import Conflict, Damaged, DdrError, InputError, Missing, Refused, Unavailable, Unsupported
from ddr.lib import clock
from tests.unit.connectors import rigs
from tests.unit.connectors.official import Official

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def test_damage_of_every_file_is_found_with_its_place(official: Official, tmp_path: Path) -> None:
    """Each file cut to nothing, cut in half, removed or overwritten: Damaged, or at least another digest."""
    tried = named = 0
    told: list[str] = []
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
            told.append(health.why)
    shutil.rmtree(place)
    with pytest.raises(Damaged, match="is not there"):
        plane.revision()
    print(f"{tried} kinds of damage, {named} named")
    assert named >= 7
    for words in ("model.skops is not there", "model.skops is empty", "has no file MLmodel", "MLmodel is empty"):
        assert any(words in why for why in told), words


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


def test_an_unfinished_version_is_damaged(model_rig: rigs.Rig, official: Official) -> None:
    with contextlib.closing(sqlite3.connect(official.folder / "mlflow.db")) as connection, connection:
        key = (model_rig.plane.model,)
        connection.execute(
            "UPDATE model_versions SET status = 'FAILED_REGISTRATION' WHERE name = ? AND version = 2", key
        )
    with pytest.raises(Damaged, match="FAILED_REGISTRATION"):
        model_rig.plane.find("2")


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
    before = rigs.tables(copy)
    with _locked(copy) as pid:
        for attempt in (plane.revision, lambda: plane.switch(other, live), lambda: plane.freeze("x")):
            with pytest.raises(Unavailable, match=f"locked for more than 0.2 s by process {pid} ") as raised:
                attempt()
            assert "try again" in raised.value.hint
        assert plane.health().state is signals.State.UNKNOWN
    assert rigs.tables(copy) == before


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


@pytest.mark.parametrize("tracking", ["", "mlruns", "oracle://h/db", "sqlite:///", "sqlite://x", "http://", "ftp://x"])
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
    files = transport.Files({"MLmodel": "sha256:x"}, {"MLmodel": text.encode()})
    with pytest.raises(Damaged, match=problem):
        mlmodel.facts(files, "m version 1")


def test_a_signature_of_tensors_or_none_gives_no_schema() -> None:
    tensor = 'signature: {inputs: \'[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 64]}}]\'}'
    for text in (tensor, "flavors: {}\nrun_id: x\n", "signature: null\nx: 1\n"):
        files = transport.Files({"MLmodel": "sha256:x"}, {"MLmodel": text.encode()})
        assert revisions.INPUTS_SCHEMA not in mlmodel.facts(files, "m")
