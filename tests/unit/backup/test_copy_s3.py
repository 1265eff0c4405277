"""A copy from bucket to bucket on real servers: through this machine, or by the server itself."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ddr.backup import copying, layout, locks, verify
from ddr.backup import repository as repositories
from ddr.errors import Missing, Unsupported
from ddr.ports import store
from ddr.stores import local, s3
from tests import servers
from tests.unit.backup import house

_numbers = itertools.count()


@pytest.fixture(params=("moto", "seaweed"))
def server(request: pytest.FixtureRequest) -> servers.S3Server:
    made: servers.S3Server = request.getfixturevalue(f"{request.param}_server")
    return made


@pytest.fixture(scope="session")
def buckets() -> dict[str, str]:
    return {}


def place(server: servers.S3Server, buckets: dict[str, str], days: int = 0) -> s3.S3Store:
    which = f"{server.endpoint} {bool(days)}"
    if which not in buckets:
        buckets[which] = f"ddr-copies-{len(buckets)}-{next(_numbers)}"
        server.client().create_bucket(Bucket=buckets[which], ObjectLockEnabledForBucket=bool(days))
    rule = locks.rule("governance", days) if days else None
    prefix = f"case-{next(_numbers)}"
    return s3.S3Store(buckets[which], prefix, server.endpoint, None, server.key, server.secret, lock=rule)


def filled(at: store.Store, folder: Path) -> repositories.Repository:
    repository = repositories.create(at, house.OPEN, datetime.now(UTC))
    house.backup(repository, {"shop": house.small_shop(folder)})
    return repository


@pytest.mark.parametrize("by_server", [False, True])
def test_a_copy_is_whole_and_goes_on(
    server: servers.S3Server,
    buckets: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    by_server: bool,
) -> None:
    source = place(server, buckets)
    filled(source, tmp_path / "shop")
    packs = [entry.key for entry in source.list(layout.PACKS)]
    read: list[str] = []
    get = s3.S3Store.get

    def told(self: s3.S3Store, key: str, start: int = 0, size: int | None = None) -> bytes:
        read.append(key)
        return get(self, key, start, size)

    monkeypatch.setattr(s3.S3Store, "get", told)
    to = house.patient(place(server, buckets, days=30))
    done = copying.copy(house.patient(source), to, by_server=by_server)
    assert done.by_server == (len(packs) if by_server else 0)
    assert (set(packs) <= set(read)) is not by_server, "the bytes of packs come here only where they are to be checked"
    again = copying.copy(source, to, by_server=by_server)
    assert (again.objects, again.by_server) == (0, 0)
    assert locks.keep_copied(to, copying.keys(source), datetime.now(UTC)).holds, "locked in either way"
    opened = repositories.open_(to, house.OPEN)
    assert verify.verify(opened, "full").findings == ()


def test_the_word_of_the_server_is_only_that(
    server: servers.S3Server, buckets: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is damaged is copied damaged and found by a verify; an ETag that is another one is no word."""
    source = place(server, buckets)
    filled(source, tmp_path / "shop")
    (pack, *_) = source.list(layout.PACKS)
    bad = bytearray(source.get(pack.key))
    bad[60] ^= 1
    source.swap(pack.key, bytes(bad), pack.version)
    to = place(server, buckets)
    assert copying.copy(source, to, by_server=True).skipped == ()
    (finding,) = verify.verify(repositories.open_(to, house.OPEN), "stored").findings
    assert finding.object == pack.key

    other = place(server, buckets)
    (pack, *_) = source.list(layout.PACKS)
    with pytest.raises(Missing):
        other.copy_from(source, dataclasses.replace(pack, version="0" * 32)) or _raise_where_ignored(server)
    assert other.copy_from(source, pack)
    head = s3.S3Store.head
    monkeypatch.setattr(
        s3.S3Store,
        "head",
        lambda self, key: dataclasses.replace(found, version="x") if (found := head(self, key)) else None,
    )
    last = place(server, buckets)
    assert not last.copy_from(source, pack)
    assert head(last, pack.key) is None


def _raise_where_ignored(server: servers.S3Server) -> bool:
    """moto takes the condition on the source and ignores it; the ETag that comes back tells then."""
    assert server.key.startswith("moto")
    raise Missing("ignored")


def test_other_places_cannot(server: servers.S3Server, buckets: dict[str, str], tmp_path: Path) -> None:
    source = place(server, buckets)
    filled(source, tmp_path / "shop")
    stranger = s3.S3Store(next(iter(buckets.values())), "x", server.endpoint, None, "another-key", "another-secret")
    for to in (local.LocalStore(tmp_path / "to"), stranger, house.patient(local.LocalStore(tmp_path / "to"))):
        with pytest.raises(Unsupported, match="cannot copy by itself"):
            copying.copy(source, to, by_server=True)
    assert not (tmp_path / "to").exists()
