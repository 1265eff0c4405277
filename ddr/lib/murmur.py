"""MurmurHash3 for 32 bits (Austin Appleby, public domain), as Feast names the fields of its Redis hashes by it."""

from __future__ import annotations

_MASK = 0xFFFFFFFF
_C1, _C2 = 0xCC9E2D51, 0x1B873593


def hash32(content: bytes, seed: int = 0) -> int:
    """Unsigned. For names, not for bulk: some microseconds each."""
    h = seed
    whole = len(content) // 4 * 4
    for at in range(0, whole, 4):
        h ^= _mixed(int.from_bytes(content[at : at + 4], "little"))
        h = (_rotated(h, 13) * 5 + 0xE6546B64) & _MASK
    if whole < len(content):
        h ^= _mixed(int.from_bytes(content[whole:], "little"))
    h ^= len(content)
    h = (h ^ h >> 16) * 0x85EBCA6B & _MASK
    h = (h ^ h >> 13) * 0xC2B2AE35 & _MASK
    return h ^ h >> 16


def _mixed(k: int) -> int:
    return _rotated(k * _C1 & _MASK, 15) * _C2 & _MASK


def _rotated(x: int, by: int) -> int:
    return (x << by | x >> 32 - by) & _MASK
