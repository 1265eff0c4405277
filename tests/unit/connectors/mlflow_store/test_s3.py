"""Artifacts in a bucket: captured with the rows, restored into a folder with the locations rewritten."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from ddr.connectors.mlflow import artifacts, backup, bucket, connector
from ddr.errors import Conflict, Missing
from ddr.lib import clock
from ddr.ports import restorable
from tests import captures, servers
from tests.unit.connectors.mlflow_store import rigs

# Names whose order as whole keys is not their order as paths.
KEYS = ("1/r/artifacts/a-b/x", "1/r/artifacts/a/x", "1/r/artifacts/a/y/z", "1/r/artifacts/größe 1.txt", "1/empty")
KINDS = ("moto", "seaweed")
OTHERS = ("10/r/other", "2/else", "1/r/artifacts/folder/", "1//odd")


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


def _registry(base: Path, server: servers.S3Server, monkeypatch: pytest.MonkeyPatch) -> connector.Registry:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    base.mkdir(exist_ok=True)
    return connector.connect(
        connector.Settings("sqlite:///mlflow.db", s3_endpoint=server.endpoint), base, clock.SystemClock()
    )


def _rows(base: Path, migrated_file: Path, location: str) -> None:
    base.mkdir()
    shutil.copy(migrated_file, base / "mlflow.db")
    connection = sqlite3.connect(base / "mlflow.db")
    connection.execute(f"INSERT INTO experiments VALUES (1, 'e', '{location}/1', 'active', 1, 1, 'default')")
    connection.execute(
        "INSERT INTO runs (run_uuid, experiment_id, artifact_uri, lifecycle_stage) "
        f"VALUES ('r', 1, '{location}/1/r/artifacts', 'active')"
    )
    connection.commit()
    connection.close()


def _objects(server: servers.S3Server, bucket_name: str, prefix: str = "") -> dict[str, bytes]:
    client = server.client()
    listed = client.list_objects_v2(Bucket=bucket_name, Prefix=prefix).get("Contents", ())
    return {one["Key"]: client.get_object(Bucket=bucket_name, Key=one["Key"])["Body"].read() for one in listed}


def _restored(
    registry: connector.Registry, source: restorable.Source, options: restorable.RestoreOptions
) -> restorable.RestorePlan:
    plan = registry.plan_restore(source, options)
    assert plan.refusals == ()
    registry.restore(plan, source)
    compared = registry.compare(plan, source)
    assert [one for one in compared if not one.is_equal] == []
    assert any(one.what.startswith("objects of") for one in compared)
    return plan


@pytest.mark.parametrize("kind", KINDS)
def test_objects_come_back_into_buckets(
    migrated_file: Path, request: pytest.FixtureRequest, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into the same bucket, into another one by a rewrite, all below an address; each policy; called again it rests."""
    server: servers.S3Server = request.getfixturevalue(f"{kind}_server")
    client, home, other = server.client(), server.new_bucket(), server.new_bucket()
    content = {f"top/{key}": key.encode() * 3 for key in KEYS}
    content["top/1/r/artifacts/big"] = random.Random(7).randbytes(20 << 20)
    for key, body in content.items():
        client.put_object(Bucket=home, Key=key, Body=body)
    _rows(tmp_path / "source", migrated_file, f"s3://{home}/top")
    sink = captures.Capture()
    backup.capture(backup.Database("sqlite:///mlflow.db", tmp_path / "source"), sink, lambda: bucket.S3(client))
    source, registry = sink.source(), _registry(tmp_path / "target", server, monkeypatch)

    # In place: what is there is left, what is gone comes back, what is other is refused, left or replaced.
    for key in list(content)[:2]:
        client.delete_object(Bucket=home, Key=key)
    plan = registry.plan_restore(source, restorable.RestoreOptions())
    assert _lines(plan) == {"create": "2 objects", "skip": f"{len(content) - 2} objects are there already"}
    assert len(_objects(server, home)) == len(content) - 2, "a plan touches nothing"
    _restored(registry, source, restorable.RestoreOptions())
    assert _objects(server, home) == content
    again = registry.plan_restore(source, restorable.RestoreOptions(policy="update"))
    assert _lines(again) == {"skip": f"{len(content)} objects are there already"}
    changed, same_size = "top/1/r/artifacts/a/x", b"?" * len(content["top/1/r/artifacts/a/x"])
    client.put_object(Bucket=home, Key=changed, Body=same_size)
    refused = registry.plan_restore(source, restorable.RestoreOptions(target="sqlite:///two.db"))
    assert any(changed in refusal for refusal in refused.refusals)
    stale = restorable.RestorePlan(plan.component, "two.db", restorable.RestoreOptions(target="sqlite:///two.db"))
    with pytest.raises(Conflict, match="other content"):
        registry.restore(stale, source)
    assert not (tmp_path / "target" / "two.db").exists()
    skipping = restorable.RestoreOptions(target="sqlite:///three.db", policy="skip")
    registry.restore(registry.plan_restore(source, skipping), source)
    assert _objects(server, home)[changed] == same_size
    _restored(registry, source, restorable.RestoreOptions(policy="update"))
    assert _objects(server, home) == content

    # Elsewhere: another bucket, and all of it below one address; rows go along.
    rewrites = {f"s3://{home}/top": f"s3://{other}/moved/here"}
    _restored(registry, source, restorable.RestoreOptions(target="sqlite:///four.db", rewrites=rewrites))
    assert _objects(server, other) == {key.replace("top/", "moved/here/", 1): body for key, body in content.items()}
    query = "SELECT artifact_uri FROM runs"
    assert rigs.rows_of(tmp_path / "target/four.db", query) == [(f"s3://{other}/moved/here/1/r/artifacts",)]
    wide = {"artifacts": f"s3://{other}/all"}
    _restored(registry, source, restorable.RestoreOptions(target="sqlite:///five.db", more=wide))
    assert _objects(server, other, "all/") == {f"all/s3/{home}/{key}": body for key, body in content.items()}
    assert rigs.rows_of(tmp_path / "target/five.db", query) == [(f"s3://{other}/all/s3/{home}/top/1/r/artifacts",)]
    none = registry.plan_restore(source, restorable.RestoreOptions("sqlite:///six.db", more={"artifacts": "none"}))
    assert not any("objects of" in line.what for line in none.lines)
    with pytest.raises(Missing, match="there is none"):
        registry.plan_restore(source, restorable.RestoreOptions(rewrites={f"s3://{home}": "s3://no-such-bucket"}))
    damaged = sorted(_objects(server, other, "all/"))[0]
    client.put_object(Bucket=other, Key=damaged, Body=b"damaged")
    compared = registry.compare(
        plan := registry.plan_restore(source, restorable.RestoreOptions("sqlite:///five.db", policy="skip", more=wide)),
        source,
    )
    assert plan
    assert [damaged in one.found for one in compared if not one.is_equal] == [True]


def test_a_folder_goes_into_a_bucket_and_back(
    migrated_file: Path, moto_server: servers.S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, base = moto_server.new_bucket(), tmp_path / "source"
    _rows(base, migrated_file, f"file://{base}/mlruns")
    files = {f"1/r/artifacts/{name}": name.encode() for name in ("MLmodel", "a/b", "größe 1.txt")}
    for name, content in files.items():
        (base / "mlruns" / name).parent.mkdir(parents=True, exist_ok=True)
        (base / "mlruns" / name).write_bytes(content)
    (base / "mlruns" / "1/r/artifacts/link").symlink_to("MLmodel")
    sink = captures.Capture()
    backup.capture(backup.Database("sqlite:///mlflow.db", base), sink)
    registry = _registry(tmp_path / "target", moto_server, monkeypatch)
    rewrites = {f"{base}/mlruns": f"s3://{there}/deep/er"}
    plan = _restored(registry, sink.source(), restorable.RestoreOptions(rewrites=rewrites))
    assert any("1 symbolic links stay out" in line.detail for line in plan.lines)
    assert _objects(moto_server, there) == {f"deep/er/{name}": content for name, content in files.items()}
    # The rows say file://, the rewrite says the path: the same place in other words.
    assert rigs.rows_of(tmp_path / "target/mlflow.db", "SELECT artifact_uri FROM runs") == [
        (f"s3://{there}/deep/er/1/r/artifacts",)
    ]

    captured = captures.Capture()
    moved = backup.Database("sqlite:///mlflow.db", tmp_path / "target", s3_endpoint=moto_server.endpoint)
    backup.capture(moved, captured)
    back = restorable.RestoreOptions("sqlite:///back.db", rewrites={f"s3://{there}/deep/er": str(tmp_path / "back")})
    plan = registry.plan_restore(captured.source(), back)
    registry.restore(plan, captured.source())
    assert [one for one in registry.compare(plan, captured.source()) if not one.is_equal] == []
    for name, content in files.items():
        assert (tmp_path / "back" / name).read_bytes() == content


def _lines(plan: restorable.RestorePlan) -> dict[str, str]:
    return {line.does: line.detail for line in plan.lines if line.what.startswith("objects of")}
