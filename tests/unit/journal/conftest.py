"""Places for journals, on every kind of store."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from ddr.ports import store
from ddr.stores import local, memory, s3
from tests import servers
from tests.unit.journal import places

_numbers = itertools.count()


@pytest.fixture(scope="session")
def journal_buckets() -> dict[str, str]:
    return {}


def made(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> store.Store:
    if kind == "memory":
        return memory.MemoryStore()
    if kind == "local":
        return local.LocalStore(tmp_path / "store")
    server: servers.S3Server = request.getfixturevalue(f"{kind}_server")
    buckets: dict[str, str] = request.getfixturevalue("journal_buckets")
    if kind not in buckets:
        buckets[kind] = server.new_bucket()
    return s3.S3Store(
        buckets[kind], f"journal/{next(_numbers)}", server.endpoint, access_key=server.key, secret_key=server.secret
    )


@pytest.fixture(params=["memory", "local", "moto"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> places.Place:
    """Every kind of store: in this process, on this machine, behind a network."""
    return places.Place(made(request.param, request, tmp_path), tmp_path)


@pytest.fixture(params=["memory", "moto"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> places.Shared:
    """A shared store that can be away."""
    wrapped = places.Wrapped(made(request.param, request, tmp_path), is_shared=True)
    return places.Place(wrapped, tmp_path), wrapped
