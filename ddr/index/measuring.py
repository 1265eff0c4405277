"""How good an index is: the search parameter it needs, settled before it is written, and what the written file finds.

The file is measured as a reader gets it: in a child, from the disk, with the parameter that stands in it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.errors import Damaged, Unavailable
from ddr.index import child, codec, exact, gate
from ddr.index.engines import engine, files

if TYPE_CHECKING:
    from ddr.index.engines.engine import Index

DEPTHS = (1, 10, 100)
PROBES = 64
PROBE_NEIGHBOURS = 10
_GROWTH = 1.12
_MOST_EF = 4096
_BYTES_PER_S = 100_000_000
"""That a processor compares at least, also an old one that others use, too."""


def ladder(shape: indexes.Shape, k: int) -> tuple[int, ...]:
    """What is tried as `nprobe` or `ef_search`, each about an eighth more than the one before; () for exact ones."""
    if shape.kind in engine.IVF:
        return _steps(1, max(1, shape.lists))
    return _steps(k, max(k, _MOST_EF)) if shape.kind in engine.GRAPHS else ()


def _steps(first: int, last: int) -> tuple[int, ...]:
    count = math.ceil(math.log(last / first, _GROWTH)) if last > first else 0
    return tuple(sorted({min(last, round(first * _GROWTH**step)) for step in range(count)} | {last}))


Search = Callable[[int], NDArray[np.int64]]
"""Labels, queries x k, found with this parameter."""


def of_parts(paths: Sequence[Path], queries: NDArray[np.float32], k: int, threads: int) -> Search:
    """Searches parts that were not merged yet as the merged index would be."""
    parts = [files.load(path, is_mapped=True) for path in paths]
    return lambda parameter: files.search_parts(parts, queries, k, parameter, threads=threads)[0]


def of_index(index: Index, queries: NDArray[np.float32], k: int, threads: int) -> Search:
    return lambda parameter: files.search(index, queries, k, parameter, threads=threads)[0]


def settle(search: Search, answer: exact.Answer, wanted: indexes.Wanted, shape: indexes.Shape) -> int:
    """The smallest parameter that meets the recall, the largest where none does; 0 where there is none to set."""
    rungs = ladder(shape, wanted.k)
    return gate.settle(search, answer, wanted, rungs)[0] if rungs and len(answer.labels) else 0


@dataclass(frozen=True)
class Question:
    index: str
    queries: str
    selves: str
    depths: tuple[int, ...]
    threads: int


@dataclass(frozen=True)
class Head:
    search: int
    seconds: float
    lists: tuple[int, ...]
    queries: int
    selves: int


def searching_s(shape: indexes.Shape, size_bytes: int, search: int, counts: Mapping[int, int]) -> int:
    """Processor time that searching a file of this size does not take. `counts`: the queries of each depth; `search`:
    the `nprobe` or `ef_search` that stands in it."""
    seen = sum(count * _seen_bytes(shape, size_bytes, search, depth) for depth, count in counts.items())
    return math.ceil(seen / _BYTES_PER_S)


def _seen_bytes(shape: indexes.Shape, size_bytes: int, search: int, depth: int) -> float:
    """What one query is compared with: centres, lists, and the codewords by which a table is made for each list."""
    vector = 4 * shape.dimension
    if shape.kind in engine.GRAPHS:
        return max(search, depth) * 2 * (shape.links or 32) * vector
    if shape.kind not in engine.IVF:
        return size_bytes
    table = engine.CODEWORDS * vector if shape.kind is indexes.Kind.IVF_PQ else 0
    return shape.lists * vector + search * (size_bytes / shape.lists + table)


def look(question: bytes) -> bytes:
    """The child's side: Question in, Head and labels out (queries x each depth, then the first of each self).

    Each depth is searched for itself: a graph looks at as many candidates as it shall find, if that is more.
    """
    asked = codec.decode(Question, question, "the question")
    index = files.load(Path(asked.index))
    queries, selves = (np.load(path, allow_pickle=False) for path in (asked.queries, asked.selves))
    began = time.perf_counter()
    found = [files.search(index, queries, depth, threads=asked.threads)[0] for depth in asked.depths]
    seconds = (time.perf_counter() - began) / len(asked.depths)
    first, _ = files.search(index, selves, 1, threads=asked.threads)
    head = Head(
        files.describe(index).search, seconds, tuple(files.list_sizes(index).tolist()), len(queries), len(selves)
    )
    return codec.encode(head) + b"".join(labels.astype("<i8").tobytes() for labels in (*found, first))


def measure(
    path: Path,
    queries: Path,
    selves: tuple[Path, NDArray[np.int64]],
    answer: exact.Answer,
    plan: indexes.Plan,
    threads: int,
) -> tuple[indexes.Quality, NDArray[np.int64]]:
    """Quality of the file, and its ten nearest to each query. Damaged when a child cannot load it, Unavailable when
    that is not done in a time that is long for it."""
    depths = tuple(sorted({*DEPTHS, plan.wanted.k}))
    sent = codec.encode(Question(str(path), str(queries), str(selves[0]), depths, threads))
    room = 8 * (sum(depths) + 64) * max(1, len(answer.labels)) + 8 * len(selves[1]) + (4 << 20)
    size, search = path.stat().st_size, files.describe(files.load(path, is_mapped=True)).search
    counts = {**dict.fromkeys(depths, len(answer.labels)), 1: len(answer.labels) + len(selves[1])}
    limits = child.Limits.of_file(size, room, searching_s(plan.shape, size, search, counts))
    outcome = child.run(look, sent, limits)
    if outcome.is_late:
        hint = "the same command again, when less else runs on this machine: what is built is kept"
        raise Unavailable(f"{path} was not measured in time: {outcome.trouble}", hint=hint)
    if outcome.trouble:
        raise Damaged(f"{path} cannot be loaded: {outcome.trouble}", hint="repeat the command: it is merged anew")
    line, _, rest = outcome.content.partition(b"\n")
    head = codec.decode(Head, line, "the answer of the child")
    labels = np.frombuffer(rest, "<i8")
    found, at = {}, 0
    for depth in depths:
        found[depth] = labels[at : at + head.queries * depth].reshape(head.queries, depth)
        at += head.queries * depth
    first = labels[at:]
    sizes = np.array(head.lists, np.float64)
    total = sizes.sum()
    parameter = {"nprobe": head.search} if plan.shape.kind in engine.IVF else {"ef_search": head.search}
    quality = indexes.Quality(
        tuple(recall for depth in depths for recall in gate.measure(found[depth], answer, (depth,))),
        parameter if head.search else {},
        round(head.queries / head.seconds, 1) if head.seconds and head.queries else 0.0,
        round(float(len(sizes) * np.square(sizes / total).sum()), 4) if total else 0.0,
        int((sizes == 0).sum()),
        round(float(np.mean(first == selves[1])), 4) if len(first) else 0.0,
    )
    return quality, found[PROBE_NEIGHBOURS]


def probes(queries: NDArray[np.float32], answer: exact.Answer, found: NDArray[np.int64]) -> tuple[indexes.Probe, ...]:
    """The first queries with what was exact and what this index says: a later check asks them again."""
    return tuple(
        indexes.Probe(
            tuple(queries[at].tolist()),
            _there(answer.labels[at, :PROBE_NEIGHBOURS]),
            _there(found[at]),
        )
        for at in range(min(PROBES, len(queries)))
    )


def _there(labels: NDArray[np.int64]) -> tuple[int, ...]:
    """Without the -1 that stand for no answer, where there are fewer rows."""
    return tuple(labels[labels >= 0].tolist())
