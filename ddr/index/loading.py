"""What a child says of an index file: loaded, described, searched. The file may be anything; so may the answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ddr.domain import indexes
from ddr.errors import Damaged
from ddr.index import child, codec
from ddr.index.engines import files
from ddr.index.sources import hashes

_MAPPED_FROM_BYTES = 2 << 30
"""Larger files are not taken into memory to be looked at."""


@dataclass(frozen=True)
class Question:
    """`names` is the path of `ids.json`, "" where ids are whole numbers. `probes` are vectors, searched for `k`."""

    path: str
    names: str = ""
    probes: tuple[tuple[float, ...], ...] = ()
    k: int = 0
    sample: tuple[int, ...] = ()
    """Labels whose vectors are wanted."""
    wants_labels: bool = False
    threads: int = 2


@dataclass(frozen=True)
class Head:
    """What comes before the arrays: `labels` whole numbers and `sample` x dimension float32, little endian."""

    rows: int
    dimension: int
    is_l2: bool
    structure: str
    lists: int
    search: int
    is_trained: bool
    different_labels: int
    ids: indexes.IdSet
    names: int
    """Entries of `ids.json`, -1 without one."""
    found: tuple[tuple[int, ...], ...]
    labels: int = 0
    sample: int = 0


@dataclass(frozen=True)
class Seen:
    head: Head
    labels: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float32]


def look(question: bytes) -> bytes:
    """The child's side: Question in, Head and arrays out."""
    asked = codec.decode(Question, question, "the question")
    path = Path(asked.path)
    index = files.load(path, is_mapped=path.stat().st_size > _MAPPED_FROM_BYTES)
    facts = files.describe(index)
    labels = np.ascontiguousarray(files.labels(index), "<i8")
    named = names(Path(asked.names)) if asked.names else None
    found: tuple[tuple[int, ...], ...] = ()
    if asked.probes and asked.k and facts.dimension == len(asked.probes[0]):
        answers, _ = files.search(index, np.array(asked.probes, np.float32), asked.k, threads=asked.threads)
        found = tuple(tuple(row) for row in answers.tolist())
    vectors = files.reconstruct(index, np.array(asked.sample, np.int64)) if asked.sample else np.zeros((0, 1), "<f4")
    head = Head(
        facts.rows,
        facts.dimension,
        facts.is_l2,
        facts.structure,
        facts.lists,
        facts.search,
        facts.is_trained,
        len(np.unique(labels)),
        _id_set(labels, named),
        -1 if named is None else len(named),
        found,
        len(labels) if asked.wants_labels else 0,
        len(vectors),
    )
    sent = labels.tobytes() if asked.wants_labels else b""
    return codec.encode(head) + sent + np.ascontiguousarray(vectors, "<f4").tobytes()


def names(path: Path) -> list[str]:
    """`ids.json`, a text for each label. Damaged."""
    import msgspec

    try:
        return msgspec.json.decode(path.read_bytes(), type=list[str])
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as problem:
        raise Damaged(f"{path} is no list of texts: {problem}") from problem


def _id_set(labels: npt.NDArray[np.int64], named: list[str] | None) -> indexes.IdSet:
    """Of the ids that the index answers with. A label without a name is no id: the count tells."""
    if named is None:
        return hashes.id_set(hashes.of_numbers(labels.astype(np.int64)))
    told = [named[label] for label in labels.tolist() if 0 <= label < len(named)]
    return hashes.id_set(hashes.of_texts(told))


def ask(question: Question, limits: child.Limits) -> Seen:
    """Damaged, with the child's last word, when it did not come to its end or answers nonsense; Unavailable as
    `child.run`."""
    outcome = child.run(look, codec.encode(question), limits)
    if outcome.trouble:
        raise Damaged(f"{question.path} cannot be loaded: {outcome.trouble}", hint="never load it elsewhere")
    line, _, rest = outcome.content.partition(b"\n")
    head = codec.decode(Head, line, "the answer of the child")
    split = 8 * head.labels
    if (
        head.labels < 0
        or head.sample < 0
        or len(rest) != split + 4 * head.sample * (head.dimension if head.sample else 1)
    ):
        raise Damaged(f"{question.path}: the child's answer has not the length that it says")
    vectors = (
        np.frombuffer(rest[split:], "<f4").reshape(head.sample, -1) if head.sample else np.zeros((0, 1), np.float32)
    )
    return Seen(head, np.frombuffer(rest[:split], "<i8"), vectors)


def limits_for(path: Path, manifest: indexes.Manifest, question: Question) -> child.Limits:
    """What the file that the manifest describes may take, and answer."""
    rows = max(manifest.scan.kept, 0)
    answer = (1 << 20) + 24 * question.k * len(question.probes)
    answer += 16 * rows + (1 << 20) if question.wants_labels else 0
    answer += 4 * len(question.sample) * manifest.plan.shape.dimension
    return child.Limits.of_file(path.stat().st_size + 32 * rows, answer)
