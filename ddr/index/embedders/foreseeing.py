"""What embedding a corpus takes, before hours of it: every line counted and looked at, the dimension as the model's
config says it, seconds by the rate at which a few of the texts go through it here."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from ddr.errors import DdrError, InputError
from ddr.index.embedders import batching, model, texts

TEXTS = 64
"""Measured, from the beginning, the middle and the end of the corpus: texts differ in length."""
_DIMENSION = ("hidden_size", "dim", "d_model")
_LOADED = 2.0
"""Times the weights' files: half precision on the disk is whole in memory."""
_BASE_MIB = 600
"""torch and transformers."""
_MIB = 1 << 20
_NOT_ASKED = "nothing was measured"


@dataclass(frozen=True)
class Foreseen:
    """`seconds` is 0 where nothing was measured, and `unknown` says why."""

    rows: int
    characters: int
    dimension: int
    has_texts: bool
    memory_mib: int
    seconds: float = 0.0
    unknown: str = ""

    @property
    def reason(self) -> str:
        told = f"{self.rows:,} texts of {self.characters:,} characters become vectors of {self.dimension}"
        if self.unknown:
            return f"{told}; how long it takes is not known: {self.unknown}"
        return f"{told}; by {min(self.rows, TEXTS)} of them that were embedded now. What is embedded already is kept"


def foresee(
    corpus: texts.Corpus,
    settings: model.Settings,
    rows_per_shard: int,
    batch_tokens: int,
    encoder: Callable[[], batching.Encoder] | None,
) -> Foreseen:
    """InputError for a model or lines that are not as they must be. Reads every line; loads the model by `encoder`,
    where seconds are wanted."""
    weights = model.weights(settings.folder)
    dimension = _dimension(settings)
    survey = corpus.survey(rows_per_shard)
    size = sum(path.stat().st_size for path in weights)
    memory_mib = _BASE_MIB + int(_LOADED * size / _MIB)
    if encoder is None:
        return Foreseen(survey.rows, survey.characters, dimension, survey.has_texts, memory_mib, unknown=_NOT_ASKED)
    pieces = {0, len(survey.pieces) // 2, len(survey.pieces) - 1}
    some = [row.text for at in sorted(pieces) for row in corpus.read(survey, survey.pieces[at])[: TEXTS // len(pieces)]]
    try:
        loaded = encoder()
    except InputError:
        raise
    except DdrError as problem:
        unknown = f"{problem.message} ({problem.hint})"
        return Foreseen(survey.rows, survey.characters, dimension, survey.has_texts, memory_mib, unknown=unknown)
    budget = batching.Budget(batch_tokens)
    batching.embedded(loaded, loaded.tokens(some[:1]), budget)  # the first one pays for what the others find made
    began = time.perf_counter()
    batching.embedded(loaded, loaded.tokens(some), budget)
    spent = max(time.perf_counter() - began, 1e-9)
    loaded.free()
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "linux" else _MIB)
    seconds = spent * survey.characters / max(1, sum(map(len, some)))
    return Foreseen(survey.rows, survey.characters, dimension, survey.has_texts, max(held, 1), round(seconds, 1))


def _dimension(settings: model.Settings) -> int:
    path = settings.folder / model.CONFIG
    config = model.document(path)
    found = next((config[name] for name in _DIMENSION if isinstance(config.get(name), int)), 0)
    if found < 1:
        raise InputError(f"{path} does not say how long a vector is", hint=f"as {' or '.join(_DIMENSION)}")
    return int(found)
