"""Whether an index has the ids of its corpus, and each id its own vector. Counts prove nothing: one id may be missing
and another one too many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddr.domain import indexes
from ddr.index import loading
from ddr.index.sources import corpus as corpora
from ddr.index.sources import hashes, scan
from ddr.lib import legible

if TYPE_CHECKING:
    from ddr.index.sources.corpus import Corpus

_EXAMPLES = 10
_BATCH_ROWS = 65536
_EXACT = frozenset({indexes.Kind.FLAT, indexes.Kind.IVF_FLAT, indexes.Kind.HNSW})
_FAR_RANK = 0.05
_FAR_TIMES = 1.5
_FEW = 3
"""So many rows of a rounded kind must be far from their vectors: a single strange row is no finding."""


@dataclass(frozen=True)
class Wanted:
    """What the corpus has now: its scan, the keys of its kept rows in order, and a sample of them.

    A key is the label, or a 64-bit hash of the id where ids are texts.
    """

    scan: indexes.Scan
    has_texts: bool
    keys: npt.NDArray[np.uint64]
    sample_texts: tuple[str, ...]
    sample_labels: npt.NDArray[np.int64]
    sample: npt.NDArray[np.float32]
    corpus: Corpus


def wanted(corpus: Corpus, manifest: indexes.Manifest, sample: int, tell: Callable[[int], None]) -> Wanted:
    """One pass over the corpus: `tell` hears how many rows are read. What a policy rejects raises as in a build."""
    plan = manifest.plan
    found, dropped = scan.scan(corpus, plan.wanted.policies, tell)
    has_texts = corpus.id_kind == "text"
    kept = np.setdiff1d(np.arange(corpus.rows, dtype=np.int64), dropped, assume_unique=True)
    keys = np.concatenate([np.zeros(0, np.uint64), *_keys(corpus, kept, has_texts=has_texts)])
    random = np.random.default_rng(plan.shape.seed)
    positions = np.sort(random.choice(kept, min(sample, len(kept)), replace=False))
    vectors = corpus.take(positions)
    if plan.shape.metric == indexes.Metric.COSINE:
        corpora.normalise(vectors, corpora.squared_lengths(vectors))
    texts = tuple(text for at in positions.tolist() for text in corpus.texts(at, at + 1))
    return Wanted(found, has_texts, keys, texts, corpus.labels_at(positions), vectors, corpus)


def _keys(corpus: Corpus, kept: npt.NDArray[np.int64], *, has_texts: bool) -> Iterator[npt.NDArray[np.uint64]]:
    for start in range(0, corpus.rows, _BATCH_ROWS):
        stop = min(start + _BATCH_ROWS, corpus.rows)
        first, end = np.searchsorted(kept, (start, stop))
        offsets = kept[first:end] - start
        if has_texts:
            yield hashes.of_texts(corpus.texts(start, stop))[offsets, 0]
        else:
            yield corpus.labels(start, stop)[offsets].view(np.uint64)


def _told(keys: npt.NDArray[np.uint64], texts: Iterable[Sequence[str]]) -> str:
    """The first few keys as the ids that they are: of numbers themselves, of texts what has that hash."""
    some = dict.fromkeys(keys[:_EXAMPLES].tolist(), "")
    left = set(some)
    for batch in texts:
        if not left:
            break
        found = hashes.of_texts(batch)[:, 0]
        for at in np.flatnonzero(np.isin(found, keys[:_EXAMPLES])).tolist():
            some[int(found[at])] = batch[at]
            left.discard(int(found[at]))
    shown = ", ".join(legible.name(text) or str(key) for key, text in some.items())
    return shown + (", …" if len(keys) > _EXAMPLES else "")


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[start : start + _BATCH_ROWS] for start in range(0, len(texts), _BATCH_ROWS))


def _corpus_texts(corpus: Corpus) -> Iterator[Sequence[str]]:
    starts = range(0, corpus.rows, _BATCH_ROWS)
    return (corpus.texts(start, min(start + _BATCH_ROWS, corpus.rows)) for start in starts)


def labels_of_sample(
    wanted: Wanted, named: Sequence[str] | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """What the index calls the sampled rows, and which of the sample they are: a text that it has not is left out."""
    if named is None:
        return wanted.sample_labels, np.arange(len(wanted.sample_labels))
    asked = set(wanted.sample_texts)
    where = {text: label for label, text in enumerate(named) if text in asked}
    rows = [row for row, text in enumerate(wanted.sample_texts) if text in where]
    return np.array([where[wanted.sample_texts[row]] for row in rows], np.int64), np.array(rows, np.int64)


def differences(
    manifest: indexes.Manifest,
    wanted: Wanted,
    seen: loading.Seen,
    named: Sequence[str] | None,
    rows: npt.NDArray[np.int64],
) -> Iterator[str]:
    """What is not as the corpus has it now, a sentence each."""
    labels = np.array(seen.labels)
    if named is None:
        has = labels.astype(np.int64).view(np.uint64)
    else:
        is_named = (labels >= 0) & (labels < len(named))
        if not is_named.all():
            yield f"has {int((~is_named).sum()):,} labels that ids.json has no name for"
        has = hashes.of_texts([named[label] for label in labels[is_named].tolist()])[:, 0]
    if len(missing := np.setdiff1d(wanted.keys, has)):
        told = _told(missing, _corpus_texts(wanted.corpus) if wanted.has_texts else ())
        yield f"{len(missing):,} ids of the corpus are missing: {told}"
    if len(extra := np.setdiff1d(has, wanted.keys)):
        yield f"{len(extra):,} ids are not in the corpus: {_told(extra, _batches(named or ()))}"
    if len(np.unique(has)) != len(has):
        yield f"{len(has) - len(np.unique(has)):,} ids are there more than once"
    before = manifest.scan.digests
    if len(before) == len(wanted.scan.digests):
        changed = [
            str(at) for at, pair in enumerate(zip(before, wanted.scan.digests, strict=True)) if len(set(pair)) > 1
        ]
        if changed:
            yield f"shards have other rows than when it was built: number {', '.join(changed[:_EXAMPLES])}"
    else:
        yield f"was built of {len(before)} shards, the corpus has {len(wanted.scan.digests)}"
    yield from _vectors(manifest.plan.shape.kind, wanted, seen.vectors, rows)


def _vectors(
    kind: indexes.Kind, wanted: Wanted, rebuilt: npt.NDArray[np.float32], rows: npt.NDArray[np.int64]
) -> Iterator[str]:
    if not len(rows):
        return
    strange = misplaced(wanted.sample[rows], rebuilt, is_exact=kind in _EXACT)
    if len(strange):
        ids = [
            wanted.sample_texts[rows[at]] if wanted.has_texts else int(wanted.sample_labels[rows[at]]) for at in strange
        ]
        some = ", ".join(legible.name(str(one)) for one in ids[:_EXAMPLES])
        yield f"{len(strange)} of {len(rows)} sampled ids have the vector of something else: {some}"


def misplaced(
    source: npt.NDArray[np.float32], rebuilt: npt.NDArray[np.float32], *, is_exact: bool
) -> npt.NDArray[np.intp]:
    """Rows whose vector in the index (n x d) is not theirs in the corpus (n x d), or that it has not (NaN).

    Where codes round, a row is far from its own vector when many others' are nearer, and farther than is usual: both,
    as rows of a dense cluster have near neighbours, and strange rows are rounded more.
    """
    if is_exact:
        scale = np.abs(source).max(axis=1, initial=0)
        with np.errstate(invalid="ignore"):
            is_same = np.abs(source - rebuilt).max(axis=1, initial=0) <= 1e-5 * scale
        return np.flatnonzero(~is_same)
    is_there = np.asarray(np.isfinite(rebuilt).all(axis=1), np.bool_)
    known = np.where(is_there[:, None], rebuilt, 0)
    own = np.linalg.norm(source - known, axis=1)
    squares = (source**2).sum(axis=1)[:, None] + (known**2).sum(axis=1)[None, :] - 2 * source @ known.T
    distances: npt.NDArray[np.float32] = np.sqrt(np.maximum(squares, 0))[:, is_there]
    nearer = np.count_nonzero(distances < own[:, None] * (1 - 1e-4), axis=1)
    usual = np.median(own[is_there]) if is_there.any() else 0.0
    is_far: npt.NDArray[np.bool_] = is_there & (nearer > max(_FAR_RANK * len(source), 2)) & (own > _FAR_TIMES * usual)
    if is_far.sum() < _FEW:
        is_far[:] = False
    return np.flatnonzero(is_far | ~is_there)
