"""What an embedder is, and whether the live one makes the vectors that an index has.

Another model of the same dimension, a prefix that is left out, another pooling: all give vectors that fit and answers
that are wrong, without any error. The fingerprint is what the embedder is made of. The proof are 64 golden documents
whose vectors were kept: the live model embeds them again. Bytes never agree, as the size of a batch changes the last
bits; the median cosine does (reference/index.md, design line 34).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.errors import InputError
from ddr.index.embedders import batching, model
from ddr.lib import digest, redact

SAME, OTHER = 0.999, 0.95
"""From the first on the median cosine is of one space; below the second one of two."""
_LENGTHS = 0.01
"""So far may the median ratio of lengths be from 1."""
_FEWEST = 8
"""Golden documents that must still be in the corpus as they were, to say anything."""
_COSMETIC = frozenset({"_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures", "use_cache"})
IDENTITY = ("weights", "tokenizer", "config", "pooling", "prefix", "maxTokens", "normalise", "dtype")
"""The facts that the fingerprint is made of. Half precisions are of one class with fp32: the space is the same."""


def facts(settings: model.Settings) -> dict[str, str]:
    """Reads the weights once, loads nothing. InputError where it is no model."""
    found = model.weights(settings.folder)
    config = model.document(settings.folder / model.CONFIG)
    kept = {name: value for name, value in config.items() if name not in _COSMETIC}
    try:
        digests = [[path.name, digest.of_file(path)] for path in found]
        tokenizer = digest.of_file(settings.folder / model.TOKENIZER)
    except OSError as problem:
        raise InputError(
            f"model {settings.folder} cannot be read: {redact.foreign(problem)}", hint="look at its rights"
        ) from problem
    return {
        "weights": digests[0][1] if len(digests) == 1 else digest.of_value(digests),
        "tokenizer": tokenizer,
        "config": digest.of_value(kept),
        "pooling": model.pooling(settings),
        "prefix": settings.prefix,
        "maxTokens": str(settings.max_tokens),
        "normalise": "yes" if settings.is_normalised else "no",
        "dtype": "float",
    }


def of(found: Mapping[str, str]) -> str:
    """The fingerprint of an embedder with these facts."""
    return digest.of_value({name: found[name] for name in IDENTITY})


def golden(id_: str, text: str, vector: NDArray[np.float32]) -> indexes.Golden:
    """Numbers in their shortest form that is the same float32 again."""
    return indexes.Golden(id_, text_digest(text), tuple(float(str(value)) for value in vector))


def text_digest(text: str) -> str:
    return digest.of_bytes(text.encode())


class Verdict(enum.StrEnum):
    SAME = "same"
    CHANGED = "changed"
    """The same space nearly: another precision, prefix, pooling or training of the same model."""
    SCALED = "scaled"
    """The same directions with other lengths: normalised against not."""
    OTHER = "other"
    UNKNOWN = "unknown"
    """Too few golden documents are still what they were."""


@dataclass(frozen=True)
class Comparison:
    """`median` and `lowest` cosine of `compared` golden documents; `changed` facts, as "name: was → is"."""

    verdict: Verdict
    compared: int
    of: int
    median: float = 0.0
    lowest: float = 0.0
    ratio: float = 1.0
    """Median length of a live vector, in lengths of the kept one."""
    changed: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        return self.verdict is Verdict.SAME

    @property
    def is_known(self) -> bool:
        return self.verdict is not Verdict.UNKNOWN

    @property
    def sentence(self) -> str:
        counted = f"{self.compared} of {self.of} golden documents"
        because = f"; different: {', '.join(self.changed)}" if self.changed else ""
        if self.verdict is Verdict.UNKNOWN:
            return f"only {counted} are in the corpus as they were"
        if not self.median and self.verdict is Verdict.OTHER and self.ratio == 0:
            return f"the live embedder makes vectors of another dimension{because}"
        cosines = f"{counted} embedded again have a median cosine of {self.median:.4f} (lowest {self.lowest:.4f})"
        if self.verdict is Verdict.SAME:
            return f"{cosines}: the live embedder made them"
        if self.verdict is Verdict.SCALED:
            return f"{cosines} and {self.ratio:.3g} times the length: one is normalised, the other not{because}"
        if self.verdict is Verdict.CHANGED:
            return f"{cosines}: its precision, prefix, pooling or training is another one{because}"
        return f"{cosines}: another space{because}"


def again(
    stored: indexes.Embedder,
    live: Mapping[str, str],
    texts: Callable[[frozenset[str]], Mapping[str, str]],
    encoder: Callable[[], batching.Encoder],
    batch_tokens: int = 8192,
) -> Comparison:
    """The golden documents through the live model. `texts` finds them in the corpus as it is now; those that changed or
    are gone are left out. The model is loaded only when there are enough."""
    there = texts(frozenset(one.id for one in stored.golden))
    kept = [one for one in stored.golden if one.id in there and text_digest(there[one.id]) == one.text_sha256]
    if len(kept) < min(_FEWEST, len(stored.golden)) or not kept:
        return Comparison(Verdict.UNKNOWN, len(kept), len(stored.golden))
    loaded = encoder()
    found = batching.embedded(loaded, loaded.tokens([there[one.id] for one in kept]), batching.Budget(batch_tokens))
    wanted = np.array([one.vector for one in kept], np.float32)
    return compare(wanted, found, len(stored.golden), different(stored.facts, {**live, **loaded.facts}))


def different(stored: Mapping[str, str], live: Mapping[str, str]) -> tuple[str, ...]:
    """Facts that both know and that are not the same."""
    return tuple(
        f"{name} (was {_short(stored[name])}, is {_short(live[name])})"
        for name in stored
        if name in live and stored[name] != live[name]
    )


def _short(value: str) -> str:
    return (
        digest.short(value) if value.startswith(digest.PREFIX) else repr(value) if " " in value or not value else value
    )


def compare(
    wanted: NDArray[np.float32], found: NDArray[np.float32], of: int, changed: Sequence[str] = ()
) -> Comparison:
    """`wanted` n x d were kept, `found` n x d' are what the live model gives."""
    told = tuple(changed)
    if wanted.shape != found.shape:
        return Comparison(Verdict.OTHER, len(wanted), of, ratio=0.0, changed=told)
    a, b = wanted.astype(np.float64), found.astype(np.float64)
    first, second = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosines = np.nan_to_num((a * b).sum(axis=1) / (first * second))
        ratio = float(np.median(np.nan_to_num(second / first)))
    median, lowest = float(np.median(cosines)), float(cosines.min())
    if median < OTHER:
        verdict = Verdict.OTHER
    elif median < SAME:
        verdict = Verdict.CHANGED
    elif abs(ratio - 1) > _LENGTHS:
        verdict = Verdict.SCALED
    else:
        verdict = Verdict.SAME
    return Comparison(verdict, len(wanted), of, median, lowest, ratio, told)
