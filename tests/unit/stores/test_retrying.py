"""Only Unavailable is tried again, with longer and longer pauses, and not for ever."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ddr.errors import Conflict, Damaged, InputError, Missing, Refused, Unavailable
from ddr.lib import clock
from ddr.ports import store
from ddr.stores import memory, retrying

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


class Watch(clock.ManualClock):
    """Remembers how long it was slept on."""

    def __init__(self) -> None:
        super().__init__(NOON)
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        super().sleep(seconds)


class Troubled(memory.MemoryStore):
    """Raises what it is given, call by call, before it does its work."""

    def __init__(self, *troubles: Exception | None) -> None:
        super().__init__()
        self.troubles = list(troubles)
        self.calls = 0
        self.listed_before_trouble = 0

    def _meet(self) -> None:
        self.calls += 1
        trouble = self.troubles.pop(0) if self.troubles else None
        if trouble:
            raise trouble

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        self._meet()
        return super().get(key, start, size)

    def head(self, key: str) -> store.Entry | None:
        self._meet()
        return super().head(key)

    def create(self, key: str, content: bytes) -> store.Entry:
        self._meet()
        return super().create(key, content)

    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        self._meet()
        return super().swap(key, content, expect)

    def delete(self, key: str) -> None:
        self._meet()
        super().delete(key)

    def list(self, prefix: str, after: str = "") -> Iterator[store.Entry]:
        found = super().list(prefix, after)
        for number, entry in enumerate(found):
            if number == self.listed_before_trouble:
                self._meet()
            yield entry


def away(count: int) -> list[Exception | None]:
    return [Unavailable(f"away {number}", hint="wait") for number in range(count)]


def wrapped(inner: store.Store, watch: Watch, **options: Any) -> retrying.Retrying:
    return retrying.Retrying(inner, watch, random.Random(1), **options)


def test_every_operation_is_tried_again() -> None:
    inner, watch = Troubled(), Watch()
    tried = wrapped(inner, watch)
    for use in (
        lambda: tried.create("k", b"1"),
        lambda: tried.get("k"),
        lambda: tried.head("k"),
        lambda: tried.swap("k", b"2", "1"),
        lambda: list(tried.list("")),
        lambda: tried.delete("k"),
    ):
        inner.troubles, inner.calls = away(3), 0
        use()
        assert inner.calls == 4
    assert len(watch.pauses) == 18


@pytest.mark.parametrize(
    "problem",
    [
        Missing("m"),
        Conflict("c"),
        store.Exists("e"),
        Refused("r"),
        Damaged("d"),
        InputError("i"),
        store.Unusable("u"),
        ValueError("v"),
    ],
    ids=lambda problem: type(problem).__name__,
)
def test_nothing_else_is(problem: Exception) -> None:
    inner, watch = Troubled(problem), Watch()
    with pytest.raises(type(problem)) as caught:
        wrapped(inner, watch).create("k", b"1")
    assert caught.value is problem
    assert (inner.calls, watch.pauses) == (1, [])
    inner.troubles = [*away(1), problem]
    with pytest.raises(type(problem)):
        wrapped(inner, watch).get("k")
    assert len(watch.pauses) == 1


def test_the_deadline_holds_for_all_tries_together() -> None:
    for seed in range(200):
        inner, watch = Troubled(*away(1_000)), Watch()
        tried = retrying.Retrying(inner, watch, random.Random(seed), deadline_s=20)
        with pytest.raises(Unavailable, match=r"away \d+ \(tried \d+ times in \d+\.\d s\)") as caught:
            tried.get("k")
        assert caught.value.hint == "wait"
        assert isinstance(caught.value.__cause__, Unavailable)
        assert watch.now() - NOON <= timedelta(seconds=20)
        assert sum(watch.pauses) > 10, "gave up early"
        assert inner.calls == len(watch.pauses) + 1


def test_pauses_double_up_to_the_longest_and_are_spread() -> None:
    most = [0.0] * 9
    least = [9.0] * 9
    for seed in range(400):
        watch = Watch()
        tried = retrying.Retrying(
            Troubled(*away(9)), watch, random.Random(seed), first_s=0.1, longest_s=2, deadline_s=1e6
        )
        with pytest.raises(Missing):
            tried.get("k")
        most = list(map(max, most, watch.pauses))
        least = list(map(min, least, watch.pauses))
    for number, (low, high) in enumerate(zip(least, most, strict=True)):
        bound = min(2.0, 0.1 * 2**number)
        assert high <= bound
        assert high > 0.97 * bound, "the pauses do not reach their bound"
        assert low < 0.03 * bound, "the pauses are not spread down to nothing"


def test_a_clock_that_is_set_back_does_not_prolong_it() -> None:
    class SetBack(Watch):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds - 3600)

    watch = SetBack()
    with pytest.raises(Unavailable):
        retrying.Retrying(Troubled(*away(10_000)), watch, random.Random(1), deadline_s=20).get("k")
    assert len(watch.pauses) < 100


def test_a_listing_goes_on_where_it_broke_off() -> None:
    inner, watch = Troubled(), Watch()
    expected = [f"k{number:02d}" for number in range(20)]
    for key in expected:
        inner.create(key, b"")
    inner.troubles, inner.listed_before_trouble = away(4), 3
    assert [entry.key for entry in wrapped(inner, watch).list("k")] == expected
    assert len(watch.pauses) == 4
    inner.troubles, inner.listed_before_trouble = away(1_000), 0
    with pytest.raises(Unavailable, match="tried"):
        list(wrapped(inner, watch, deadline_s=1).list("k"))


def test_a_listing_is_checked_before_it_is_begun() -> None:
    with pytest.raises(InputError):
        retrying.Retrying(memory.MemoryStore(), Watch(), random.Random(1)).list("a//b")


def test_where_nobody_listens_it_is_given_up_soon_and_told() -> None:
    refused = [store.Unreached("refused", hint="is it up?") for _ in range(500)]
    watch, told = Watch(), list[str]()
    made = retrying.Retrying(
        Troubled(*refused), watch, random.Random(1), deadline_s=120.0, reach_s=8.0, told=told.append
    )
    with pytest.raises(Unavailable, match="tried"):
        made.get("a")
    assert sum(watch.pauses) <= 8.0
    assert told == ["refused; trying again for 8 s"]


def test_a_store_that_was_there_before_gets_its_whole_time() -> None:
    troubles: list[Exception | None] = [None, *(store.Unreached("refused") for _ in range(500))]
    watch = Watch()
    made = retrying.Retrying(Troubled(*troubles), watch, random.Random(1), deadline_s=120.0, reach_s=8.0)
    assert made.head("a") is None
    with pytest.raises(Unavailable):
        made.head("a")
    assert sum(watch.pauses) > 60.0
