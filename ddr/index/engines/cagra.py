"""CAGRA: a graph that a GPU builds in a fraction of the time, published as an HNSW file that a CPU serves.

The GPU's index takes all rows at once and wants them in its own memory; `preflight` has refused what does not fit.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ddr.domain import indexes
from ddr.errors import Unavailable, Unsupported
from ddr.index.engines import blank, engine, library
from ddr.lib import redact

LEAST_ROWS = 1_000
"""Copying a graph of three or four rows to a CPU never ends (faiss #4260), and below a thousand nothing is gained."""


def is_there() -> bool:
    """Whether this faiss was built with cuVS and sees a GPU."""
    faiss = library.faiss()
    return hasattr(faiss, "GpuIndexCagra") and hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def build(
    shape: indexes.Shape, pieces: Iterable[tuple[engine.Labels, engine.Vectors]], threads: int, device: int = 0
) -> engine.Index:
    """The graph of all rows with their labels, as an index that plain faiss reads and a CPU searches."""
    faiss = library.faiss()
    if not is_there():
        raise Unavailable("CAGRA needs faiss with cuVS and a GPU", hint="install faiss-gpu-cuvs, or take kind hnsw")
    held = list(pieces)
    labels = np.concatenate([ids for ids, _ in held])
    vectors = np.concatenate([rows for _, rows in held])
    held.clear()
    if len(labels) < LEAST_ROWS:
        raise Unsupported(f"{len(labels)} rows are too few for CAGRA", hint="take kind hnsw or flat")
    config = faiss.GpuIndexCagraConfig()
    config.device = device
    config.graph_degree = 2 * (shape.links or 32)
    config.intermediate_graph_degree = 2 * config.graph_degree
    config.build_algo = faiss.graph_build_algo_IVF_PQ
    config.store_dataset = False
    with engine.threads_of_faiss(threads):
        try:
            built = faiss.GpuIndexCagra(faiss.StandardGpuResources(), shape.dimension, blank.metric(shape), config)
            built.train(vectors)
            graph = faiss.IndexHNSWCagra(shape.dimension, shape.links or 32, blank.metric(shape))
            built.copyTo(graph)
        except RuntimeError as problem:
            raise Unavailable(f"the GPU did not build the graph: {redact.foreign(problem)}") from problem
    whole = faiss.IndexIDMap2(graph)
    faiss.copy_array_to_vector(labels, whole.id_map)
    whole.ntotal = len(labels)
    whole.construct_rev_map()
    return whole
