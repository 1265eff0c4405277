"""Every kind of store, on real servers: the fixtures `tried` (all of them, plain and retrying) and `places`."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from ddr.lib import clock
from ddr.ports import store
from ddr.stores import local, memory, retrying, s3
from tests import servers

_numbers = itertools.count()


def s3_store(server: servers.S3Server, bucket: str, prefix: str = "", **options: float) -> s3.S3Store:
    settings: dict[str, float] = {"connect_timeout_s": 5, "read_timeout_s": 30, **options}
    return s3.S3Store(
        bucket,
        prefix,
        server.endpoint,
        access_key=server.key,
        secret_key=server.secret,
        connect_timeout_s=settings["connect_timeout_s"],
        read_timeout_s=settings["read_timeout_s"],
        attempts=int(settings.get("attempts", 3)),
    )


@pytest.fixture(scope="session")
def moto_bucket(moto_server: servers.S3Server) -> str:
    return moto_server.new_bucket()


@pytest.fixture(scope="session")
def seaweed_bucket(seaweed_server: servers.S3Server) -> str:
    """One for all: SeaweedFS needs seconds to grow volumes for a new bucket."""
    return seaweed_server.new_bucket()


def made(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> store.Store:
    """A store with nothing in it: a new folder, or a new prefix of the bucket all tests share."""
    if kind == "memory":
        return memory.MemoryStore()
    if kind == "local":
        return local.LocalStore(tmp_path / "store")
    server = request.getfixturevalue(f"{kind}_server")
    return s3_store(server, request.getfixturevalue(f"{kind}_bucket"), f"conformance/{next(_numbers)}")


def through_retrying(inner: store.Store) -> store.Store:
    return retrying.Retrying(inner, clock.SystemClock(), random.Random(4))


KINDS = ("memory", "local", "moto", "seaweed")


@pytest.fixture(params=[f"{wrap}{kind}" for wrap in ("", "retrying-") for kind in KINDS])
def tried(request: pytest.FixtureRequest, tmp_path: Path) -> store.Store:
    """Every store, and every store through Retrying."""
    wrap, _, kind = request.param.rpartition("-")
    inner = made(kind, request, tmp_path)
    return through_retrying(inner) if wrap else inner


@pytest.fixture(params=KINDS)
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> store.Store:
    """Every store once, where many requests are made."""
    return made(request.param, request, tmp_path)


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that has no AWS credentials anywhere."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
