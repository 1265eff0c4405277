"""Corpora to try things on: written to a folder in any format, clustered, and as bad as they come."""

from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.index.sources import corpus, opening, places, scan
from ddr.ports import store

NONE_DROPPED = np.empty(0, np.int64)
KEEP = indexes.Policies(zero="keep")
DROP = indexes.Policies("drop", "drop", "drop")


def no_bucket(name: str) -> store.Store:
    raise AssertionError(f"nobody named the bucket {name}")


def clustered(rows: int, dimension: int, seed: int = 0, clusters: int = 20) -> NDArray[np.float32]:
    """A mixture with cluster sizes by a power law."""
    draw = np.random.default_rng(seed)
    centres = draw.standard_normal((clusters, dimension)) * 3
    sizes = 1 / np.arange(1, clusters + 1)
    which = draw.choice(clusters, rows, p=sizes / sizes.sum())
    return (centres[which] + draw.standard_normal((rows, dimension))).astype(np.float32)


def cut(rows: int, shards: int) -> list[tuple[int, int]]:
    bounds = np.linspace(0, rows, shards + 1).astype(int).tolist()
    return list(itertools.pairwise(bounds))


def write_npy(base: Path, vectors: NDArray[np.generic], shards: int = 3, name: str = "v") -> tuple[str, ...]:
    for at, (first, end) in enumerate(cut(len(vectors), shards)):
        np.save(base / f"{name}-{at:03d}.npy", vectors[first:end])
    return (f"{name}-*.npy",)


def rot(path: Path) -> None:
    """Its last bytes become others, under the same size and time."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        last = file.read()
        file.seek(-8, os.SEEK_END)
        file.write(bytes(one ^ 1 for one in last))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def write_fbin(path: Path, vectors: NDArray[np.float32]) -> None:
    path.write_bytes(np.array(vectors.shape, "<u4").tobytes() + vectors.astype("<f4").tobytes())


def write_ids(base: Path, ids: NDArray[np.int64] | Sequence[str], shards: int = 3) -> str:
    for at, (first, end) in enumerate(cut(len(ids), shards)):
        if isinstance(ids, np.ndarray):
            np.save(base / f"i-{at:03d}.npy", ids[first:end])
        else:
            (base / f"i-{at:03d}.json").write_text(json.dumps(ids[first:end]))
    return "i-*.npy" if isinstance(ids, np.ndarray) else "i-*.json"


def opened(base: Path, source: indexes.Source) -> corpus.Corpus:
    return corpus.opened(opening.find(source, base, no_bucket), source, base, no_bucket)


def of(base: Path, vectors: NDArray[np.generic], ids: NDArray[np.int64] | Sequence[str] | None = None) -> corpus.Corpus:
    """In a new folder below `base`, in three shards."""
    folder = base / f"corpus-{len(list(base.iterdir()))}"
    folder.mkdir()
    named = "" if ids is None else write_ids(folder, ids)
    return opened(folder, indexes.Source(write_npy(folder, vectors), ids=named))


def batches(
    vectors: NDArray[np.float32], labels: NDArray[np.int64] | None = None, rows: int = 1000
) -> list[corpus.Batch]:
    numbers = np.arange(len(vectors), dtype=np.int64)
    labels = numbers if labels is None else labels
    return [
        corpus.Batch(numbers[at : at + rows], labels[at : at + rows], vectors[at : at + rows])
        for at in range(0, len(vectors), rows)
    ]


def find(base: Path, *vectors: str, ids: str = "", column: str = "vector") -> tuple[indexes.Shard, ...]:
    return opening.find(indexes.Source(vectors, ids, column), base, no_bucket)


def open_all(base: Path, source: indexes.Source, buckets: places.Buckets = no_bucket) -> list[opening.Opened]:
    return [opening.open_shard(shard, source, base, buckets) for shard in opening.find(source, base, buckets)]


def npy(array: NDArray[np.generic]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def table(vectors: object, **columns: object) -> pa.Table:
    return pa.table({"vector": vectors, **columns})


def fixed(vectors: NDArray[np.generic]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])


def written(base: Path, content: pa.Table, rows_per_group: int = 50, name: str = "v.parquet") -> Path:
    pq.write_table(content, base / name, row_group_size=rows_per_group)
    return base / name


def quiet(rows: int) -> None:
    """Watches nothing."""


def scanned(rows: corpus.Corpus, policies: indexes.Policies = DROP) -> tuple[indexes.Scan, NDArray[np.int64]]:
    return scan.scan(rows, policies, quiet)
