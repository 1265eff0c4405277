"""Object Lock and versions on real servers: SeaweedFS keeps a lock, moto speaks of it."""

from __future__ import annotations

import itertools
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from ddr.errors import Missing, Refused, Unsupported
from ddr.ports import store
from ddr.stores import memory, s3
from tests import servers
from tests.unit.stores import conftest

DAY = timedelta(days=1)
RULE = store.LockRule("compliance", {"kept/": 30 * DAY, "short/": 7 * DAY})
_numbers = itertools.count()


def locking_bucket(server: servers.S3Server) -> str:
    name = f"ddr-{secrets.token_hex(6)}"
    server.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


@pytest.fixture(scope="session")
def locked_buckets() -> dict[str, str]:
    return {}


@pytest.fixture(params=["moto", "seaweed"])
def server(request: pytest.FixtureRequest) -> servers.S3Server:
    made: servers.S3Server = request.getfixturevalue(f"{request.param}_server")
    return made


@pytest.fixture
def bucket(server: servers.S3Server, locked_buckets: dict[str, str]) -> str:
    if server.endpoint not in locked_buckets:
        locked_buckets[server.endpoint] = locking_bucket(server)
    return locked_buckets[server.endpoint]


def made(server: servers.S3Server, bucket: str, rule: store.LockRule | None = RULE, prefix: str = "") -> s3.S3Store:
    where = prefix or f"case-{next(_numbers)}"
    return s3.S3Store(bucket, where, server.endpoint, access_key=server.key, secret_key=server.secret, lock=rule)


def test_what_the_rule_names_is_locked_from_its_first_moment(server: servers.S3Server, bucket: str) -> None:
    at, now = made(server, bucket), datetime.now(UTC)
    at.check_lock()
    for key in ("kept/a", "short/a", "free/a"):
        at.create(key, key.encode())
    found = {key: at.locked(key) for key in ("kept/a", "short/a", "free/a", "kept/none")}
    assert found["free/a"] is None
    assert found["kept/none"] is None
    for key, span in (("kept/a", 30 * DAY), ("short/a", 7 * DAY)):
        lock = found[key]
        assert lock is not None
        assert lock.mode == "compliance"
        assert abs(lock.until - now - span) < timedelta(minutes=1)
    with pytest.raises(store.Exists):
        at.create("kept/a", b"other")
    at.swap("free/a", b"changed", _version(at, "free/a"))
    assert at.get("free/a") == b"changed"


def _version(at: s3.S3Store, key: str) -> str:
    found = at.head(key)
    assert found is not None
    return found.version


def test_locked_longer_and_never_shorter(server: servers.S3Server, bucket: str) -> None:
    at, now = made(server, bucket), datetime.now(UTC)
    at.create("kept/a", b"a")
    at.create("free/a", b"a")
    assert at.lock("kept/a", now + 60 * DAY).until == now + 60 * DAY
    assert at.lock("kept/a", now + 5 * DAY).until > now + 59 * DAY
    assert at.lock("free/a", now + 5 * DAY).mode == "compliance"
    for key, days in (("kept/a", 60), ("free/a", 5)):
        lock = at.locked(key)
        assert lock is not None
        assert abs(lock.until - now - days * DAY) < timedelta(minutes=1)
    with pytest.raises(Missing):
        at.lock("kept/none", now + DAY)


def test_a_lock_keeps_the_mode_it_has(server: servers.S3Server, bucket: str) -> None:
    now, lax = datetime.now(UTC), store.LockRule("governance", {"kept/": DAY})
    one, other = made(server, bucket, prefix="modes"), made(server, bucket, lax, prefix="modes")
    one.create("kept/strict", b"a")
    other.create("kept/lax", b"b")
    assert other.lock("kept/strict", now + 90 * DAY) == store.Lock("compliance", now + 90 * DAY)
    assert one.lock("kept/lax", now + 90 * DAY) == store.Lock("governance", now + 90 * DAY)


def test_the_server_keeps_what_is_locked(seaweed_server: servers.S3Server, locked_buckets: dict[str, str]) -> None:
    """Whoever has the writer's keys hides it and cannot destroy it."""
    from botocore import exceptions

    bucket = locked_buckets.setdefault(seaweed_server.endpoint, locking_bucket(seaweed_server))
    client = seaweed_server.client()
    for number, mode in enumerate(("compliance", "governance")):
        rule = store.LockRule("compliance" if mode == "compliance" else "governance", {"kept/": DAY})
        at = made(seaweed_server, bucket, rule, f"held-{number}")
        at.create("kept/a", b"precious")
        (version,) = at.versions("kept/")
        with pytest.raises(exceptions.ClientError, match="AccessDenied"):
            client.delete_object(Bucket=bucket, Key=f"held-{number}/kept/a", VersionId=version.id)
        at.delete("kept/a")
        assert at.head("kept/a") is None
        assert at.get_version(version) == b"precious"


def test_versions_and_the_way_back(server: servers.S3Server, bucket: str) -> None:
    at = made(server, bucket)
    for number in range(5):
        at.create(f"kept/{number}", b"right %d" % number)
    at.delete("kept/1")
    at.delete("kept/1")
    client = server.client()
    root = at.name.removeprefix(f"s3://{bucket}/")
    client.put_object(Bucket=bucket, Key=f"{root}/kept/3", Body=b"wrong")
    found = {key: list(group) for key, group in itertools.groupby(at.versions("kept/"), key=lambda one: one.key)}
    assert list(found) == [f"kept/{number}" for number in range(5)]
    assert [one.is_marker for one in found["kept/1"]] == [True, True, False]
    assert [at.get_version(one) for one in found["kept/3"]] == [b"wrong", b"right 3"]
    assert all(versions[0].is_newest for versions in found.values())
    for key in ("kept/1", "kept/3"):
        at.bring_back(found[key][-1])
    assert [at.get(f"kept/{number}") for number in range(5)] == [b"right %d" % number for number in range(5)]
    lock = at.locked("kept/1")
    assert lock is not None
    assert lock.until > datetime.now(UTC) + 29 * DAY


def test_more_versions_than_a_page(server: servers.S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of three cut through the versions of a key."""
    at = made(server, bucket, None)
    for number in range(4):
        at.create(f"k/{number}", b"0")
        for turn in range(number):
            at.swap(f"k/{number}", b"%d" % (turn + 1), _version(at, f"k/{number}"))
    at.delete("k/2")
    ask = at._wire.ask
    monkeypatch.setattr(
        at._wire,
        "ask",
        lambda doing, operation, **said: ask(
            doing, operation, **said, **({"MaxKeys": 3} if operation == "list_object_versions" else {})
        ),
    )
    counts = [(key, len(list(group))) for key, group in itertools.groupby(at.versions("k/"), key=lambda one: one.key)]
    assert counts == [("k/0", 1), ("k/1", 2), ("k/2", 4), ("k/3", 4)]


def test_a_bucket_without_object_lock_is_told(server: servers.S3Server) -> None:
    at = made(server, server.new_bucket())
    with pytest.raises(Refused, match="asks for `lock` and the bucket"):
        at.check_lock()


def test_other_stores_cannot() -> None:
    retrying = conftest.through_retrying(memory.MemoryStore())
    assert isinstance(retrying, store.Lockable)
    assert retrying.rule is None
    with pytest.raises(Unsupported):
        retrying.lock("a", datetime.now(UTC))
    assert isinstance(retrying, store.Versioned)
    with pytest.raises(Unsupported):
        list(retrying.versions(""))
