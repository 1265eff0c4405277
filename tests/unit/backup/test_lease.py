"""The lease of a prune lasts as long as the prune, however slow the store is, and not longer than its owner lives."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ddr.backup import layout, leases, prune, verify
from ddr.backup import repository as repositories
from ddr.errors import Refused
from ddr.stores import memory
from tests.unit.backup import house

CALLS = ("get", "head", "list", "create", "swap", "delete")


class Slow:
    """A repository to prune whose every call takes minutes; `meanwhile` is done after each."""

    def __init__(self, folder: Path, minutes: float) -> None:
        self.span = timedelta(minutes=minutes)
        self.now = house.NOW + timedelta(days=30)
        self.began = self.now
        self.inner = memory.MemoryStore()
        self.is_on = False
        self.tried: list[bool] = []
        plain = repositories.create(self.inner, house.OPEN, house.NOW)
        for day in range(6):
            shop = house.small_shop(folder / str(day), seed=day)
            house.backup(plain, {"shop": shop}, lambda day=day: house.NOW + timedelta(days=day))  # type: ignore[misc]
        self.repository = repositories.open_(house.Faulty(self.inner, self._rule, CALLS), house.OPEN)

    def _rule(self, _method: str, key: str, _number: int) -> str:
        if self.is_on:
            self.now += self.span
            if key != layout.LEASE and self.is_held:
                self.tried.append(self._others_wait())
        return ""

    @property
    def is_held(self) -> bool:
        """Whether the prune has begun and not ended: its lease names it."""
        return self.inner.head(layout.LEASE) is not None and b"me (" in self.inner.get(layout.LEASE)

    def _others_wait(self) -> bool:
        try:
            leases.take(memory_copy(self.inner), "other", self.now)
        except Refused:
            return True
        return False

    def moment(self) -> float:
        return (self.now - self.began).total_seconds()

    def prune(self) -> prune.Plan:
        heads = self.repository.heads()[:4]
        made = prune.plan(self.repository, heads, self.now)
        self.began = self.now
        self.is_on = True
        try:
            return prune.apply(self.repository, made, self.now, "me", grace=timedelta(0), mono=self.moment)
        finally:
            self.is_on = False


def memory_copy(of: memory.MemoryStore) -> memory.MemoryStore:
    """With the lease alone."""
    made = memory.MemoryStore()
    made.create(layout.LEASE, of.get(layout.LEASE))
    return made


@pytest.mark.parametrize("minutes", [0.3, 0.6])
def test_nobody_else_prunes_as_long_as_it_works(tmp_path: Path, minutes: float) -> None:
    slow = Slow(tmp_path, minutes)
    done = slow.prune()
    took = slow.now - slow.began
    print(f"{len(slow.tried)} calls in {took}")
    assert took > leases.SPAN
    assert done.bury
    assert slow.tried
    assert all(slow.tried), f"{slow.tried.count(False)} of {len(slow.tried)} calls without a lease"
    assert leases.take(slow.inner, "other", slow.now), "it is given back at once"
    assert verify.verify(repositories.open_(slow.inner, house.OPEN), "full").findings == ()


def test_a_prune_that_slept_and_was_overtaken_stops_before_it_deletes(tmp_path: Path) -> None:
    slow = Slow(tmp_path, 0)
    packs = {entry.key for entry in slow.inner.list(layout.PACKS)}
    now = slow.now
    lease = leases.take(slow.inner, "me", now)
    tenure = leases.Tenure(slow.inner, lease, lambda: now)
    tenure.renew()
    assert tenure.lease == lease, "there is time left: nothing is written"
    now += leases.SPAN * 2
    other = leases.take(slow.inner, "other", now)
    with pytest.raises(Refused, match="other"):
        tenure.renew()
    leases.give_back(slow.inner, other)
    with pytest.raises(Refused, match="taken by somebody else"):
        tenure.renew()
    assert {entry.key for entry in slow.inner.list(layout.PACKS)} == packs
    tenure.end()
    assert leases.take(slow.inner, "third", now).epoch == other.epoch + 1, "what is not one's own is not given back"


def test_a_prune_that_slept_alone_goes_on(tmp_path: Path) -> None:
    slow = Slow(tmp_path, 0)
    now: datetime = slow.now
    tenure = leases.Tenure(slow.inner, leases.take(slow.inner, "me", now), lambda: now)
    now += leases.SPAN * 2
    tenure.renew()
    assert tenure.lease is not None
    assert tenure.lease.until == now + leases.SPAN
