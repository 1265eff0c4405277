"""MLflow: models loaded by stage, what a revision says of itself, large files through the server, traps in files."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors.mlflow import connector, mlmodel, rest, seats, transport
from ddr.connectors.mlflow import plane as models
from ddr.domain import planes, revisions
from ddr.errors import Conflict, Damaged, InputError, Missing
from ddr.lib import clock, digest, endpoint
from tests.unit.connectors import rigs, rigs_code_data
from tests.unit.connectors.official import SEED, Official


@pytest.fixture(params=["sql", "rest"])
def stage_rig(request: pytest.FixtureRequest, official: Official, tmp_path: Path) -> rigs.Rig:
    return rigs_code_data.stage_rig(official, tmp_path, over_rest=request.param == "rest")


def stages(official: Official, model: str) -> list[str]:
    return [official.sql("get_model_version", name=model, version=number)["current_stage"] for number in "123"]


def test_going_to_a_stage_is_what_mlflow_does_when_it_archives(stage_rig: rigs.Rig, official: Official) -> None:
    """The same transitions by ddr and by MLflow on a second model, row for row but for times."""
    twin = rigs.registered(official, ["a", "b", "c"])
    plane = stage_rig.plane
    told = {"name": twin, "stage": "Production", "archive_existing_versions": True}
    official.sql("transition_model_version_stage", version="1", **told)
    for number in ("3", "2", "1"):
        live = plane.revision()
        assert plane.switch(plane.find(number), live).name == number
        official.sql("transition_model_version_stage", version=number, **told)
        assert stages(official, plane.model) == stages(official, twin)
        latest = official.sql("get_latest_versions", name=plane.model, stages=["Production"])
        assert [str(version["version"]) for version in latest] == [number]
        assert f"version {live.name} goes to Archived" in plane.write(plane.find(number), live)


def test_by_sql_a_stage_writes_the_rows_that_mlflow_writes(official: Official, tmp_path: Path) -> None:
    ours = rigs_code_data.stage_rig(official, tmp_path, over_rest=False)
    before = rigs.rows(official, ours.plane.model)
    ours.plane.switch(ours.plane.find("2"), ours.plane.find("1"))
    by_ddr = changed(before, rigs.rows(official, ours.plane.model))
    ours.move("1")
    before = rigs.rows(official, ours.plane.model)
    ours.move("2")
    by_mlflow = changed(before, rigs.rows(official, ours.plane.model))
    assert by_ddr == by_mlflow
    assert by_ddr


def changed(before: Any, after: Any) -> list[tuple[str, int, int]]:
    """(table, row, column) of what differs."""
    found = []
    for table, rows in before.items():
        for at, (old, new) in enumerate(zip(sorted(rows, key=key), sorted(after[table], key=key), strict=True)):
            found += [
                (table, at, column) for column, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]
            ]
    return found


def key(row: tuple[Any, ...]) -> str:
    return repr(row[:2])


def test_several_in_one_stage_are_served_by_the_highest(stage_rig: rigs.Rig, official: Official) -> None:
    model = stage_rig.plane.model
    official.sql("transition_model_version_stage", name=model, version="2", stage="Production")
    assert stages(official, model) == ["Production", "Production", "None"]
    assert stage_rig.plane.revision().name == "2"
    with pytest.raises(Conflict):
        stage_rig.plane.switch(stage_rig.plane.find("3"), stage_rig.plane.find("1"))
    assert stages(official, model) == ["Production", "Production", "None"]
    stage_rig.plane.switch(stage_rig.plane.find("1"), stage_rig.plane.find("2"))
    assert stages(official, model) == ["Production", "Archived", "None"]


def test_alias_and_stage_that_differ_are_said_on_both_sides(stage_rig: rigs.Rig, official: Official) -> None:
    model = stage_rig.plane.model
    assert "a server that loads by alias" not in stage_rig.plane.health().why
    official.rest("set_registered_model_alias", name=model, alias="champion", version="3")
    assert "alias champion is version 3" in stage_rig.plane.health().why
    tracking = official.tracking if stage_rig.is_atomic else official.url
    by_alias = rigs.mlflow_plane(tracking, official.folder, model)
    assert "stage Production is version 1" in by_alias.health().why


def test_an_empty_stage_is_missing_and_says_who_is_where(stage_rig: rigs.Rig, official: Official) -> None:
    tracking = official.tracking if stage_rig.is_atomic else official.url
    plane = rigs.mlflow_plane(tracking, official.folder, stage_rig.plane.model, "", stage="staging")
    with pytest.raises(Missing) as raised:
        plane.revision()
    assert "Production 1" in raised.value.hint


def test_a_model_is_loaded_by_one_of_both(tmp_path: Path) -> None:
    for alias, stage in (("", ""), ("champion", "Production"), ("", "Archived"), ("", "None"), ("", "Live")):
        with pytest.raises(InputError) as raised:
            seats.seat(alias=alias, stage=stage)
        assert raised.value.hint
    assert seats.seat(alias="", stage="PRODUCTION").name == "/Production"


def test_facts_of_the_run_and_of_the_packages(official: Official, tmp_path: Path) -> None:
    """The run's commit and data sets, as MLflow's own client logged them; the same by both ways."""
    run = official.sql("get_model_version", name=SEED, version="5")["run_id"]
    official.sql("set_tag", run_id=run, key="mlflow.source.git.commit", value="c0ffee")
    official.datasets(run, {"clicks": "d1", "users": "d2"})
    by_sql, by_rest = (rigs.mlflow_plane(at, tmp_path, SEED).find("5") for at in (official.tracking, official.url))
    assert by_sql == by_rest
    facts = by_sql.facts
    assert facts[revisions.COMMIT] == "c0ffee"
    assert facts[revisions.DATA] == "clicks@d1,users@d2"
    assert facts[revisions.PYTHON] == ".".join(map(str, sys.version_info[:3]))
    folder = rigs.folder_of(official, 5)
    assert facts[revisions.REQUIREMENTS] == digest.of_file(folder / "requirements.txt")
    assert facts[revisions.PACKAGES].startswith("mlflow==3.17.")
    official.sql("delete_run", run_id=run)
    official.sql("restore_run", run_id=run)


def test_a_run_that_is_gone_leaves_its_facts_out(official: Official, tmp_path: Path) -> None:
    for tracking in (official.tracking, official.url):
        speaks = connector.connect(connector.Settings(tracking), tmp_path, clock.ManualClock(rigs.NOW)).speaks
        assert speaks is not None
        assert speaks.run("0" * 32) == transport.Run()


MLMODEL = b"flavors: {python_function: {python_version: 3.11.7}, sklearn: {}}\nmlflow_version: 3.17.2\n"


@pytest.mark.parametrize(
    ("name", "content", "packages"),
    [
        (
            "requirements.txt",
            b"Scikit_Learn==1.9.0\nnumpy>=2\n# x\nmlflow[extras]==3.17.2 ; python_version > '3'\n",
            "mlflow==3.17.2,scikit-learn==1.9.0",
        ),
        ("conda.yaml", b"dependencies: [python=3.11]\n", ""),
        ("python_env.yaml", b"python: 3.11.7\n", ""),
    ],
)
def test_packages_come_from_whichever_file_there_is(name: str, content: bytes, packages: str) -> None:
    files = transport.Files({"MLmodel": "x", name: "y"}, {"MLmodel": MLMODEL, name: content})
    facts = mlmodel.facts(files, "m")
    assert facts[revisions.REQUIREMENTS] == digest.of_bytes(content)
    assert facts.get(revisions.PACKAGES, "") == packages
    assert facts[revisions.PYTHON] == "3.11.7"


class Sprung:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.mark,)


def test_a_pickle_is_never_opened(official: Official, tmp_path: Path) -> None:
    """Pickles that make a folder when they are loaded: every call, both ways, in a process of its own."""
    mark = tmp_path / "sprung"
    folder = tmp_path / "trap"
    folder.mkdir()
    for name in ("model.pkl", "python_model.pkl", "model.joblib", "requirements.txt", "conda.yaml"):
        (folder / name).write_bytes(pickle.dumps(Sprung(str(mark))))
    (folder / "MLmodel").write_text(
        "flavors:\n  python_function: {model_path: model.pkl, python_version: 3.11.7}\n"
        "  sklearn: {pickled_model: model.pkl}\n"
    )
    model = rigs.registered(official, [str(folder), str(folder)])
    served = official.folder / "artifacts" / "trap"
    served.mkdir(parents=True)
    for path in folder.iterdir():
        (served / path.name).write_bytes(path.read_bytes())
    over_rest = rigs.registered(official, ["mlflow-artifacts:/trap", "mlflow-artifacts:/trap"])
    for tracking, named in ((official.tracking, model), (official.url, over_rest)):
        done = subprocess.run(
            [sys.executable, "-c", _EVERYTHING, tracking, named],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert json.loads(done.stdout)["heavy"] == []
        assert json.loads(done.stdout)["digest"].startswith("sha256:")
    assert not mark.exists()
    pickle.loads((folder / "model.pkl").read_bytes())
    assert mark.exists(), "the trap is one"


_EVERYTHING = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from ddr.connectors.mlflow import connector
from ddr.domain import planes
from ddr.lib import clock
made = connector.connect(connector.Settings(sys.argv[1]), Path(), clock.SystemClock())
plane = made.plane(connector.Binding(sys.argv[2], "champion"), planes.Plane.MODEL)
live = plane.revision()
plane.health(), plane.changes(datetime(2020, 1, 1, tzinfo=UTC)), plane.pointed()
plane.switch(plane.find("2"), live)
plane.switch(plane.find("1"), plane.revision())
plane.block("2", "x"), plane.unblock("2"), plane.freeze("x"), plane.thaw()
heavy = sorted({"pickle", "joblib", "skops", "cloudpickle", "mlflow", "sklearn", "numpy"} & set(sys.modules))
print(json.dumps({"heavy": heavy, "digest": live.digest}))
"""


def test_large_files_are_read_at_once_and_only_once(
    official: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 files of 6 MiB: equal to the folder's digest; asked again, none that is as it was."""
    folder = official.folder / "artifacts" / f"large-{tmp_path.name}"
    (folder / "deep").mkdir(parents=True)
    (folder / "MLmodel").write_bytes(MLMODEL)
    for number in range(5):
        (folder / "deep" / f"{number}.bin").write_bytes(os.urandom(6 << 20))
    model = rigs.registered(official, [f"mlflow-artifacts:/{folder.name}"])
    read: list[int] = []
    look = endpoint.Line._read

    def counted(line: Any, response: Any, sink: Callable[[bytes], object] | None) -> bytes:
        def take(piece: bytes) -> None:
            read.append(len(piece))
            if sink is not None:
                sink(piece)

        body = look(line, response, take if sink is not None else None)
        read.append(len(body))
        return body

    monkeypatch.setattr(endpoint.Line, "_read", counted)
    speaks = rest.RestTransport(endpoint.Endpoint(official.url, 30.0))
    plane = models.ModelPlane(speaks, model, seats.Alias("champion"), planes.Plane.MODEL)
    assert plane.revision().digest == digest.of_tree(folder)
    assert sum(read) > 30 << 20
    read.clear()
    assert plane.revision().digest == digest.of_tree(folder)
    assert sum(read) < 1 << 20, "one byte of each large file"
    content = bytearray((folder / "deep" / "3.bin").read_bytes())
    content[77] ^= 1
    (folder / "deep" / "3.bin").write_bytes(content)
    read.clear()
    assert plane.revision().digest == digest.of_tree(folder)
    assert 6 << 20 <= sum(read) < 7 << 20, "the one that was overwritten is read again"


def test_a_large_file_that_is_cut_off_is_no_digest(official: Official, tmp_path: Path) -> None:
    folder = official.folder / "artifacts" / f"gone-{tmp_path.name}"
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_bytes(MLMODEL + b"x: 1\n")
    (folder / "a.bin").write_bytes(bytes(5 << 20))
    model = rigs.registered(official, [f"mlflow-artifacts:/{folder.name}"])
    plane = rigs.mlflow_plane(official.url, tmp_path, model)
    assert plane.revision().digest
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises((Damaged, Missing)):
        plane.revision()


def test_over_rest_a_move_that_comes_later_is_said_and_one_in_between_is_overwritten(
    official: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the API allows, as `cannot` says it: a move between look and write is lost, one behind the write is seen."""
    del tmp_path
    model = rigs.registered(official, [rigs.logged(official, number) for number in (1, 2, 3)])
    plane = rigs.mlflow_plane(official.url, official.folder, model)
    speaks = plane.speaks
    look, looks = rest.RestTransport.model, []

    def looked(transport_: Any, name: str) -> transport.Model:
        found = look(transport_, name)
        looks.append(name)
        if len(looks) == 1:
            official.rest("set_registered_model_alias", name=model, alias="champion", version="3")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(rest.RestTransport, "model", looked)
        speaks.move(model, "champion", expect="1", to="2")
    assert plane.revision().name == "2"
    call = rest.RestTransport._call

    def then_moved(transport_: Any, line: Any, method: str, path: str, *args: Any, **more: Any) -> Any:
        answer = call(transport_, line, method, path, *args, **more)
        if method == "POST":
            official.rest("set_registered_model_alias", name=model, alias="champion", version="3")
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(rest.RestTransport, "_call", then_moved)
        with pytest.raises(Conflict, match="another moved it to 3") as raised:
            speaks.move(model, "champion", expect="2", to="1")
    assert raised.value.found == "3"
    assert raised.value.hint
    assert any("one step" in sentence for sentence in plane.health().cannot)


@pytest.mark.parametrize("kind", ["sql", "postgres"])
def test_of_two_who_promote_at_once_in_a_database_one_wins(
    official: Official, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    """Compared and set in one transaction: the loser is told, and the stage never holds two."""
    if kind == "sql":
        tracking = official.tracking
        model = rigs_code_data.stage_rig(official, tmp_path, over_rest=False).plane.model
    else:
        tracking = request.getfixturevalue("shared_server")
        model = rigs.postgres_rig(official, tmp_path, tracking).plane.model
    speaks = connector.connect(connector.Settings(tracking), official.folder, clock.ManualClock(rigs.NOW)).speaks
    assert speaks is not None
    if kind == "postgres":
        import psycopg

        with psycopg.connect(tracking, autocommit=True) as connection:
            connection.execute(
                "UPDATE model_versions SET current_stage = 'Production' WHERE name = %s AND version = 1", (model,)
            )
    rounds = 15
    for _ in range(rounds):
        live = speaks.model(model).stages["Production"]
        targets = [number for number in "123" if number != live]
        start = threading.Barrier(2)
        lost: list[Conflict] = []

        threads = [
            threading.Thread(target=_promote, args=(speaks, model, live, target, start, lost)) for target in targets
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        there = [version.number for version in speaks.versions(model) if version.stage == "Production"]
        assert len(there) == 1
        assert there[0] in targets
        assert [problem.found for problem in lost] == there
    print(f"{rounds} rounds")


def _promote(
    speaks: transport.Transport, model: str, live: str, to: str, start: threading.Barrier, lost: list[Conflict]
) -> None:
    start.wait()
    try:
        speaks.promote(model, "Production", expect=live, to=to)
    except Conflict as problem:
        lost.append(problem)
