"""The untrained faiss object of a shape: what every engine starts from, so that their files are of one make."""

from __future__ import annotations

from ddr.domain import indexes
from ddr.errors import InputError, Unsupported
from ddr.index.engines import engine, library

COARSE_LINKS = 32
COARSE_EF = 64
"""Of the graph over list centres; with faiss's 16 one query in a hundred starts in a wrong list."""


def metric(shape: indexes.Shape) -> int:
    """Cosine is inner product: rows are scaled as they are read."""
    faiss = library.faiss()

    found: int = faiss.METRIC_L2 if shape.metric is indexes.Metric.L2 else faiss.METRIC_INNER_PRODUCT
    return found


def index(shape: indexes.Shape) -> engine.Index:
    """Untrained and empty, all numbers of the shape set. Flat and graphs carry their ids in an IndexIDMap2."""
    faiss = library.faiss()

    kinds = indexes.Kind
    if shape.dimension < 1:
        raise InputError(f"no index has dimension {shape.dimension}")
    if shape.kind is kinds.FLAT:
        return faiss.IndexIDMap2(faiss.IndexFlat(shape.dimension, metric(shape)))
    if shape.kind in engine.GRAPHS:
        return faiss.IndexIDMap2(_graph(shape))
    return _lists(shape)


def part(shape: indexes.Shape) -> engine.Index:
    """Vectors and ids as they are: a part of a flat index or of a graph. No table from id to row is kept."""
    faiss = library.faiss()

    return faiss.IndexIDMap(faiss.IndexFlat(shape.dimension, metric(shape)))


def _graph(shape: indexes.Shape) -> engine.Index:
    faiss = library.faiss()

    graph = faiss.IndexHNSWFlat(shape.dimension, shape.links or 32, metric(shape))
    graph.hnsw.efConstruction = shape.ef_construction or 200
    graph.hnsw.rng = faiss.RandomGenerator(shape.seed)
    return graph


def coarse_flat(shape: indexes.Shape) -> engine.Index:
    """Centres compared one by one."""
    faiss = library.faiss()

    return faiss.IndexFlat(shape.dimension, metric(shape))


def coarse(shape: indexes.Shape) -> engine.Index:
    """What finds the list of a vector: centres compared one by one, or a graph over them."""
    faiss = library.faiss()

    if not shape.is_coarse_graph:
        return coarse_flat(shape)
    graph = faiss.IndexHNSWFlat(shape.dimension, COARSE_LINKS, metric(shape))
    graph.hnsw.efConstruction = 2 * COARSE_EF
    graph.hnsw.efSearch = COARSE_EF
    graph.hnsw.rng = faiss.RandomGenerator(shape.seed)
    return graph


def _lists(shape: indexes.Shape) -> engine.Index:
    faiss = library.faiss()

    if shape.lists < 1:
        raise InputError(f"{shape.kind.value} needs one list at least")
    finder, sizes = coarse(shape), (shape.dimension, shape.lists)
    if shape.kind is indexes.Kind.IVF_FLAT:
        found = faiss.IndexIVFFlat(finder, *sizes, metric(shape))
    elif shape.kind is indexes.Kind.IVF_SQ8:
        found = faiss.IndexIVFScalarQuantizer(finder, *sizes, faiss.ScalarQuantizer.QT_8bit, metric(shape))
    elif shape.kind is indexes.Kind.IVF_PQ:
        if shape.code_bytes < 1 or shape.dimension % shape.code_bytes:
            raise InputError(
                f"{shape.code_bytes} bytes of code do not divide dimension {shape.dimension}",
                hint="code bytes must be a divisor of the dimension",
            )
        found = faiss.IndexIVFPQ(finder, *sizes, shape.code_bytes, engine.CODE_BITS, metric(shape))
        found.use_precomputed_table = -1  # of use for searches alone, and larger than the lists of a small index
    else:
        raise Unsupported(f"kind {shape.kind} has no lists")
    found.cp.seed = shape.seed
    found.cp.niter = shape.iterations
    return found
