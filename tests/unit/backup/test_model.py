"""Random lives of a repository against a dictionary that says what must come back (T5)."""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import stateful
from hypothesis import strategies as st

from ddr.backup import capture, chunks, keys, packs, prune, verify, writing
from ddr.backup import repository as repositories
from ddr.domain import snapshots
from ddr.errors import Missing, Refused
from ddr.lib import rowbatch
from ddr.ports import restorable, store
from ddr.stores import memory
from tests.unit.backup import house

PATHS = ("a", "b/c", "b/d", "b/h/i", "e/f/g", "b-", "b.x")
SIZES = (0, 1, 40, 3_000, 9_000)
COUNTS: dict[str, int] = {}


@dataclass
class Bucket:
    """Implements FileTree and Capturable: files that are not on this machine. Every write has a new mark."""

    files: dict[str, bytes] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    rows: list[house.Row] = field(default_factory=list)
    stream: bytes = b""

    def entries(self) -> Iterator[restorable.FileSeen]:
        told: set[str] = set()
        for path in sorted(self.files, key=lambda path: path.split("/")):
            parts = path.split("/")
            for count in range(1, len(parts)):
                folder = "/".join(parts[:count])
                if folder not in told:
                    told.add(folder)
                    yield restorable.FileSeen(folder, "folder")
            yield restorable.FileSeen(path, "file", len(self.files[path]), mark=self.marks[path])

    def local(self, seen: restorable.FileSeen) -> Path | None:
        return None

    def read(self, seen: restorable.FileSeen) -> Iterator[bytes]:
        yield self.files[seen.path]

    def capture(self, sink: restorable.Sink) -> None:
        columns = [(column.name, column.family) for column in house.COLUMNS]
        sink.table("rows", house.COLUMNS, rowbatch.Builder(columns).batches([self.rows]))
        sink.stream("stream", [self.stream])
        sink.tree("files", self)

    def world(self) -> house.World:
        files: dict[str, bytes | str | None] = dict(self.files)
        files |= {
            "/".join(path.split("/")[:count]): None for path in self.files for count in range(1, path.count("/") + 1)
        }
        return house.World({"rows": list(self.rows)}, {"stream": self.stream}, files)


class Salts:
    """Random bytes that are the same in the same life, whichever of its threads is faster."""

    def __init__(self) -> None:
        self._sources: dict[threading.Thread, random.Random] = {}
        self._lock = threading.Lock()

    def __call__(self, nbytes: int | None = None) -> bytes:
        thread = threading.current_thread()
        with self._lock:
            if thread not in self._sources:
                role = thread.name.rstrip("0123456789")
                number = sum(known.name.startswith(role) for known in self._sources)
                self._sources[thread] = random.Random(f"{role} {number}")
        return self._sources[thread].randbytes(nbytes or 32)


class Life(stateful.RuleBasedStateMachine):
    """One repository, two writers, a prune; `kept` is what every snapshot must give back."""

    def __init__(self) -> None:
        super().__init__()
        secrets.token_bytes = Salts()  # names depend on them, and what happens on the order of names
        self.place = memory.MemoryStore()
        self.now = house.Clock()
        self.marks = 0
        self.buckets = [Bucket(), Bucket()]
        self.kept: dict[str, house.World] = {}
        self.openings = {"": keys.Opening(passphrase="first")}
        repository = repositories.create(self.place, self.openings[""], self.now())
        ((name, _),) = keys.slots(self.place)
        self.openings = {name: self.openings[""]}
        self.paper = keys.Opening(recovery=repository.ring.paper())

    def opened(self, place: store.Store | None = None) -> repositories.Repository:
        return repositories.open_(place or self.place, self.paper)

    def count(self, what: str) -> None:
        COUNTS[what] = COUNTS.get(what, 0) + 1

    def back_up(self, who: int, place: store.Store | None = None) -> None:
        bucket = self.buckets[who]
        origins = {"one": capture.Origin("one", "bucket", "test", bucket)}
        maker = capture.Maker(f"host-{who}", "tester", "0", self.now)
        made: snapshots.Snapshot = capture.run(self.opened(place), origins, maker, workers=1)
        assert made.status is snapshots.Status.COMPLETE
        self.kept[made.id] = bucket.world()
        self.count("backup")

    @stateful.rule(
        who=st.integers(0, 1), path=st.sampled_from(PATHS), size=st.sampled_from(SIZES), seed=st.integers(0, 3)
    )
    def write(self, who: int, path: str, size: int, seed: int) -> None:
        self.marks += 1
        self.buckets[who].files[path] = random.Random(seed).randbytes(size)
        self.buckets[who].marks[path] = str(self.marks)

    @stateful.rule(who=st.integers(0, 1), data=st.data())
    def remove(self, who: int, data: Any) -> None:
        if self.buckets[who].files:
            del self.buckets[who].files[data.draw(st.sampled_from(sorted(self.buckets[who].files)))]

    @stateful.rule(who=st.integers(0, 1), count=st.integers(0, 30), seed=st.integers(0, 2), size=st.sampled_from(SIZES))
    def change_rows(self, who: int, count: int, seed: int, size: int) -> None:
        self.buckets[who].rows = [(seed * 100 + at, f"row-{at}", at / 4) for at in range(count)]
        self.buckets[who].stream = random.Random(seed).randbytes(size)

    @stateful.rule(who=st.integers(0, 1))
    def backup(self, who: int) -> None:
        self.back_up(who)

    @stateful.rule(number=st.integers(1, 6), inner=st.sampled_from(("writer", "prune", "prune-twice")))
    def backup_with_another_in_between(self, number: int, inner: str) -> None:
        """While writer 0 is at its n-th write, writer 1 makes a whole backup, or somebody prunes."""

        def rule(_method: str, _key: str, count: int) -> str:
            if count == number and inner == "writer":
                self.back_up(1)
            elif count == number:
                for _ in range(2 if inner == "prune-twice" else 1):
                    prune.apply(self.opened(), prune.plan(self.opened(), (), self.now()), self.now(), "inner")
            return ""

        self.back_up(0, house.Faulty(self.place, rule))
        self.count(f"interleaved {inner}")

    @stateful.rule(who=st.integers(0, 1), number=st.integers(1, 6), how=st.sampled_from(("kill-before", "kill-after")))
    def killed(self, who: int, number: int, how: str) -> None:
        before = set(self.kept)
        try:
            self.back_up(who, house.Faulty(self.place, house.at_call(number, how)))
        except house.Killed:
            self.count("killed")
            new = {head.id for head in self.opened().heads()} - before
            assert len(new) <= 1
            self.kept |= {id_: self.buckets[who].world() for id_ in new}

    @stateful.rule(data=st.data(), is_late=st.booleans())
    def prune(self, data: Any, is_late: bool) -> None:
        repository = self.opened()
        given_up = data.draw(st.sampled_from([None, *self.kept]))
        heads = [repository.head(given_up)] if given_up else []
        if is_late:
            self.now.at += timedelta(days=2)
        prune.apply(repository, prune.plan(repository, heads, self.now()), self.now(), "test")
        if given_up:
            del self.kept[given_up]
            with pytest.raises(Missing):
                repository.head(given_up)
        self.count("prune")

    @stateful.precondition(lambda self: self.kept)
    @stateful.rule(data=st.data())
    def restore(self, data: Any) -> None:
        id_ = data.draw(st.sampled_from(list(self.kept)))
        assert house.same(house.restored(self.opened(), id_, "one", None), self.kept[id_])
        self.count("restore")

    @stateful.rule()
    def verify(self) -> None:
        report = verify.verify(self.opened(), "full")
        assert report.findings == (), report
        assert set(report.whole) == set(self.kept), report
        self.count("verify")

    @stateful.rule(passphrase=st.sampled_from(("x", "first", "größe", " ")))
    def add_key(self, passphrase: str) -> None:
        if len(self.openings) < 4:
            opening = keys.Opening(passphrase=passphrase)
            self.openings[keys.add(self.place, self.opened().ring, opening, self.now())] = opening

    @stateful.rule(data=st.data())
    def remove_key(self, data: Any) -> None:
        name = data.draw(st.sampled_from(list(self.openings)))
        if len(self.openings) == 1:
            with pytest.raises(Refused):
                keys.remove(self.place, name)
            return
        keys.remove(self.place, name)
        gone = self.openings.pop(name)
        if gone.passphrase not in {left.passphrase for left in self.openings.values()}:
            with pytest.raises(Refused):
                repositories.open_(self.place, gone)

    @stateful.invariant()
    def every_key_opens(self) -> None:
        assert {name for name, _ in keys.slots(self.place)} == set(self.openings)
        assert {head.id for head in self.opened().heads()} == set(self.kept)

    def teardown(self) -> None:
        self.verify()
        for opening in self.openings.values():
            assert repositories.open_(self.place, opening)
        for id_, world in self.kept.items():
            assert house.same(house.restored(self.opened(), id_, "one", None), world)


@pytest.mark.parametrize(
    ("examples", "steps"), [(60, 30), pytest.param(400, 60, marks=[pytest.mark.long, pytest.mark.timeout(3000)])]
)
def test_whatever_happens_every_snapshot_gives_back_what_it_took(
    examples: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_SCRYPT", {"n": 1 << 4, "r": 1, "p": 1})
    monkeypatch.setattr(packs, "FULL", 4_000)
    monkeypatch.setattr(packs, "ROOM", 1 << 16)
    monkeypatch.setattr(chunks, "_BUFFER", 1 << 14)
    monkeypatch.setattr(writing, "_INDEXED_EVERY", 2)
    monkeypatch.setattr(writing, "_UPLOADS", 1)  # of several at once the n-th write is now this one, now that one
    monkeypatch.setattr(secrets, "token_bytes", secrets.token_bytes)  # put back at the end
    COUNTS.clear()
    stateful.run_state_machine_as_test(
        Life,
        settings=hypothesis.settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=examples < 100,
            suppress_health_check=list(hypothesis.HealthCheck), database=None,
        ),
    )  # fmt: skip
    print(dict(sorted(COUNTS.items())))
    assert COUNTS["backup"] > examples
