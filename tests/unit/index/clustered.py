"""Rows in clusters of very different sizes, as embeddings have them, and batches of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddr.domain import indexes
from ddr.index.engines import engine, files


@dataclass(frozen=True)
class Batch:
    labels: engine.Labels
    vectors: engine.Vectors


def rows(count: int, dimension: int, seed: int = 0) -> engine.Vectors:
    """Power-law clusters of few inner dimensions."""
    random = np.random.default_rng(seed)
    weights = 1 / np.arange(1, 101)
    centres = random.standard_normal((100, dimension))[random.choice(100, count, p=weights / weights.sum())]
    inner = random.standard_normal((count, 4)) @ random.standard_normal((4, dimension))
    return (centres + 0.5 * inner + 0.1 * random.standard_normal((count, dimension))).astype(np.float32)


def batches(labels: engine.Labels, vectors: engine.Vectors, size: int) -> Iterator[Batch]:
    for start in range(0, len(labels), size):
        yield Batch(labels[start : start + size], vectors[start : start + size])


def parts(
    made_by: engine.Engine,
    shape: indexes.Shape,
    where: tuple[engine.Labels, engine.Vectors],
    cuts: Sequence[int],
    folder: Path,
    threads: int = 1,
) -> tuple[bytes, list[Path]]:
    """Trained bytes, and a file for each range between the cuts."""
    labels, vectors = where
    trained = made_by.train(vectors, shape, threads)
    paths = []
    for number, (start, stop) in enumerate(itertools.pairwise(cuts)):
        made = made_by.part(trained, shape, batches(labels[start:stop], vectors[start:stop], 700), threads)
        paths.append(folder / f"part-{number}.faiss")
        with paths[-1].open("wb") as file:
            files.serialize_to(made, lambda piece, file=file: file.write(piece) and None)  # type: ignore[misc]
    return trained, paths


def merged(trained: bytes, paths: Sequence[Path], shape: indexes.Shape, search: int = 0, threads: int = 1) -> bytes:
    pieces: list[bytes] = []
    files.merge_to(trained, paths, shape, lambda piece: pieces.append(bytes(piece)), threads=threads, search=search)
    return b"".join(pieces)


def recall(index: engine.Index, vectors: engine.Vectors, queries: engine.Vectors, parameter: int, k: int = 10) -> float:
    """Share of the exact `k` nearest by position; labels must be positions."""
    import faiss

    is_l2 = files.describe(index).is_l2
    flat = faiss.IndexFlat(vectors.shape[1], faiss.METRIC_L2 if is_l2 else faiss.METRIC_INNER_PRODUCT)
    flat.add(vectors)
    nearest = flat.search(queries, k)[1]
    found, _ = files.search(index, queries, k, parameter, threads=1)
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(found.tolist(), nearest.tolist(), strict=True)]))
