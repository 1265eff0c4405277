"""Batches by length: every row comes back in its place, whatever fits on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from ddr.errors import Refused, Unavailable
from ddr.index.embedders import batching

torch = pytest.importorskip("torch")


class Short:
    """An encoder on a device with memory for `most` tokens at once, padding counted. A vector tells its row."""

    facts: Mapping[str, str] = {}

    def __init__(self, most: int, problem: type[BaseException] | None = None, text: str = "CUDA out of memory") -> None:
        self.most, self.problem, self.text = most, problem or torch.OutOfMemoryError, text
        self.tried: list[int] = []
        self.freed = 0

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        return [[int(word) for word in text.split()] for text in texts]

    def vectors(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        size = len(batch) * max(len(tokens) for tokens in batch)
        self.tried.append(size)
        if size > self.most:
            raise self.problem(self.text)
        return np.array([[sum(tokens), len(tokens), tokens[0]] for tokens in batch], np.float32)

    def is_out_of_memory(self, problem: BaseException) -> bool:
        return isinstance(problem, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(problem)

    def free(self) -> None:
        self.freed += 1


def rows(count: int, seed: int = 0, longest: int = 40) -> list[list[int]]:
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, longest + 1, count)
    return [[number, *range(1, int(length))] for number, length in enumerate(lengths)]


def expected(tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    return np.array([[sum(one), len(one), one[0]] for one in tokens], np.float32)


def test_no_row_is_lost_or_moved_whatever_fits() -> None:
    """Every limit from one text to more than a batch, several corpora, both words for too little memory."""
    problems = (
        (torch.OutOfMemoryError, "CUDA out of memory"),
        (MemoryError, ""),
        (RuntimeError, "can't allocate memory"),
    )
    tried = halved = 0
    for seed in range(3):
        tokens = rows(57 + seed, seed)
        for most in (*range(40, 140), 500, 5000):
            problem, text = problems[most % 3]
            encoder = Short(most, problem, text)
            budget = batching.Budget(400)
            told: list[int] = []
            found = batching.embedded(encoder, tokens, budget, told.append)
            np.testing.assert_array_equal(found, expected(tokens))
            assert told[-1] == len(tokens)
            assert told == sorted(told)
            tried += 1
            halved += encoder.freed > 0
            assert encoder.freed == sum(size > most for size in encoder.tried)
    assert tried == 306
    assert halved == 3 * 100, "the budget of 400 does not fit in less"


def test_after_a_batch_did_not_fit_later_ones_are_no_larger() -> None:
    encoder, budget = Short(100), batching.Budget(1600)
    batching.embedded(encoder, rows(2000), budget)
    assert budget.tokens <= 100
    assert encoder.freed <= 6, "halved from 1600 to 100, and not again for every batch"


def test_a_single_text_that_does_not_fit_ends_it_and_says_so() -> None:
    with pytest.raises(Unavailable, match="no memory for one text of 40 tokens"):
        batching.embedded(Short(39), [[7] * 40, [1]], batching.Budget(400))


def test_another_failure_passes_through() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        batching.embedded(Short(1, RuntimeError, "shape"), [[1, 2]], batching.Budget(4))


def test_batches_hold_texts_of_like_length() -> None:
    tokens, encoder = rows(4000), Short(10**9)
    batching.embedded(encoder, tokens, batching.Budget(1024))
    real = sum(len(one) for one in tokens)
    assert max(encoder.tried) <= 1024
    assert sum(encoder.tried) < 1.05 * real, "padding"
    in_order = sum(max(len(one) for one in tokens[at : at + 32]) * 32 for at in range(0, 4000, 32))
    assert in_order > 1.7 * real, "what batches in the order of the corpus would pad"


def test_a_vector_that_is_no_number_is_refused() -> None:
    class Overflowing(Short):
        def vectors(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
            found = super().vectors(batch)
            found[[one[0] == 5 for one in batch]] = np.inf
            return found

    with pytest.raises(Refused, match="no finite vector for 1 texts of 20, number 5 first"):
        batching.embedded(Overflowing(10**9), rows(20), batching.Budget(100))
