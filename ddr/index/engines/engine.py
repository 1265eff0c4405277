"""What an engine is: it trains once, and then makes each part from the trained bytes and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ddr.domain import indexes
from ddr.errors import InputError
from ddr.index.engines import library

Vectors: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int64]
Index: TypeAlias = Any
"""An index object of faiss, whose classes come from a C++ library that is imported late."""

IVF = frozenset({indexes.Kind.IVF_FLAT, indexes.Kind.IVF_SQ8, indexes.Kind.IVF_PQ})
GRAPHS = frozenset({indexes.Kind.HNSW, indexes.Kind.CAGRA})
CODE_BITS = 8
CODEWORDS = 1 << CODE_BITS
CODE_POINTS = 256 * CODEWORDS
_CODES_SLOWER = 6
"""Times as long as one matrix product takes faiss's encoder for as many comparisons (measured: 6.5; torch: 3)."""
CODE_ROUNDS = 25
"""Of codebooks where a shape does not say, as in faiss."""
SCALAR_POINTS = 100_000
"""Rows that faiss looks at for the range of each place of IVF-SQ8."""

Tell = Callable[[float], None]
"""Called between the rounds of training with the share of it that is done, more than 0 and less than 1."""


def untold(_: float) -> None:
    """Nobody watches."""


class Batch(Protocol):
    """Some rows of the corpus: labels (int64) and vectors (float32, C-contiguous), no NaN among them."""

    @property
    def labels(self) -> Labels: ...

    @property
    def vectors(self) -> Vectors: ...


class Engine(Protocol):
    """Makes indexes on one device. Every method may be called again, and gives the same on a CPU each time."""

    @property
    def name(self) -> str: ...

    @property
    def device(self) -> str: ...

    def train(self, sample: Vectors, shape: indexes.Shape, threads: int, tell: Tell = untold) -> bytes:
        """A trained index without rows, as a file of faiss. `sample`: `sample_rows(shape)` rows or fewer, rows x d.

        Flat and graphs learn nothing: they give their empty index. InputError where the sample cannot carry the shape.
        """

    def part(self, trained: bytes, shape: indexes.Shape, batches: Iterable[Batch], threads: int) -> Index:
        """The index of these rows alone; `files.serialize_to` writes it, so that its bytes are not held twice.

        IVF: the lists of these rows. Flat and graphs: the vectors and labels as they are; graphs are made by the merge.
        """


def sample_rows(shape: indexes.Shape) -> int:
    """How many rows training wants; fewer are taken, more are of no use."""
    if shape.kind not in IVF:
        return 0
    lists = shape.lists * shape.points_per_list
    if shape.kind is indexes.Kind.IVF_PQ:
        return max(lists, shape.code_points)
    return max(lists, SCALAR_POINTS) if shape.kind is indexes.Kind.IVF_SQ8 and shape.points_per_list >= 256 else lists


def some(sample: Vectors, count: int, seed: int) -> Vectors:
    """`count` rows of the sample, chosen by the seed, or all of them."""
    if len(sample) <= count:
        return sample
    return sample[np.sort(np.random.default_rng(seed).choice(len(sample), count, replace=False))]


def told_in_two(tell: Tell, shape: indexes.Shape, rows: int) -> tuple[Tell, Tell]:
    """`tell` for the rounds of the centres and for those of codebooks behind them: each has its share by what it
    compares. `rows`: of the sample."""
    if shape.kind is not indexes.Kind.IVF_PQ:
        return tell, untold
    centres = shape.iterations * min(rows, shape.points_per_list * shape.lists) * shape.lists
    codes = (shape.code_iterations or CODE_ROUNDS) * min(rows, shape.code_points or rows) * CODEWORDS * _CODES_SLOWER
    share = centres / (centres + codes)
    return lambda done: tell(share * done), lambda done: tell(share + (1 - share) * done)


def check_sample(sample: Vectors, shape: indexes.Shape) -> Vectors:
    """The sample as engines take it. InputError where it cannot carry the shape."""
    if sample.ndim != 2 or sample.shape[1] != shape.dimension:
        raise InputError(f"a sample of shape {sample.shape} cannot train an index of dimension {shape.dimension}")
    needed = CODEWORDS if shape.kind is indexes.Kind.IVF_PQ else 1
    needed = max(needed, shape.lists)
    if shape.kind in IVF and len(sample) < needed:
        raise InputError(
            f"{len(sample)} training rows are too few for {shape.lists} lists of {shape.kind.value}: {needed} at least",
            hint="take kind flat, or fewer lists",
        )
    return np.ascontiguousarray(sample, dtype=np.float32)


def is_deterministic(kind: indexes.Kind, device: str, name: str = "faiss") -> bool:
    """Whether the same plan gives the same bytes again, with any number of threads and however parts are batched.

    On a GPU sums run in no fixed order (raft #1500). On a CPU that holds for faiss, also for graphs since 1.15, whose
    build takes no locks (`hnsw_add_vertices_deterministic`); products of torch depend on how rows are cut.
    """
    return device == "cpu" and kind is not indexes.Kind.CAGRA and (name == "faiss" or kind not in IVF)


@contextlib.contextmanager
def threads_of_faiss(threads: int) -> Iterator[None]:
    """As many OpenMP threads as were given, and what it was before at the end. 0: leave it."""
    faiss = library.faiss()

    before = faiss.omp_get_max_threads()
    if threads:
        faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
