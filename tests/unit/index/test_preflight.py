"""What a build takes: the model against a real process, limits of control groups, refusals that say what would fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ddr.domain import indexes
from ddr.index import choosing, preflight
from ddr.index.engines import engine

Kind, Metric = indexes.Kind, indexes.Metric

_BUILD = """
import sys, tempfile, pathlib
import numpy as np
from ddr.domain import indexes
from ddr.index.engines import engine, faiss_engine, files
kind, rows, d, parts = indexes.Kind(sys.argv[1]), *map(int, sys.argv[2:5])
sys.path.insert(0, ".")
from tests.unit.index import test_preflight, clustered
shape = test_preflight.shape_of(kind, d)
by, size = faiss_engine.FaissEngine(), rows // parts
def batch(start, stop):
    random = np.random.default_rng(start)
    return clustered.Batch(np.arange(start, stop), random.standard_normal((stop - start, d), dtype=np.float32))
trained = by.train(batch(0, max(1, min(rows, engine.sample_rows(shape)))).vectors, shape, 1)
folder = pathlib.Path(tempfile.mkdtemp())
paths = []
for number in range(parts):
    starts = range(number * size, (number + 1) * size, 10_000)
    made = by.part(trained, shape, (batch(at, at + 10_000) for at in starts), 1)
    paths.append(folder / str(number))
    with paths[-1].open("wb") as file:
        files.serialize_to(made, file.write)
    del made
with (folder / "whole").open("wb") as file:
    files.merge_to(trained, paths, shape, file.write, threads=1)
# Of this program alone: ru_maxrss survives an exec and starts at what the forking process held.
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def shape_of(kind: indexes.Kind, dimension: int) -> indexes.Shape:
    numbers = {"lists": 64, "links": 8, "ef_construction": 20, "code_bytes": 8, "code_points": 4096}
    return indexes.Shape(kind, dimension, Metric.L2, iterations=2, code_iterations=1, **numbers)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "rows", "parts"),
    [(Kind.IVF_FLAT, 200_000, 4), (Kind.IVF_SQ8, 200_000, 2), (Kind.IVF_PQ, 100_000, 2), (Kind.FLAT, 200_000, 4)],
)
def test_a_real_build_stays_below_the_model(kind: indexes.Kind, rows: int, parts: int) -> None:
    dimension = 64
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, kind, str(rows), str(dimension), str(parts)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    stages = {
        stage.stage: stage.memory_mib for stage in preflight.estimates(shape_of(kind, dimension), rows, parts, {})
    }
    # Batches of this build are 2.5 MiB, and nothing is scanned.
    expected = max(stages["train"], stages["parts"] - preflight.BATCHES_MIB, stages["merge"])
    print(f"{kind}: {done.stdout.strip()} MiB, the model says {expected}")
    assert int(done.stdout) <= expected
    assert expected <= 4 * int(done.stdout), "a model that refuses what would fit"


def test_a_graph_is_refused_where_lists_fit() -> None:
    rows, dimension = 5_000_000, 384
    graph = indexes.Shape(Kind.HNSW, dimension, Metric.L2, links=32, ef_construction=100)
    short = preflight.too_large(preflight.estimates(graph, rows, 40, {}), 8_000)
    assert short is not None
    assert "merge" in short.what
    assert "ivf-flat" in short.fits
    lists = indexes.Shape(Kind.IVF_FLAT, dimension, Metric.L2, lists=8192)
    assert preflight.too_large(preflight.estimates(lists, rows, 40, {}), 8_000) is None


@pytest.mark.parametrize(
    ("kind", "rows", "memory_mib", "is_enough"),
    [
        (Kind.IVF_FLAT, 5_000_000, 7_000, False),
        (Kind.IVF_FLAT, 5_000_000, 8_000, True),
        (Kind.IVF_FLAT, 2_000_000, 3_000, False),
        (Kind.IVF_FLAT, 2_000_000, 3_700, True),
        (Kind.IVF_SQ8, 5_000_000, 3_700, True),
        (Kind.IVF_PQ, 50_000_000, 3_700, True),
        (Kind.FLAT, 0, 350, True),
        (Kind.FLAT, 10_000, 350, True),
        (Kind.HNSW, 10_000, 350, True),
    ],
)
def test_what_is_proved_must_fit_whole(kind: indexes.Kind, rows: int, memory_mib: int, is_enough: bool) -> None:
    """And nothing is refused for it that is smaller than the memory."""
    shape = indexes.Shape(kind, 384, Metric.L2, lists=1024, links=16, code_bytes=16, code_points=65_536)
    stages = preflight.estimates(shape, rows, max(1, rows // 500_000), {})
    short = preflight.too_large([one for one in stages if one.stage != "scan"], memory_mib)
    assert (short is None) == is_enough, short
    if short:
        assert "stage measure takes about" in short.what
        assert "ivf-sq8 or ivf-pq" in short.fits


def test_seconds_follow_from_rates_measured_here() -> None:
    for kind in (Kind.IVF_PQ, Kind.HNSW):
        shape = shape_of(kind, 32)
        rates = preflight.rates(shape, 1)
        assert all(rate > 0 for rate in rates.values())
        found = {stage.stage: stage.seconds for stage in preflight.estimates(shape, 100_000_000, 4, rates)}
        assert found["parts"] > 0
        assert found["merge"] > 0
        assert not any(stage.seconds for stage in preflight.estimates(shape, 100_000_000, 4, {}))


def test_memory_of_the_machine_and_of_its_control_group(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable:  8192000 kB\n")
    assert preflight.available_mib(tmp_path) == 8000
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("1\n")
    assert preflight.available_mib(tmp_path) == 8000
    (group / "memory.max").write_text(f"{1000 << 20}\n")
    (group / "memory.current").write_text(f"{600 << 20}\n")
    assert preflight.available_mib(tmp_path) == 400
    (group / "memory.stat").write_text(f"anon 1\ninactive_file {100 << 20}\n")
    assert preflight.available_mib(tmp_path) == 500
    assert preflight.available_mib() > 1


def test_every_choice_has_estimates() -> None:
    asked = indexes.Wanted("docs", "home", indexes.Source(("*.npy",)))
    for rows in (0, 1, 4, 300, 100_000, 100_000_000):
        shape, _ = choosing.choose(asked, rows, 128, 64_000)
        stages = preflight.estimates(shape, rows, max(1, rows // 5_000_000), {})
        assert [stage.stage for stage in stages] == ["scan", "train", "parts", "merge", "measure"]
        assert all(stage.memory_mib >= preflight.BASE_MIB for stage in stages)
    assert engine.sample_rows(indexes.Shape(Kind.FLAT, 4, Metric.L2)) == 0
