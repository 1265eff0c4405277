"""DVC remotes in buckets of real servers: every hash is looked for, with few requests, and trouble is no loss."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ddr.connectors.files import dvc, dvc_s3
from tests import servers

FILES = 2_000
CANARY = "c4n4ry-Zx81qPw"


@pytest.fixture(params=("moto", "seaweed"))
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> servers.S3Server:
    made: servers.S3Server = request.getfixturevalue(f"{request.param}_server")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", made.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made.secret)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return made


def project(root: Path, endpoint: str, bucket: str) -> Path:
    (root / ".dvc").mkdir(parents=True)
    remote = f"url = s3://{bucket}/dvc/store\n    endpointurl = {endpoint}\n"
    (root / ".dvc" / "config").write_text(f"[core]\n    remote = far\n['remote \"far\"']\n    {remote}")
    return root


def put(server: servers.S3Server, bucket: str, content: bytes, suffix: str = "", *, is_legacy: bool = False) -> str:
    name = hashlib.md5(content).hexdigest() + suffix
    key = dvc.keys_of(name, is_legacy=is_legacy)[0]
    server.client().put_object(Bucket=bucket, Key=f"dvc/store/{key}", Body=content)
    return name


def test_every_hash_is_looked_for(server: servers.S3Server, tmp_path: Path) -> None:
    bucket = server.new_bucket()
    root = project(tmp_path / "repo", server.endpoint, bucket)
    there, old = put(server, bucket, b"there"), put(server, bucket, b"old", is_legacy=True)
    lost = hashlib.md5(b"lost").hexdigest()
    # Some thousand names of which few are there: listing by folders, a page each, not a question each.
    inside = {f"f{number:04}": hashlib.md5(b"%d" % number).hexdigest() for number in range(FILES)}
    kept = sorted(inside)[:20]
    for name in kept:
        put(server, bucket, b"%d" % int(name[1:]))
    folder = put(
        server, bucket, json.dumps([{"md5": md5, "relpath": name} for name, md5 in inside.items()]).encode(), ".dir"
    )
    (root / "a.dvc").write_text(
        f"outs:\n- {{md5: {there}, hash: md5, path: a}}\n- {{md5: {lost}, hash: md5, path: b}}\n"
    )
    (root / "b.dvc").write_text(f"outs:\n- {{md5: {old}, path: old}}\n")
    (root / "c.dvc").write_text(f"outs:\n- {{md5: {folder}, hash: md5, path: images}}\n")
    opened: list[dvc_s3.S3Objects] = []

    def look_up(remote: dvc.Remote) -> dvc.LookUp | None:
        found = dvc_s3.anywhere(remote)
        assert isinstance(found, dvc_s3.S3Objects)
        opened.append(found)
        return found

    report = dvc.examine(root, look_up)
    assert report is not None
    assert report.facts == {
        "dvc.outs": "4", "dvc.objects": str(4 + FILES), "dvc.missing": str(1 + FILES - len(kept)),
        "dvc.only-in-cache": "0", "dvc.remote": f"far s3://{bucket}/dvc/store",
    }  # fmt: skip
    assert [text.partition(":")[0] for text in report.warnings] == ["a.dvc", "c.dvc"]
    (one,) = opened
    most = 256 * (1 + dvc_s3._FEW) + 20
    assert one.requests < most, "a listing a folder; in the other layout a listing, or a few questions"


def test_trouble_is_told_and_is_no_loss(
    server: servers.S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = hashlib.md5(b"lost").hexdigest()
    cases = {
        "no-bucket": (server.endpoint, "no-such-bucket-here"),
        "no-server": (f"http://me:{CANARY}@127.0.0.1:9", "mlruns"),
        "no-url": ("not a url", "mlruns"),
    }
    if server.key.startswith("seaweed"):
        cases["no-login"] = (server.endpoint, server.new_bucket())
    for case, (endpoint, bucket) in cases.items():
        root = project(tmp_path / case, endpoint, bucket)
        (root / "a.dvc").write_text(f"outs:\n- {{md5: {lost}, hash: md5, path: a}}\n")
        if case == "no-login":
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        report = dvc.examine(root, dvc_s3.anywhere)
        assert report is not None
        assert report.facts["dvc.missing"] == "0", case
        (warning,) = report.warnings
        assert "not asked" in warning, (case, warning)
        assert CANARY not in warning


def test_folders_are_still_looked_into(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    found = dvc_s3.anywhere(dvc.Remote(str(tmp_path)))
    assert found is not None
    assert found.which(["x", "y"]) == {"x": True, "y": False}
    assert dvc_s3.anywhere(dvc.Remote("gs://bucket/x")) is None
