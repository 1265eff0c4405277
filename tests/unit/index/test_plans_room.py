"""What a plan refuses because of room, and what a build refuses because no distance can be computed."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ddr.domain import indexes
from ddr.errors import InputError, Refused
from ddr.index import build, plans, preflight
from ddr.index.engines import picking
from ddr.index.sources import opening
from tests.unit.index import builds, corpora

Kind = indexes.Kind


def _plan(what: indexes.Wanted, disk_mib: int | None = None) -> indexes.Plan:
    place = builds.sources()
    shards = opening.find(what.source, place.base, place.buckets)
    return plans.make(what, shards, plans.Machine(4096, 1, disk_mib), is_measured=False)


def test_parts_that_are_only_their_answers_are_refused_with_what_would_do(tmp_path: Path) -> None:
    builds.write(tmp_path, 3000)
    with pytest.raises(Refused, match="3,000 parts keep") as refused:
        _plan(builds.wanted(tmp_path, rows_per_part=1))
    assert refused.value.hint.startswith("rowsPerPart ")
    least = int(refused.value.hint.split()[1].replace(",", ""))
    assert len(_plan(builds.wanted(tmp_path, rows_per_part=least)).parts) > 100
    with pytest.raises(Refused):
        _plan(builds.wanted(tmp_path, rows_per_part=least - 1))


@pytest.mark.parametrize("kind", [Kind.FLAT, Kind.IVF_FLAT, Kind.IVF_SQ8, Kind.IVF_PQ, Kind.HNSW])
def test_the_room_a_build_takes_is_foreseen(tmp_path: Path, kind: Kind) -> None:
    builds.write(tmp_path, 3000)
    wanted = builds.wanted(tmp_path, kind, rows_per_part=1000, recall=0.5)
    plan = _plan(wanted)
    (stage,) = [one for one in plan.estimates if one.stage == preflight.DISK]
    built = build.build(builds.bench(plan, tmp_path / "work"))
    version = sum(file.size_bytes for file, _ in built.files.values())
    held = (version + sum(path.stat().st_size for path in (tmp_path / "work").rglob("*") if path.is_file())) / (1 << 20)
    print(f"{kind}: {stage.memory_mib} MiB foreseen, {held:.1f} held")
    assert 0.8 * held - 1 <= stage.memory_mib <= 1.5 * held + 1
    with pytest.raises(Refused, match="are free"):
        _plan(wanted, stage.memory_mib - 1)
    assert _plan(wanted, stage.memory_mib) == plan


def test_a_home_on_another_disk_needs_room_there_and_none_beside_the_work_folder(tmp_path: Path) -> None:
    wanted = builds.wanted(tmp_path, Kind.FLAT, rows_per_part=1 << 20)
    shards = (indexes.Shard("x.npy", 1 << 20, 16, "float32", 1 << 26, ""),)

    def stage(disk_mib: int | None, home_mib: int | None, *, is_apart: bool) -> indexes.Estimate:
        here = plans.Machine(4096, 1, disk_mib, is_apart, home_mib)
        estimates = plans.make(wanted, shards, here, is_measured=False).estimates
        return next(one for one in estimates if one.stage == preflight.DISK)

    both, work = (stage(None, None, is_apart=is_apart) for is_apart in (False, True))
    version_mib = both.memory_mib - work.memory_mib
    assert version_mib == 72, "vectors and numbers of 1,048,576 rows"
    assert stage(work.memory_mib, version_mib, is_apart=True) == work
    for disk_mib, is_apart, told in (
        (both.memory_mib - 1, False, f"work folder and version take about {both.memory_mib}"),
        (work.memory_mib - 1, True, f"the work folder takes about {work.memory_mib}"),
        (both.memory_mib, True, f"the version takes about 72 MiB in {wanted.home}, 71 MiB are free there"),
    ):
        with pytest.raises(Refused, match=told) as refused:
            stage(disk_mib, version_mib - 1, is_apart=is_apart)
        assert ("`home:`" in refused.value.hint) == ("in 1 parts" not in refused.value.message), refused.value.hint


def test_files_without_rows_are_told_and_change_nothing_else(tmp_path: Path) -> None:
    builds.write(tmp_path)
    whole = _plan(builds.wanted(tmp_path))
    assert not [why for why in whole.reasons if "without a row" in why]
    for number, told in ((2, f"1 of 3 files without a row: {tmp_path}/v2.npy;"), (3, "2 of 4 files without a row: ")):
        np.save(tmp_path / f"v{number}.npy", np.zeros((0, builds.DIMENSION), np.float32))
        np.save(tmp_path / f"i{number}.npy", np.zeros(0, np.int64))
        plan = _plan(builds.wanted(tmp_path))
        (why,) = [why for why in plan.reasons if "without a row" in why]
        assert why.startswith(told)
        assert (plan.shape, plan.parts) == (whole.shape, whole.parts)


def test_a_parquet_file_without_rows_goes_before_the_others(tmp_path: Path) -> None:
    """Its list type does not say the dimension."""
    vectors = corpora.clustered(300, 8)
    none = pa.array([], pa.list_(pa.float32()))
    for name, content in (("a", none), ("b", corpora.fixed(vectors[:200])), ("c", corpora.fixed(vectors[200:]))):
        corpora.written(tmp_path, corpora.table(content), name=f"{name}.parquet")
    source = indexes.Source((f"{tmp_path}/*.parquet",))
    plan = _plan(dataclasses.replace(builds.wanted(tmp_path), source=source))
    assert (plan.shards[0].rows, plan.shape.dimension) == (0, 8)
    assert build.build(builds.bench(plan, tmp_path / "work")).scan.kept == 300


def test_what_is_free_is_asked_where_the_folders_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert preflight.free_mib(tmp_path / "not" / "there") == preflight.free_mib(tmp_path)
    wanted = builds.wanted(tmp_path)
    machine = plans.machine(wanted, tmp_path / "work")
    assert machine.disk_mib is not None
    assert machine.disk_mib > 0
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "versions").symlink_to("/proc")
    disk = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: disk._replace(free=(7 if place.is_mount() else 9) << 20))
    for home, work, found in (
        (str(tmp_path / "home"), tmp_path / "work", (9, False, None)),
        ("s3://docs/home", tmp_path / "work", (9, False, None)),
        ("/proc/not/there", tmp_path / "work", (9, True, 7)),
        (str(linked), tmp_path / "work", (9, True, 7)),
        ("/proc/not/there", Path("/proc/work"), (7, False, None)),
    ):
        machine = plans.machine(dataclasses.replace(wanted, home=home), work)
        assert (machine.disk_mib, machine.is_home_apart, machine.home_mib) == found, (home, work)


def test_rows_whose_distances_are_infinite_are_told(tmp_path: Path) -> None:
    builds.write(tmp_path)
    vectors = np.load(tmp_path / "v0.npy")
    vectors[7] = 1e30
    np.save(tmp_path / "v0.npy", vectors)
    plan = _plan(builds.wanted(tmp_path))
    with pytest.raises(InputError, match=r"length 2\.83e\+30") as refused:
        build.build(builds.bench(plan, tmp_path / "work"))
    assert "metric cosine" in refused.value.hint
    cosine = _plan(builds.wanted(tmp_path, metric=indexes.Metric.COSINE))
    build.build(builds.bench(cosine, tmp_path / "work"))
    np.save(tmp_path / "v0.npy", np.where(vectors > 1e20, np.float32(1e17), vectors))
    build.build(builds.bench(_plan(builds.wanted(tmp_path)), tmp_path / "work"))


def test_torch_on_a_cpu_has_a_word_on_it() -> None:
    wanted = indexes.Wanted("a", "h", indexes.Source(("x.npy",)), engine="torch")
    assert "several times as long as faiss" in picking.pick(wanted, picking.Devices).reasons[0]
    (why,) = picking.pick(wanted, lambda: picking.Devices(torch_gpus=1)).reasons
    assert "several times" not in why
