"""The process ends at every single step of an append, a sync, a compaction: nothing told is lost, nothing is twice.

Steps are counted, not sampled: first an undisturbed pass counts what is asked of the store and of files, then one pass
for each of them ends there; on the store also behind it, with the effect in place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ddr.errors import Unavailable
from ddr.journal import layout, verify
from ddr.ports import store as stores
from ddr.stores import local, memory
from tests.unit.journal import places
from tests.unit.journal.conftest import made

Work = Callable[[places.Place, list[int]], None]
"""Does something and adds the number of every note that was acknowledged."""


def append(place: places.Place, told: list[int]) -> None:
    log = place.open()
    for number in (10, 11):
        log.append(places.note(number))
        told.append(number)


def append_behind_waiting(place: places.Place, told: list[int]) -> None:
    _wait(place, (5, 6))
    told += [5, 6]
    append(place, told)


def sync(place: places.Place, told: list[int]) -> None:
    _wait(place, (5, 6, 7))
    told += [5, 6, 7]
    place.open().sync()


def compact(place: places.Place, told: list[int]) -> None:
    place.open().compact(keep=5)


def read(place: places.Place, told: list[int]) -> None:
    list(place.open().events())


def _wait(place: places.Place, numbers: tuple[int, ...]) -> None:
    """Some events are in the spool from an outage. (That part is not disturbed.)"""
    target = places.Wrapped(memory.MemoryStore(), is_shared=True, is_away=True)
    log = place.open(through=target)
    for number in numbers:
        log.append(places.note(number))
    place.later(1000)


def expect_whole(place: places.Place, before: list[int], told: list[int]) -> None:
    """Everything told is there, everything is there once, and the journal goes on."""
    place.later(1000)
    place.open().sync()
    place.open().compact(keep=5)
    found = places.numbers(place.open())
    assert [number for number in [*before, *told] if number not in found] == []
    assert max(Counter(found).values()) == 1
    assert found == sorted(found), "one writer, in its order"
    assert set(found) <= {*before, 5, 6, 7, 10, 11}
    assert places.numbers(place.elsewhere("fresh").open()) == found
    report = verify.verify(place.open())
    assert not report.findings
    assert place.spooled() == []
    assert place.open().append(places.note(12)).seq == len(found) + 1
    assert places.numbers(place.open()) == [*found, 12]


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "SEGMENT_SIZE", 5)


def _numbers(work: Work) -> list[int]:
    return list(range(1, 5)) if work is not compact else list(range(-16, 1))


def _prepare(target: stores.Store, folder: Path, work: Work, *, shared: bool) -> tuple[places.Place, places.Wrapped]:
    folder.mkdir()
    wrapped = places.Wrapped(target, is_shared=shared)
    place = places.Place(wrapped, folder)
    log = place.open()
    for number in _numbers(work):
        log.append(places.note(number))
    assert place.warnings == []
    wrapped.calls = 0
    return place, wrapped


@pytest.mark.parametrize("work", [append, append_behind_waiting, sync, compact], ids=lambda work: work.__name__)
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("ends", ["killed", "cut off"])
def test_at_every_request_to_the_store(
    work: Work, *, shared: bool, after_effect: bool, ends: str, tmp_path: Path
) -> None:
    """`killed`: the process ends. `cut off`: the store is Unavailable, its effect unknown, and the process goes on."""
    place, wrapped = _prepare(memory.MemoryStore(), tmp_path / "count", work, shared=shared)
    work(place, [])
    steps = wrapped.calls
    assert steps
    for at in range(1, steps + 1):
        place, wrapped = _prepare(memory.MemoryStore(), tmp_path / str(at), work, shared=shared)
        told: list[int] = []
        wrapped.after_effect = after_effect
        if ends == "killed":
            wrapped.kill_at = at
            with pytest.raises(places.Killed):
                work(place, told)
        else:
            wrapped.fail_at = at
            try:
                work(place, told)
            except Unavailable:
                assert work in (sync, compact)
        wrapped.kill_at = wrapped.fail_at = None
        expect_whole(place, _numbers(work), told)
    print(f"{work.__name__}, shared={shared}, {ends} after_effect={after_effect}: {steps} steps, all whole")


@pytest.mark.parametrize("work", [append, append_behind_waiting, sync, compact, read], ids=lambda work: work.__name__)
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
def test_at_every_change_of_a_file(work: Work, *, shared: bool, tmp_path: Path) -> None:
    """Store, spool and state are all files here."""
    place, _ = _prepare(local.LocalStore(tmp_path / "count/store"), tmp_path / "count", work, shared=shared)
    with places.listening(places.FileTrouble(tmp_path / "count")) as counting:
        work(place, [])
    steps = counting.calls
    assert steps or (work is read and not shared), "reading changes nothing but the copy of a shared journal"
    for at in range(1, steps + 1):
        folder = tmp_path / str(at)
        place, _ = _prepare(local.LocalStore(folder / "store"), folder, work, shared=shared)
        told: list[int] = []
        with places.listening(places.FileTrouble(folder, at)), pytest.raises(places.Killed):
            work(place, told)
        expect_whole(place, _numbers(work), told)
    print(f"{work.__name__}, shared={shared}: {steps} changes of files, all whole")


@pytest.mark.parametrize("work", [append, append_behind_waiting, sync], ids=lambda work: work.__name__)
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_a_disk_that_fills_up_at_any_change_of_a_file(
    work: Work, *, shared: bool, lasting: bool, tmp_path: Path
) -> None:
    """Either the event is told and there, or Unavailable is raised and nothing may be done."""
    place, _ = _prepare(local.LocalStore(tmp_path / "count/store"), tmp_path / "count", work, shared=shared)
    with places.listening(places.FileTrouble(tmp_path / "count")) as counting:
        work(place, [])
    refused = 0
    for at in range(1, counting.calls + 1):
        folder = tmp_path / str(at)
        place, _ = _prepare(local.LocalStore(folder / "store"), folder, work, shared=shared)
        told: list[int] = []
        with places.listening(places.FileTrouble(folder, at, _disk_full, lasting=lasting)):
            try:
                work(place, told)
            except Unavailable:
                refused += 1
        expect_whole(place, _numbers(work), told)
    print(f"{work.__name__}, shared={shared}, lasting={lasting}: {counting.calls} times full, {refused} refused")


@pytest.mark.parametrize("after_effect", [pytest.param(False, marks=pytest.mark.long), True], ids=["before", "behind"])
def test_at_every_request_to_s3(*, after_effect: bool, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    place, wrapped = _prepare(made("moto", request, tmp_path), tmp_path / "count", append_behind_waiting, shared=True)
    append_behind_waiting(place, [])
    for at in range(1, wrapped.calls + 1):
        target = made("moto", request, tmp_path)
        place, broken = _prepare(target, tmp_path / str(at), append_behind_waiting, shared=True)
        told: list[int] = []
        broken.after_effect, broken.kill_at = after_effect, at
        with pytest.raises(places.Killed):
            append_behind_waiting(place, told)
        broken.kill_at = None
        expect_whole(place, _numbers(append), told)
    print(f"S3, after_effect={after_effect}: {wrapped.calls} requests, all whole")


def _disk_full(what: str) -> OSError:
    return OSError(28, "No space left on device", what)
