"""Object Lock on a SeaweedFS that enforces it: what kept snapshots need is locked, a prune waits, an attack is undone.

No test waits for a lock to end: what ends too soon was written under a rule of one day, what is asked for is thirty.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ddr.backup import copying, layout, leases, locks, prune, undeleting, verify
from ddr.backup import repository as repositories
from ddr.stores import s3
from tests import servers
from tests.unit.backup import house, test_keeping

DAY = timedelta(days=1)
_numbers = itertools.count()


@pytest.fixture(scope="session")
def lock_bucket(seaweed_server: servers.S3Server) -> str:
    """One for all: SeaweedFS needs seconds to grow volumes for a new bucket."""
    name = f"ddr-{secrets.token_hex(6)}"
    seaweed_server.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


class Place:
    """One prefix, opened with this rule or that; `days` 0 is none."""

    def __init__(self, server: servers.S3Server, bucket: str) -> None:
        self.server, self.bucket, self.prefix = server, bucket, f"case-{next(_numbers)}"

    def store(self, days: int) -> s3.S3Store:
        rule = locks.rule("compliance", days) if days else None
        at = self.server
        return s3.S3Store(self.bucket, self.prefix, at.endpoint, None, at.key, at.secret, lock=rule)

    def repository(self, days: int) -> repositories.Repository:
        at = self.store(days)
        if repositories.exists(at):
            return repositories.open_(at, house.OPEN)
        return repositories.create(at, house.OPEN, datetime.now(UTC))


@pytest.fixture
def place(seaweed_server: servers.S3Server, lock_bucket: str) -> Place:
    return Place(seaweed_server, lock_bucket)


def _backup(repository: repositories.Repository, shop: house.Shop, at: datetime | None = None) -> repositories.Head:
    made = house.backup(repository, {"shop": shop}, lambda: at or datetime.now(UTC))
    return repository.head(made.id)


def _keep(repository: repositories.Repository, rows: int, at: datetime | None = None) -> repositories.Head:
    """A kept state of a plane."""
    made = test_keeping.shelf(repository, lambda: at or datetime.now(UTC)).keep(
        "features/pixels", test_keeping.put(rows)
    )
    (head,) = [head for head in repository.heads(layout.KEPT) if head.id == made.name]
    return head


def _until(repository: repositories.Repository, key: str) -> datetime:
    found = locks.of(repository.store)
    lock = found.locked(key) if found else None
    return lock.until if lock else datetime.min.replace(tzinfo=UTC)


def _keys(repository: repositories.Repository, *kinds: str) -> Sequence[str]:
    return [entry.key for kind in kinds for entry in repository.store.list(kind)]


def test_what_is_written_once_is_locked_and_what_works_is_not(place: Place, tmp_path: Path) -> None:
    repository, now = place.repository(30), datetime.now(UTC)
    head = _backup(repository, house.small_shop(tmp_path / "shop"))
    state = _keep(repository, 40)
    kinds = (layout.CONFIG, layout.KEYS, layout.PACKS, layout.INDEX, layout.KEPT, layout.SNAPSHOTS)
    ends = {key: _until(repository, key) for key in _keys(repository, *kinds)}
    assert {key.split("/")[1] for key in ends} == {"config", "keys", "packs", "index", "snapshots", "kept"}
    assert abs(ends[state.key] - now - 30 * DAY) < timedelta(minutes=2)
    del ends[state.key]
    assert min(ends.values()) == ends[head.key], "nothing ends sooner than the snapshot"
    assert abs(ends[head.key] - now - 30 * DAY) < timedelta(minutes=2)
    later = now + timedelta(minutes=5)
    prune.apply(repository, prune.plan(repository, (), later), later, "test")
    assert _until(repository, layout.LEASE).year == 1


def test_old_packs_are_locked_as_long_as_the_newest_snapshot(place: Place, tmp_path: Path) -> None:
    shop = house.small_shop(tmp_path / "shop")
    early = place.repository(1)
    first = _backup(early, shop, datetime.now(UTC) - timedelta(minutes=2))
    (shop.root / "new").write_bytes(b"new bytes" * 1000)
    repository = place.repository(30)
    second = _backup(repository, shop)
    promised = _until(repository, second.key)
    keys, problems = locks.needed(repository, [first, second])
    assert problems == ()
    assert {first.key, second.key, layout.CONFIG} <= keys
    too_soon = {key for key in keys if _until(repository, key) < promised}
    assert {key.split("/")[1] for key in too_soon} == {"config", "keys", "packs", "index", "snapshots"}
    alone = keys - locks.needed(repository, [second])[0]
    looked = locks.keep(repository, [first, second], datetime.now(UTC), only_look=True)
    assert (looked.holds, looked.extended) == (False, 0)

    told: list[int] = []
    found = locks.keep(repository, [second], datetime.now(UTC))
    assert found.extended == len(too_soon - alone)
    assert all(_until(repository, key) < promised for key in alone), "what no kept snapshot needs is left alone"
    found = locks.keep(repository, [first, second], datetime.now(UTC), lambda _what, done, _of: told.append(done))
    assert (found.holds, found.problems, found.extended) == (True, (), len(alone))
    ends = {key: _until(repository, key) for key in keys}
    assert all(end >= promised for end in ends.values()), ends
    assert found.until == min(ends.values())
    assert told == list(range(1, len(keys) + 1))
    again = locks.keep(repository, [first, second], datetime.now(UTC))
    assert (again.extended, again.holds) == (0, True), "what is locked for long enough is left alone"
    report = verify.verify(repository, "structure", now=datetime.now(UTC))
    assert report.findings == ()
    assert report.lock is not None
    assert report.lock.mode == "compliance"


def test_what_kept_states_need_is_locked_as_long_as_the_newest_of_all(place: Place, tmp_path: Path) -> None:
    """One that reuses old packs is worth what their locks are; verify sees it, and a prune leaves what is locked."""
    early, ago = place.repository(1), datetime.now(UTC) - timedelta(minutes=3)
    old = _keep(early, 300, ago)
    _backup(early, house.small_shop(tmp_path / "shop"), ago + timedelta(minutes=1))
    repository = place.repository(30)
    state = _keep(repository, 300)
    promised = _until(repository, state.key)
    reused = locks.needed(repository, [state])[0] & locks.needed(repository, [old])[0]
    assert any(key.startswith(layout.PACKS) for key in reused)
    (finding,) = verify.verify(repository, "structure", now=datetime.now(UTC)).findings
    assert (finding.object, "features/pixels" in finding.what) == (state.key, True)
    kept = [*repository.heads(), old, state]
    assert locks.keep(repository, kept, datetime.now(UTC)).holds
    assert all(_until(repository, key) >= promised for key in locks.needed(repository, kept)[0])
    assert verify.verify(repository, "structure", now=datetime.now(UTC)).findings == ()

    now = datetime.now(UTC)
    plan = prune.plan(repository, [old], now)
    assert ([one.key for one in plan.held], plan.forget) == ([old.key], ())
    done = prune.apply(repository, plan, now, "test")
    assert [one.key for one in done.held] == [old.key]
    assert len(repository.heads(layout.KEPT)) == 2


def test_a_copy_is_locked_as_long_as_a_kept_state_that_is_newer_than_every_snapshot(
    place: Place, seaweed_server: servers.S3Server, lock_bucket: str, tmp_path: Path
) -> None:
    source, ago = place.repository(0), datetime.now(UTC) - timedelta(minutes=3)
    _keep(source, 300, ago)
    _backup(source, house.small_shop(tmp_path / "shop"), ago + timedelta(minutes=1))
    second = Place(seaweed_server, lock_bucket)
    copying.copy(source.store, second.store(1))
    state = _keep(source, 300)
    copying.copy(source.store, vault := second.store(30))
    assert locks.keep_copied(vault, copying.keys(source.store), datetime.now(UTC)).holds
    there = second.repository(30)
    promised = _until(there, state.key)
    assert promised > datetime.now(UTC) + 29 * DAY
    assert all(_until(there, key) >= promised for key in locks.needed(there, [state])[0])


def test_a_prune_waits_for_locks_and_goes_on_with_the_rest(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = _backup(place.repository(0), house.small_shop(tmp_path / "a", 10), datetime.now(UTC) - 3 * DAY)
    repository = place.repository(30)
    held = _backup(repository, house.small_shop(tmp_path / "b", 20), datetime.now(UTC) - 2 * DAY)
    last = _backup(repository, house.small_shop(tmp_path / "c", 30), datetime.now(UTC) - DAY)
    now = datetime.now(UTC)
    plan = prune.plan(repository, [free, held], now)
    assert [head.id for head in plan.forget] == [free.id]
    assert [(one.key, one.until) for one in plan.held] == [(held.key, _until(repository, held.key))]
    done = prune.apply(repository, plan, now, "test", grace=timedelta(0))
    assert done.held == plan.held
    assert [head.id for head in repository.heads()] == [held.id, last.id]

    # A pack of nobody that is locked: it waits under its tombstone, what is free goes.
    before = set(_keys(repository, layout.PACKS))
    keys, _ = locks.needed(repository, [held, last])
    doomed = sorted(before - keys)
    assert doomed, "what the forgotten snapshot alone needed"
    place.store(30).lock(doomed[0], now + 2 * DAY)
    later = datetime.now(UTC) + timedelta(seconds=1)
    done = prune.apply(repository, prune.plan(repository, (), later), later, "test", grace=timedelta(0))
    assert [one.key for one in done.held] == [doomed[0]]
    assert [layout.pack_key(name) for name in done.delete] == doomed[1:]
    assert set(_keys(repository, layout.PACKS)) == before - set(doomed[1:])
    assert _keys(repository, layout.TOMBSTONES), "it stays on the list"
    monkeypatch.setattr(leases, "check_store_clock", lambda at, now: None)  # the server's own clock stays today
    again = prune.apply(repository, prune.plan(repository, (), later + DAY), later + DAY, "test")
    assert again.bury == ()
    assert [one.key for one in again.held] == [doomed[0]]
    gone = prune.plan(repository, (), later + 3 * DAY)
    assert [layout.pack_key(name) for name in gone.delete] == [doomed[0]], "and goes when its lock has ended"
    assert verify.verify(repository, "full").findings == ()


def test_who_has_the_writers_keys_hides_everything_and_destroys_nothing(place: Place, tmp_path: Path) -> None:
    shop = house.small_shop(tmp_path / "shop")
    repository = place.repository(30)
    _backup(repository, shop, datetime.now(UTC) - timedelta(minutes=2))
    before = datetime.now(UTC) - timedelta(seconds=2)
    client, at = place.server.client(), place.store(30)
    keys = [entry.key for entry in at.list(layout.ROOT)]
    packs = _keys(repository, layout.PACKS)
    for key in keys:
        where = {"Bucket": place.bucket, "Key": f"{place.prefix}/{key}"}
        for version in list(at.versions(key)):
            with pytest.raises(Exception, match="AccessDenied"):
                client.delete_object(**where, VersionId=version.id)
        client.put_object(**where, Body=b"pay us") if key == packs[0] else client.delete_object(**where)
    assert not repositories.exists(at)
    hidden_at = undeleting.begun_before(at)
    assert hidden_at is not None
    assert hidden_at > before
    where = {"Bucket": place.bucket, "Key": f"{place.prefix}/{layout.CONFIG}"}
    client.put_object(**where, Body=b"{}")  # as whoever begins anew would
    assert undeleting.look(at, datetime.now(UTC) + DAY) == ()
    lost = undeleting.look(at, before)
    assert {one.key for one in lost} == set(keys)
    assert {one.key for one in lost if one.how == "overwritten"} == {packs[0], layout.CONFIG}
    assert all(one.found for one in lost)
    assert undeleting.bring_back(at, lost) == ()
    assert undeleting.look(at) == ()
    assert undeleting.begun_before(at) is None
    opened = place.repository(30)
    assert verify.verify(opened, "full", now=datetime.now(UTC)).findings == ()
    assert house.same(house.restored(opened, "latest", "shop", tmp_path / "back"), shop.world())


def test_a_copy_is_locked_without_a_key(
    place: Place, seaweed_server: servers.S3Server, lock_bucket: str, tmp_path: Path
) -> None:
    source = place.repository(0)
    _backup(source, house.small_shop(tmp_path / "shop"), datetime.now(UTC) - timedelta(minutes=2))
    second = Place(seaweed_server, lock_bucket)
    vault = second.store(30)
    copying.copy(source.store, vault)
    found = locks.keep_copied(vault, copying.keys(source.store), datetime.now(UTC))
    assert found.holds
    assert found.extended == 0
    longer = locks.keep_copied(second.store(60), copying.keys(source.store), datetime.now(UTC))
    assert longer.holds
    assert verify.verify(second.repository(30), "full", now=datetime.now(UTC)).findings == ()


def test_a_snapshot_that_is_not_locked_is_a_finding(place: Place, tmp_path: Path) -> None:
    _backup(place.repository(0), house.small_shop(tmp_path / "shop"))
    repository = place.repository(30)
    (finding,) = verify.verify(repository, "structure", now=datetime.now(UTC)).findings
    assert "are not locked" in finding.what
    assert "ddr backup lock" in finding.next_move
    locks.keep(repository, repository.heads(), datetime.now(UTC))
    assert verify.verify(repository, "structure", now=datetime.now(UTC)).findings == ()
