"""Texts of like length go through the model together, and come back in the order they were given.

A batch for which the device has no memory is halved until it fits, and later batches are no larger: no row is lost to
it, only time. That is counted, not hoped for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ddr.errors import Refused, Unavailable
from ddr.lib import redact

Tokens = Sequence[int]


class Encoder(Protocol):
    """A model that is loaded."""

    facts: Mapping[str, str]
    """What of this machine its vectors depend on a little: precision, device, versions."""

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Of each text, cut at the model's limit, at least one."""
        ...

    def vectors(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """A row for each, whatever their lengths. What torch raises where memory is short passes through; InputError
        for a model that gives none, Unavailable where its device fails."""
        ...

    def is_out_of_memory(self, problem: BaseException) -> bool:
        """Whether a smaller batch may fit."""
        ...

    def free(self) -> None:
        """Let go of memory that is kept for the next batch."""
        ...


@dataclass
class Budget:
    """Tokens of a batch, padding counted. Less for good when the device had no memory for so many."""

    tokens: int


def embedded(
    encoder: Encoder, tokens: Sequence[Tokens], budget: Budget, report: Callable[[int], None] = lambda rows: None
) -> NDArray[np.float32]:
    """Rows in the order of `tokens`; `report` gets how many are done, in no order.

    Unavailable when not even a single text fits, Refused when the model gives no number for one.
    """
    found: NDArray[np.float32] | None = None
    is_done = np.zeros(len(tokens), np.bool_)
    for rows, vectors in _batches(encoder, tokens, budget):
        if found is None:
            found = np.empty((len(tokens), vectors.shape[1]), np.float32)
        found[rows] = vectors
        is_done[rows] = True
        report(int(is_done.sum()))
    if found is None or not is_done.all():
        raise AssertionError(f"{int((~is_done).sum())} texts were not embedded")
    finite = np.isfinite(found).all(axis=1)
    if not finite.all():
        raise Refused(
            f"the model gives no finite vector for {int((~finite).sum())} texts of {len(tokens)}, number "
            f"{int(finite.argmin())} first",
            hint="precision fp32 where it is a half one now; else the model is damaged",
        )
    return found


def _batches(
    encoder: Encoder, tokens: Sequence[Tokens], budget: Budget
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Numbers of rows and their vectors, the longest first: where memory is short, that shows at once."""
    lengths = np.array([len(one) for one in tokens])
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        rows = order[start : start + max(1, budget.tokens // longest)]
        try:
            vectors = encoder.vectors([tokens[at] for at in rows.tolist()])
        except (RuntimeError, MemoryError) as problem:
            if not encoder.is_out_of_memory(problem):
                raise
            if len(rows) == 1:
                raise Unavailable(
                    f"the device has no memory for one text of {longest} tokens: {redact.foreign(problem)}",
                    hint="a smaller maxTokens, another device, or stop what else runs on it; what is done stays done",
                ) from problem
            budget.tokens = len(rows) // 2 * longest
        else:
            if len(vectors) != len(rows):
                raise AssertionError(f"{len(vectors)} vectors of {len(rows)} texts")
            yield rows, vectors
            start += len(rows)
            continue
        encoder.free()  # not while the problem holds the frames that hold the memory
