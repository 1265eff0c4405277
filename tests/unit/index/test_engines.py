"""The faiss engine and its files: the same bytes twice, in parts and whole; odd sizes; nothing lost on a disk."""

from __future__ import annotations

import itertools
import os
import resource
from pathlib import Path

import numpy as np
import pytest

from ddr.domain import indexes
from ddr.errors import Conflict, Damaged, InputError, Missing, Unavailable
from ddr.index import measuring
from ddr.index.engines import blank, engine, faiss_engine, files, flats, lists
from tests.unit.index import clustered

Kind, Metric = indexes.Kind, indexes.Metric
KINDS = (Kind.FLAT, Kind.IVF_FLAT, Kind.IVF_SQ8, Kind.IVF_PQ, Kind.HNSW)
COUNT, DIMENSION = 3001, 16
CPU = faiss_engine.FaissEngine()


def shape_of(kind: indexes.Kind, metric: indexes.Metric = Metric.L2, **numbers: int) -> indexes.Shape:
    usual = {"lists": 24, "links": 8, "ef_construction": 40, "code_bytes": 4, "code_points": 2048, "code_iterations": 4}
    return indexes.Shape(kind, DIMENSION, metric, **{**usual, **numbers})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def corpus() -> tuple[engine.Labels, engine.Vectors]:
    return np.arange(COUNT, dtype=np.int64) * 7 + 3, clustered.rows(COUNT, DIMENSION)


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP])
@pytest.mark.parametrize("kind", KINDS)
def test_parts_and_threads_do_not_change_a_byte(
    kind: indexes.Kind,
    metric: indexes.Metric,
    corpus: tuple[engine.Labels, engine.Vectors],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flats, "PIECE_ROWS", 1000)  # so that a graph is made of several pieces here too
    shape, made = shape_of(kind, metric), []
    for cuts, threads in (
        ((0, COUNT), 1),
        ((0, COUNT), 2),
        ((0, 1000, 1000, 2999, COUNT), 1),
        ((*range(0, COUNT, 300), COUNT), 1),
    ):
        trained, paths = clustered.parts(CPU, shape, corpus, cuts, tmp_path, threads)
        made.append(clustered.merged(trained, paths, shape, 5, threads))
        whole = files.merge(trained, paths, shape, threads=threads)
        files.set_search(whole, 5)
        assert files.serialize(whole) == made[-1], "the merge in memory has other bytes than the one on the disk"
    assert len(set(made)) == 1
    assert engine.is_deterministic(kind, "cpu")
    index = files.loads(made[0])
    assert sorted(files.labels(index)) == sorted(corpus[0])


@pytest.mark.parametrize("kind", [Kind.IVF_FLAT, Kind.IVF_SQ8, Kind.IVF_PQ])
def test_merged_as_if_one_process_had_added_all(
    kind: indexes.Kind, corpus: tuple[engine.Labels, engine.Vectors], tmp_path: Path
) -> None:
    shape = shape_of(kind)
    trained, paths = clustered.parts(CPU, shape, corpus, (0, 1200, 2100, COUNT), tmp_path)
    whole = CPU.part(trained, shape, [clustered.Batch(*corpus)], 1)
    assert clustered.merged(trained, paths, shape) == files.serialize(whole)
    maps = [files.load(path, is_mapped=True) for path in paths]
    queries = corpus[1][:200]
    for parameter in (1, 4, 24):
        found, far = files.search_parts(maps, queries, 5, parameter, threads=1)
        expected, near = files.search(whole, queries, 5, parameter, threads=1)
        np.testing.assert_allclose(far, near, rtol=1e-4, atol=1e-4)
        assert np.mean(found == expected) > 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_more_parts_than_files_may_be_open(
    kind: indexes.Kind,
    corpus: tuple[engine.Labels, engine.Vectors],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lists, "_BLOCK_BYTES", 20_000)
    shape = shape_of(kind)
    trained, paths = clustered.parts(CPU, shape, corpus, (*range(0, COUNT, 20), COUNT), tmp_path)
    (whole_in := tmp_path / "whole").mkdir()
    _, whole = clustered.parts(CPU, shape, corpus, (0, COUNT), whole_in)
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = {int(number) for number in os.listdir("/dev/fd")}
    resource.setrlimit(resource.RLIMIT_NOFILE, (sorted(set(range(1000)) - taken)[50], most))
    try:
        search = measuring.of_parts(paths, corpus[1][:9], 5, 1)
        merged = clustered.merged(trained, paths, shape)
        found = search(24)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))
    assert len(paths) == 151
    assert merged == clustered.merged(trained, whole, shape)
    assert (found[:, 0] == corpus[0][:9]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_mapped", [False, True])
def test_a_file_keeps_what_it_was_given(
    kind: indexes.Kind, is_mapped: bool, corpus: tuple[engine.Labels, engine.Vectors], tmp_path: Path
) -> None:
    shape = shape_of(kind)
    trained, paths = clustered.parts(CPU, shape, corpus, (0, 1500, COUNT), tmp_path)
    path = tmp_path / "index.faiss"
    path.write_bytes(clustered.merged(trained, paths, shape, search=9))
    index = files.load(path, is_mapped=is_mapped)
    facts = files.describe(index)
    assert (facts.rows, facts.dimension, facts.is_l2, facts.is_trained) == (COUNT, DIMENSION, True, True)
    assert facts.search == (0 if kind is Kind.FLAT else 9)
    assert files.list_sizes(index).sum() == (COUNT if kind in engine.IVF else 0)
    assert len(set(files.labels(index).tolist())) == COUNT
    wanted = np.array([3, 4, 10, 3, 7 * (COUNT - 1) + 3], np.int64)
    rows = files.reconstruct(index, wanted)
    assert np.isnan(rows[1]).all()
    assert np.array_equal(rows[0], rows[3])
    tolerance = {Kind.IVF_SQ8: 0.1, Kind.IVF_PQ: 6.0}.get(kind, 0.0)
    assert np.abs(rows[[0, 2, 4]] - corpus[1][[0, 1, COUNT - 1]]).max() <= tolerance


def test_a_search_parameter_is_for_one_search_alone(
    corpus: tuple[engine.Labels, engine.Vectors], tmp_path: Path
) -> None:
    shape = shape_of(Kind.IVF_FLAT)
    trained = CPU.train(corpus[1], shape, 1)
    index = CPU.part(trained, shape, [clustered.Batch(*corpus)], 1)
    one, all_lists = (files.search(index, corpus[1][:300] + 0.3, 10, nprobe)[0] for nprobe in (1, 1000))
    assert not np.array_equal(one, all_lists)
    assert files.describe(index).search == 1


SMALL = (0, 1, 3, 4, 40)


@pytest.mark.parametrize(("kind", "count"), list(itertools.product(KINDS, SMALL)))
def test_few_rows(kind: indexes.Kind, count: int, tmp_path: Path) -> None:
    shape = shape_of(kind, lists=min(4, max(count, 1)))
    labels, vectors = np.arange(count, dtype=np.int64), clustered.rows(max(count, 1), DIMENSION)[:count]
    if kind in engine.IVF and count < (256 if kind is Kind.IVF_PQ else 1):
        with pytest.raises(InputError, match="too few"):
            CPU.train(vectors, shape, 1)
        return
    trained, paths = clustered.parts(CPU, shape, (labels, vectors), (0, count), tmp_path)
    index = files.loads(clustered.merged(trained, paths, shape, search=4))
    assert files.describe(index).rows == count
    found, _ = files.search(index, clustered.rows(5, DIMENSION), 3)
    assert found.shape == (5, 3)
    assert (found >= 0).sum() == 5 * min(3, count)
    assert len(files.reconstruct(index, labels)) == count


@pytest.mark.parametrize("kind", [Kind.IVF_FLAT, Kind.IVF_SQ8, Kind.IVF_PQ])
def test_lists_that_nobody_trained_rows_for_are_merged_from_no_parts(kind: indexes.Kind, tmp_path: Path) -> None:
    shape = shape_of(kind)
    vectors = clustered.rows(600, DIMENSION)
    trained = CPU.train(vectors, shape, 1)
    none = np.zeros(0, np.int64), vectors[:0]
    assert clustered.merged(trained, [], shape) == trained
    empty = CPU.part(trained, shape, [clustered.Batch(*none)], 1)
    path = tmp_path / "empty.faiss"
    path.write_bytes(files.serialize(empty))
    assert clustered.merged(trained, [path, path], shape) == trained
    assert files.search(empty, vectors[:2], 3)[0].tolist() == [[-1] * 3] * 2


def test_dimension_one_and_a_code_that_does_not_divide() -> None:
    vectors = clustered.rows(300, 1)
    for kind in (Kind.FLAT, Kind.IVF_FLAT, Kind.IVF_SQ8, Kind.IVF_PQ, Kind.HNSW):
        shape = indexes.Shape(kind, 1, Metric.L2, lists=3, links=4, ef_construction=20, code_bytes=1)
        trained = CPU.train(vectors, shape, 1)
        made = CPU.part(trained, shape, [clustered.Batch(np.arange(300), vectors)], 1)
        assert files.describe(made).rows == 300, kind
    with pytest.raises(InputError, match="do not divide"):
        blank.index(shape_of(Kind.IVF_PQ, code_bytes=5))
    with pytest.raises(InputError, match="dimension"):
        CPU.train(vectors, shape_of(Kind.IVF_FLAT), 1)


def test_parts_of_another_training_are_not_merged(corpus: tuple[engine.Labels, engine.Vectors], tmp_path: Path) -> None:
    for kind in (Kind.IVF_FLAT, Kind.IVF_SQ8, Kind.IVF_PQ):
        shape = shape_of(kind)
        _, paths = clustered.parts(CPU, shape, corpus, (0, COUNT), tmp_path)
        other = CPU.train(corpus[1], shape_of(kind, seed=99), 1)
        with pytest.raises(Conflict, match="another trained index"):
            clustered.merged(other, paths, shape)
        with pytest.raises((Conflict, Damaged)):
            clustered.merged(CPU.train(corpus[1], shape_of(kind, lists=12), 1), paths, shape_of(kind, lists=12))


def test_every_truncation_of_a_part_is_found(corpus: tuple[engine.Labels, engine.Vectors], tmp_path: Path) -> None:
    tried = 0
    few = corpus[0][:300], corpus[1][:300]
    for kind in (Kind.FLAT, Kind.IVF_FLAT, Kind.IVF_PQ):
        shape = shape_of(kind, lists=4, code_points=300)
        trained, paths = clustered.parts(CPU, shape, few, (0, 300), tmp_path)
        content = paths[0].read_bytes()
        for size in range(0, len(content), max(1, len(content) // 150)):
            paths[0].write_bytes(content[:size])
            with pytest.raises((Conflict, Damaged)):
                clustered.merged(trained, paths, shape)
            tried += 1
    print(f"{tried} truncations of parts, all found")


def test_what_the_writer_raises_comes_out_and_nothing_is_swallowed(
    corpus: tuple[engine.Labels, engine.Vectors],
) -> None:
    made = CPU.part(CPU.train(corpus[1], shape_of(Kind.FLAT), 1), shape_of(Kind.FLAT), [clustered.Batch(*corpus)], 1)
    size, tried = len(files.serialize(made)), 0
    for room in {0, 1, size // 2, size - 4096, size - 1}:
        left = room

        def full(piece: memoryview) -> None:
            nonlocal left
            left -= len(piece)
            if left < 0:
                raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space"):
            files.serialize_to(made, full)
        tried += 1
    assert tried == 5


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(Missing):
        files.load(tmp_path / "absent.faiss")
    for content in (b"", b"IwFl", b"IxMp" + bytes(40), b"\xff" * 4096):
        path = tmp_path / "odd.faiss"
        path.write_bytes(content)
        for is_mapped in (False, True):
            with pytest.raises(Damaged):
                files.load(path, is_mapped=is_mapped)


def test_a_gpu_that_is_not_there_is_said(corpus: tuple[engine.Labels, engine.Vectors]) -> None:
    import faiss

    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus():
        pytest.skip("this machine has a GPU")
    with pytest.raises(Unavailable, match="no GPU"):
        faiss_engine.FaissEngine("cuda").train(corpus[1], shape_of(Kind.IVF_FLAT), 1)
    with pytest.raises(Unavailable, match="cuVS"):
        files.merge(CPU.train(corpus[1], shape_of(Kind.CAGRA), 1), [], shape_of(Kind.CAGRA))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [Kind.IVF_FLAT, Kind.IVF_SQ8, Kind.IVF_PQ, Kind.CAGRA])
def test_on_a_gpu_recall_is_that_of_the_cpu(
    kind: indexes.Kind, corpus: tuple[engine.Labels, engine.Vectors], tmp_path: Path
) -> None:
    import faiss

    from ddr.index.engines import cagra

    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        pytest.skip("needs a GPU build of faiss and a GPU")
    if kind is Kind.CAGRA and not cagra.is_there():
        pytest.skip("needs faiss with cuVS")
    recalls = []
    where = np.arange(COUNT, dtype=np.int64), corpus[1]
    for made_by in (CPU, faiss_engine.FaissEngine("cuda")):
        used = Kind.HNSW if kind is Kind.CAGRA and made_by is CPU else kind
        shape = shape_of(used)
        trained, paths = clustered.parts(made_by, shape, where, (0, 1500, COUNT), tmp_path)
        index = files.loads(clustered.merged(trained, paths, shape))
        recalls.append(clustered.recall(index, corpus[1], corpus[1][:500] + 0.01, 64 if kind is Kind.CAGRA else 6))
    assert recalls[1] >= recalls[0] - 0.01
