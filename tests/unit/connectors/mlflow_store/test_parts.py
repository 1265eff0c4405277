"""Files, locations that move, and one experiment or one model alone: on an MLflow that MLflow itself filled."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ddr.connectors.mlflow import locations
from ddr.errors import Conflict, InputError, Missing
from ddr.ports import restorable
from tests import captures
from tests.unit.connectors.mlflow_store import rigs

Options = restorable.RestoreOptions


@pytest.fixture(scope="module")
def source(lived: Path) -> captures.Stored:
    sink = captures.Capture()
    rigs.registry(lived).capture(sink)
    return sink.source()


def restored(base: Path, source: captures.Stored, options: Options) -> restorable.RestorePlan:
    base.mkdir(exist_ok=True)
    registry = rigs.registry(base)
    plan = registry.plan_restore(source, options)
    assert plan.refusals == ()
    for _ in range(2):
        registry.restore(plan, source)
        assert [one for one in registry.compare(plan, source) if not one.is_equal] == []
    return plan


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def untraced(folder: Path) -> list[str]:
    """Names of files, without those that MLflow writes for traces when it is slow."""
    return [name for name in files(folder) if "traces" not in name]


def test_all_files_are_captured_and_nothing_is_missing(lived: Path, source: captures.Stored) -> None:
    kept = {path: content for path, (one, content) in source.capture.files["artifacts"].items() if one.kind == "file"}
    assert {path.removeprefix("base/").removeprefix(f"root{lived}/"): content for path, content in kept.items()} == {
        f"artifacts/{path}": content for path, content in files(lived / "artifacts").items()
    }
    assert len(kept) >= 2 * (3 + 2 * 2)  # MLflow puts some traces into files
    assert source.component.warnings == ()


def test_a_model_without_files_is_a_warning(lived: Path, tmp_path: Path) -> None:
    base = tmp_path / "moved"
    shutil.copytree(lived, base)
    shutil.rmtree(base / "artifacts" / "parcels" / "models")
    sink = captures.Capture()
    rigs.registry(base).capture(sink)
    said = sorted(text.partition(" has no files")[0].partition(" (")[0] for text in sink.warnings)
    versions = [f"version {number} of parcels-model" for number in (1, 2)]  # and none of the prompt
    assert said == ["logged model parcels-0", "logged model parcels-1", *versions]


def test_into_a_folder_with_all_locations_rewritten(lived: Path, source: captures.Stored, tmp_path: Path) -> None:
    base = tmp_path / "new"
    plan = restored(base, source, Options(more={"artifacts": "kept"}))
    assert {line.what for line in plan.lines if line.does == "rewrite"} >= {"table runs", "table experiments"}
    parts = [base / "kept" / "artifacts", base / "kept" / "root" / str(lived)[1:] / "artifacts"]
    assert files(parts[0]) | files(parts[1]) == files(lived / "artifacts")
    for table, columns in locations.COLUMNS.items():
        for column in columns:
            for (uri,) in rigs.rows_of(base / "mlflow.db", f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"):
                known = str(uri).startswith((str(base / "kept"), f"file://{base / 'kept'}", "models:/", "prompt"))
                assert known or str(uri).endswith("/mlruns/0") or "/" not in str(uri), (table, column, uri)

    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{base}/mlflow.db")
    version = client.get_model_version_by_alias("parcels-model", "champion")
    assert str(version.version) == "2"
    model = client.get_logged_model(str(version.source).removeprefix("models:/"))
    assert Path(model.artifact_location, "model.bin").read_bytes() == b"\1" * 5000
    ids = {one.name: one.experiment_id for one in client.search_experiments()}
    [trace] = client.search_traces(locations=[ids["letters"]])
    assert trace.data.spans[0].inputs == {"q": "letters"}
    runs = client.search_runs([ids["parcels"]], run_view_type=3)
    assert {run.info.lifecycle_stage for run in runs} == {"active", "deleted"}
    assert len(client.get_metric_history(runs[0].info.run_id, "loss")) == 20


def test_rewrites_fit_whole_folders_and_the_longest_wins(lived: Path, source: captures.Stored, tmp_path: Path) -> None:
    base = tmp_path / "new"
    old = (lived / "artifacts" / "letters").as_uri()
    with pytest.raises(InputError, match="artifacts/par=never"):
        restored(base, source, Options(rewrites={"artifacts/par": "never"}))
    moved = {old: f"file://{base}/a", f"{old}/models": f"file://{base}/b"}
    restored(base, source, Options(rewrites=moved))
    uris = {str(row[0]) for row in rigs.rows_of(base / "mlflow.db", "SELECT artifact_uri FROM runs")}
    assert len([uri for uri in uris if uri.startswith(f"file://{base}/a/")]) == 3
    assert len([uri for uri in uris if uri.startswith("artifacts/parcels/")]) == 3
    models = rigs.rows_of(base / "mlflow.db", "SELECT artifact_location FROM logged_models")
    assert len([uri for (uri,) in models if str(uri).startswith(f"file://{base}/b/m-")]) == 2
    assert len(untraced(base / "a")) == 3
    assert len(untraced(base / "b")) == 4
    assert len(untraced(base / "artifacts")) == 7


def test_a_file_that_is_there_with_other_content(lived: Path, source: captures.Stored, tmp_path: Path) -> None:
    base = tmp_path / "new"
    restored(base, source, Options(more={"artifacts": "kept"}))
    (base / "mlflow.db").unlink()
    path = next((base / "kept").rglob("model.bin"))
    path.write_bytes(b"mine")
    registry = rigs.registry(base)
    options = Options(more={"artifacts": "kept"})
    plan = registry.plan_restore(source, options)
    assert len(plan.refusals) == 1
    with pytest.raises(Conflict):
        registry.restore(restorable.RestorePlan("registry", "", options), source)
    assert not (base / "mlflow.db").exists()
    assert path.read_bytes() == b"mine"
    restored(base, source, Options(policy="update", more={"artifacts": "kept"}))
    assert path.read_bytes() != b"mine"


PARTS = {
    "experiment:parcels": ({"parcels"}, {"parcels-model"}, 3, 2),
    "model:letters-model": ({"letters"}, {"letters-model"}, 1, 2),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", ["new file", "file in use", "server in use"])
def test_one_part_alone(
    part: str, kind: str, source: captures.Stored, migrated_file: Path, tmp_path: Path,
    make_server: Callable[[], str],
) -> None:  # fmt: skip
    """Into nothing, and into MLflows that have rows of others; what was there stays as it was."""
    base = tmp_path / "new"
    base.mkdir()
    target = ""
    import mlflow

    address = f"sqlite:///{base}/mlflow.db"
    if kind == "server in use":
        target = make_server()
        address = target.replace("postgresql:", "postgresql+psycopg:")
    elif kind == "file in use":
        shutil.copy(migrated_file, base / "mlflow.db")
    mine = None
    if kind != "new file":
        client = mlflow.MlflowClient(address)
        for number in range(10):  # so that no number of the snapshot is taken already
            mine = client.create_experiment(f"mine {number}") if number == 0 else mine
        assert mine is not None
        rename(address, mine)
        client.create_run("77")
    options = Options(target=target, only=(part,), more={"artifacts": "kept"})
    restored(base, source, options)
    client = mlflow.MlflowClient(address)
    experiments, models, runs, versions = PARTS[part]
    found = {one.name: one for one in client.search_experiments(view_type=3)}
    assert found.keys() - {"Default", "mine 0"} == experiments
    identity = found[next(iter(experiments))].experiment_id
    assert len(client.search_runs([identity], run_view_type=3)) == runs
    assert {one.name for one in client.search_registered_models()} == models
    name = next(iter(models))
    assert len(client.search_model_versions(f"name = '{name}'")) == versions
    version = client.get_model_version_by_alias(name, "champion")
    model = client.get_logged_model(str(version.source).removeprefix("models:/"))
    assert Path(model.artifact_location.removeprefix("file://"), "model.bin").read_bytes() == b"\1" * 5000
    assert len(client.search_traces(locations=[identity])) == (1 if part.startswith("experiment") else 0)
    assert len(list((base / "kept").rglob("model.bin"))) == versions
    assert len(list((base / "kept").rglob("report*"))) == runs
    if kind != "new file":
        assert len(client.search_runs(["77"])) == 1


def rename(address: str, number: str) -> None:
    """Give an experiment the number 77, far from those of the snapshot."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(address)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM experiments WHERE experiment_id = 0")
        connection.exec_driver_sql(f"UPDATE experiments SET experiment_id = 77 WHERE experiment_id = {number}")
    engine.dispose()


def test_an_id_that_is_taken_by_something_else(source: captures.Stored, migrated_file: Path, tmp_path: Path) -> None:
    """The numbers of experiments are small, so they collide: told before, nothing changed, resolved by policy."""
    base = tmp_path / "new"
    base.mkdir()
    shutil.copy(migrated_file, base / "mlflow.db")
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{base}/mlflow.db")
    assert client.create_experiment("mine") == "1"
    client.create_run("1")
    before = (base / "mlflow.db").read_bytes()
    registry = rigs.registry(base)
    options = Options(only=("experiment:parcels",), more={"artifacts": "kept"})
    plan = registry.plan_restore(source, options)
    assert [line.what for line in plan.lines if line.does == "conflict"] == ["table experiments"]
    assert len(plan.refusals) == 1
    with pytest.raises(Conflict):
        registry.restore(restorable.RestorePlan("registry", "", options), source)
    assert (base / "mlflow.db").read_bytes() == before
    assert not (base / "kept").exists()


def test_a_location_that_gets_too_long(source: captures.Stored, tmp_path: Path, make_server: Callable[[], str]) -> None:
    """PostgreSQL holds to the length of a column, SQLite does not: told by the plan, with the location."""
    registry = rigs.registry(tmp_path)
    folder = {"artifacts": "deep/" * 30}
    assert registry.plan_restore(source, Options(more=folder)).refusals == ()
    plan = registry.plan_restore(source, Options(target=make_server(), more=folder))
    assert [text.partition(" takes ")[0] for text in plan.refusals] == [
        "experiments.artifact_location",
        "runs.artifact_uri",
    ]


def test_parts_that_are_not_there(source: captures.Stored, tmp_path: Path) -> None:
    registry = rigs.registry(tmp_path)
    for word, error in (("experiment:nobody", Missing), ("model:nobody", Missing), ("view:x", InputError)):
        with pytest.raises(error):
            registry.plan_restore(source, Options(only=(word,)))
    with pytest.raises(InputError):
        registry.plan_restore(source, Options(target="oracle://x"))
