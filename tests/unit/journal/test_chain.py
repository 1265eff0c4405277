"""Appending and reading: one chain, whoever writes, however many at once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from ddr.domain import records
from ddr.errors import Conflict
from ddr.journal import layout, verify
from ddr.ports import journal, store
from ddr.stores import local
from tests.unit.journal import places, samples
from tests.unit.journal.conftest import made


def test_every_kind_is_written_and_read_back_in_order(place: places.Place) -> None:
    log = place.open()
    written = [log.append(record) for record in samples.RECORDS]
    assert list(log.events()) == written
    assert list(place.open().events()) == written
    assert [event.record for event in written] == list(samples.RECORDS)
    assert [event.seq for event in written] == list(range(1, len(samples.RECORDS) + 1))
    assert not any(event.is_spooled for event in written)
    assert place.warnings == []


def test_a_digest_is_that_of_the_stored_bytes(place: places.Place) -> None:
    place.fill(5)
    before = ""
    for event in place.open().events():
        raw = place.raw(event.seq)
        assert event.digest == "sha256:" + hashlib.sha256(raw).hexdigest()
        assert event.previous == before
        before = event.digest
    assert place.open().head() == layout.Head(5, before)


def test_reading_goes_on_behind_a_number(place: places.Place) -> None:
    place.fill(7)
    log = place.open()
    for after in range(10):
        assert places.numbers(log, after) == list(range(after + 1, 8))
        assert places.numbers(place.open(), after) == list(range(after + 1, 8))
    place.open("ben").append(places.note(8))
    assert places.numbers(log, 7) == [8]
    assert places.numbers(log) == list(range(1, 9))


def test_an_empty_journal_is_read(place: places.Place) -> None:
    assert list(place.open().events()) == []
    assert place.open().head() == layout.NOTHING
    assert verify.verify(place.open()) == verify.Report(0, 0, "", 0)
    assert place.open().sync() == 0


def test_the_clocks_and_the_writer_are_in_the_envelope(place: places.Place) -> None:
    place.later(3600)
    event = place.open("ana").append(places.note(1))
    assert event.at == event.wall == samples.AT + places.HOUR
    assert (event.mono_s, event.actor, event.host) == (4600.0, "ana", "laptop")


def test_a_taken_place_is_not_overwritten(place: places.Place) -> None:
    """Two writers know the same end; the second finds the place taken and goes behind."""
    first, second = place.open("ana"), place.open("ben")
    first.append(places.note(1))
    assert second.head().seq == 1
    first.append(places.note(2))
    with pytest.raises(store.Exists):
        place.store.create(layout.event_key(2), b"mine")
    event = second.append(places.note(3))
    assert (event.seq, event.actor) == (3, "ben")
    assert places.numbers(first) == [1, 2, 3]
    assert issubclass(store.Exists, Conflict)


@pytest.mark.parametrize("kind", ["memory", "local", "moto"])
@pytest.mark.parametrize("machines", [1, 4])
def test_threads_write_one_chain(kind: str, machines: int, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Eight writers, each with a Log of its own, on one machine (one spool) or on four."""
    target = made(kind, request, tmp_path)
    writers, each = 8, 3 if kind == "moto" else 25
    spots = [places.Place(target, tmp_path / str(number)) for number in range(machines)]
    _race([spots[number % machines].open(f"w{number}") for number in range(writers)], each)
    _expect_all(spots[0], writers, each)
    print(f"{kind}: {writers} threads on {machines} machines x {each} events: all there, one chain")


def test_one_log_may_be_used_by_many_threads(place: places.Place) -> None:
    log = place.open()
    writers, each = 4, 10
    _race([log] * writers, each)
    events = list(place.open().events())
    assert len(events) == writers * each
    assert not verify.verify(log).is_broken


def _race(logs: Sequence[journal.Journal], each: int) -> None:
    barrier = threading.Barrier(len(logs))
    failed: list[BaseException] = []

    def write(number: int, log: journal.Journal) -> None:
        barrier.wait()
        try:
            for count in range(each):
                log.append(records.IncidentNoted(f"inc-{number}", f"note {count}"))
        except BaseException as problem:
            failed.append(problem)
            raise

    threads = [threading.Thread(target=write, args=(number, log)) for number, log in enumerate(logs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def _expect_all(place: places.Place, writers: int, each: int) -> None:
    events = list(place.open().events())
    assert [event.seq for event in events] == list(range(1, writers * each + 1))
    written = [(event.record.incident, event.record.text) for event in events
               if isinstance(event.record, records.IncidentNoted)]  # fmt: skip
    expected = Counter((f"inc-{writer}", f"note {count}") for writer in range(writers) for count in range(each))
    assert Counter(written) == expected
    for writer in range(writers):
        own = [text for incident, text in written if incident == f"inc-{writer}"]
        assert own == [f"note {count}" for count in range(each)], "each writer's events are in its order"
    report = verify.verify(place.open())
    assert not report.findings
    assert place.spooled() == []


_WRITER = """
import sys
from pathlib import Path
from tests.unit.journal import places
from ddr.domain import records
from ddr.stores import local

folder, spot, number, each, shared = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5] == "1"
target = places.Wrapped(local.LocalStore(folder / "store"), is_shared=shared)
log = places.Place(target, folder / spot).open(f"w{number}")
sys.stdin.readline()
for count in range(each):
    log.append(records.IncidentNoted(f"inc-{number}", f"note {count}"))
"""


@pytest.mark.parametrize("shared", [False, True], ids=["local", "shared"])
def test_processes_write_one_chain(shared: bool, tmp_path: Path) -> None:
    """Real processes. Shared: all of one machine, so each finds the others' events in the spool and joins them too."""
    writers, each = 4, 15
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), "here", str(number), str(each), str(int(shared))],
            stdin=subprocess.PIPE,
        )
        for number in range(writers)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.close()
    assert [process.wait(120) for process in running] == [0] * writers
    target = places.Wrapped(local.LocalStore(tmp_path / "store"), is_shared=shared)
    _expect_all(places.Place(target, tmp_path / "here"), writers, each)
    print(f"{writers} processes x {each} events, shared={shared}: all there, one chain")


_VICTIM = """
import sys
from pathlib import Path
from tests.unit.journal import places
from ddr.stores import local

folder, shared = Path(sys.argv[1]), sys.argv[2] == "1"
log = places.Place(places.Wrapped(local.LocalStore(folder / "store"), is_shared=shared), folder).open()
number = int(sys.argv[3])
while True:
    number += 1
    log.append(places.note(number))
    print(number, flush=True)
"""


@pytest.mark.parametrize("shared", [False, True], ids=["local", "shared"])
def test_what_a_killed_process_was_told_is_kept(shared: bool, tmp_path: Path) -> None:
    """kill -9 in the middle of writing, again and again: whatever `append` returned for is there, once."""
    acknowledged: list[int] = []
    rounds = 6
    for _ in range(rounds):
        process = subprocess.Popen(
            [sys.executable, "-c", _VICTIM, str(tmp_path), str(int(shared)), str(1000 + len(acknowledged) * 7)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(8)]
        process.kill()
        lines += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        acknowledged += [int(line) for line in lines if line.endswith(b"\n")]
    place = places.Place(places.Wrapped(local.LocalStore(tmp_path / "store"), is_shared=shared), tmp_path)
    place.open().sync()
    found = Counter(places.numbers(place.open()))
    assert [number for number in acknowledged if found[number] < 1] == []
    report = verify.verify(place.open())
    assert not report.findings
    ids = Counter(event.id for event in place.open().events())
    assert max(ids.values()) == 1
    print(f"{rounds} kills, {len(acknowledged)} acknowledged events: all there")


def test_a_real_object_store_keeps_one_chain(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """SeaweedFS: conditional creates raced for by three machines."""
    target = made("seaweed", request, tmp_path)
    spots = [places.Place(target, tmp_path / str(number)) for number in range(3)]
    _race([spot.open(f"w{number}") for number, spot in enumerate(spots)], 6)
    _expect_all(spots[0], 3, 6)
    for spot in spots:
        assert places_of(spot) == places_of(spots[0])


def places_of(place: places.Place) -> list[str]:
    return [event.digest for event in place.open().events()]
