"""Hashes of rows, of ids, and of sets of ids in which the order does not count.

All are fixed for ever: id sets stand in manifests, and the sample an index was trained with follows from them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ddr.domain import indexes

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
BUCKETS = 16
_MASK = (1 << 128) - 1
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ROWS = 1024  # of a block that stays in the cache
_LANES = (0x243F6A8885A308D3, 0x13198A2E03707344)  # digits of pi


def mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64 bits in which every bit depends on every other (the finalizer of SplitMix64: Steele, Lea and
    Flood, "Fast splittable pseudorandom number generators", 2014)."""
    x = numbers ^ (numbers >> np.uint64(30))
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def of_numbers(numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """n x 2 lanes of 64 bits. Each lane alone is a bijection: no two numbers share one."""
    words = numbers.view(np.uint64)
    return np.stack([mixed((words ^ np.uint64(lane)) + _GOLDEN) for lane in _LANES], axis=1)


def of_texts(texts: Sequence[str]) -> NDArray[np.uint64]:
    """n x 2 lanes: the first 128 bits of BLAKE3 of the UTF-8 bytes."""
    import blake3

    one = blake3.blake3
    content = b"".join([one(text.encode()).digest(16) for text in texts])
    return np.frombuffer(content, "<u8").reshape(-1, 2)


def seeded(hashed: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """One lane, another order of the ids for each seed."""
    start = mixed(np.array([seed % (1 << 64)], np.uint64) + _GOLDEN)
    return mixed(hashed[:, 0] ^ start)


class Rows:
    """A hash of 128 bits of each row's bytes. Multilinear in words that were mixed first: of two different rows the
    lanes are equal once in about 2^100 (at worst 2^66) draws of the weights (Lemire and Kaser, "Strongly universal
    string hashing is fast", 2014). The weights are fixed: this finds duplicates, it does not stop an adversary.
    """

    def __init__(self, dimension: int) -> None:
        words = (dimension + 1) // 2
        drawn = mixed(np.arange(1, 2 * words + 1, dtype=np.uint64) * _GOLDEN)
        self._weights = drawn.reshape(2, words)
        self._is_odd = dimension % 2 == 1

    def of(self, vectors: NDArray[np.float32]) -> NDArray[np.uint64]:
        """n x 2 lanes."""
        found = np.empty((len(vectors), 2), np.uint64)
        for first in range(0, len(vectors), _ROWS):
            block = vectors[first : first + _ROWS]
            if self._is_odd:
                block = np.pad(block, ((0, 0), (0, 1)))
            words = np.ascontiguousarray(block).view(np.uint64) * _GOLDEN
            words ^= words >> np.uint64(29)
            for lane in (0, 1):
                np.einsum("ij,j->i", words, self._weights[lane], out=found[first : first + _ROWS, lane])
        return found


def bucket(keys: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """One of 16 for each key, the same for equal ones, even for keys that are no hashes."""
    return (keys * _GOLDEN >> np.uint64(60)).astype(np.uint8)


def id_set(hashed: NDArray[np.uint64]) -> indexes.IdSet:
    """Of ids by their hashes (n x 2 lanes)."""
    total = (_sum(hashed[:, 0]) << 64) + _sum(hashed[:, 1])
    lanes = [int(np.bitwise_xor.reduce(hashed[:, lane])) if len(hashed) else 0 for lane in (0, 1)]
    return _set(len(hashed), total, lanes[0] << 64 | lanes[1])


def _sum(lane: NDArray[np.uint64]) -> int:
    """Exact: halves of 32 bits, of which 2^32 go into 64."""
    return (int((lane >> _HALF).sum(dtype=np.uint64)) << 32) + int((lane & _LOW).sum(dtype=np.uint64))


def added(one: indexes.IdSet, other: indexes.IdSet) -> indexes.IdSet:
    """Of both together; they have no id in common."""
    return _set(one.count + other.count, int(one.sum, 16) + int(other.sum, 16), int(one.xor, 16) ^ int(other.xor, 16))


def without(all_: indexes.IdSet, some: indexes.IdSet) -> indexes.IdSet:
    """Of `all_` when `some` of it are taken away."""
    return _set(all_.count - some.count, int(all_.sum, 16) - int(some.sum, 16), int(all_.xor, 16) ^ int(some.xor, 16))


def _set(count: int, total: int, xor: int) -> indexes.IdSet:
    return indexes.IdSet(count, f"{total & _MASK:032x}", f"{xor:032x}")


class Smallest:
    """The `count` smallest of very many keys, each with a number, in a bounded place. Of equal keys the one with the
    smaller number."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._keys = np.empty(0, np.uint64)
        self._numbers = np.empty(0, np.int64)
        self._limit: int | None = None
        self._waiting: list[tuple[NDArray[np.uint64], NDArray[np.int64]]] = []
        self._held = 0

    def add(self, keys: NDArray[np.uint64], numbers: NDArray[np.int64]) -> None:
        if self._limit is not None:
            is_small = keys <= np.uint64(self._limit)
            keys, numbers = keys[is_small], numbers[is_small]
        self._waiting.append((keys, numbers))
        self._held += len(keys)
        if self._held > self._count + 65_536:
            self._settle()

    def _settle(self) -> None:
        keys = np.concatenate([self._keys, *(key for key, _ in self._waiting)])
        numbers = np.concatenate([self._numbers, *(number for _, number in self._waiting)])
        order = np.lexsort((numbers, keys))[: self._count]
        self._keys, self._numbers = keys[order], numbers[order]
        self._waiting, self._held = [], 0
        if len(order) == self._count and self._count:
            self._limit = int(self._keys[-1])

    def numbers(self) -> NDArray[np.int64]:
        """In order of their keys."""
        self._settle()
        return self._numbers
