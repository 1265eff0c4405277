"""Hashes of rows, ids and sets of ids: fixed for ever, exact, and as sharp as they say."""

from __future__ import annotations

import struct

import blake3
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ddr.domain import indexes
from ddr.index.sources import hashes
from tests.unit.index import corpora


def test_the_hash_of_an_id_stays_what_it_is() -> None:
    """Written in manifests: plain Python beside it, and golden numbers."""

    def mix(x: int) -> int:
        x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) % 2**64
        x = ((x ^ x >> 27) * 0x94D049BB133111EB) % 2**64
        return x ^ x >> 31

    numbers = [0, 1, 2, 16, 10**12, 2**63 - 1]
    lanes = (0x243F6A8885A308D3, 0x13198A2E03707344)
    expected = [[mix(((number ^ lane) + 0x9E3779B97F4A7C15) % 2**64) for lane in lanes] for number in numbers]
    assert hashes.of_numbers(np.array(numbers)).tolist() == expected
    texts = ["", "a", "größe", "x" * 5000]
    of_texts = [list(struct.unpack("<2Q", blake3.blake3(text.encode()).digest(16))) for text in texts]
    assert hashes.of_texts(texts).tolist() == of_texts
    whole = [high << 64 | low for high, low in expected]
    xor = 0
    for one in whole:
        xor ^= one
    found = hashes.id_set(hashes.of_numbers(np.array(numbers)))
    assert found == indexes.IdSet(6, f"{sum(whole) % 2**128:032x}", f"{xor:032x}")


@settings(max_examples=80, deadline=None)
@given(st.sets(st.integers(0, 2**63 - 1), max_size=40), st.sets(st.integers(0, 2**63 - 1), max_size=40))
def test_sets_of_ids_are_added_and_taken_away(one: set[int], other: set[int]) -> None:
    def of(some: set[int]) -> indexes.IdSet:
        return hashes.id_set(hashes.of_numbers(np.array(sorted(some), np.int64)))

    other -= one
    both = hashes.added(of(one), of(other))
    assert both == of(one | other)
    assert hashes.without(both, of(other)) == of(one)
    assert hashes.without(both, both) == indexes.IdSet()
    assert (of(one) == of(other)) == (one == other)


def test_one_id_missing_and_one_too_many_is_another_set() -> None:
    numbers = np.arange(1000, dtype=np.int64)
    whole = hashes.id_set(hashes.of_numbers(numbers))
    for at in range(1000):
        changed = numbers.copy()
        changed[at] = 1000 + at
        found = hashes.id_set(hashes.of_numbers(changed))
        assert found.count == whole.count
        assert (found.sum, found.xor) != (whole.sum, whole.xor)
    shifted = hashes.id_set(hashes.of_numbers(numbers + 1))
    assert shifted != whole


def test_the_hash_of_a_row_sees_every_bit() -> None:
    for dimension in (1, 2, 3, 16, 33):
        row = corpora.clustered(1, dimension)
        flipped = np.repeat(row.view(np.uint32), 32 * dimension + 1, axis=0)
        for bit in range(32 * dimension):
            flipped[bit + 1, bit // 32] ^= np.uint32(1 << (bit % 32))
        found = hashes.Rows(dimension).of(flipped.view(np.float32))
        for lane in (0, 1):
            assert len(np.unique(found[:, lane])) == 32 * dimension + 1


def test_smallest_is_what_sorting_gives() -> None:
    draw = np.random.default_rng(0)
    for count, total, span in ((0, 100, 50), (10, 5, 10), (100, 200_000, 10**6), (1000, 300_000, 2**62), (7, 7, 1)):
        keys = draw.integers(0, span, total).astype(np.uint64)
        numbers = draw.permutation(total).astype(np.int64)
        found = hashes.Smallest(count)
        for first in range(0, total, 50_000):
            found.add(keys[first : first + 50_000], numbers[first : first + 50_000])
        np.testing.assert_array_equal(found.numbers(), numbers[np.lexsort((numbers, keys))[:count]])
