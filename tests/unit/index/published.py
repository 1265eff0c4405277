"""Small real indexes of a small real corpus, ready to be published, and a home to put them in."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import faiss
import numpy as np
import numpy.typing as npt

from ddr.domain import index_versions, indexes
from ddr.index import check, codec
from ddr.index.engines import files as faiss_files
from ddr.index.homes import bucket, folder, home, naming, publishing, writing
from ddr.index.sources import corpus as corpora
from ddr.index.sources import opening, scan
from ddr.lib import digest
from ddr.ports import store

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
LONG_AFTER = datetime(2126, 11, 21, tzinfo=UTC)
"""Also by the clocks of the disk and of a bucket, which no test sets."""
DIMENSION = 8
FACTORIES = {
    indexes.Kind.FLAT: "IDMap2,Flat",
    indexes.Kind.IVF_FLAT: "IVF8,Flat",
    indexes.Kind.IVF_SQ8: "IVF8,SQ8",
    indexes.Kind.IVF_PQ: "IVF8,PQ4x4",
    indexes.Kind.HNSW: "IDMap2,HNSW8",
}
KINDS = tuple(FACTORIES)
LISTS = 8


class Clock:
    def __init__(self) -> None:
        self.at = AT

    def __call__(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


def no_buckets(name: str) -> NoReturn:
    raise AssertionError(name)


@dataclass(frozen=True)
class Made:
    """What a build leaves: files in a work folder, and a manifest without a version. The corpus lies in `base`."""

    base: Path
    files: dict[str, Path]
    manifest: indexes.Manifest

    def corpus(self) -> corpora.Corpus:
        """As it is now."""
        source = self.manifest.plan.wanted.source
        return corpora.opened(opening.find(source, self.base, no_buckets), source, self.base, no_buckets)

    def by(self, embedder: str) -> Made:
        return dataclasses.replace(
            self, manifest=dataclasses.replace(self.manifest, embedder=indexes.Embedder(embedder))
        )

    def as_another(self, seed: int) -> Made:
        """The same bytes by another plan."""
        plan = dataclasses.replace(self.manifest.plan, software={"seed": str(seed)})
        manifest = dataclasses.replace(self.manifest, plan=plan, plan_digest=codec.key(plan))
        return dataclasses.replace(self, manifest=manifest)


def vectors(rows: int, seed: int) -> npt.NDArray[np.float32]:
    """Clusters of unequal sizes."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((12, DIMENSION)) * 4
    chosen = np.minimum(random.zipf(1.6, rows) - 1, 11)
    return (centres[chosen] + random.standard_normal((rows, DIMENSION))).astype(np.float32)


def make(
    base: Path,
    kind: indexes.Kind = indexes.Kind.IVF_FLAT,
    *,
    rows: int = 400,
    seed: int = 1,
    ids: str = "numbers",
    metric: indexes.Metric = indexes.Metric.L2,
    embedder: str = "",
) -> Made:
    """`ids`: numbers, texts or positions. Two shards."""
    base.mkdir(parents=True, exist_ok=True)
    for shard in range(2):
        first, end = shard * rows // 2, (shard + 1) * rows // 2
        np.save(base / f"v{shard}.npy", vectors(rows, seed)[first:end])
        if ids == "numbers":
            np.save(base / f"i{shard}.npy", np.arange(first, end, dtype=np.int64) * 7 + 5)
        if ids == "texts":
            (base / f"i{shard}.json").write_text(json.dumps([f"doc-{row}" for row in range(first, end)]))
    named = {"numbers": "i*.npy", "texts": "i*.json", "positions": ""}[ids]
    wanted = indexes.Wanted("docs", "home", indexes.Source(("v*.npy",), named), metric)
    return _built(base, kind, wanted, rows, embedder)


def _built(base: Path, kind: indexes.Kind, wanted: indexes.Wanted, rows: int, embedder: str) -> Made:
    shards = opening.find(wanted.source, base, no_buckets)
    corpus = corpora.opened(shards, wanted.source, base, no_buckets)
    scanned, dropped = scan.scan(corpus, wanted.policies, lambda rows: None)
    (batch,) = corpus.batches(0, rows, rows, wanted.metric, wanted.policies, dropped)
    measure = faiss.METRIC_L2 if wanted.metric is indexes.Metric.L2 else faiss.METRIC_INNER_PRODUCT
    index = faiss.index_factory(DIMENSION, FACTORIES[kind], measure)
    if not index.is_trained:
        faiss.extract_index_ivf(index).cp.min_points_per_centroid = 1
        index.train(batch.vectors)
    index.add_with_ids(batch.vectors, batch.labels)
    is_ivf = kind not in (indexes.Kind.FLAT, indexes.Kind.HNSW)
    faiss_files.set_search(index, 4 if is_ivf else 32)
    queries = batch.vectors[:: max(1, rows // 20)][:20]
    found, _ = faiss_files.search(index, queries, 5)
    work = base / "work"
    work.mkdir(exist_ok=True)
    built = [writing.write(work / "index.faiss", lambda sink: faiss_files.serialize_to(index, sink))]
    if named := corpus.texts(0, rows):
        built.append(writing.write_bytes(work / "ids.json", json.dumps(named).encode()))
    shape = indexes.Shape(kind, DIMENSION, wanted.metric, lists=LISTS if is_ivf else 0)
    plan = indexes.Plan(wanted, shape, "faiss", "cpu", shards, (indexes.Part(0, 0, rows),))
    search = {"nprobe": 4} if is_ivf else {"ef_search": 32} if kind is indexes.Kind.HNSW else {}
    probes = [
        indexes.Probe(tuple(map(float, query)), (), tuple(answer.tolist()))
        for query, answer in zip(queries, found, strict=True)
    ]
    manifest = indexes.Manifest(
        "",
        "docs",
        AT,
        codec.key(plan),
        plan,
        scanned,
        tuple(built),
        indexes.Quality((indexes.Recall(5, 20, 1.0, 0.98, 1.0),), search),
        indexes.Embedder(embedder),
        tuple(probes),
    )
    return Made(base, {file.name: work / file.name for file in built}, manifest)


def at(root: Path) -> folder.FolderHome:
    root.mkdir(parents=True, exist_ok=True)
    return folder.FolderHome(root, Clock(), "tester")


def in_store(place: store.Store) -> bucket.BucketHome:
    """Segments of 1,000 bytes, so that there are many."""
    return bucket.BucketHome(place, "team/docs/", Clock(), "tester", segment_bytes=1000)


def prover(of: home.Shelf, levels: tuple[int, ...] = (0, 1, 2)) -> publishing.Prove:
    return lambda version: check.check(of, version, check.Means(), levels)


def published(to: home.Home, made: Made, levels: tuple[int, ...] = (0, 1)) -> str:
    """Its version. Without a child process, unless the levels say so."""
    return publishing.publish(to, made.files, made.manifest, prover(to, levels)).after


def of_a_newer_ddr(of: folder.FolderHome, version: str) -> str:
    """The same files as another version, whose manifest says more than this ddr knows."""
    told = {**codec.told(of.manifest(version)), "more": 1}
    name = index_versions.name(1 + index_versions.number(of.versions()[-1]), told)
    shutil.copytree(of.root / "versions" / version, of.root / "versions" / name)
    manifest = loosened(of.root / "versions" / name / naming.MANIFEST)
    manifest.write_bytes(digest.line({**told, "version": name}))
    return name


def loosened(path: Path) -> Path:
    """A published file, writable: for whoever damages it."""
    path.chmod(0o644)
    return path
