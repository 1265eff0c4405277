"""A build from its first byte to its last: cut off anywhere, in parts, damaged, with another corpus under it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddr.domain import indexes
from ddr.errors import Conflict, InputError, Missing, Refused, Unavailable
from ddr.index import build, check, child, measuring, plans, remains, stages, worker, workshop
from ddr.index import work as works
from ddr.index.homes import folder as folders
from ddr.index.homes import publishing
from ddr.stores import local
from tests.unit.index import builds, corpora

KINDS = (
    indexes.Kind.FLAT,
    indexes.Kind.IVF_FLAT,
    indexes.Kind.IVF_SQ8,
    indexes.Kind.IVF_PQ,
    indexes.Kind.HNSW,
)


class Killed(BaseException):
    """No `except Exception` and no clean-up of ours sees anything behind it."""


class Deadly:
    """Dies at the n-th call into the file system that counts; every later call dies too, as the process is gone."""

    CALLS = ("fsync", "replace", "rename", "link", "unlink", "mkdir")

    def __init__(self, patched: pytest.MonkeyPatch, die_at: int, *, is_after: bool) -> None:
        self.count, self._die_at, self._is_after = 0, die_at, is_after
        self._is_dead = False
        for name in self.CALLS:
            patched.setattr(os, name, self._wrapped(getattr(os, name)))

    def _wrapped(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            if self._is_dead:
                raise Killed
            self.count += 1
            if self.count != self._die_at:
                return real(*args, **named)
            self._is_dead = True
            if self._is_after:
                real(*args, **named)
            raise Killed

        return call


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    builds.write(tmp_path / "corpus")
    return tmp_path / "corpus"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a child would look at is looked at here: it is the kill that is tried, hundreds of times."""
    monkeypatch.setattr(child, "run", lambda function, question, limits: child.Outcome(function(question)))
    monkeypatch.setattr(build, "QUERIES", 20)


def _counted(calls: list[stages.Progress]) -> Counter[str]:
    return Counter(one.stage for one in calls if not one.is_kept)


@pytest.mark.parametrize("kind", KINDS)
def test_a_build_is_the_same_bytes_again_and_finds_its_neighbours(kind: indexes.Kind, corpus: Path) -> None:
    chosen = builds.plan(builds.wanted(corpus, kind, recall=0.5))
    first = build.build(builds.bench(chosen, corpus / "one"))
    again = build.build(builds.bench(chosen, corpus / "two", threads=2))
    assert builds.digests(first) == builds.digests(again)
    assert first.parts == again.parts
    assert first.scan.kept == builds.ROWS
    found = {one.k: one for one in first.quality.recalls}
    assert set(found) == {1, 10, 100}
    assert found[10].low >= chosen.wanted.recall


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.usefixtures("here")
def test_killed_at_every_write_point_it_goes_on_to_the_same_bytes(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    chosen = builds.plan(builds.wanted(corpus, rows_per_part=200))
    wanted = builds.digests(build.build(builds.bench(chosen, corpus / "calm")))
    deaths, redone = 0, 0
    for die_at in itertools.count(1):
        place = corpus / f"work-{die_at}"
        with monkeypatch.context() as patched:
            deadly = Deadly(patched, die_at, is_after=is_after)
            try:
                build.build(builds.bench(chosen, place))
            except Killed:
                deaths += 1
            else:
                break
            finally:
                assert deadly.count <= die_at or not deaths
        calls: list[stages.Progress] = []
        assert builds.digests(build.build(builds.bench(chosen, place, calls.append))) == wanted
        made = {name for name in _counted(calls) if name.startswith("part-")}
        kept = {one.stage for one in calls if one.is_kept}
        assert not made & kept
        redone = max(redone, len(made))
        shutil.rmtree(place)
    print(f"killed {'after' if is_after else 'before'} each of {deaths} calls; went on to the same bytes every time")
    assert deaths > 70
    assert redone == len(chosen.parts)


def test_a_kill_costs_one_part(corpus: Path) -> None:
    chosen = builds.plan(builds.wanted(corpus))
    bench = builds.bench(chosen, corpus / "work")
    build.prepare(bench)
    for number in range(2):
        worker.part(bench, number)
    calls: list[stages.Progress] = []
    build.build(builds.bench(chosen, corpus / "work", calls.append))
    made = [one.stage for one in calls if not one.is_kept and one.stage.startswith("part-")]
    assert set(made) == {"part-00002", "part-00003"}


def test_parts_made_by_workers_that_know_only_the_plan_are_the_same_bytes(corpus: Path) -> None:
    chosen = builds.plan(builds.wanted(corpus))
    wanted = build.build(builds.bench(chosen, corpus / "alone"))
    bench = builds.bench(chosen, corpus / "work")
    with pytest.raises(Missing, match="scan is not done"):
        worker.part(bench, 0)
    build.prepare(bench)
    for number in (3, 1, 0, 2, 1):
        worker.part(builds.bench(chosen, corpus / "work"), number)
    calls: list[stages.Progress] = []
    built = build.build(builds.bench(chosen, corpus / "work", calls.append))
    assert not [one for one in calls if one.stage.startswith("part-") and not one.is_kept]
    assert builds.digests(built) == builds.digests(wanted)


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


@pytest.mark.usefixtures("here")
def test_whatever_file_of_the_work_is_damaged_or_gone_is_made_again(corpus: Path) -> None:
    chosen = builds.plan(builds.wanted(corpus, rows_per_part=200))
    wanted = builds.digests(build.build(builds.bench(chosen, corpus / "work")))
    folder = works.opened(corpus / "work", chosen).folder
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    tried = 0
    for name in names:
        if str(name) in (works.LOCK, works.PLAN):
            continue
        for harm in (_flipped, lambda path: path.write_bytes(b""), Path.unlink):
            copy = corpus / "copy"
            shutil.copytree(corpus / "work", copy)
            path = copy / folder.name / name
            path.chmod(0o644)
            harm(path)
            assert builds.digests(build.build(builds.bench(chosen, copy))) == wanted, (name, harm)
            shutil.rmtree(copy)
            tried += 1
    print(f"{tried} damages of {len(names)} files, each made good")
    assert tried > 60


def _later(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":3'))


def _edited(path: Path) -> None:
    """A plan still, and another one."""
    path.write_bytes(path.read_bytes().replace(b'"seed":1234', b'"seed":1235'))


@pytest.mark.parametrize("harm", [_later, _edited, lambda path: os.truncate(path, 100)])
def test_a_plan_that_was_damaged_is_written_again(corpus: Path, harm: Callable[[Path], object]) -> None:
    chosen = builds.plan(builds.wanted(corpus))
    work = works.opened(corpus / "work", chosen)
    path = work.path(works.PLAN)
    content = path.read_bytes()
    harm(path)
    assert works.all_of(corpus / "work") == ()
    assert plans.begun(corpus / "work", chosen.wanted, chosen.shards) is None
    works.opened(corpus / "work", chosen)
    assert path.read_bytes() == content
    assert works.all_of(corpus / "work") == (work,)


@pytest.mark.parametrize("is_in_depot", [False, True])
def test_a_receipt_of_a_format_that_is_not_known_is_none(tmp_path: Path, is_in_depot: bool) -> None:
    depot = local.LocalStore(tmp_path / "depot")
    place = works.Stages(tmp_path / "work", depot, "p/")
    signed = place.sign(works.Receipt(stages.SCAN, "inputs"))
    assert place.receipt(stages.SCAN) == signed
    for path in tmp_path.rglob("scan.json"):
        _later(path)
    if is_in_depot:
        (tmp_path / "work" / "done" / "scan.json").unlink()
    assert place.receipt(stages.SCAN) is None
    assert place.sign(signed) == place.receipt(stages.SCAN)


def test_two_builds_by_one_plan_do_not_work_at_once(corpus: Path) -> None:
    chosen = builds.plan(builds.wanted(corpus))
    bench = builds.bench(chosen, corpus / "work")
    with bench.work.held(), pytest.raises(works.Held) as raised:
        build.build(builds.bench(chosen, corpus / "work"))
    assert raised.value.exit_code == indexes.EXIT_LOCKED == 15
    (bench.work.folder / works.LOCK).unlink()
    (bench.work.folder / works.LOCK).mkdir()
    with pytest.raises(Unavailable, match="cannot be opened") as other, bench.work.held():
        pass
    assert other.value.exit_code == 69, "nobody works there: waiting would not help"


@pytest.mark.parametrize("stage", [stages.SCAN, stages.TRAIN, "part-00002"])
def test_a_corpus_that_changes_meanwhile_ends_the_build(corpus: Path, stage: str) -> None:
    chosen = builds.plan(builds.wanted(corpus))

    def change(progress: stages.Progress) -> None:
        if progress.stage == stage:
            builds.write(corpus, seed=4)

    def twice() -> None:
        """A change behind the last look is seen by nobody, and by the next build."""
        build.build(builds.bench(chosen, corpus / "work", change))
        remains.forget(builds.bench(chosen, corpus / "work"), (3,))
        build.build(builds.bench(chosen, corpus / "work"))

    with pytest.raises(Conflict):
        twice()
    fresh = builds.plan(builds.wanted(corpus))
    assert fresh.shards != chosen.shards
    assert build.build(builds.bench(fresh, corpus / "work")).scan.kept == builds.ROWS


def test_a_begun_plan_is_gone_on_with_whatever_the_memory_is_by_now(corpus: Path) -> None:
    asked = builds.wanted(corpus, None, rows_per_part=0)
    chosen = builds.plan(asked)
    assert plans.begun(corpus / "work", asked, chosen.shards) is None
    works.opened(corpus / "work", chosen)
    assert plans.begun(corpus / "work", asked, chosen.shards) == chosen
    assert plans.begun(corpus / "work", asked, chosen.shards[:1]) is None
    assert plans.begun(corpus / "work", builds.wanted(corpus, None, rows_per_part=0, seed=2), chosen.shards) is None


def test_rows_that_are_no_vectors_end_the_build_or_are_left_out(corpus: Path) -> None:
    vectors = np.load(corpus / "v0.npy")
    vectors[5, 2], vectors[9] = np.nan, 0
    np.save(corpus / "v0.npy", vectors)
    with pytest.raises(InputError, match="notFinite"):
        build.build(builds.bench(builds.plan(builds.wanted(corpus)), corpus / "work"))
    policies = indexes.Policies("drop", "drop")
    built = build.build(builds.bench(builds.plan(builds.wanted(corpus, policies=policies)), corpus / "work"))
    assert built.scan.kept == builds.ROWS - 2
    assert built.scan.dropped == {"not-finite": 1, "zero": 1} or sum(built.scan.dropped.values()) == 2
    assert "dropped.npy" in built.files


def test_a_corpus_of_which_no_row_is_left_ends_the_build_before_anything_is_trained(corpus: Path) -> None:
    for name in ("v0.npy", "v1.npy"):
        vectors = np.zeros_like(np.load(corpus / name))
        vectors[:3] = np.nan
        np.save(corpus / name, vectors)
    bench = builds.bench(builds.plan(builds.wanted(corpus, policies=corpora.DROP)), corpus / "work")
    with pytest.raises(InputError, match=r"^no row of 400 is left for the index; left out: 6 not-finite, 394 zero$"):
        build.build(bench)
    assert bench.work.receipt(stages.TRAIN) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_build_is_published_checked_at_every_level_and_gone_back_from(kind: indexes.Kind, corpus: Path) -> None:
    home = folders.FolderHome(corpus / "home", lambda: builds.AT)
    served = []
    for seed in (3, 4):
        builds.write(corpus, seed=seed)
        chosen = builds.plan(builds.wanted(corpus, kind, recall=0.5))
        bench = builds.bench(chosen, corpus / "work")
        built = build.build(bench)
        manifest = build.manifest(bench, built, indexes.Embedder("e"), builds.AT)
        files = {name: path for name, (_, path) in built.files.items()}
        moved = publishing.publish(home, files, manifest, lambda version: check.check(home, version, check.Means()))
        served.append(moved.after)
        means = check.Means(
            corpus=functools.partial(builds.sources().corpus, chosen),
            rebuild=functools.partial(workshop.part_again, functools.partial(builds.bench, chosen)),
        )
        found = check.check(home, moved.after, means, range(5))
        assert found.levels == (0, 1, 2, 3, 4), found
        assert not found.findings
    way = publishing.way_back(home, None, lambda version: check.check(home, version, check.Means()))
    assert publishing.roll_back(home, way).after == served[0] == home.current()


@pytest.mark.parametrize("software", [{"faiss": "faiss-cpu 1.0"}, {"simd": "NONESUCH"}])
def test_a_part_is_not_made_again_where_other_bytes_come_of_it(software: dict[str, str], corpus: Path) -> None:
    chosen = builds.plan(builds.wanted(corpus))
    other = dataclasses.replace(chosen, software={**chosen.software, **software})
    with pytest.raises(Refused, match=next(iter(software.values()))):
        workshop.part_again(functools.partial(builds.bench, other), 0)


def test_the_file_has_the_search_parameter_that_was_measured(corpus: Path) -> None:
    for kind, name in ((indexes.Kind.IVF_FLAT, "nprobe"), (indexes.Kind.HNSW, "ef_search")):
        chosen = builds.plan(builds.wanted(corpus, kind, recall=0.9))
        built = build.build(builds.bench(chosen, corpus / "work"))
        assert built.quality.search[name] in measuring.ladder(chosen.shape, chosen.wanted.k)
        assert next(one for one in built.quality.recalls if one.k == 10).low >= 0.9


def _shapes() -> Iterator[tuple[indexes.Kind, int]]:
    yield indexes.Kind.IVF_FLAT, 1 << 16
    yield indexes.Kind.HNSW, 0
    yield indexes.Kind.FLAT, 0


def test_rungs_go_from_one_to_all() -> None:
    for kind, lists in _shapes():
        rungs = measuring.ladder(indexes.Shape(kind, 8, indexes.Metric.L2, lists=lists), 10)
        assert list(rungs) == sorted(set(rungs))
        assert not rungs or (rungs[0] in (1, 10) and rungs[-1] == (lists or 4096))
