"""Artifacts in a bucket: captured with the rows, restored into a folder with the locations rewritten."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from ddr.connectors.mlflow import artifacts, backup, bucket
from ddr.errors import Missing
from ddr.ports import restorable
from tests import captures, servers
from tests.unit.connectors.mlflow_store import rigs

# Names whose order as whole keys is not their order as paths.
KEYS = ("1/r/artifacts/a-b/x", "1/r/artifacts/a/x", "1/r/artifacts/a/y/z", "1/r/artifacts/größe 1.txt", "1/empty")
OTHERS = ("10/r/other", "2/else", "1/r/artifacts/folder/", "1//odd")


@pytest.mark.xdist_group("moto")
def test_a_bucket_with_the_rows(migrated_file: Path, moto_server: servers.S3Server, tmp_path: Path) -> None:
    client = moto_server.client()
    client.create_bucket(Bucket="mlruns")
    for key in (*KEYS, *OTHERS):
        client.put_object(Bucket="mlruns", Key=f"top/{key}", Body=key.encode() * (0 if "empty" in key else 3))
    base = tmp_path / "source"
    base.mkdir()
    shutil.copy(migrated_file, base / "mlflow.db")
    connection = sqlite3.connect(base / "mlflow.db")
    connection.execute("INSERT INTO experiments VALUES (1, 'e', 's3://mlruns/top/1', 'active', 1, 1, 'default')")
    connection.execute(
        "INSERT INTO runs (run_uuid, experiment_id, artifact_uri, lifecycle_stage) "
        "VALUES ('r', 1, 's3://mlruns/top/1/r/artifacts', 'active')"
    )
    connection.commit()
    connection.close()

    sink = captures.Capture()
    backup.capture(backup.Database("sqlite:///mlflow.db", base), sink, lambda: bucket.S3(client))
    stored = {path: content for path, (one, content) in sink.files["artifacts-s3"].items() if one.kind == "file"}
    assert stored == {f"mlruns/top/{key}": key.encode() * (0 if "empty" in key else 3) for key in KEYS}
    assert sink.warnings == []

    target = tmp_path / "target"
    target.mkdir()
    registry, source = rigs.registry(target), sink.source()
    options = restorable.RestoreOptions(more={"artifacts": "kept"})
    plan = registry.plan_restore(source, options)
    registry.restore(plan, source)
    assert [one for one in registry.compare(plan, source) if not one.is_equal] == []
    [(uri,)] = rigs.rows_of(target / "mlflow.db", "SELECT artifact_uri FROM runs")
    assert (Path(str(uri)) / "a-b" / "x").read_bytes() == b"1/r/artifacts/a-b/x" * 3
    in_place = registry.plan_restore(source, restorable.RestoreOptions(target="sqlite:///other.db"))
    assert [line.detail[:7] for line in in_place.lines if line.does == "note" and "s3" in line.what] == ["5 files"]

    with pytest.raises(Missing):
        list(bucket.S3(client).read("mlruns", "gone"))
    with pytest.raises(Missing):
        list(bucket.S3(client).listed("nobucket", ""))


def test_no_access_to_s3_is_a_warning_and_served_locations_too(migrated_file: Path, tmp_path: Path) -> None:
    """What the MLflow server keeps itself is read where somebody says that it is."""
    shutil.copy(migrated_file, tmp_path / "mlflow.db")
    connection = sqlite3.connect(tmp_path / "mlflow.db")
    for number, place in enumerate(("mlflow-artifacts:/1", "gs://b/2", "dbfs:/3", "s3://b/4"), 1):
        row = (number, str(number), place, "active", 1, 1, "default")
        connection.execute("INSERT INTO experiments VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    connection.commit()
    connection.close()
    (tmp_path / "served" / "1" / "run").mkdir(parents=True)
    (tmp_path / "served" / "1" / "run" / "file").write_text("x")

    for served, expected in (("", 4), ("served", 3), ((tmp_path / "served").as_uri(), 3)):
        sink = captures.Capture()
        database = backup.Database("sqlite:///mlflow.db", tmp_path, served)
        with database.opened() as reader:
            artifacts.capture(reader, database.where, None, sink)
        assert len(sink.warnings) == expected, sink.warnings
        files = [path for path, (one, _) in sink.files.get("artifacts", {}).items() if one.kind == "file"]
        assert len(files) == (1 if served else 0)
