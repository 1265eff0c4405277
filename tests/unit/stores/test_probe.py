"""The probe believes stores that keep their word, and finds out every way not to."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddr.errors import Conflict, Unavailable, Unsupported
from ddr.ports import store
from ddr.stores import dry_run, local, memory, probe, s3
from tests import servers
from tests.unit.stores import conftest


def test_an_honest_store_is_believed_and_left_clean(plain: store.Store) -> None:
    kept = plain.create("mine", b"mine")
    # SeaweedFS makes writers of one key wait a second for each other.
    verdict = probe.probe(plain, rounds=1 if plain.is_shared else 3)
    assert verdict == probe.Verdict(plain.name, honest=True, findings=(), unanswered=False)
    assert list(plain.list("")) == [kept]


def test_rclone_is_found_out(rclone_server: servers.S3Server) -> None:
    bucket = rclone_server.new_bucket()
    tried = conftest.s3_store(rclone_server, bucket, "team")
    verdict = probe.probe(tried)
    print("\n".join(verdict.findings))
    assert not verdict.honest
    assert not verdict.unanswered
    text = "\n".join(verdict.findings)
    assert "a create of a key that exists was accepted and overwrote what was there" in text
    assert "a swap that expected an old version was accepted" in text
    assert "raced to create one key, 3 times: one must win, 8, 8, 8 were told" in text
    assert "so of two writers at once one would overwrite the other's record and neither would be told" in text
    assert "take one that keeps conditional writes (AWS S3" in text
    # After a race rclone now and then goes on listing a key that it cannot delete; then the probe says so.
    left = rclone_server.client().list_objects_v2(Bucket=bucket).get("Contents", [])
    assert not left or "keys may be left under probe/" in text


class IgnoresCreate(memory.MemoryStore):
    def create(self, key: str, content: bytes) -> store.Entry:
        found = self.head(key)
        return self.swap(key, content, found.version) if found else super().create(key, content)


class DropsCreate(memory.MemoryStore):
    def create(self, key: str, content: bytes) -> store.Entry:
        return self.head(key) or super().create(key, content)


class IgnoresSwap(memory.MemoryStore):
    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        found = self.head(key)
        return super().swap(key, content, found.version) if found else super().create(key, content)


class SwapsWhatIsNotThere(memory.MemoryStore):
    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        return super().swap(key, content, expect) if self.head(key) else super().create(key, content)


class LooksThenCreates(memory.MemoryStore):
    """Right as long as one writes at a time: looks first and writes then, as many adapters do."""

    def __init__(self) -> None:
        super().__init__()
        self.meeting = threading.Barrier(2)

    def _late(self) -> None:
        try:
            self.meeting.wait(0.05)
        except threading.BrokenBarrierError:
            self.meeting.reset()

    def create(self, key: str, content: bytes) -> store.Entry:
        if self.head(key):
            return super().create(key, content)
        if "race" in key:
            self._late()
        found = self.head(key)
        return self.swap(key, content, found.version) if found else super().create(key, content)


class LooksThenSwaps(LooksThenCreates):
    def create(self, key: str, content: bytes) -> store.Entry:
        return memory.MemoryStore.create(self, key, content)

    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        found = self.head(key)
        if not found or found.version != expect:
            return super().swap(key, content, expect)
        if "race" in key:
            self._late()
        while True:
            found = self.head(key)
            assert found
            try:
                return super().swap(key, content, found.version)
            except Conflict:
                continue


class OneVersion(memory.MemoryStore):
    def create(self, key: str, content: bytes) -> store.Entry:
        return dataclasses.replace(super().create(key, content), version="v")

    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        found = self.head(key)
        return dataclasses.replace(super().swap(key, content, found.version if found else expect), version="v")


class ForgetsTheRange(memory.MemoryStore):
    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        return super().get(key)


class CutsShort(memory.MemoryStore):
    def create(self, key: str, content: bytes) -> store.Entry:
        return super().create(key, content[:4096])


class InventsKeys(memory.MemoryStore):
    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        return super().get(key, start, size) if self.head(key) else b""


class ListsLate(memory.MemoryStore):
    def list(self, prefix: str, after: str = "") -> Iterator[store.Entry]:
        return iter(list(super().list(prefix, after))[:-1])


class ListsFolderByFolder(memory.MemoryStore):
    def list(self, prefix: str, after: str = "") -> Iterator[store.Entry]:
        return iter(sorted(super().list(prefix, after), key=lambda entry: entry.key.split("/")))


class SkipsBehindMarkers(memory.MemoryStore):
    def list(self, prefix: str, after: str = "") -> Iterator[store.Entry]:
        return (entry for entry in super().list(prefix, after) if entry.key.split("/") > after.split("/"))


class KeepsTheDeleted(memory.MemoryStore):
    def delete(self, key: str) -> None:
        if "/delete" not in key:
            super().delete(key)


class DoesNotKnowConditions(memory.MemoryStore):
    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        raise Unsupported("501 NotImplemented")


LIES: list[tuple[type[memory.MemoryStore], str, bool]] = [
    (IgnoresCreate, "overwrote what was there", True),
    (DropsCreate, "without a word", True),
    (IgnoresSwap, "expected an old version was accepted", True),
    (SwapsWhatIsNotThere, "key that is not there was accepted", True),
    (LooksThenCreates, "raced to create one key", True),
    (LooksThenSwaps, "raced to swap one version", True),
    (OneVersion, "left the version as it was", True),
    (DoesNotKnowConditions, "cannot do without conditional writes", True),
    (ForgetsTheRange, "not the part that was asked for", False),
    (CutsShort, "not what was written", False),
    (InventsKeys, "never written can be read", False),
    (ListsLate, "lacks keys or order", False),
    (ListsFolderByFolder, "lacks keys or order", False),
    (SkipsBehindMarkers, "from the middle leaves keys out", False),
    (KeepsTheDeleted, "deleted is still there", False),
]


@pytest.mark.parametrize(("kind", "finding", "is_condition"), LIES, ids=lambda value: getattr(value, "__name__", ""))
def test_each_lie_is_found_out(kind: type[memory.MemoryStore], finding: str, is_condition: bool) -> None:
    verdict = probe.probe(kind())
    assert not verdict.honest
    assert not verdict.unanswered
    assert any(finding in each for each in verdict.findings), verdict.findings
    assert any("do not share this store" in each for each in verdict.findings) == is_condition


class StopsInTheMiddle(memory.MemoryStore):
    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls

    def create(self, key: str, content: bytes) -> store.Entry:
        self.calls -= 1
        if self.calls < 0:
            raise Unavailable("gone", hint="wait")
        return super().create(key, content)


def test_a_store_that_goes_away_in_the_middle_is_not_judged() -> None:
    judged = 0
    for calls in range(200):
        tried = StopsInTheMiddle(calls)
        verdict = probe.probe(tried, rounds=1)
        if verdict.honest:
            break
        # A race in which somebody was told that they won, and the others nothing, is no finding.
        assert verdict == probe.Verdict("memory:", honest=False, findings=("gone (wait)",), unanswered=True), calls
        assert list(tried.list("")) == []
        judged += 1
    assert judged > 10
    print(f"gone after 0..{judged - 1} creates: never judged")


def test_no_answer_is_no_verdict(tmp_path: Path) -> None:
    (port,) = servers.free_ports(1)
    nobody = s3.S3Store("bucket", "", f"http://127.0.0.1:{port}", None, "key", "secret", attempts=1)
    for tried in (nobody, local.LocalStore(tmp_path / "not-mounted" / "store")):
        verdict = probe.probe(tried)
        assert (verdict.honest, verdict.unanswered) == (False, True)
        (finding,) = verdict.findings
        assert tried.name in finding


def test_a_store_that_refuses_writes_is_a_finding() -> None:
    verdict = probe.probe(dry_run.DryRun(memory.MemoryStore()))
    assert not verdict.honest
    assert not verdict.unanswered


def test_keys_that_cannot_be_taken_away_are_named() -> None:
    class Keeps(memory.MemoryStore):
        def delete(self, key: str) -> None:
            if self.head(key) and "/read" in key:
                raise Unavailable("object lock")
            super().delete(key)

    verdict = probe.probe(Keeps())
    assert verdict.honest
    (finding,) = verdict.findings
    assert "keys may be left under probe/" in finding
