"""The nouns of a vector index: what is wanted, what was chosen, what it is made of, what was published, what was found.

A *corpus* is the vectors of all shards in their order; a row's number in it is its *position*. What an index answers
with is a *label*: the row's own id where ids are whole numbers, else its position, and `ids.json` names the rest.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

FORMAT = 1  # of plans, parts and manifests
LATER = frozenset({"neighbours"})
"""Fields that came after the first manifests were published. They are None by default and not written then: what was
published before keeps its bytes, and so its name and its plan's digest."""


class Kind(enum.StrEnum):
    """How vectors are kept and searched."""

    FLAT = "flat"
    IVF_FLAT = "ivf-flat"
    IVF_SQ8 = "ivf-sq8"
    IVF_PQ = "ivf-pq"
    HNSW = "hnsw"
    CAGRA = "cagra"
    """Built as a CAGRA graph on a GPU, published as an HNSW file that a CPU serves."""


class Metric(enum.StrEnum):
    L2 = "l2"
    IP = "ip"
    COSINE = "cosine"
    """Inner product of rows that are scaled to length 1 as they are read."""


Kept = Literal["serving", "pinned", "all", "records"]
"""Whose bytes a backup has: of the version that serves; also of those that are pinned; of all; of none."""

Policy = Literal["reject", "drop", "keep"]
"""What becomes of a row that is not as it should be: the build ends, the row is left out, it goes in as it is."""


@dataclass(frozen=True)
class Policies:
    not_finite: Literal["reject", "drop"] = "reject"
    """NaN or infinite in any place: never kept, faiss answers anything for it."""
    zero: Policy = "reject"
    """All places 0: its cosine is not defined."""
    duplicate: Policy = "keep"
    """The same vector, bit for bit, once more. An id twice is always rejected."""


@dataclass(frozen=True)
class Source:
    """Where the corpus lies. `vectors`: paths, globs or `s3://bucket/key*` of `.npy`, `.fbin` or `.parquet`; shards
    go in by their names, sorted within each pattern.

    `ids`: "" for positions, the name of a Parquet column, or a pattern of `.npy` (int64) or `.json` (a list of texts
    or whole numbers) files, one for each shard in the same order. `column` is the Parquet column with the vectors.
    """

    vectors: tuple[str, ...]
    ids: str = ""
    column: str = "vector"


@dataclass(frozen=True)
class Wanted:
    """What a person asks for. Sizes and counts that are 0 and kinds that are None are chosen by ddr."""

    name: str
    home: str
    """Folder (or `s3://bucket/prefix`) with `versions/` and what points at one of them."""
    source: Source
    metric: Metric = Metric.L2
    kind: Kind | None = None
    recall: float = 0.95
    """Of the exact `k` nearest, the share that the index must find, lower bound of a 95 % interval."""
    k: int = 10
    memory_mib: int = 0
    """The most that the build may hold; 0: what the machine has free."""
    bytes_per_vector: int = 0
    """The most that the index may hold for a vector; 0: no limit."""
    engine: Literal["auto", "faiss", "torch"] = "auto"
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1`, `mps`."""
    quality: Literal["fast", "max"] = "fast"
    """Of the training: 64 points for a centroid, or 256 as faiss does."""
    policies: Policies = field(default_factory=Policies)
    seed: int = 1234
    rows_per_part: int = 0
    queries: str = ""
    """Vectors of real queries, for the gate; "" takes rows of the corpus with a little noise."""
    embedder: str = ""
    """What made the vectors, as a fingerprint; compared with that of the version that serves."""


@dataclass(frozen=True)
class Shape:
    """What is built, down to every number: equal shapes, inputs and versions give equal bytes on a CPU."""

    kind: Kind
    dimension: int
    metric: Metric
    lists: int = 0
    """IVF: inverted lists."""
    is_coarse_graph: bool = False
    """IVF: the lists are looked up through an HNSW of 32 links; from 65,536 lists on."""
    links: int = 0
    """HNSW: M; a node has 2 M links on the lowest level."""
    ef_construction: int = 0
    code_bytes: int = 0
    """PQ: bytes of a code, one for each part of the vector."""
    points_per_list: int = 64
    """Training rows for each list."""
    iterations: int = 10
    neighbours: int | None = None
    """Centres that a row is compared with after the first round, those next to its own, where the CPU trains; None or
    0: all. GPUs and torch compare with all."""
    code_points: int = 0
    """PQ: training rows in all; 0: those of the lists."""
    code_iterations: int = 0
    seed: int = 1234


@dataclass(frozen=True)
class Shard:
    """A file of the corpus. `generation` changes when its bytes do: modification time and size, or an ETag."""

    uri: str
    rows: int
    dimension: int
    dtype: str
    size_bytes: int
    generation: str
    ids_uri: str = ""
    """The file with its ids, "" for positions and for ids that are a column; `generation` is of both files then."""


@dataclass(frozen=True)
class Part:
    """Positions [start, stop) of the corpus: what one worker call makes."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True)
class Estimate:
    """What a stage is expected to take; `seconds` from a rate measured here, 0 where none was."""

    stage: str
    memory_mib: int
    seconds: float


@dataclass(frozen=True)
class Plan:
    """Everything that decides the bytes of an index. Its digest names the work folder: the same plan goes on there."""

    wanted: Wanted
    shape: Shape
    engine: str
    device: str
    shards: tuple[Shard, ...]
    parts: tuple[Part, ...]
    reasons: tuple[str, ...] = ()
    estimates: tuple[Estimate, ...] = ()
    software: Mapping[str, str] = field(default_factory=dict)
    """Versions that decide the bytes: ddr's code of parts, faiss, torch, CUDA."""
    format: int = FORMAT

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)


@dataclass(frozen=True)
class IdSet:
    """Digest of a set of ids in which their order does not count and single ones can be added and taken away: sum and
    exclusive or of a 128-bit hash of each, as hexadecimal digits."""

    count: int = 0
    sum: str = "0" * 32
    xor: str = "0" * 32


@dataclass(frozen=True)
class Scan:
    """What one look at every row of the corpus found. `dropped` counts rows by why, `examples` says where some are."""

    rows: int
    kept: int
    ids: IdSet
    digests: tuple[str, ...]
    """Of each shard's bytes of vectors and ids as they were read, in order."""
    norms: tuple[float, ...] = ()
    """Length of rows at the quantiles 0, 1, 25, 50, 75, 99 and 100 %."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    anomalies: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Positions of the first few rows of each anomaly."""


@dataclass(frozen=True)
class File:
    """A file that was written and read back. `chunks`: SHA-256 of each 64 MiB, so that damage has a place."""

    name: str
    size_bytes: int
    sha256: str
    chunks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recall:
    """Share of the exact `k` nearest that the index found, over `queries`, with a 95 % interval by Wilson's score."""

    k: int
    queries: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Quality:
    """Measured on the file as it was read back from the disk."""

    recalls: tuple[Recall, ...] = ()
    search: Mapping[str, int] = field(default_factory=dict)
    """`nprobe` or `ef_search` with which it was measured, and which the file itself has."""
    queries_per_s: float = 0.0
    imbalance: float = 0.0
    """IVF: n lists times the sum of squared shares; 1 is even."""
    empty_lists: int = 0
    self_hits: float = 0.0
    """Share of rows that find themselves first."""


@dataclass(frozen=True)
class Golden:
    """A document whose vector was kept when the index was built, to tell another embedder by."""

    id: str
    text_sha256: str
    vector: tuple[float, ...]


@dataclass(frozen=True)
class Embedder:
    """What made the vectors. Equal dimensions prove nothing; equal fingerprints and golden vectors do."""

    fingerprint: str = ""
    name: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    golden: tuple[Golden, ...] = ()


@dataclass(frozen=True)
class Probe:
    """A query whose answer was written down when the index was published."""

    vector: tuple[float, ...]
    exact: tuple[int, ...]
    found: tuple[int, ...]


@dataclass(frozen=True)
class Manifest:
    """All about one published version. What is not in here was not checked."""

    version: str
    name: str
    created: datetime
    plan_digest: str
    plan: Plan
    scan: Scan
    files: tuple[File, ...]
    quality: Quality
    embedder: Embedder = field(default_factory=Embedder)
    probes: tuple[Probe, ...] = ()
    parent: str = ""
    parts: tuple[str, ...] = ()
    """SHA-256 of each part that went in."""
    is_deterministic: bool = False
    """Whether a rebuild from the same corpus gives the same bytes."""
    forced: str = ""
    """Why it was published below its gate."""
    format: int = FORMAT


class Trouble(enum.StrEnum):
    """What a check can find, each with an exit code of its own."""

    CORRUPT = "corrupt"
    OUT_OF_SYNC = "out-of-sync"
    OTHER_EMBEDDER = "other-embedder"
    LOW_RECALL = "low-recall"


EXIT_CODES: Mapping[Trouble, int] = {
    Trouble.CORRUPT: 10,
    Trouble.OUT_OF_SYNC: 11,
    Trouble.OTHER_EMBEDDER: 12,
    Trouble.LOW_RECALL: 13,
}
EXIT_RESUMABLE = 14
EXIT_LOCKED = 15
EXIT_BAD_INPUT = 42
"""Of a worker: no other try helps. A Kubernetes Job's podFailurePolicy fails the part at once."""


@dataclass(frozen=True)
class Finding:
    """`what` is wrong in `where`, and what to do next."""

    trouble: Trouble
    where: str
    what: str
    next: str = ""


@dataclass(frozen=True)
class Check:
    """What was looked at, level by level, what was found, and what was not looked at."""

    version: str
    levels: tuple[int, ...]
    findings: tuple[Finding, ...] = ()
    passed: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or that of the gravest finding: corrupt before out of sync before another embedder before low recall."""
        return min((EXIT_CODES[finding.trouble] for finding in self.findings), default=0)
