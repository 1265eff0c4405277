"""Which index for these rows: pure, and every choice says why.

The rules are those of the faiss guidelines and of autofaiss, but for graphs: on a CPU a graph takes about ten times
the build of lists, is not made in parts and starts over when it dies, so it is taken for `quality: max` or a recall
that lists reach late.
"""

from __future__ import annotations

import dataclasses
import math

from ddr.domain import indexes
from ddr.errors import Refused
from ddr.index.engines import cagra, engine, nearby

FLAT_ROWS = 50_000
"""Below, comparing with every row takes milliseconds, and nothing is lost."""
GRAPH_ROWS = 5_000_000
GRAPH_RECALL = 0.99
COARSE_GRAPH_LISTS = 65_536
POINTS_AT_LEAST = 39
"""Rows for each list, as faiss asks of a training."""
MEMORY_SHARE = 0.6
"""Of the memory, what the index may take: it is built and then checked in the rest."""

_MIB = 1 << 20
_ID_BYTES = 8
_REVERSE_ID_BYTES = 48  # of the table from id to row that flat indexes and graphs have
_GRAPH_FACTOR = 1.3
_SIXTEENTH = 16

_FAST = {
    "points_per_list": 64,
    "iterations": 10,
    "code_points": 16_384,
    "code_iterations": 8,
}
_MAX = {
    "points_per_list": 256,
    "iterations": 10,
    "code_points": engine.CODE_POINTS,
    "code_iterations": 25,
}

Kind = indexes.Kind


def choose(
    wanted: indexes.Wanted, rows: int, dimension: int, memory_mib: int, *, has_gpu: bool = False, has_cuvs: bool = False
) -> tuple[indexes.Shape, tuple[str, ...]]:
    """The shape down to every number, and why. Refused where a kind that was asked for cannot be had, or takes more
    for a vector than was allowed."""
    if wanted.kind is None:
        kind, why = _kind(wanted, rows, dimension, memory_mib, has_cuvs=has_cuvs)
    else:
        kind, why = _asked(wanted.kind, rows, has_cuvs=has_cuvs)
    bare = indexes.Shape(kind, dimension, wanted.metric, seed=wanted.seed)
    shape, reasons = _filled(bare, wanted, rows, memory_mib, why)
    _check_limit(shape, wanted, rows)
    return shape, reasons


def _filled(
    shape: indexes.Shape, wanted: indexes.Wanted, rows: int, memory_mib: int, why: str
) -> tuple[indexes.Shape, tuple[str, ...]]:
    if shape.kind is Kind.FLAT:
        return shape, (why,)
    if shape.kind in engine.GRAPHS:
        return _graph(shape, wanted, why)
    shape, reasons = _lists(shape, wanted, rows, why)
    if shape.kind is Kind.IVF_PQ:
        return _codes(shape, wanted, budget(wanted, rows, memory_mib), reasons)
    return shape, reasons


def _check_limit(shape: indexes.Shape, wanted: indexes.Wanted, rows: int) -> None:
    """Refused where a vector takes more bytes than was allowed."""
    each, most = math.ceil(bytes_per_vector(shape)), wanted.bytes_per_vector
    if not most or each <= most:
        return
    fits = f"bytesPerVector {each} or more"
    if smaller := _smaller(shape.dimension, rows, most):
        fits += f", or kind {smaller.value}"
    raise Refused(f"kind {shape.kind.value} takes {each} bytes for a vector, bytesPerVector allows {most}", hint=fits)


def _smaller(dimension: int, rows: int, most: int) -> indexes.Kind | None:
    """The kind that keeps the most of a vector in so many bytes, if these rows can train it."""
    if 4 * dimension + _ID_BYTES <= most:
        return Kind.IVF_FLAT if rows >= FLAT_ROWS else Kind.FLAT
    if dimension + _ID_BYTES <= most and rows:
        return Kind.IVF_SQ8
    sizes = range(-(-dimension // _SIXTEENTH), most - _ID_BYTES + 1)
    has_code = rows >= engine.CODEWORDS and any(dimension % size == 0 for size in sizes)
    return Kind.IVF_PQ if has_code else None


def budget(wanted: indexes.Wanted, rows: int, memory_mib: int) -> float:
    """Bytes that the index may hold for each vector, its id among them."""
    by_memory = MEMORY_SHARE * memory_mib * _MIB / max(rows, 1)
    return min(wanted.bytes_per_vector or math.inf, by_memory)


def bytes_per_vector(shape: indexes.Shape) -> float:
    """What a row takes in the file; graphs: in memory."""
    links = 4 * 2 * shape.links * 1.1
    return {
        Kind.FLAT: 4 * shape.dimension + _ID_BYTES,
        Kind.IVF_FLAT: 4 * shape.dimension + _ID_BYTES,
        Kind.IVF_SQ8: shape.dimension + _ID_BYTES,
        Kind.IVF_PQ: shape.code_bytes + _ID_BYTES,
        Kind.HNSW: 4 * shape.dimension + links + _ID_BYTES + _REVERSE_ID_BYTES,
        Kind.CAGRA: 4 * shape.dimension + links + _ID_BYTES + _REVERSE_ID_BYTES,
    }[shape.kind]


def _kind(
    wanted: indexes.Wanted, rows: int, dimension: int, memory_mib: int, *, has_cuvs: bool
) -> tuple[indexes.Kind, str]:
    each = budget(wanted, rows, memory_mib)
    whole = 4 * dimension + _ID_BYTES
    if rows < FLAT_ROWS and whole <= each:
        return Kind.FLAT, f"flat: {rows:,} rows are compared one by one in milliseconds, exactly"
    if wanted.recall >= 1 and whole <= each:
        return Kind.FLAT, "flat: recall 1 is exact search"
    graph = _GRAPH_FACTOR * bytes_per_vector(indexes.Shape(Kind.HNSW, dimension, wanted.metric, links=_links(wanted)))
    is_graph_size = rows <= GRAPH_ROWS and graph <= each and wanted.recall >= 0.95
    if is_graph_size and has_cuvs and rows >= cagra.LEAST_ROWS:
        return Kind.CAGRA, f"cagra: a GPU builds the graph of {rows:,} rows, which take {graph:.0f} bytes each"
    if is_graph_size and (wanted.quality == "max" or wanted.recall >= GRAPH_RECALL):
        return Kind.HNSW, f"hnsw: {rows:,} rows of {graph:.0f} bytes fit, and the recall or quality wanted is high"
    if rows < engine.CODEWORDS and whole > each:
        return Kind.FLAT, f"flat: {rows:,} rows cannot train anything smaller"
    if whole <= each:
        return Kind.IVF_FLAT, f"ivf-flat: {rows:,} rows of {whole} bytes fit in {_told(each)}"
    if dimension + _ID_BYTES <= each:
        return (
            Kind.IVF_SQ8,
            f"ivf-sq8: a vector of {whole} bytes does not fit in {_told(each)}, one byte for each place does",
        )
    return Kind.IVF_PQ, f"ivf-pq: neither {whole} nor {dimension + _ID_BYTES} bytes for a vector fit in {_told(each)}"


def _asked(kind: indexes.Kind, rows: int, *, has_cuvs: bool) -> tuple[indexes.Kind, str]:
    """The kind that was asked for, or the nearest where so few rows cannot have it."""
    if kind is Kind.CAGRA and not has_cuvs:
        raise Refused("kind cagra needs faiss with cuVS and a GPU", hint="install faiss-gpu-cuvs, or take kind hnsw")
    if kind is Kind.CAGRA and rows < cagra.LEAST_ROWS:
        return Kind.HNSW, f"hnsw instead of cagra: {rows:,} rows gain nothing on a GPU"
    if kind in engine.IVF and rows < (least := engine.CODEWORDS if kind is Kind.IVF_PQ else 1):
        return Kind.FLAT, f"flat instead of {kind.value}: {rows:,} rows are fewer than the {least} that train it"
    return kind, f"{kind.value}: asked for"


def _links(wanted: indexes.Wanted) -> int:
    return 32 if wanted.recall >= 0.95 else 16


def _graph(shape: indexes.Shape, wanted: indexes.Wanted, why: str) -> tuple[indexes.Shape, tuple[str, ...]]:
    links, ef = _links(wanted), 200 if wanted.quality == "max" else 100
    shape = dataclasses.replace(shape, links=links, ef_construction=ef)
    return shape, (
        why,
        f"{links} links, {ef} candidates while building, for recall {wanted.recall} and {wanted.quality}",
    )


def lists_for(rows: int) -> int:
    """A power of two near 4 sqrt(rows), 8 from ten millions on, and never so many that 39 rows for each are missing."""
    factor = 8 if rows >= 10_000_000 else 4
    near = 1 << round(math.log2(max(1.0, factor * math.sqrt(rows))))
    most = max(1, rows // POINTS_AT_LEAST)
    return min(near, most)


def _lists(shape: indexes.Shape, wanted: indexes.Wanted, rows: int, why: str) -> tuple[indexes.Shape, tuple[str, ...]]:
    lists = lists_for(rows)
    levers = _MAX if wanted.quality == "max" else _FAST
    is_graph = lists >= COARSE_GRAPH_LISTS
    shape = dataclasses.replace(
        shape,
        lists=lists,
        is_coarse_graph=is_graph,
        points_per_list=levers["points_per_list"],
        iterations=levers["iterations"],
        neighbours=nearby.NEIGHBOURS if wanted.quality == "fast" and lists >= nearby.LISTS else None,
    )
    trained = min(rows, engine.sample_rows(shape))
    reasons = [
        why,
        f"{lists:,} lists: near {8 if rows >= 10_000_000 else 4} sqrt({rows:,}), {POINTS_AT_LEAST} rows each",
    ]
    if is_graph:
        reasons.append(f"lists are found through a graph, from {COARSE_GRAPH_LISTS:,} on")
    reasons.append(
        f"trained on {trained:,} rows, {shape.points_per_list} for each list at most, {_rounds(shape)}: "
        f"quality {wanted.quality}"
    )
    return shape, tuple(reasons)


def _codes(
    shape: indexes.Shape, wanted: indexes.Wanted, each: float, reasons: tuple[str, ...]
) -> tuple[indexes.Shape, tuple[str, ...]]:
    """The largest divisor of the dimension that the budget and half (or a quarter) of the dimension allow."""
    levers = _MAX if wanted.quality == "max" else _FAST
    d = shape.dimension
    useful = max(1, d // 2 if wanted.recall >= 0.9 else d // 4)
    most = int(min(useful, each - _ID_BYTES))
    fitting = [size for size in range(1, most + 1) if d % size == 0]
    if not fitting or (wanted.kind is None and fitting[-1] * _SIXTEENTH < d):
        raise Refused(
            f"no code of at most {max(0, most)} bytes serves dimension {d}: it must divide it and not be below a "
            f"{_SIXTEENTH}th of it",
            hint=f"allow {d + _ID_BYTES} bytes for a vector, more memory, or pad the vectors to a rounder dimension",
        )
    shape = dataclasses.replace(
        shape,
        code_bytes=fitting[-1],
        code_points=levers["code_points"],
        code_iterations=levers["code_iterations"],
    )
    reason = (
        f"codes of {shape.code_bytes} bytes: the largest divisor of {d} up to {most}, "
        f"trained on {shape.code_points:,} rows in {shape.code_iterations} rounds"
    )
    if wanted.recall >= 0.9:
        reason += f"; codes alone may not reach recall {wanted.recall}, the gate tells"
    return shape, (*reasons, reason)


def _rounds(shape: indexes.Shape) -> str:
    if not shape.neighbours:
        return f"{shape.iterations} rounds"
    return (
        f"{shape.iterations} rounds, all but the first {nearby.FULL_ROUNDS} among the {shape.neighbours} nearest lists"
    )


def _told(each: float) -> str:
    return f"{each:.0f} bytes for each"
