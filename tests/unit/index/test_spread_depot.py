"""Machines that share nothing but a bucket: one makes the parts, another merges them, and the bucket fails on them."""

from __future__ import annotations

import dataclasses
import functools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddr.domain import indexes
from ddr.errors import Damaged, Missing, Unavailable
from ddr.index import build, child, codec, stages, worker
from ddr.index import work as works
from ddr.index.engines import picking
from ddr.lib import clock as clocks
from ddr.ports import store
from ddr.stores import memory, retrying, s3
from ddr.wiring import index_settings
from ddr.wiring import indexes as wirings
from tests import servers
from tests.unit.index import builds
from tests.unit.stores import conftest as stores

KINDS = [indexes.Kind.IVF_FLAT, indexes.Kind.IVF_PQ, indexes.Kind.HNSW]


class Flaky:
    """A store that is away for some of its calls: before they have an effect, or after."""

    def __init__(self, inner: store.Store, share: float, seed: int) -> None:
        self._inner, self._share, self._random = inner, share, random.Random(seed)
        self.name, self.is_shared, self.failed = inner.name, inner.is_shared, 0

    def _may(self) -> None:
        if self._random.random() < self._share:
            self.failed += 1
            raise Unavailable("500 Internal Server Error", hint="later")

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        self._may()
        return self._inner.get(key, start, size)

    def head(self, key: str) -> store.Entry | None:
        self._may()
        return self._inner.head(key)

    def list(self, prefix: str, after: str = "") -> Iterator[store.Entry]:
        self._may()
        return self._inner.list(prefix, after)

    def create(self, key: str, content: bytes) -> store.Entry:
        self._may()
        made = self._inner.create(key, content)
        self._may()
        return made

    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        self._may()
        made = self._inner.swap(key, content, expect)
        self._may()
        return made

    def delete(self, key: str) -> None:
        self._may()
        self._inner.delete(key)


@pytest.fixture
def bucket(moto_server: servers.S3Server) -> s3.S3Store:
    return s3.S3Store(
        bucket=moto_server.new_bucket(),
        prefix="small",
        endpoint=moto_server.endpoint,
        region="us-east-1",
        access_key=moto_server.key,
        secret_key=moto_server.secret,
    )


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a child would look at is looked at here: it is the depot that is tried."""
    monkeypatch.setattr(child, "run", lambda function, question, limits: child.Outcome(function(question)))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    builds.write(tmp_path / "corpus")
    return tmp_path / "corpus"


def machine(
    plan: indexes.Plan, folder: Path, depot: store.Store, calls: list[stages.Progress] | None = None
) -> stages.Bench:
    """With a disk of its own."""
    report = builds.silent if calls is None else calls.append
    work = works.opened(folder, plan, depot)
    return stages.Bench(work, builds.sources(), picking.engine_of(plan.engine, plan.device), 1, report)


def _alone(plan: indexes.Plan, folder: Path) -> dict[str, str]:
    return builds.digests(build.build(builds.bench(plan, folder)))


def _made(calls: list[stages.Progress]) -> set[str]:
    return {one.stage for one in calls if not one.is_kept and one.stage.startswith("part-")}


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_one_machine_are_merged_by_another(kind: indexes.Kind, corpus: Path, bucket: s3.S3Store) -> None:
    plan = builds.plan(builds.wanted(corpus, kind, recall=0.5))
    first = machine(plan, corpus / "a", bucket)
    build.prepare(first)
    for one in plan.parts:
        worker.part(machine(plan, corpus / f"b{one.number % 2}", bucket), one.number)
    calls: list[stages.Progress] = []
    built = build.build(machine(plan, corpus / "a", bucket, calls))
    assert not _made(calls)
    assert builds.digests(built) == _alone(plan, corpus / "alone")
    # and one that has nothing at all on its disk
    assert builds.digests(build.build(machine(plan, corpus / "c", bucket, calls))) == builds.digests(built)
    assert not _made(calls)


def test_two_machines_make_the_same_part(corpus: Path, bucket: s3.S3Store) -> None:
    plan = builds.plan(builds.wanted(corpus))
    build.prepare(machine(plan, corpus / "a", bucket))
    one, other = machine(plan, corpus / "b", bucket), machine(plan, corpus / "c", bucket)
    first = worker.part(one, 0)
    # the other one began before the first signed: it knows of no receipt
    blind = machine(plan, corpus / "c", Unsigned(bucket))
    assert worker.part(blind, 0) == first
    assert worker.part(other, 0) == first
    assert builds.digests(build.build(machine(plan, corpus / "a", bucket))) == _alone(plan, corpus / "alone")


class Unsigned(Flaky):
    """As it was before the first part was signed."""

    def __init__(self, inner: store.Store) -> None:
        super().__init__(inner, 0.0, 0)

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        if "/done/part-" in key and not self.failed:
            from ddr.errors import Missing

            self.failed += 1
            raise Missing(key)
        return super().get(key, start, size)


@pytest.mark.long
def test_a_receipt_whose_files_are_gone_is_a_part_to_make(corpus: Path, bucket: s3.S3Store) -> None:
    plan = builds.plan(builds.wanted(corpus))
    wanted = _alone(plan, corpus / "alone")
    build.prepare(machine(plan, corpus / "a", bucket))
    for one in plan.parts:
        worker.part(machine(plan, corpus / "b", bucket), one.number)
    keys = [entry.key for entry in bucket.list("") if "/files/part-" in entry.key]
    assert len(keys) == 3 * len(plan.parts)
    for number, key in enumerate(keys):
        content = bucket.get(key)
        bucket.delete(key)
        calls: list[stages.Progress] = []
        assert builds.digests(build.build(machine(plan, corpus / f"gone-{number}", bucket, calls))) == wanted, key
        assert _made(calls) == {key.split("/files/")[1].split(".")[0]}
        assert bucket.get(key) == content  # put back
        _forget_what_follows(bucket)
    print(f"{len(keys)} files of parts away, one at a time: that part alone made again")


def _forget_what_follows(bucket: s3.S3Store) -> None:
    for entry in list(bucket.list("")):
        if entry.key.endswith(("/done/merge.json", "/done/measure.json")):
            bucket.delete(entry.key)


@pytest.mark.parametrize("how", ["torn", *(pytest.param(how, marks=pytest.mark.long) for how in ("other", "empty"))])
def test_a_torn_upload_is_never_merged(how: str, corpus: Path, bucket: s3.S3Store) -> None:
    plan = builds.plan(builds.wanted(corpus))
    wanted = _alone(plan, corpus / "alone")
    build.prepare(machine(plan, corpus / "a", bucket))
    for one in plan.parts:
        worker.part(machine(plan, corpus / "b", bucket), one.number)
    keys = [entry.key for entry in bucket.list("") if "/files/part-" in entry.key and ".faiss" in entry.key]
    assert len(keys) == len(plan.parts)
    for number, key in enumerate(keys):
        entry = bucket.head(key)
        assert entry is not None
        content = bucket.get(key)
        damaged = {"torn": content[: len(content) // 2], "other": bytes(len(content)), "empty": b""}[how]
        bucket.swap(key, damaged, entry.version)
        calls: list[stages.Progress] = []
        assert builds.digests(build.build(machine(plan, corpus / f"{how}-{number}", bucket, calls))) == wanted, key
        assert bucket.get(key) == content
        _forget_what_follows(bucket)


def test_what_is_damaged_here_is_fetched_again_and_in_the_depot_prepared_anew(corpus: Path) -> None:
    plan, place = builds.plan(builds.wanted(corpus)), memory.MemoryStore()
    first, second = (machine(plan, corpus / name, place) for name in ("a", "b"))
    build.prepare(first)
    content = first.work.path("queries.npy").read_bytes()
    copy = second.work.path("queries.npy")
    copy.write_bytes(b"damaged")
    worker.part(second, 0)
    assert copy.read_bytes() == content
    copy.unlink()
    (entry,) = place.list(f"{works.prefix(works.name_of(plan))}files/queries.npy/")
    place.swap(entry.key, content[::-1], entry.version)
    with pytest.raises(Missing, match="has other bytes than were written") as caught:
        worker.part(second, 1)
    assert caught.value.hint == "`ddr index prepare` makes it anew, on a machine that has no work folder of this plan"
    build.prepare(machine(plan, corpus / "c", place))
    worker.part(second, 1)


def test_files_without_a_receipt_are_nothing(corpus: Path, bucket: s3.S3Store) -> None:
    """A worker that died between its files and its receipt."""
    plan = builds.plan(builds.wanted(corpus))
    build.prepare(machine(plan, corpus / "a", bucket))
    worker.part(machine(plan, corpus / "b", bucket), 0)
    (key,) = [entry.key for entry in bucket.list("") if entry.key.endswith("/done/part-00000.json")]
    bucket.delete(key)
    calls: list[stages.Progress] = []
    built = build.build(machine(plan, corpus / "a", bucket, calls))
    assert _made(calls) == {f"part-{number:05d}" for number in range(4)}
    assert builds.digests(built) == _alone(plan, corpus / "alone")


def test_a_depot_that_fails_sometimes_costs_patience_and_nothing_else(corpus: Path, bucket: s3.S3Store) -> None:
    plan = builds.plan(builds.wanted(corpus))
    wanted = _alone(plan, corpus / "alone")
    failed = 0
    for seed in range(2):
        flaky = Flaky(bucket, 0.3, seed)
        patient = retrying.Retrying(flaky, clocks.SystemClock(), random.Random(seed), first_s=0.001, longest_s=0.005)
        for entry in list(bucket.list("")):
            bucket.delete(entry.key)
        build.prepare(machine(plan, corpus / f"a{seed}", patient))
        for one in plan.parts:
            worker.part(machine(plan, corpus / f"b{seed}", patient), one.number)
        calls: list[stages.Progress] = []
        assert builds.digests(build.build(machine(plan, corpus / f"a{seed}", patient, calls))) == wanted
        assert not _made(calls)
        failed += flaky.failed
    assert failed > 100
    print(f"{failed} calls failed, before or after their effect; the same bytes twice")


def test_a_plan_that_was_changed_in_the_bucket_is_no_plan(corpus: Path, moto_server: servers.S3Server) -> None:
    name, plan = moto_server.new_bucket(), builds.plan(builds.wanted(corpus))
    place = stores.s3_store(moto_server, name)
    access = index_settings.S3Entry(moto_server.endpoint, "us-east-1", moto_server.key, moto_server.secret)
    opened = functools.partial(
        wirings.of_plan, works.uri_of(f"s3://{name}", works.name_of(plan)), builds.silent, access
    )
    works.opened(corpus / "a", plan, place)
    assert opened(corpus / "b").plan == plan
    changed = codec.encode(dataclasses.replace(plan, software={}))
    key = works.prefix(works.name_of(plan)) + works.PLAN
    place.delete(key)
    place.create(key, changed)
    with pytest.raises(Damaged, match="is not the plan that its folder is named by"):
        opened(corpus / "c")
    assert not (corpus / "c").exists()


def test_a_depot_that_fails_without_patience_is_called_again_until_all_is_done(
    corpus: Path, bucket: s3.S3Store
) -> None:
    plan = builds.plan(builds.wanted(corpus))
    wanted = _alone(plan, corpus / "alone")
    flaky, tries = Flaky(bucket, 0.05, 1), 0
    while True:
        tries += 1
        assert tries < 200
        try:
            built = build.build(machine(plan, corpus / "work", flaky))
        except Unavailable:
            continue
        break
    assert builds.digests(built) == wanted
    assert flaky.failed == tries - 1 > 0
    print(f"cut off {flaky.failed} times, the same bytes in the end")
