"""The torch engine: centres, lists of rows and codes as matrix work on any device of torch.

What comes out is a standard file of faiss: plain faiss loads, searches, merges and serves it. The lists lie in the
machine's memory, so the size of a part has nothing to do with that of the GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddr.domain import indexes
from ddr.index.engines import blank, engine, faiss_engine, files, kmeans, library

_BATCH_ROWS = 1 << 30


@dataclass(frozen=True)
class TorchEngine:
    """`device`: `cpu`, `cuda`, `cuda:1`, `mps`."""

    device: str = "cpu"
    name: str = "torch"

    def train(
        self, sample: engine.Vectors, shape: indexes.Shape, threads: int, tell: engine.Tell = engine.untold
    ) -> bytes:
        index = blank.index(shape)
        if shape.kind not in engine.IVF:
            return files.serialize(index)
        torch = library.torch()
        sample = engine.check_sample(sample, shape)
        with _threads(threads), torch.inference_mode(), kmeans.in_memory(self.device, "train"):
            blocks = kmeans.blocks_of(self.device)
            of_centres, of_codes = engine.told_in_two(tell, shape, len(sample))
            centres = kmeans.train(sample, shape, self.device, blocks, of_centres)
            index.quantizer.add(centres.cpu().numpy())
            if shape.kind is indexes.Kind.IVF_PQ:
                chosen = engine.some(sample, shape.code_points or len(sample), shape.seed)
                rows = kmeans.on_device(chosen, self.device)
                rows -= centres[kmeans.assign(rows, centres, blocks, is_l2=shape.metric is indexes.Metric.L2)]
                rounds = shape.code_iterations or engine.CODE_ROUNDS
                books = kmeans.train_codes(rows, shape.code_bytes, rounds, shape.seed, blocks, tell=of_codes)
                library.faiss().copy_array_to_vector(books.cpu().numpy().ravel(), index.pq.centroids)
            elif shape.kind is indexes.Kind.IVF_SQ8:
                index.train(sample)  # the range of each place: one pass of faiss, as the centres are there
            index.is_trained = True
            return files.serialize(index)

    def part(self, trained: bytes, shape: indexes.Shape, batches: Iterable[engine.Batch], threads: int) -> engine.Index:
        if shape.kind not in engine.IVF:
            return faiss_engine.flat_part(shape, batches, threads)
        index = files.loads(trained, "the trained index")
        with _threads(threads), library.torch().inference_mode():
            adder = _Adder.of(index, shape, self.device)
            for batch in batches:
                if len(batch.labels):
                    adder.add(batch.vectors, batch.labels)
        return index


@dataclass(frozen=True)
class _Adder:
    """Puts rows into an index: lists and codes found on the device, the rest by faiss."""

    index: engine.Index
    centres: kmeans.Tensor
    books: kmeans.Tensor | None
    blocks: kmeans.Blocks
    device: str
    is_l2: bool
    batches: kmeans.Blocks
    """Rows that are on the device at once: a batch, or what fits of it."""

    @classmethod
    def of(cls, index: engine.Index, shape: indexes.Shape, device: str) -> _Adder:
        faiss = library.faiss()
        centres = kmeans.on_device(index.quantizer.reconstruct_n(0, index.nlist), device)
        books = None
        if shape.kind is indexes.Kind.IVF_PQ:
            flat = faiss.vector_to_array(index.pq.centroids)
            books = kmeans.on_device(flat.reshape(shape.code_bytes, engine.CODEWORDS, -1), device)
        is_l2 = shape.metric is indexes.Metric.L2
        rows = kmeans.Blocks(_BATCH_ROWS)
        return cls(index, centres, books, kmeans.blocks_of(device), device, is_l2, rows)

    def add(self, vectors: engine.Vectors, labels: engine.Labels) -> None:
        """All are found before one goes in: what is tried again is not there twice."""
        found = np.empty(len(vectors), np.int64)
        codes = np.empty((len(vectors), 0 if self.books is None else len(self.books)), np.uint8)

        def work(start: int, stop: int) -> None:
            rows = kmeans.on_device(vectors[start:stop], self.device)
            with kmeans.precision(is_exact=True):
                nearest = kmeans.assign(rows, self.centres, self.blocks, is_l2=self.is_l2)
            found[start:stop] = nearest.cpu().numpy()
            if self.books is not None:
                rows -= self.centres[nearest]
                codes[start:stop] = kmeans.encode(rows, self.books, self.blocks).cpu().numpy()

        self.batches.over(len(vectors), 1, work)
        if self.books is None:
            faiss_engine.add_assigned(self.index, vectors, labels, found)
        else:
            _add_codes(self.index, found, codes, labels)


def _add_codes(
    index: engine.Index, lists: npt.NDArray[np.int64], codes: npt.NDArray[np.uint8], labels: engine.Labels
) -> None:
    """Codes as faiss takes them by themselves: the list's number, lowest byte first, and the code."""
    faiss = library.faiss()
    width = index.coarse_code_size()
    alone = np.empty((len(codes), width + codes.shape[1]), np.uint8)
    alone[:, :width] = lists.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]
    alone[:, width:] = codes
    ids = np.ascontiguousarray(labels, np.int64)
    index.add_sa_codes_c(len(alone), faiss.swig_ptr(alone), faiss.swig_ptr(ids))


@contextlib.contextmanager
def _threads(threads: int) -> Iterator[None]:
    torch = library.torch()
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    try:
        with engine.threads_of_faiss(threads):
            yield
    finally:
        torch.set_num_threads(before)
