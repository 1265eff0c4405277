"""Bytes sealed so that only the keyring reads them, and any change is seen. AES-256-GCM, zstd inside.

Two shapes. An *object* (index, snapshot, tombstone) is `magic | salt | ciphertext`, under a key of its own that is
derived from the salt: one key, one use, nonce 0. A *blob* is a chunk inside a pack: under the pack's key with its
slot number as nonce, bound by its associated data to repository, kind, chunk id and slot, so that blobs cannot be
exchanged for each other.
"""

from __future__ import annotations

import secrets
import struct
from typing import Literal

import zstandard

from ddr.backup import keys
from ddr.errors import Damaged

MAGIC = b"DDROBJ01"
SALT = 32
TAG = 16
MOST_OBJECT_BYTES = 1 << 30  # what a damaged length may make us take

ObjectKind = Literal["index", "snapshot", "tombstone"]

RAW, ZSTD = 0, 1
"""The first byte of a blob's plaintext."""

_PROBE = 1 << 16
_WORTH_IT = 0.97


def seal(ring: keys.Keyring, kind: ObjectKind, content: bytes) -> bytes:
    """An object. The same content is sealed differently each time."""
    salt = secrets.token_bytes(SALT)
    packed = zstandard.ZstdCompressor(level=3).compress(content)
    cipher = keys.cipher(ring.derive(f"object {kind}", salt))
    return MAGIC + salt + cipher.encrypt(bytes(12), packed, _bound(ring, kind))


def unseal(ring: keys.Keyring, kind: ObjectKind, stored: bytes, what: str) -> bytes:
    """Raises Damaged, naming `what`, when it is not what was sealed for this repository and kind."""
    from cryptography.exceptions import InvalidTag

    try:
        if stored[: len(MAGIC)] != MAGIC:
            raise ValueError("it does not begin as one")
        salt, ciphertext = stored[len(MAGIC) : len(MAGIC) + SALT], stored[len(MAGIC) + SALT :]
        cipher = keys.cipher(ring.derive(f"object {kind}", salt))
        packed = cipher.decrypt(bytes(12), ciphertext, _bound(ring, kind))
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=MOST_OBJECT_BYTES)
    except (InvalidTag, ValueError, zstandard.ZstdError) as problem:
        why = str(problem) or "its seal is broken"
        raise Damaged(
            f"{what} is no whole {kind}: {why}", hint="`ddr backup verify` says what is affected"
        ) from problem


def _bound(ring: keys.Keyring, kind: ObjectKind) -> bytes:
    return ring.repository + kind.encode()


def nonce(slot: int) -> bytes:
    return slot.to_bytes(12, "little")


def bound_blob(repository: bytes, kind: int, chunk: bytes, slot: int) -> bytes:
    """The associated data of a blob."""
    return repository + struct.pack("<B32sI", kind, chunk, slot)


class Squeezer:
    """Compresses chunks; keeps raw what does not shrink. One for each thread."""

    def __init__(self, level: int = 1) -> None:
        self._pack = zstandard.ZstdCompressor(level=level, write_checksum=False)
        self._unpack = zstandard.ZstdDecompressor()

    def squeeze(self, content: bytes) -> tuple[int, bytes]:
        """(RAW or ZSTD, bytes). A large chunk is judged by its first 64 KiB."""
        if len(content) > 2 * _PROBE:
            probe = self._pack.compress(memoryview(content)[:_PROBE])
            if len(probe) > _WORTH_IT * _PROBE:
                return RAW, content
        packed = self._pack.compress(content)
        return (ZSTD, packed) if len(packed) < _WORTH_IT * len(content) else (RAW, content)

    def restore(self, how: int, packed: bytes | memoryview, size_bytes: int) -> bytes | memoryview:
        """Raises ValueError, zstandard.ZstdError."""
        if how == RAW:
            return packed
        if how != ZSTD:
            raise ValueError(f"compression {how} is not known to this version")
        return self._unpack.decompress(packed, max_output_size=size_bytes)
