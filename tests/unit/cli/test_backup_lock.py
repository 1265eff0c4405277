"""Locked backups as a person types them, on a SeaweedFS that enforces the locks."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from pathlib import Path

import pytest

from ddr.backup import objectives
from ddr.errors import BadDocument
from ddr.wiring import build, readiness
from ddr.wiring import config as configs
from tests import servers
from tests.unit.cli import calls


def platform(root: Path, server: servers.S3Server, bucket: str, lock: str, copy_lock: str, view: str = "") -> Path:
    (root / "things").mkdir(parents=True)
    (root / "things" / "a.yaml").write_text("a: 1\n")
    where = f'bucket: {bucket}, endpoint: "{server.endpoint}", accessKey: "${{env:S3_A}}", secretKey: "${{env:S3_B}}"'
    (root / "ddr.yaml").write_text(
        f"apiVersion: ddr/v1\nrepository: {{type: s3, prefix: one, {where}{lock}}}\n"
        f"connectors: {{conf: {{type: files, root: things}}{view}}}\nservices: {{}}\n"
        f"backup: {{encryption: none, copies: {{second: {{type: s3, prefix: two, {where}{copy_lock}}}}}}}\n"
    )
    return root


@pytest.fixture
def login(seaweed_server: servers.S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> servers.S3Server:
    monkeypatch.setenv("S3_A", seaweed_server.key)
    monkeypatch.setenv("S3_B", seaweed_server.secret)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return seaweed_server


def immutable(root: Path) -> objectives.Point:
    wired = build.build(root / "ddr.yaml", os.environ, actor="t", warn=lambda _: None)
    return next(one for one in readiness.judge(wired, wired.board()).points if one.name == "immutable")


def test_locked_attacked_and_back(login: servers.S3Server, tmp_path: Path) -> None:
    bucket = f"ddr-{secrets.token_hex(6)}"
    login.client().create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    root = platform(
        tmp_path / "p", login, bucket, ", lock: {mode: compliance, days: 30}", ", lock: {mode: governance, days: 10}"
    )
    made = calls.ddr(root, "backup", "run", "--json")
    assert made.code == 0
    lock = made.document["lock"]
    assert (lock["mode"], lock["unlocked"], lock["problems"]) == ("compliance", 0, [])
    assert "locked (compliance) until" in calls.ddr(root, "backup", "verify").out
    assert immutable(root).verdict is objectives.Verdict.OK
    assert "compliance, 29 days left" in immutable(root).why
    copied = calls.ddr(root, "backup", "copy", "second", "--server-side", "--json").document
    assert (copied["by_server"], copied["lock"]["mode"]) == (1, "governance")
    assert "second (governance, 9 days left)" in immutable(root).why
    assert calls.ddr(root, "backup", "lock", "--json").document["extended"] == 0
    assert calls.ddr(root, "backup", "undelete").code == 0

    client = login.client()
    for one in client.list_objects_v2(Bucket=bucket, Prefix="one/backup")["Contents"]:
        client.delete_object(Bucket=bucket, Key=one["Key"])
    refused = calls.ddr(root, "backup", "run")
    assert refused.code == 1
    assert "somebody deleted it" in refused.err
    assert "ddr backup undelete" in refused.err
    looked = calls.ddr(root, "backup", "undelete")
    assert looked.code == 2
    assert "1 snapshots  deleted" in looked.out
    assert calls.ddr(root, "backup", "list").code == 1, "looking brings nothing back"
    assert calls.ddr(root, "backup", "undelete", "--apply").code == 0
    assert calls.ddr(root, "backup", "verify").code == 0
    assert calls.ddr(root, "backup", "run").code == 0


def test_a_bucket_that_cannot_lock_is_refused_before_the_work(login: servers.S3Server, tmp_path: Path) -> None:
    bucket = login.new_bucket()
    root = platform(tmp_path / "p", login, bucket, ", lock: {mode: governance, days: 5}", "")
    for words in (("backup", "run"), ("doctor",)):
        done = calls.ddr(root, *words)
        assert done.code != 0
        assert "it has no Object Lock" in done.out + done.err
    found = login.client().list_objects_v2(Bucket=bucket, Prefix="one/backup")
    assert "Contents" not in found, "nothing was written"
    plain = platform(tmp_path / "q", login, bucket, "", "")
    assert calls.ddr(plain, "backup", "run").code == 0
    assert calls.ddr(plain, "backup", "lock").code == 1
    assert calls.ddr(plain, "backup", "undelete").code == 64
    assert immutable(plain).verdict is not objectives.Verdict.OK


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        ("{mode: strict, days: 3}", "mode"),
        ("{mode: compliance}", "days"),
        ("{mode: compliance, days: 0}", "1 to 3650 days"),
        ("{mode: compliance, days: 99999}", "1 to 3650 days"),
    ],
)
def test_a_lock_is_checked_with_the_file(tmp_path: Path, lock: str, said: str) -> None:
    text = f"apiVersion: ddr/v1\nrepository: {{type: s3, bucket: some-bucket, lock: {lock}}}\nservices: {{}}\n"
    with pytest.raises(BadDocument) as problem:
        configs.read(tmp_path / "ddr.yaml", text, {})
    assert said in problem.value.message
    assert "ddr.yaml:2" in problem.value.message


def test_kept_states_of_planes_are_locked_with_the_packs_that_they_reuse(
    login: servers.S3Server, tmp_path: Path
) -> None:
    bucket = f"ddr-{secrets.token_hex(6)}"
    login.client().create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    view = ", view: {type: feature-table, root: features, table: lane_pixels, entity: lane}"
    root = platform(tmp_path / "p", login, bucket, ", lock: {mode: governance, days: 1}", "", view)
    (root / "features" / "releases" / "v1").mkdir(parents=True)
    (root / "features" / "releases" / "v1" / "materialize.py").write_text("pass\n")
    (root / "features" / "current").symlink_to("releases/v1")
    with contextlib.closing(sqlite3.connect(root / "features" / "online.db")) as file, file:
        file.execute("CREATE TABLE lane_pixels (lane INTEGER PRIMARY KEY, v REAL, event_ts REAL, created_ts REAL)")
        file.executemany("INSERT INTO lane_pixels VALUES (?, ?, 0, 0)", [(lane, lane / 7) for lane in range(50)])
    assert calls.ddr(root, "features", "snapshot").code == 0
    text = (root / "ddr.yaml").read_text()
    (root / "ddr.yaml").write_text(text.replace("days: 1", "days: 30"))
    locked = calls.ddr(root, "backup", "lock", "--dry-run", "--json")
    assert (locked.code, locked.document["objects"] >= 4) == (0, True), "the newest one's own lock is the measure"
    again = calls.ddr(root, "features", "snapshot", "--json")
    assert again.code == 0, again.err
    assert again.document["lock"]["extended"] >= 2, "the pack and its index were locked for a day"
    verified = calls.ddr(root, "backup", "verify", "--json")
    assert (verified.code, verified.document["states"], verified.document["findings"]) == (0, 2, [])
    found = calls.ddr(root, "backup", "lock", "--json").document
    assert (found["unlocked"], found["problems"]) == (0, [])
    assert found["extended"] == 1, "the older state"
