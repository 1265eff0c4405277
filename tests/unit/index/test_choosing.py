"""Every choice from no rows to a billion: it fits its limits, it can be trained, and it says why."""

from __future__ import annotations

import itertools

import pytest

from ddr.domain import indexes
from ddr.errors import Refused
from ddr.index import choosing
from ddr.index.engines import engine

Kind = indexes.Kind
ROWS = (0, 1, 3, 4, 38, 39, 255, 256, 9_999, 49_999, 50_000, 200_000, 1_000_000, 10_000_000, 300_000_000)
DIMENSIONS = (1, 2, 7, 97, 128, 384, 768, 1000)
MEMORY_MIB = (512, 16_384, 524_288)


def wanted(**values: object) -> indexes.Wanted:
    return indexes.Wanted("docs", "home", indexes.Source(("*.npy",)), **values)  # type: ignore[arg-type]


def test_all_sizes_of_all_machines_give_a_shape_that_can_be_built_or_a_reason_why_not() -> None:
    tried = refused = 0
    kinds: dict[str, int] = {}
    hints = set()
    for rows, dimension, memory, kind, quality, recall, has_cuvs in itertools.product(
        ROWS, DIMENSIONS, MEMORY_MIB, (None, *Kind), ("fast", "max"), (0.5, 0.95, 1.0), (False, True)
    ):
        asked = wanted(kind=kind, quality=quality, recall=recall)
        tried += 1
        try:
            shape, reasons = choosing.choose(asked, rows, dimension, memory, has_gpu=has_cuvs, has_cuvs=has_cuvs)
        except Refused as problem:
            refused += 1
            hints.add(problem.hint)
            continue
        kinds[shape.kind] = kinds.get(shape.kind, 0) + 1
        assert reasons
        assert all(reasons)
        _check(shape, rows, dimension)
        each = choosing.budget(asked, rows, memory)
        if kind is None and rows >= engine.CODEWORDS:
            assert choosing.bytes_per_vector(shape) <= each
    print(f"{tried} choices, {refused} refused, {kinds}")
    assert refused < tried / 4
    assert "" not in hints


def _check(shape: indexes.Shape, rows: int, dimension: int) -> None:
    assert shape.dimension == dimension
    if shape.kind in engine.IVF:
        assert 1 <= shape.lists <= max(1, rows // choosing.POINTS_AT_LEAST)
        assert min(rows, engine.sample_rows(shape)) >= shape.lists
        assert shape.is_coarse_graph == (shape.lists >= choosing.COARSE_GRAPH_LISTS)
    if shape.kind is Kind.IVF_PQ:
        assert rows >= engine.CODEWORDS
        assert dimension % shape.code_bytes == 0
    if shape.kind in engine.GRAPHS:
        assert shape.links
        assert shape.ef_construction


@pytest.mark.parametrize(
    ("rows", "memory_mib", "values", "kind"),
    [
        (0, 16_384, {}, Kind.FLAT),
        (49_999, 16_384, {}, Kind.FLAT),
        (50_000, 16_384, {}, Kind.IVF_FLAT),
        (1_000_000, 16_384, {"recall": 1.0}, Kind.FLAT),
        (1_000_000, 16_384, {"recall": 0.99}, Kind.HNSW),
        (1_000_000, 16_384, {"quality": "max"}, Kind.HNSW),
        (1_000_000, 16_384, {}, Kind.IVF_FLAT),
        (1_000_000, 600, {}, Kind.IVF_SQ8),
        (1_000_000, 200, {}, Kind.IVF_PQ),
        (1_000_000, 16_384, {"bytes_per_vector": 136}, Kind.IVF_SQ8),
        (1_000_000, 16_384, {"bytes_per_vector": 135}, Kind.IVF_PQ),
        (100, 16_384, {"kind": Kind.IVF_PQ}, Kind.FLAT),
        (0, 16_384, {"kind": Kind.IVF_FLAT}, Kind.FLAT),
        (1, 16_384, {"kind": Kind.IVF_FLAT}, Kind.IVF_FLAT),
        (4, 16_384, {"kind": Kind.HNSW}, Kind.HNSW),
    ],
)
def test_kind(rows: int, memory_mib: int, values: dict[str, object], kind: indexes.Kind) -> None:
    shape, reasons = choosing.choose(wanted(**values), rows, 128, memory_mib)
    assert shape.kind is kind, reasons


def test_a_graph_is_built_by_a_gpu_where_there_is_one() -> None:
    assert choosing.choose(wanted(), 1_000_000, 128, 16_384, has_gpu=True, has_cuvs=True)[0].kind is Kind.CAGRA
    assert choosing.choose(wanted(kind=Kind.CAGRA), 4, 128, 16_384, has_gpu=True, has_cuvs=True)[0].kind is Kind.HNSW
    with pytest.raises(Refused, match="cuVS"):
        choosing.choose(wanted(kind=Kind.CAGRA), 1_000_000, 128, 16_384)


@pytest.mark.parametrize(
    ("dimension", "limit", "code"), [(128, 72, 64), (128, 24, 16), (96, 40, 32), (100, 30, 20), (1000, 400, 250)]
)
def test_codes_divide_the_dimension(dimension: int, limit: int, code: int) -> None:
    assert choosing.choose(wanted(bytes_per_vector=limit), 1_000_000, dimension, 16_384)[0].code_bytes == code


def test_a_prime_dimension_has_no_code() -> None:
    with pytest.raises(Refused, match="divide") as problem:
        choosing.choose(wanted(bytes_per_vector=60), 1_000_000, 97, 16_384)
    assert "105 bytes" in problem.value.hint


@pytest.mark.parametrize(
    ("kind", "rows", "limit", "told", "fits"),
    [
        (Kind.FLAT, 1_000, 519, "kind flat takes 520 bytes", "bytesPerVector 520 or more, or kind ivf-sq8"),
        (Kind.IVF_FLAT, 1_000, 1, "kind ivf-flat takes 520 bytes", "bytesPerVector 520 or more"),
        (Kind.IVF_SQ8, 1_000, 135, "kind ivf-sq8 takes 136 bytes", "bytesPerVector 136 or more, or kind ivf-pq"),
        (Kind.IVF_PQ, 100, 72, "kind flat takes 520 bytes", "bytesPerVector 520 or more"),
        (Kind.HNSW, 1_000, 849, "kind hnsw takes 850 bytes", "bytesPerVector 850 or more, or kind flat"),
        (Kind.HNSW, 90_000, 849, "kind hnsw takes 850 bytes", "bytesPerVector 850 or more, or kind ivf-flat"),
        (Kind.CAGRA, 90_000, 849, "kind cagra takes 850 bytes", "bytesPerVector 850 or more, or kind ivf-flat"),
        (None, 100, 200, "kind flat takes 520 bytes", "bytesPerVector 520 or more, or kind ivf-sq8"),
        (None, 100, 9, "kind flat takes 520 bytes", "bytesPerVector 520 or more"),
    ],
)
def test_what_a_vector_may_take_holds_for_every_kind(
    kind: indexes.Kind | None, rows: int, limit: int, told: str, fits: str
) -> None:
    def chosen(**values: object) -> indexes.Shape:
        return choosing.choose(wanted(**values), rows, 128, 16_384, has_gpu=True, has_cuvs=True)[0]

    with pytest.raises(Refused, match=f"{told} for a vector, bytesPerVector allows {limit}$") as refused:
        chosen(kind=kind, bytes_per_vector=limit)
    assert refused.value.hint == fits
    least, _, other = fits.removeprefix("bytesPerVector ").partition(" or more")
    assert chosen(kind=kind, bytes_per_vector=int(least)) == chosen(kind=kind)
    if other:
        chosen(kind=Kind(other.removeprefix(", or kind ")), bytes_per_vector=limit)
