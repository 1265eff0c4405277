"""One random master key, wrapped once for each way to open the repository; every other key is derived from it.

A slot is a JSON object. Adding or removing one rewraps 32 bytes and touches nothing else:

- `passphrase`: scrypt (n=2^17, r=8, p=1: OWASP's minimum of 2025) gives the key that wraps;
- `key-file`: the file's bytes, derived, wrap; no scrypt, so a scheduler opens the repository at once;
- `none`: the master key stands in the slot, readable for everyone who reads the store. The format stays the same, so
  that there is one code path; `ddr` says it loudly.

The repository's id follows from the master key and stands in every slot: a slot or the recovery key is enough to read
everything, also when the configuration is lost.

`recipient` is reserved for hosts that write and cannot read (X25519). Format 1 never has it: where one is, it is named.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import blake3
import msgspec

from ddr.backup import layout
from ddr.errors import Damaged, InputError, Refused, UnknownName, Unsupported
from ddr.lib import durable, redact
from ddr.ports import store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_CONTEXT = "ddr 2026-11-21 backup v1 "
_SCRYPT = {"n": 1 << 17, "r": 8, "p": 1}
_MOST_SCRYPT_BYTES = 1 << 30  # 128 * n * r: a forged slot must not make us take all memory
_MOST_SCRYPT_WORK = 1 << 26  # n * r * p, 64 times ours: nor compute for minutes
_NONCE = 12
_ID = 16
_LEAST_KEY_FILE = 32
_LONGEST_KEY_FILE = 1 << 20
_PAPER = "ddr-recovery-1-"
LEAST_PASSPHRASE = 12
"""Letters of a new passphrase. scrypt makes a guess cost 0.3 s; twelve letters that nobody listed take them all."""

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
    repository: str = ""
    format: int = 1


@dataclass(frozen=True)
class _AnySlot:
    kind: str


class WrongKey(Refused):
    """What was given fits none of the slots."""


def keyring_of(master: bytes) -> Keyring:
    """Of the repository that this master key makes."""
    return Keyring(blake3.blake3(master, derive_key_context=_CONTEXT + "repository id").digest(_ID), master)


def new_keyring() -> Keyring:
    return keyring_of(secrets.token_bytes(32))


def new_key_file(path: Path) -> None:
    """Write 32 random bytes as text, readable by its owner alone. Refused where the file is there."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_hex(32).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        durable.sync_folder(path.parent)
    except FileExistsError:
        raise Refused(f"{path} is there already", hint="take another name; a key is never overwritten") from None
    except OSError as problem:
        raise InputError(f"{path} cannot be written: {redact.foreign(problem)}") from problem


def wrap(ring: Keyring, opening: Opening, at: datetime, label: str = "") -> Slot:
    """A slot that `opening` opens."""
    if opening.recovery:
        raise InputError("a recovery key opens the repository by itself; it needs no slot")
    if not opening.passphrase and opening.key_file is None:
        return Slot("none", ring.master.hex(), at, label, repository=ring.repository.hex())
    salt = secrets.token_bytes(32)
    kind: Kind = "passphrase" if opening.passphrase else "key-file"
    costs = _SCRYPT if opening.passphrase else {"n": 0, "r": 0, "p": 0}
    slot = Slot(kind, "", at, label, salt.hex(), **costs, repository=ring.repository.hex())
    nonce = secrets.token_bytes(_NONCE)
    wrapped = cipher(_wrapping_key(slot, opening)).encrypt(nonce, ring.master, ring.repository)
    return dataclasses.replace(slot, wrapped=(nonce + wrapped).hex())


def check_new(passphrase: str) -> None:
    """Raises InputError for one that is guessed too soon: whoever reads the store may try as often as he likes."""
    if passphrase and (len(passphrase) < LEAST_PASSPHRASE or len(set(passphrase)) < 5):
        raise InputError(
            f"the passphrase has {len(passphrase)} letters, or few different ones; a new one has {LEAST_PASSPHRASE} "
            "or more",
            hint="take four or five random words; or a key file: `ddr backup key new-file PATH`",
        )


def add(to: store.Store, ring: Keyring, opening: Opening, at: datetime, label: str = "") -> str:
    """Wrap the master key once more; the slot's name."""
    stored = msgspec.json.encode(wrap(ring, opening, at, label))
    name = layout.name_of(stored)
    layout.create_named(to, f"{layout.KEYS}{name}", stored)
    return name


def slots(of: store.Store) -> Iterator[tuple[str, Slot]]:
    """Each slot with its name. Damaged where one cannot be read."""
    for entry in of.list(layout.KEYS):
        name = layout.hash_in(entry.key)
        try:
            slot = _slot(of, entry.key)
        except msgspec.ValidationError as problem:
            if kind := _newer_kind(of, entry.key):
                raise _too_new(of, name, kind) from problem
            raise _broken(of, name, problem) from problem
        except (ValueError, msgspec.MsgspecError) as problem:
            raise _broken(of, name, problem) from problem
        yield name, slot


def _broken(of: store.Store, name: str, problem: Exception) -> Damaged:
    return Damaged(
        f"{of.name}: key slot {name[:12]} is damaged: {redact.foreign(problem)}",
        hint="open with another key or the recovery key, then `ddr backup key remove` and add it anew",
    )


def _too_new(of: store.Store, name: str, kind: str) -> Unsupported:
    return Unsupported(
        f"{of.name}: key slot {name[:12]} is of the kind {kind!r}, which this ddr does not know", hint="use a newer ddr"
    )


def _newer_kind(of: store.Store, key: str) -> str:
    """The kind of a slot that is whole and of none of ours: what a later version wrote."""
    stored = of.get(key)
    with contextlib.suppress(msgspec.MsgspecError):
        kind = msgspec.json.decode(stored, type=_AnySlot).kind
        if layout.name_of(stored) == layout.hash_in(key) and kind not in get_args(Kind):
            return kind
    return ""


def _slot(of: store.Store, key: str) -> Slot:
    """Raises ValueError, MsgspecError."""
    stored = of.get(key)
    if layout.name_of(stored) != layout.hash_in(key):
        raise ValueError("its bytes do not have the hash that its name says")
    return msgspec.json.decode(stored, type=Slot)


def whole_slots(of: store.Store) -> dict[str, Slot]:
    """By key, without those that are damaged."""
    found = {}
    for entry in of.list(layout.KEYS):
        with contextlib.suppress(ValueError, msgspec.MsgspecError):
            found[entry.key] = _slot(of, entry.key)
    return found


def remove(of: store.Store, name: str) -> None:
    """Raises UnknownName, Refused for the last one that opens anything."""
    known = [entry.key for entry in of.list(layout.KEYS)]
    found = [key for key in known if layout.hash_in(key).startswith(name)] if name else []
    if len(found) != 1:
        there = ", ".join(layout.hash_in(key)[:12] for key in known) or "none"
        raise UnknownName(f"{of.name} has no key slot {name!r}", hint=f"there is: {there}")
    others = whole_slots(of)
    removed = others.pop(found[0], None)
    if not any(removed is None or other.repository == removed.repository for other in others.values()):
        raise Refused(
            f"{name} is the last key slot that is whole; without it nothing can be read", hint="add another one first"
        )
    of.delete(found[0])


def unlock(of: store.Store, repository: bytes, opening: Opening) -> Keyring:
    """The keyring, by the first slot that opens. Refused where none does, with what was tried."""
    if opening.recovery:
        ring = _from_paper(opening.recovery)
        if ring.repository != repository:
            raise Refused(f"{of.name}: this is the recovery key of another repository")
        return ring
    return _unlock(of, opening, repository.hex())


def unlock_any(of: store.Store, opening: Opening) -> Keyring:
    """As `unlock`, when the configuration is lost that says which repository this is."""
    return _from_paper(opening.recovery) if opening.recovery else _unlock(of, opening, "")


def _unlock(of: store.Store, opening: Opening, repository: str) -> Keyring:
    wanted: Kind = "passphrase" if opening.passphrase else "key-file" if opening.key_file else "none"
    whole, tried = whole_slots(of), 0
    for slot in whole.values():
        if slot.kind != wanted or (repository and slot.repository != repository):
            continue  # of another kind, or left by a creation that was cut off
        tried += 1
        master = _unwrapped(slot, opening)
        if master is not None:
            return keyring_of(master)
    if tried:
        what = "the passphrase" if wanted == "passphrase" else "the key file"
        raise WrongKey(
            f"{of.name}: {what} opens none of its {tried} slots",
            hint="`ddr backup key list` shows them; with the recovery key: `ddr backup key add --recovery`",
        )
    for entry in of.list(layout.KEYS):
        if kind := _newer_kind(of, entry.key):
            raise _too_new(of, layout.hash_in(entry.key), kind)
    broken = [layout.hash_in(entry.key)[:12] for entry in of.list(layout.KEYS) if entry.key not in whole]
    if not whole and not broken:
        raise Refused(
            f"{of.name}: there is a backup repository, and all its key slots are gone",
            hint="bring `backup/keys/` back from a copy (of a bucket with versions: `ddr backup undelete`), or make a "
            "new slot with the recovery key: `ddr backup key add --recovery --key-file PATH`",
        )
    raise Refused(
        f"{of.name}: there is no slot of kind {wanted}" + (f"; slot {broken[0]} is damaged" if broken else ""),
        hint=(
            "make a new one with the recovery key: `ddr backup key add --recovery --key-file PATH` (or --passphrase), "
            f"then `ddr backup key remove {broken[0]}`"
            if broken
            else "give `backup.passphrase` or `backup.keyFile` in ddr.yaml, or the recovery key (--recovery)"
        ),
    )


def _from_paper(text: str) -> Keyring:
    plain = "".join(text.split()).upper().removeprefix(_PAPER.upper()).replace("-", "")
    try:
        raw = base64.b32decode(plain + "=" * (-len(plain) % 8))
    except ValueError:
        raw = b""
    ring = keyring_of(raw[:32])
    if len(raw) != 36 or blake3.blake3(ring.repository + ring.master).digest()[:4] != raw[32:]:
        raise Refused(
            "this is no recovery key, or a letter of it is wrong",
            hint="letters A-Z and digits 2-7 alone; compare it with the paper, group by group",
        )
    return ring


def _unwrapped(slot: Slot, opening: Opening) -> bytes | None:
    """The master key; None where the slot does not open, or is not of the repository that it says."""
    from cryptography.exceptions import InvalidTag

    try:
        master, repository = bytes.fromhex(slot.wrapped), bytes.fromhex(slot.repository)
        if slot.kind != "none":
            master = cipher(_wrapping_key(slot, opening)).decrypt(master[:_NONCE], master[_NONCE:], repository)
        return master if len(master) == 32 and keyring_of(master).repository == repository else None
    except (InvalidTag, ValueError):
        return None


def _wrapping_key(slot: Slot, opening: Opening) -> bytes:
    salt = bytes.fromhex(slot.salt)
    if slot.kind == "key-file":
        assert opening.key_file is not None
        return blake3.blake3(_key_file(opening.key_file) + salt, derive_key_context=_CONTEXT + "key file").digest()
    if not (slot.n > 1 and slot.r >= 1 and slot.p >= 1):
        raise ValueError("costs out of bounds")
    if 128 * slot.n * slot.r > _MOST_SCRYPT_BYTES or slot.n * slot.r * slot.p > _MOST_SCRYPT_WORK:
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
