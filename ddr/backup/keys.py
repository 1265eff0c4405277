"""One random master key, wrapped once for each way to open the repository; every other key is derived from it.

A slot is a JSON object. Adding or removing one rewraps 32 bytes and touches nothing else:

- `passphrase`: scrypt (n=2^17, r=8, p=1: OWASP's minimum of 2025) gives the key that wraps;
- `key-file`: the file's bytes, derived, wrap; no scrypt, so a scheduler opens the repository at once;
- `none`: the master key stands in the slot, readable for everyone who reads the store. The format stays the same, so
  that there is one code path; `ddr` says it loudly.

`recovery` is reserved for write-only recipients (X25519), which format 1 does not write and refuses to guess at.
"""

from __future__ import annotations

import base64
import dataclasses
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import blake3
import msgspec

from ddr.backup import layout
from ddr.errors import Damaged, InputError, Missing, Refused
from ddr.lib import redact
from ddr.ports import store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_CONTEXT = "ddr 2026-11-21 backup v1 "
_SCRYPT = {"n": 1 << 17, "r": 8, "p": 1}
_MOST_SCRYPT_N = 1 << 22  # a forged slot must not make us take 4 GiB
_NONCE = 12
_LEAST_KEY_FILE = 32
_LONGEST_KEY_FILE = 1 << 20
_PAPER = "ddr-recovery-1-"

Kind = Literal["passphrase", "key-file", "none"]


@dataclass(frozen=True)
class Keyring:
    """The master key and what follows from it. Each derived key has one purpose."""

    repository: bytes
    master: bytes = field(repr=False)

    def derive(self, purpose: str, salt: bytes = b"") -> bytes:
        """32 bytes, as BLAKE3's key derivation gives them for this purpose and salt."""
        return blake3.blake3(self.master + salt, derive_key_context=_CONTEXT + purpose).digest()

    @property
    def chunk_key(self) -> bytes:
        """Chunk ids are BLAKE3 keyed with this: nobody without it can confirm that a known file is in here."""
        return self.derive("chunk ids")

    def paper(self) -> str:
        """The recovery key: opens the repository when every slot is lost. In groups of five, for paper."""
        check = blake3.blake3(self.repository + self.master).digest()[:4]
        text = base64.b32encode(self.master + check).decode().rstrip("=")
        return _PAPER + "-".join(text[at : at + 5] for at in range(0, len(text), 5))


@dataclass(frozen=True)
class Opening:
    """What a person or a scheduler opens the repository with. At most one is given; none at all opens `none`."""

    passphrase: str = field(default="", repr=False)
    key_file: Path | None = None
    recovery: str = field(default="", repr=False)


@dataclass(frozen=True)
class Slot:
    """As stored. `wrapped` is nonce and ciphertext, or the bare master key where the kind is `none`; hex."""

    kind: Kind
    wrapped: str
    created_at: datetime
    label: str = ""
    salt: str = ""
    n: int = 0
    r: int = 0
    p: int = 0
    format: int = 1


def new_keyring() -> Keyring:
    return Keyring(secrets.token_bytes(16), secrets.token_bytes(32))


def new_key_file(path: Path) -> None:
    """Write 32 random bytes as text, readable by its owner alone. Refused where the file is there."""
    from ddr.lib import durable

    try:
        durable.create(path, secrets.token_hex(32).encode() + b"\n")
        path.chmod(0o600)
    except FileExistsError:
        raise Refused(f"{path} is there already", hint="take another name; a key is never overwritten") from None
    except OSError as problem:
        raise InputError(f"{path} cannot be written: {redact.foreign(problem)}") from problem


def wrap(ring: Keyring, opening: Opening, at: datetime, label: str = "") -> Slot:
    """A slot that `opening` opens."""
    if opening.recovery:
        raise InputError("a recovery key opens the repository by itself; it needs no slot")
    if not opening.passphrase and opening.key_file is None:
        return Slot("none", ring.master.hex(), at, label)
    salt = secrets.token_bytes(32)
    kind: Kind = "passphrase" if opening.passphrase else "key-file"
    costs = _SCRYPT if opening.passphrase else {"n": 0, "r": 0, "p": 0}
    slot = Slot(kind, "", at, label, salt.hex(), **costs)
    nonce = secrets.token_bytes(_NONCE)
    wrapped = cipher(_wrapping_key(slot, opening)).encrypt(nonce, ring.master, ring.repository)
    return dataclasses.replace(slot, wrapped=(nonce + wrapped).hex())


def add(to: store.Store, ring: Keyring, opening: Opening, at: datetime, label: str = "") -> str:
    """Wrap the master key once more; the slot's name."""
    stored = msgspec.json.encode(wrap(ring, opening, at, label))
    name = layout.name_of(stored)
    to.create(f"{layout.KEYS}{name}", stored)
    return name


def slots(of: store.Store) -> Iterator[tuple[str, Slot]]:
    """Each slot with its name. Damaged where one cannot be read."""
    for entry in of.list(layout.KEYS):
        stored, name = of.get(entry.key), layout.hash_in(entry.key)
        try:
            if layout.name_of(stored) != name:
                raise ValueError("its bytes do not have the hash that its name says")
            slot = msgspec.json.decode(stored, type=Slot)
        except (ValueError, msgspec.MsgspecError) as problem:
            raise Damaged(
                f"{of.name}: key slot {name[:12]} is damaged: {redact.foreign(problem)}",
                hint="open with another key or the recovery key, then `ddr backup key remove` and add it anew",
            ) from problem
        yield name, slot


def remove(of: store.Store, name: str) -> None:
    """Raises Missing, Refused for the last one."""
    known = [entry.key for entry in of.list(layout.KEYS)]
    found = [key for key in known if layout.hash_in(key).startswith(name)] if name else []
    if len(found) != 1:
        there = ", ".join(layout.hash_in(key)[:12] for key in known) or "none"
        raise Missing(f"{of.name} has no key slot {name!r}", hint=f"there is: {there}")
    if len(known) == 1:
        raise Refused(f"{name} is the last key slot; without it nothing can be read", hint="add another one first")
    of.delete(found[0])


def unlock(of: store.Store, repository: bytes, opening: Opening) -> Keyring:
    """The keyring, by the first slot that opens. Refused where none does, with what was tried."""
    if opening.recovery:
        return _from_paper(opening.recovery, repository)
    wanted: Kind = "passphrase" if opening.passphrase else "key-file" if opening.key_file else "none"
    tried, damaged = 0, ""
    for entry in of.list(layout.KEYS):
        try:
            slot = msgspec.json.decode(of.get(entry.key), type=Slot)
        except msgspec.MsgspecError:
            damaged = layout.hash_in(entry.key)[:12]
            continue
        if slot.kind != wanted:
            continue
        tried += 1
        master = _unwrapped(slot, opening, repository)
        if master is not None:
            return Keyring(repository, master)
    if tried:
        what = "the passphrase" if wanted == "passphrase" else "the key file"
        raise Refused(f"{of.name}: {what} opens none of its {tried} slots", hint="`ddr backup key list` shows them")
    broken = f"; slot {damaged} is damaged" if damaged else ""
    raise Refused(
        f"{of.name}: there is no slot of kind {wanted}{broken}",
        hint="give `backup.passphrase` or `backup.keyFile` in ddr.yaml, or the recovery key",
    )


def _from_paper(text: str, repository: bytes) -> Keyring:
    plain = "".join(text.split()).upper().removeprefix(_PAPER.upper()).replace("-", "")
    try:
        raw = base64.b32decode(plain + "=" * (-len(plain) % 8))
    except ValueError:
        raw = b""
    master, check = raw[:32], raw[32:]
    if len(raw) != 36 or blake3.blake3(repository + master).digest()[:4] != check:
        raise Refused(
            "this is not the recovery key of this repository, or a letter of it is wrong",
            hint="letters A-Z and digits 2-7 alone; compare it with the paper, group by group",
        )
    return Keyring(repository, master)


def _unwrapped(slot: Slot, opening: Opening, repository: bytes) -> bytes | None:
    from cryptography.exceptions import InvalidTag

    try:
        stored = bytes.fromhex(slot.wrapped)
        if slot.kind == "none":
            return stored if len(stored) == 32 else None
        return cipher(_wrapping_key(slot, opening)).decrypt(stored[:_NONCE], stored[_NONCE:], repository)
    except (InvalidTag, ValueError):
        return None


def _wrapping_key(slot: Slot, opening: Opening) -> bytes:
    salt = bytes.fromhex(slot.salt)
    if slot.kind == "key-file":
        assert opening.key_file is not None
        return blake3.blake3(_key_file(opening.key_file) + salt, derive_key_context=_CONTEXT + "key file").digest()
    if not 1 < slot.n <= _MOST_SCRYPT_N or slot.r > 64 or slot.p > 16:
        raise ValueError("costs out of bounds")
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    kdf = Scrypt(salt=salt, length=32, n=slot.n, r=slot.r, p=slot.p)
    return kdf.derive(opening.passphrase.encode())


def _key_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LONGEST_KEY_FILE:
            raise InputError(f"{path} is too large for a key file", hint="`ddr backup key new-file PATH` writes one")
        content = path.read_bytes().strip()
    except OSError as problem:
        raise InputError(
            f"the key file cannot be read: {redact.foreign(problem)}", hint="`backup.keyFile` in ddr.yaml"
        ) from problem
    if len(content) < _LEAST_KEY_FILE:
        raise InputError(
            f"{path} has {len(content)} bytes; a key file has {_LEAST_KEY_FILE} or more",
            hint="`ddr backup key new-file PATH` writes one",
        )
    return content


def cipher(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)
