"""Data whose DVC remote is a bucket: proved and restored from there, large objects in pieces."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ddr.domain import revisions
from ddr.errors import Damaged, Unavailable
from tests import servers
from tests.unit.connectors.rigs_code_data import data_plane, data_repository, git, kept, md5


@pytest.fixture
def root(moto_server: servers.S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Commits v1 and v2, and one with a file of 20 MiB; every object is in a bucket and nowhere else."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": moto_server.key,
        "AWS_SECRET_ACCESS_KEY": moto_server.secret,
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    repository, remote, _ = data_repository(tmp_path, ("v1", "v2"))
    large = os.urandom(20 << 20)
    (tmp_path / "large").write_bytes(large)
    (repository / "large.dvc").write_text(f"outs:\n- md5: {kept(remote, large)}\n  hash: md5\n  path: large.bin\n")
    bucket = moto_server.new_bucket()
    for path in remote.rglob("*"):
        if path.is_file():
            key = f"store/{path.relative_to(remote).as_posix()}"
            moto_server.client().put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    shutil.rmtree(remote)
    (tmp_path / "bucket").write_text(bucket)
    (repository / ".dvc" / "config").write_text(
        f"[core]\n    remote = far\n['remote \"far\"']\n    url = s3://{bucket}/store\n"
        f"    endpointurl = {moto_server.endpoint}\n"
    )
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "large")
    git(repository, "tag", "large")
    git(repository, "checkout", "-q", "v2")
    (repository / ".dvc" / "config.local").write_text(git(repository, "show", "large:.dvc/config") + "\n")
    (tmp_path / "current").symlink_to("ml")
    return tmp_path


def test_data_is_restored_from_a_bucket(root: Path) -> None:
    """v1 pins what its own .dvc/config would look for in a folder: the remote of today is asked."""
    plane = data_plane(root)
    target = plane.find("v1")
    assert target.facts["only_here"] == "0"
    assert plane.switch(target, plane.revision()).is_same(target)
    assert (root / "current" / "images" / "deep" / "v1.png").read_bytes() == b"v1"
    large = plane.find("large")
    assert plane.switch(large, plane.revision()).facts[revisions.COMMIT] == large.name
    assert (root / "current" / "large.bin").read_bytes() == (root / "large").read_bytes()


def test_an_object_that_the_bucket_lost_or_changed_stops_it(root: Path, moto_server: servers.S3Server) -> None:
    plane = data_plane(root)
    target, live = plane.find("v1"), plane.revision()
    client, bucket = moto_server.client(), (root / "bucket").read_text()
    hashed = md5(b"weights of v1")
    key = f"store/files/md5/{hashed[:2]}/{hashed[2:]}"
    client.put_object(Bucket=bucket, Key=key, Body=b"weights of vX")
    with pytest.raises(Damaged, match="no place has the bytes"):
        plane.switch(target, live)
    client.delete_object(Bucket=bucket, Key=key)
    with pytest.raises(Damaged, match="neither in the remote nor in the cache"):
        plane.switch(target, live)
    assert plane.revision().is_same(live)


def test_a_bucket_that_does_not_answer_is_no_proof(root: Path) -> None:
    config = root / "ml" / ".dvc" / "config.local"
    config.write_text(config.read_text().replace((root / "bucket").read_text(), "no-such-bucket"))
    with pytest.raises(Unavailable, match="cannot be proved") as raised:
        data_plane(root).find("v1")
    assert raised.value.hint
