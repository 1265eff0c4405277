"""faiss itself: all on the CPU, or with one GPU for the centres of lists and for finding the list of each row.

What a GPU does not do: keep the lists. They stay in the machine's memory (as `bench_gpu_1bn.py` of faiss does with
`-altadd`), so that the size of a part has nothing to do with that of the GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddr.domain import indexes
from ddr.errors import InputError, Unavailable
from ddr.index.engines import blank, codebooks, engine, files, kmeans, library, nearby
from ddr.lib import redact

Assign = Callable[[engine.Vectors], npt.NDArray[np.int64]]

_GPU_BATCH_ROWS = 1 << 18


@dataclass(frozen=True)
class FaissEngine:
    """`device`: `cpu`, `cuda` or `cuda:1`; the latter with a GPU build of faiss alone."""

    device: str = "cpu"
    name: str = "faiss"

    def train(
        self, sample: engine.Vectors, shape: indexes.Shape, threads: int, tell: engine.Tell = engine.untold
    ) -> bytes:
        sample = engine.check_sample(sample, shape)
        with engine.threads_of_faiss(threads):
            index = blank.index(shape)
            if shape.kind in engine.IVF:
                try:
                    with kmeans.in_memory(self.device, "train"):
                        self._train(index, sample, shape, tell)
                except RuntimeError as problem:
                    raise InputError(f"faiss cannot train {shape.kind.value}: {redact.foreign(problem)}") from problem
            return files.serialize(index)

    def _train(self, index: engine.Index, sample: engine.Vectors, shape: indexes.Shape, tell: engine.Tell) -> None:
        of_centres, of_codes = engine.told_in_two(tell, shape, len(sample))
        index.quantizer.add(self._centres(sample, shape, of_centres))
        if shape.kind is indexes.Kind.IVF_PQ:
            chosen = engine.some(sample, shape.code_points or len(sample), shape.seed)
            rounds = shape.code_iterations or engine.CODE_ROUNDS
            codebooks.train(index.pq, _residuals(index, chosen), rounds, shape.seed, of_codes)
            index.is_trained = True
        else:
            index.train(sample)  # the centres are there: what is left is the range of each place of IVF-SQ8

    def _centres(self, sample: engine.Vectors, shape: indexes.Shape, tell: engine.Tell) -> engine.Vectors:
        finder, points = blank.coarse_flat(shape), max(shape.points_per_list, 1)
        rows = engine.some(sample, points * shape.lists, shape.seed)
        if self.device != "cpu":
            finder = _on_gpu(finder, self.device)
        elif shape.neighbours:
            return nearby.train(rows, shape, finder, tell)
        return _full_rounds(rows, shape, finder, tell)

    def part(self, trained: bytes, shape: indexes.Shape, batches: Iterable[engine.Batch], threads: int) -> engine.Index:
        if shape.kind not in engine.IVF:
            return flat_part(shape, batches, threads)
        index = files.loads(trained, "the trained index")
        assign = self._assign(index) if self.device != "cpu" else None
        with engine.threads_of_faiss(threads):
            for batch in batches:
                if not len(batch.labels):
                    continue
                if assign is None:
                    index.add_with_ids(batch.vectors, batch.labels)
                else:
                    add_assigned(index, batch.vectors, batch.labels, assign(batch.vectors))
        return index

    def _assign(self, index: engine.Index) -> Assign:
        with kmeans.in_memory(self.device, "hold the centres"):
            finder = _on_gpu(files.inner(index.quantizer), self.device)
        blocks = kmeans.Blocks(_GPU_BATCH_ROWS)

        def assign(vectors: engine.Vectors) -> npt.NDArray[np.int64]:
            found = np.empty(len(vectors), np.int64)

            def work(start: int, stop: int) -> None:
                found[start:stop] = finder.search(vectors[start:stop], 1)[1].ravel()

            blocks.over(len(vectors), 1, work)
            return found

        return assign


def _full_rounds(rows: engine.Vectors, shape: indexes.Shape, finder: engine.Index, tell: engine.Tell) -> engine.Vectors:
    """The centres of faiss's own k-means, lists x d. A round a call, each from the centres of the last: what one call
    of all rounds finds, but told between them."""
    faiss = library.faiss()
    found = np.empty((0, shape.dimension), np.float32)
    for done in range(1, shape.iterations + 1):
        clustering = faiss.Clustering(shape.dimension, shape.lists)
        clustering.seed, clustering.niter = shape.seed, 1
        clustering.spherical = shape.metric is not indexes.Metric.L2
        clustering.min_points_per_centroid = 1  # how few are too few is decided before, not printed here
        clustering.max_points_per_centroid = len(rows)
        faiss.copy_array_to_vector(found.ravel(), clustering.centroids)
        clustering.train(rows, finder)
        found = faiss.vector_to_array(clustering.centroids).reshape(shape.lists, shape.dimension)
        if done < shape.iterations:
            tell(done / shape.iterations)
    return found


def _residuals(index: engine.Index, rows: engine.Vectors) -> engine.Vectors:
    """What is left of each row when the centre of its list is taken away: what codes stand for."""
    _, nearest = index.quantizer.search(rows, 1)
    left: engine.Vectors = rows - index.quantizer.reconstruct_batch(nearest.ravel())
    return left


def flat_part(shape: indexes.Shape, batches: Iterable[engine.Batch], threads: int) -> engine.Index:
    """Vectors and labels as they came, for flat indexes and for the build of a graph."""
    index = blank.part(shape)
    with engine.threads_of_faiss(threads):
        for batch in batches:
            if len(batch.labels):
                index.add_with_ids(batch.vectors, batch.labels)
    return index


def add_assigned(
    index: engine.Index, vectors: engine.Vectors, labels: engine.Labels, assigned: npt.NDArray[np.int64]
) -> None:
    """Rows whose lists are known go in: faiss encodes them."""
    faiss = library.faiss()

    rows = np.ascontiguousarray(vectors, np.float32)
    ids = np.ascontiguousarray(labels, np.int64)
    where = np.ascontiguousarray(assigned, np.int64)
    index.add_core(len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(ids), faiss.swig_ptr(where))


def _on_gpu(index: engine.Index, device: str) -> engine.Index:
    """A copy of a flat index on the GPU. Unavailable where faiss was built without, or sees none."""
    faiss = library.faiss()

    if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() < 1:
        raise Unavailable(f"faiss has no GPU for device {device}", hint="install faiss-gpu-cuvs, or take device cpu")
    number = int(device.partition(":")[2] or 0)
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), number, index)
